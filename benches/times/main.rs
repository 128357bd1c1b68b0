//! The same pieces of work by the clock, on one core.

mod deciding;

use divan::{Bencher, black_box};
use tally_benches::work::{self, Replica, Trusting};
use tally_benches::{Load, Prepared};
use tally_core::ledger::Surroundings;

const LOADS: [Load; 4] =
    [Load::Permits(1), Load::Permits(64), Load::Permits(256), Load::Halves(64)];

macro_rules! timed {
    ($($name:ident -> $made:ty: |$of:ident| $work:expr;)*) => {
        $(
            #[divan::bench(args = LOADS)]
            fn $name(bencher: Bencher<'_, '_>, load: Load) {
                let prepared = load.prepare();
                bencher.bench_local(|| {
                    let $of: &Prepared = black_box(&prepared);
                    let made: $made = $work;
                    made
                });
            }
        )*
    };
}

tally_benches::pieces!(timed);

#[divan::bench(args = LOADS)]
fn apply(bencher: Bencher<'_, '_>, load: Load) {
    apply_with(bencher, load, Replica);
}

#[divan::bench(args = LOADS)]
fn apply_unsigned(bencher: Bencher<'_, '_>, load: Load) {
    apply_with(bencher, load, Trusting);
}

/// Each time on a copy of the ledger that is as it was before the batch.
fn apply_with(bencher: Bencher<'_, '_>, load: Load, with: impl Surroundings) {
    let Prepared { state, proposal, .. } = load.prepare();
    bencher
        .with_inputs(|| state.clone())
        .bench_local_refs(|state| work::apply(state, black_box(&proposal), &with));
}

fn main() {
    divan::main();
}
