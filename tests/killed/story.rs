//! What the ledger tells of exchanges, held against what applications were told.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tally_tests::dev::{Dev, Row};
use tally_tests::mesh::until;

use super::load::Told;

/// All that is owed is on the ledger within this time. A half that nobody owes until another's has
/// been open for a minute takes longest.
const SETTLED_WAIT_MAX: Duration = Duration::from_secs(100);

/// What the ledger tells, by exchange.
#[derive(Debug, Default)]
pub(super) struct Story(BTreeMap<String, Exchange>);

/// What it tells of one of them.
#[derive(Debug, Default, Clone)]
pub(super) struct Exchange {
    pub(super) provider: Option<Row>,
    pub(super) requester: Option<Row>,
    pub(super) close: Option<Row>,
}

impl Story {
    /// Sees on the way that nothing stands there twice.
    pub(super) fn of(rows: &[Row]) -> Self {
        let mut story = BTreeMap::<String, Exchange>::new();
        for row in rows {
            // A count of refusals is of no exchange.
            let Some(exchange) = row["exchange"].as_str() else { continue };
            let told = story.entry(exchange.to_owned()).or_default();
            let place = match row["half"].as_str() {
                Some("provider") => &mut told.provider,
                Some("requester") => &mut told.requester,
                Some("close") => &mut told.close,
                _ => panic!("{row}"),
            };
            let before = place.replace(row.clone());
            assert_eq!(before, None, "this is said for the second time: {row}");
        }
        Self(story)
    }

    /// Waits until the story is told to its end, all that is committed by now included, and sees that
    /// the ledger verifies.
    pub(super) async fn settled(dev: &Dev) -> Self {
        dev.published().await.unwrap();
        let story = until("a story that is told to its end", SETTLED_WAIT_MAX, async || {
            let rows = dev.rows().await.map_err(|error| error.to_string())?;
            let story = Self::of(&rows);
            match story.open() {
                None => Ok(story),
                Some(open) => Err(open),
            }
        });
        let story = story.await.unwrap();
        let verified = dev.verify().await.unwrap();
        assert_eq!(verified["verified"], true, "{verified}");
        assert_eq!(verified["missing_halves"], 0, "{verified}");
        assert_eq!(verified["first_bad"], Value::Null, "{verified}");
        story
    }

    /// What it tells of one; nothing if it tells nothing.
    pub(super) fn exchange(&self, id: &str) -> Exchange {
        self.0.get(id).cloned().unwrap_or_default()
    }

    /// How many exchanges are such.
    pub(super) fn count(&self, such: impl Fn(&Exchange) -> bool) -> usize {
        self.0.values().filter(|exchange| such(exchange)).count()
    }

    /// How many exchanges it tells of, by what the halves and the close say.
    pub(super) fn summary(&self) -> String {
        let mut counts = BTreeMap::<_, usize>::new();
        for told in self.0.values() {
            let halves = [&told.provider, &told.close, &told.requester];
            let said = halves.map(|row| {
                let row = row.as_ref()?;
                row["code"].as_str().or_else(|| row["outcome"].as_str()).map(str::to_owned)
            });
            let said = said.map(|it| it.unwrap_or_else(|| "-".to_owned())).join("/");
            *counts.entry(said).or_default() += 1;
        }
        let counts: Vec<_> = counts.iter().map(|(said, count)| format!("{count} {said}")).collect();
        format!("provider/close/requester: {}", counts.join(", "))
    }

    /// Something that is not told to its end.
    fn open(&self) -> Option<String> {
        self.0.iter().find_map(|(id, told)| {
            if told.provider.is_some() && told.requester.is_none() {
                return Some(format!("{id} lacks the requester's half"));
            }
            let streamed = told.is_permitted() && told.provider.as_ref()?["digest"].is_null();
            (streamed && told.close.is_none()).then(|| format!("{id} lacks its close"))
        })
    }

    /// Whatever an application has is on the ledger, and what the ledger says did not leave nobody
    /// has.
    pub(super) fn bears_out(&self, told: &Told) {
        let exchange = self.exchange(&told.exchange);
        let seen = format!("{told:?}: {exchange:?}");
        if told.status == 200 {
            assert!(exchange.is_permitted(), "a record without its entry: {seen}");
            assert!(exchange.requester.is_some(), "{seen}");
            assert!(!exchange.is_closed_as("nothing-sent"), "{seen}");
        } else {
            assert!(!exchange.is_permitted() || exchange.let_nothing_out(), "{seen}");
            assert!(!told.code.is_empty(), "a refusal is said in words: {seen}");
        }
        if told.is_served() {
            let requester = exchange.requester.unwrap_or_default();
            assert_eq!(requester["outcome"], "permit", "{seen}");
            assert_eq!(requester["bytes"], told.len, "{seen}");
        }
    }
}

impl Exchange {
    pub(super) fn is_permitted(&self) -> bool {
        self.provider.as_ref().is_some_and(|half| half["outcome"] == "permit")
    }

    pub(super) fn is_closed_as(&self, how: &str) -> bool {
        self.close.as_ref().is_some_and(|close| close["outcome"] == how)
    }

    /// Its close says that no byte went.
    fn let_nothing_out(&self) -> bool {
        let empty = self.close.as_ref().is_some_and(|close| close["bytes"] == 0);
        empty && (self.is_closed_as("nothing-sent") || self.is_closed_as("abandoned"))
    }
}
