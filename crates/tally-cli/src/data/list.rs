//! `tally data list`.

use std::collections::BTreeMap;
use std::path::Path;

use hyper::HeaderMap;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::Value;
use tally_agent::source::LISTING;

use super::get::text;
use super::{Ingress, headers};
use crate::acting::{load, runtime};
use crate::args::DataListArgs;
use crate::failure::{Exit, Failure};
use crate::get::{config_of, refused, small};
use crate::output::{Output, columns, csv, print};

/// A dataset, as far as it is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Dataset {
    provider: String,
    dataset: String,
    path: String,
    /// The agreement that shares it, and its version.
    agreement: String,
    purposes: Vec<String>,
    until: String,
    /// Whether it is about people: then it is only named here.
    people: bool,
    description: Option<String>,
    columns: Vec<String>,
    /// Bytes that may leave, where that is known before it is read.
    bytes: Option<u64>,
    media_type: Option<String>,
    licence: Option<String>,
    etag: Option<String>,
    /// Why there is no more to say of it.
    refusal: Option<String>,
}

#[derive(Debug, Serialize)]
struct List {
    datasets: Vec<Dataset>,
}

pub(super) fn list(
    args: &DataListArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let config = load(config_of(config)?)?;
    let listed = runtime()?.block_on(async {
        let mut ingress = Ingress::connect(&config, &args.asking.shown).await?;
        let answer = ingress.get("/catalogue", &[]).await?;
        let status = answer.status();
        let body = small(answer.into_body()).await?;
        if !status.is_success() {
            return refused(status, &body, output).map(Err);
        }
        let catalogue = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        let mut datasets = Vec::new();
        for mut dataset in shared(&catalogue, args.member.as_deref()) {
            if dataset.people {
                datasets.push(dataset);
                continue;
            }
            let purpose = dataset.purposes.first().cloned();
            let asked = headers(&args.asking, purpose.as_deref())?;
            let answer = ingress.ask("HEAD", &dataset.path, &asked).await?;
            let (status, head) = (answer.status(), answer.headers().clone());
            drop(small(answer.into_body()).await?);
            if status.is_success() {
                dataset.take(&head);
            } else {
                let code = text(&head, "tally-refusal");
                dataset.refusal = Some(code.unwrap_or_else(|| status.to_string()));
            }
            if dataset.media_type.as_deref() == Some(LISTING) {
                // Another exchange: what a folder holds is in its body.
                let asked = headers(&args.asking, purpose.as_deref())?;
                let answer = ingress.get(&dataset.path, &asked).await?;
                let list = small(answer.into_body()).await?;
                datasets.extend(dataset.files(&list));
            } else {
                datasets.push(dataset);
            }
        }
        Ok(Ok(List { datasets }))
    });
    let list = match listed? {
        Ok(list) => list,
        Err(exit) => return Ok(exit),
    };
    if output == Output::Csv {
        crate::output::write(&csv(&list.rows()))?;
        return Ok(Exit::Done);
    }
    print(output, &list, || columns(&list.rows()))?;
    Ok(Exit::Done)
}

/// The datasets in a catalogue, each once for each agreement.
fn shared(catalogue: &Value, member: Option<&str>) -> Vec<Dataset> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut datasets = BTreeMap::new();
    for provider in &list(&catalogue["members"]) {
        let id = word(&provider["id"]);
        let called = |code: &Value| code.as_str() == member;
        let is_meant = member.is_none_or(|member| member == id)
            || provider["codes"].as_object().is_some_and(|codes| codes.values().any(called));
        let sources = list(&provider["sources"]);
        let sources = sources.iter().filter(|source| is_meant && source["signed_by_both"] == true);
        for source in sources {
            let path = word(&source["path"]);
            if !path.starts_with("/data/") {
                continue;
            }
            let agreement = format!("{}@{}", word(&source["agreement"]), source["version"]);
            let dataset = Dataset {
                provider: id.clone(),
                dataset: word(&source["source"]),
                path: path.clone(),
                agreement: agreement.clone(),
                purposes: list(&source["purposes"]).iter().map(word).collect(),
                until: word(&source["until"]),
                // Where it is not said, nothing is asked.
                people: source["people"] != false,
                ..Dataset::default()
            };
            datasets.insert((path, agreement), dataset);
        }
    }
    datasets.into_values().collect()
}

