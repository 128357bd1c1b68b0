//! What parsers make of bytes that nobody wrote on purpose. One target is one line of [`TARGETS`] and
//! a directory of that name in `corpus/`; `fuzz/run NAME SECONDS` runs it.

#![no_main]

mod agreement;
mod bundle;
mod consent;
mod csv;
mod opt_out;
mod token;
mod xml;

use std::env;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

type Target = fn(&[u8]);

const TARGETS: &[(&str, Target)] = &[
    ("agreement", agreement::fuzz),
    ("bundle", bundle::fuzz),
    ("consent", consent::fuzz),
    ("csv", csv::fuzz),
    ("opt-out", opt_out::fuzz),
    ("token", token::fuzz),
    ("xml", xml::fuzz),
];

/// The one that the environment names.
static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = env::var("TALLY_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let Some((_, target)) = found else {
        let known: Vec<_> = TARGETS.iter().map(|(known, _)| known).collect();
        panic!("TALLY_FUZZ_TARGET is {name:?}, and the targets are {known:?}");
    };
    *target
});

fuzz_target!(|data: &[u8]| (*TARGET)(data));
