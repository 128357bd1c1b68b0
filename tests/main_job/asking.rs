//! The requester's application: asks, follows pages, and notes for each exchange what the ledger has
//! to hold of it.

use std::collections::BTreeMap;

use serde_json::Value;
use tally_tests::dev::{Answer, Dev};

use super::data::text;
use super::plan::{COLUMNS, SOME, WHOLE};
use super::{COUNCIL, REQUESTER};

/// What happened in an exchange, as its application saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Happened {
    pub(crate) provider: &'static str,
    /// Empty: its records, `fhir`.
    pub(crate) source: String,
    pub(crate) action: &'static str,
    pub(crate) purpose: &'static str,
    /// Which agreement has to have permitted it.
    pub(crate) agreement: &'static str,
    pub(crate) end: End,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A body that was read before the decision arrived.
    Whole { bytes: u64, records: u64 },
    /// A dataset arrived.
    Stream { bytes: u64 },
    /// There is nothing that the requester may see.
    NotAvailable,
    /// FHIR R4 has no records of this type.
    UnknownType,
}

/// All entries of a search.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    pub(crate) records: Vec<Value>,
    pub(crate) pages: usize,
    /// Pages that say that something was withheld.
    pub(crate) marked: usize,
}

/// An application of the requester.
pub(crate) struct Asking<'d> {
    dev: &'d Dev,
    /// By exchange.
    pub(crate) happened: BTreeMap<String, Happened>,
    /// Bytes of bodies that arrived.
    pub(crate) bytes: u64,
}

impl<'d> Asking<'d> {
    pub(crate) const fn new(dev: &'d Dev) -> Self {
        Self { dev, happened: BTreeMap::new(), bytes: 0 }
    }

    /// A record by its type and id; `None` if it is not available.
    pub(crate) async fn read(
        &mut self,
        provider: &'static str,
        agreement: &'static str,
        path: &str,
    ) -> Option<Value> {
        let answer = self.fhir(agreement, &format!("/fhir/{provider}/{path}")).await;
        let end = match (answer.status, answer.code().as_str()) {
            (200, _) => End::Whole { bytes: len(&answer), records: 1 },
            (404, "not-available") => End::NotAvailable,
            (404, "unknown-type") => End::UnknownType,
            other => panic!("{path}: {other:?}"),
        };
        self.note(&answer, of_records(provider, agreement, "read", end));
        (answer.status == 200).then(|| answer.json())
    }

    /// Everything that a search finds, page by page; `None` if there is nothing to be seen.
    pub(crate) async fn search(
        &mut self,
        provider: &'static str,
        agreement: &'static str,
        path: &str,
    ) -> Option<Pages> {
        let action = if path.contains("$everything") { "everything" } else { "search" };
        let mut found = Pages::default();
        let mut next = Some(format!("/fhir/{provider}/{path}"));
        while let Some(path) = next {
            let answer = self.fhir(agreement, &path).await;
            if (answer.status, answer.code().as_str()) == (404, "not-available") {
                self.note(&answer, of_records(provider, agreement, action, End::NotAvailable));
                assert_eq!(found.pages, 0, "a page is missing: {path}");
                return None;
            }
            assert_eq!(answer.status, 200, "{path}: {}", answer.code());
            let page = answer.json();
            let records = self.take_page(&page, provider, &path, &mut found);
            let end = End::Whole { bytes: len(&answer), records };
            self.note(&answer, of_records(provider, agreement, action, end));
            next = link(&page, "next");
        }
        Some(found)
    }

    /// A dataset, to its last byte.
    pub(crate) async fn dataset(&mut self, id: &str, agreement: &'static str) -> Vec<u8> {
        let purpose = "local:TRANSPARENCY";
        let mut headers = vec![("Tally-Purpose", purpose), ("Tally-User", USER)];
        if agreement == COLUMNS {
            headers.push(("Tally-Agreement", agreement));
        }
        let path = format!("/data/{COUNCIL}/{id}");
        let answer = self.dev.get(REQUESTER, &path, &headers).await.unwrap();
        assert_eq!((answer.status, answer.whole), (200, true), "{path}: {}", answer.code());
        assert_eq!(answer.header("content-type"), "text/csv");
        let happened = Happened {
            provider: COUNCIL,
            source: id.to_owned(),
            action: "dataset",
            purpose,
            agreement,
            end: End::Stream { bytes: len(&answer) },
        };
        self.note(&answer, happened);
        answer.body
    }

    async fn fhir(&self, agreement: &str, path: &str) -> Answer {
        let mut headers = vec![("Tally-User", USER)];
        // Without it, the lowest id that permits is used.
        if agreement == SOME {
            headers.push(("Tally-Agreement", agreement));
        } else {
            assert_eq!(agreement, WHOLE);
        }
        let answer = self.dev.get(REQUESTER, path, &headers).await.unwrap();
        assert!(answer.whole, "{path} broke off");
        assert_eq!(answer.header("content-type"), "application/fhir+json; charset=utf-8");
        answer
    }

    /// Takes the records of a page, and says how many there are.
    fn take_page(&self, page: &Value, provider: &str, path: &str, found: &mut Pages) -> u64 {
        assert_eq!((&page["resourceType"], &page["type"]), (&"Bundle".into(), &"searchset".into()));
        let base = text(&self.dev.member(REQUESTER)["http"]);
        // A link names the ingress as well.
        let asked = if path.starts_with('/') { format!("{base}{path}") } else { path.to_owned() };
        assert_eq!(link(page, "self"), Some(asked));
        let (mut records, mut says_so) = (0, false);
        for entry in page["entry"].as_array().into_iter().flatten() {
            let resource = &entry["resource"];
            if entry["search"]["mode"] == "outcome" {
                assert_eq!(resource["resourceType"], "OperationOutcome");
                says_so = true;
                continue;
            }
            assert_eq!(entry["search"]["mode"], "match");
            let (kind, id) = (resource["resourceType"].as_str(), resource["id"].as_str());
            let url = format!("{base}/fhir/{provider}/{}/{}", kind.unwrap(), id.unwrap());
            assert_eq!(entry["fullUrl"], url);
            found.records.push(resource.clone());
            records += 1;
        }
        let labels = page["meta"]["security"].as_array().into_iter().flatten();
        let marked = labels.filter(|label| label["code"] == "REDACTED").count() == 1;
        assert_eq!(marked, says_so, "{path}");
        found.pages += 1;
        found.marked += usize::from(marked);
        records
    }

    fn note(&mut self, answer: &Answer, happened: Happened) {
        let exchange = answer.header("tally-exchange").to_owned();
        // What no provider decided about has no receipt.
        let receipt = match happened.end {
            End::UnknownType => String::new(),
            _ => format!("/receipts/{exchange}"),
        };
        assert_eq!(answer.header("tally-receipt"), receipt);
        self.bytes += len(answer);
        let before = self.happened.insert(exchange, happened);
        assert_eq!(before, None, "an exchange has an id of its own");
    }
}

/// Who asks, as the application says.
const USER: &str = "https://main-job.example/users|u1";

const fn of_records(
    provider: &'static str,
    agreement: &'static str,
    action: &'static str,
    end: End,
) -> Happened {
    Happened { provider, source: String::new(), action, purpose: "TREAT", agreement, end }
}

fn link(page: &Value, relation: &str) -> Option<String> {
    let links = page["link"].as_array().into_iter().flatten();
    let mut links = links.filter(|link| link["relation"] == relation);
    links.next()?["url"].as_str().map(str::to_owned)
}

fn len(answer: &Answer) -> u64 {
    answer.body.len().try_into().unwrap()
}
