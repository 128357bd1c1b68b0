//! Instructions of each piece of work, counted by callgrind: one run each, made from fixed seeds.
//!
//! Valgrind's processor has no SHA-NI and no AVX-512: hashes and signatures count for more here
//! than they take on a machine that has them. The counts are for comparing one version of the code
//! with another; what share of the budget a piece is, the clock says.

#![allow(missing_docs, reason = "macros make public items; nobody imports a bench")]
#![allow(unreachable_pub, reason = "the same")]
#![allow(unused_qualifications, reason = "the same: what they make is qualified")]

mod deciding;
mod minimising;

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use tally_benches::work::{self, Replica, Trusting};
use tally_benches::{Load, Prepared};
use tally_core::ledger::Applied;

fn prepare(load: Load) -> Box<Prepared> {
    Box::new(load.prepare())
}

/// A bench for each piece over the loads. What it made is handed back, so that taking it down does
/// not count.
macro_rules! counted {
    ($($name:ident -> $made:ty: |$of:ident| $work:expr;)*) => {
        $(
            #[library_benchmark]
            #[bench::permits_1(args = (Load::Permits(1)), setup = prepare)]
            #[bench::permits_64(args = (Load::Permits(64)), setup = prepare)]
            #[bench::permits_256(args = (Load::Permits(256)), setup = prepare)]
            #[bench::halves_64(args = (Load::Halves(64)), setup = prepare)]
            fn $name(mut of: Box<Prepared>) -> ($made, Box<Prepared>) {
                let $of = black_box(&mut *of);
                let made = black_box($work);
                (made, of)
            }
        )*

        library_benchmark_group!(name = pieces, benchmarks = [$($name),*]);
    };
}

tally_benches::pieces!(counted);

mod applying {
    use super::*;

    counted! {
        apply -> Applied: |of| work::apply(&mut of.state, &of.proposal, &Replica);
        apply_unsigned -> Applied: |of| work::apply(&mut of.state, &of.proposal, &Trusting);
    }
}

use applying::pieces as applying_pieces;
use deciding::pieces as deciding_pieces;
use minimising::pieces as minimising_pieces;

main!(library_benchmark_groups = [pieces, applying_pieces, deciding_pieces, minimising_pieces]);
