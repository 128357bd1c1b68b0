//! What was measured, as Markdown.

use std::fmt::Write as _;

use crate::measure::Point;

/// What so many callers got.
#[derive(Debug)]
pub(crate) struct Row {
    /// Of what.
    pub(crate) what: &'static str,
    pub(crate) callers: usize,
    /// Agents, then nodes.
    pub(crate) point: Point<2>,
}

/// One below the other.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| what | callers | /s | p50 ms | p99 ms | CPU µs: agents | ledger | callers | all |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for Row { what, callers, point } in rows {
        let Point { per_s, p50_ms, p99_ms, servers_us: [agents, nodes], callers_us, .. } = point;
        let all = agents + nodes + callers_us;
        // Writing to a text does not fail.
        let _ = writeln!(
            text,
            "| {what} | {callers} | {per_s:.0} | {p50_ms:.2} | {p99_ms:.2} | {agents:.0} | \
             {nodes:.0} | {callers_us:.0} | {all:.0} |"
        );
    }
    text
}
