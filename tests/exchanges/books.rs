//! What the ledger has to hold after what was done, and nothing else.

use std::time::Duration;

use tally_tests::dev::{Answer, Dev, Row, rows_of};
use tally_tests::mesh::until;

use super::world::{brief, exchange, verifies};

/// Entries that are owed are on the ledger within this time, on a machine that is busy.
const ENTRIES_WAIT_MAX: Duration = Duration::from_secs(30);

/// An entry in short: which half, what came of it, under which code.
pub(super) type Entry = (&'static str, &'static str, Option<&'static str>);

/// What was permitted and sent as it was read before the decision.
pub(super) const WHOLE: &[Entry] = &[("provider", "permit", None), ("requester", "permit", None)];
/// What was permitted and streamed to its end.
pub(super) const STREAMED: &[Entry] =
    &[("provider", "permit", None), ("close", "sent", None), ("requester", "permit", None)];

/// What was permitted, and left by the application before its end.
pub(super) const BROKEN_OFF: &[Entry] = &[
    ("provider", "permit", None),
    ("close", "abandoned", None),
    ("requester", "refuse", Some("broken-off")),
];

/// What was done, with what has to be recorded of it.
#[derive(Default)]
pub(super) struct Books {
    /// Exchanges, each with what may be recorded of it: one of these.
    exchanges: Vec<(String, Vec<Vec<Entry>>)>,
    /// Entries that belong to no exchange.
    others: usize,
}

impl Books {
    /// An answer, and what is recorded of its exchange, in any order.
    pub(super) fn expect(&mut self, answer: &Answer, entries: &[Entry]) -> String {
        self.expect_one_of(answer, &[entries])
    }

    /// The same where it hangs on who was quicker.
    pub(super) fn expect_one_of(&mut self, answer: &Answer, ways: &[&[Entry]]) -> String {
        let exchange = exchange(answer);
        let ways = ways.iter().map(|way| way.to_vec()).collect();
        self.exchanges.push((exchange.clone(), ways));
        exchange
    }

    /// An exchange, and what is recorded of it.
    pub(super) fn expect_of(&mut self, exchange: &str, entries: &[Entry]) {
        self.exchanges.push((exchange.to_owned(), vec![entries.to_vec()]));
    }

    /// A refusal that both sides record.
    pub(super) fn both(&mut self, answer: &Answer, code: &'static str) -> String {
        let refused = ("provider", "refuse", Some(code));
        self.expect(answer, &[refused, ("requester", "refuse", Some(code))])
    }

    /// A refusal that both sides record, and neither says what it was about the person.
    pub(super) fn about_a_person(&mut self, answer: &Answer) -> String {
        let refused = ("provider", "refuse", Some("person-level"));
        // The requester records what it was told.
        self.expect(answer, &[refused, ("requester", "refuse", Some("not-available"))])
    }

    /// Something that only the requester records.
    pub(super) fn requesters(&mut self, answer: &Answer, code: &'static str) -> String {
        self.expect(answer, &[("requester", "refuse", Some(code))])
    }

    /// Entries that belong to no exchange.
    pub(super) fn also(&mut self, entries: usize) {
        self.others += entries;
    }

    /// Waits until the ledger holds all of this; then it holds exactly this, and verifies. Gives all
    /// halves and closes.
    pub(super) async fn balance(&self, dev: &Dev) -> Vec<Row> {
        let rows = until("what the books say", ENTRIES_WAIT_MAX, async || {
            let rows = dev.rows().await.map_err(|error| error.to_string())?;
            let wrong = self.wrong(&rows);
            if wrong.is_empty() { Ok(rows) } else { Err(wrong.join("\n")) }
        });
        let rows = rows.await.unwrap();
        verifies(dev).await;
        rows
    }

    fn wrong(&self, rows: &[Row]) -> Vec<String> {
        let mut wrong = Vec::new();
        for (exchange, ways) in &self.exchanges {
            let rows = rows_of(rows, exchange);
            let mut found = rows.iter().map(brief).collect::<Vec<_>>();
            found.sort_unstable();
            let is_found = |way: &Vec<Entry>| {
                let mut way = way.clone();
                way.sort_unstable();
                way == found
            };
            if !ways.iter().any(is_found) {
                wrong.push(format!("{exchange}: {found:?} in the place of {ways:?}"));
            }
        }
        let known = |row: &&Row| self.exchanges.iter().any(|(known, _)| row["exchange"] == **known);
        let others = rows.iter().filter(|row| !known(row)).collect::<Vec<_>>();
        if others.len() != self.others {
            wrong.push(format!(
                "{} others in the place of {}: {others:?}",
                others.len(),
                self.others
            ));
        }
        wrong
    }
}
