//! What was measured, as Markdown.

use std::fmt::Write as _;

use crate::measure::Point;

/// What so many callers got.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) callers: usize,
    pub(crate) agents: usize,
    pub(crate) tally: Option<Point<1>>,
    pub(crate) etcd: Option<Point<1>>,
}

/// Both side by side.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| callers | agents | etcd: /s | p50 ms | p99 ms | CPU µs | Tally: /s | p50 ms | p99 ms | CPU µs | \
         batch | ratio /s | ratio p50 |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        // Writing to a text does not fail.
        let _ = write_row(&mut text, row);
    }
    text.push_str("\nCPU: processor time for each answer, three servers + client and callers.\n");
    text
}

fn write_row(text: &mut String, row: &Row) -> std::fmt::Result {
    write!(text, "| {} | {} ", row.callers, row.agents)?;
    for point in [row.etcd, row.tally] {
        match point {
            Some(Point { per_s, p50_ms, p99_ms, servers_us: [servers_us], callers_us, .. }) => {
                write!(
                    text,
                    "| {per_s:.0} | {p50_ms:.2} | {p99_ms:.2} | {servers_us:.1} + {callers_us:.1} "
                )?
            }
            None => text.push_str("| – | – | – | – "),
        }
    }
    match (row.tally, row.etcd) {
        (Some(tally), Some(etcd)) => writeln!(
            text,
            "| {:.0} | **{:.1}** | {:.2} |",
            tally.batch,
            tally.per_s / etcd.per_s,
            tally.p50_ms / etcd.p50_ms
        ),
        (Some(tally), None) => writeln!(text, "| {:.0} | – | – |", tally.batch),
        (None, _) => writeln!(text, "| – | – | – |"),
    }
}
