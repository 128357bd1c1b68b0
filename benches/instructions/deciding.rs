//! Decisions about one person and about many.

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group};
use tally_benches::{Case, Question, SLICE};

/// What happens once for each process, such as reading an agreement's condition, does not count.
fn prepare(question: Question) -> Box<Case> {
    let case = Box::new(question.prepare());
    black_box(case.decide());
    case
}

#[library_benchmark]
#[bench::silent_1(args = (Question::Silent(1)), setup = prepare)]
#[bench::records_1(args = (Question::Records(1)), setup = prepare)]
#[bench::records_20(args = (Question::Records(20)), setup = prepare)]
#[bench::burdened_1(args = (Question::Burdened(1)), setup = prepare)]
#[bench::burdened_slice(args = (Question::Burdened(SLICE)), setup = prepare)]
#[bench::people_10000(args = (Question::People(10_000)), setup = prepare)]
fn decide(case: Box<Case>) -> (usize, Box<Case>) {
    (black_box(black_box(&case).decide()), case)
}

library_benchmark_group!(name = pieces, benchmarks = [decide]);
