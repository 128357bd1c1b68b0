//! Decisions: whole ones, and the slices of one about many.

use divan::{Bencher, black_box};
use tally_benches::{Question, SLICE};

const QUESTIONS: [Question; 6] = [
    Question::Silent(1),
    Question::Records(1),
    Question::Records(20),
    Question::Burdened(1),
    Question::Burdened(SLICE),
    Question::People(10_000),
];

#[divan::bench(args = QUESTIONS)]
fn decide(bencher: Bencher<'_, '_>, question: Question) {
    let case = question.prepare();
    bencher.bench_local(|| black_box(&case).decide());
}

/// Slices by the number of those before them: the one that begins, the first that judges, one in the
/// middle, and the last, which concludes.
#[divan::bench(args = [0, 1, 200, 313])]
fn slice(bencher: Bencher<'_, '_>, before: usize) {
    let case = Question::People(10_000).prepare();
    let facts = case.facts();
    bencher
        .with_inputs(|| case.begun(&facts, before))
        .bench_local_values(|deciding| deciding.go_on(SLICE));
}