impl Dataset {
    /// The files of a folder, each as a dataset of its own; the folder itself where it has none.
    fn files(self, list: &[u8]) -> Vec<Self> {
        let list = serde_json::from_slice::<Value>(list).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let files = list.get("files").and_then(Value::as_array).into_iter().flatten();
        let files = files.filter_map(|file| {
            let below = text(&file["path"])?;
            Some(Self {
                dataset: format!("{}/{below}", self.dataset),
                path: format!("{}/{below}", self.path),
                bytes: file["bytes"].as_u64(),
                media_type: text(&file["media_type"]),
                ..self.clone()
            })
        });
        let files: Vec<_> = files.collect();
        if files.is_empty() { vec![self] } else { files }
    }

    /// What the provider says of it.
    fn take(&mut self, head: &HeaderMap) {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        self.description = text(head, "tally-title").map(|it| decoded(&it));
        self.licence = text(head, "tally-licence").map(|it| decoded(&it));
        let names = text(head, "tally-columns").unwrap_or_default();
        self.columns = names.split(',').filter(|it| !it.is_empty()).map(decoded).collect();
        self.bytes = text(head, CONTENT_LENGTH.as_str()).and_then(|it| it.parse().ok());
        self.media_type = text(head, CONTENT_TYPE.as_str());
        self.etag = text(head, ETAG.as_str());
    }
}

impl List {
    fn rows(&self) -> Vec<Vec<String>> {
        let head = [
            "path",
            "description",
            "columns",
            "bytes",
            "type",
            "licence",
            "agreement",
            "etag",
            "note",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        rows.extend(self.datasets.iter().map(|it| {
            let columns = if it.columns.is_empty() { "-".to_owned() } else { it.columns.join(" ") };
            let note = match &it.refusal {
                Some(code) => format!("refused: {code}"),
                None if it.people => "about people".to_owned(),
                None => "-".to_owned(),
            };
            vec![
                it.path.clone(),
                or_none(&it.description),
                columns,
                or_none(&it.bytes.map(|bytes| bytes.to_string())),
                or_none(&it.media_type),
                or_none(&it.licence),
                it.agreement.clone(),
                or_none(&it.etag),
                note,
            ]
        }));
        rows
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn datasets_in_force_are_listed_and_what_may_be_about_people_is_only_named() {
        let source = |source: &str, path: &str, signed: bool, people: Value| {
            json!({
                "source": source, "path": path, "agreement": "DSA-1", "version": 2,
                "purposes": ["local:PLANNING"], "until": "2099-12-31",
                "signed_by_both": signed, "people": people,
            })
        };
        let catalogue = json!({ "members": [
            { "id": "RZ9", "codes": { "ods": "RZ9X" }, "sources": [
                source("beds", "/data/RZ9/beds", true, json!(false)),
                source("visits", "/data/RZ9/visits", true, json!(true)),
                source("older", "/data/RZ9/older", true, Value::Null),
                source("drafts", "/data/RZ9/drafts", false, json!(false)),
                source("fhir", "/fhir/RZ9", true, json!(true)),
            ] },
            { "id": "LZ9", "sources": [] },
        ] });
        let listed = |member| {
            let datasets = shared(&catalogue, member);
            datasets.into_iter().map(|it| (it.dataset, it.people)).collect::<Vec<_>>()
        };
        let expected = [("beds", false), ("older", true), ("visits", true)];
        let expected = expected.map(|(name, people)| (name.to_owned(), people));
        for member in [None, Some("RZ9"), Some("RZ9X")] {
            assert_eq!(listed(member), expected);
        }
        assert!(listed(Some("LZ9")).is_empty() && listed(Some("nobody")).is_empty());
        assert_eq!(shared(&catalogue, None)[0].agreement, "DSA-1@2");
    }
}
