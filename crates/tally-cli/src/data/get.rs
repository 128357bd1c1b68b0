//! `tally data get`: a dataset into a file, over as many exchanges as it takes.
//!
//! Invariant: the file appears only once all of it is there and has the digest that the provider's agent
//! has signed. Whatever happens before, what has come is kept and gone on from.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName};
use hyper::{HeaderMap, Response, StatusCode};
use serde::Serialize;
use serde_json::Value;
use tally_agent::config::AgentConfig;
use tally_core::exchange::StreamEnd;
use tokio::time::{sleep, timeout};

use super::part::{Of, Part, is_there};
use super::{Ingress, headers};
use crate::acting::{load, runtime};
use crate::args::DataGetArgs;
use crate::failure::{Exit, Failure};
use crate::get::{config_of, refused, small};
use crate::output::{Output, pairs, print};
use crate::process::Signals;
use crate::progress::Progress;

/// The first pause before trying again; it doubles.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A body that stands still for so long has broken off: longer than the agents let it stand.
const BODY_WAIT_MAX: Duration = Duration::from_secs(60);
/// How often a dataset may turn out to be another one while it is fetched.
const RESTARTS_MAX: u32 = 2;

/// What came of it.
#[derive(Debug, Serialize)]
struct Got {
    file: String,
    bytes: u64,
    etag: String,
    /// Over chunks of 64 KiB, as RFC 6962 has it; signed by the provider's agent.
    content_root: String,
    /// Its exchanges, in their order: each but the first names that as what it resumes.
    exchanges: Vec<String>,
}

/// How an attempt ended that did not bring all of it.
enum Missed {
    /// Try again: why.
    Broken(String),
    /// It is another dataset now, or nobody knows of the exchange any more: from the start.
    Anew(String),
    /// No, and that is all.
    Over(Failure),
    /// No, and it was said.
    Said(Exit),
}

impl From<Failure> for Missed {
    fn from(failure: Failure) -> Self {
        // Who is not there now may be there in a moment.
        match failure.exit() {
            Exit::Unreachable => Self::Broken(failure.to_string()),
            _ => Self::Over(failure),
        }
    }
}

pub(super) fn get(
    args: &DataGetArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let path = path_of(&args.dataset).ok_or_else(|| {
        let remedy = "name it MEMBER/DATASET, or /data/MEMBER/DATASET: tally data list";
        Failure::usage("what was asked for is no dataset", remedy)
    })?;
    let config = load(config_of(config)?)?;
    if args.to.exists() && !args.force {
        return Err(is_there(&args.to));
    }
    let part = Part::open(&args.to, &path)?;
    let mut fetching = Fetching { args, config, output, path, part, exchanges: Vec::new() };
    let got = runtime()?.block_on(async {
        let mut signals = Signals::listen();
        tokio::select! {
            got = fetching.fetch() => Some(got),
            () = signals.next() => None,
        }
    });
    let Some(got) = got else {
        let what = format!("stopped; {} bytes of it are kept", fetching.part.len());
        return Err(Failure::refused_as(what, "run it again, and it goes on from there"));
    };
    let root = match got? {
        Ok(root) => root,
        Err(exit) => return Ok(exit),
    };
    let Fetching { part, exchanges, .. } = fetching;
    let got = Got {
        file: args.to.display().to_string(),
        bytes: part.len(),
        etag: part.of.as_ref().map(|of| of.etag.clone()).unwrap_or_default(),
        content_root: root,
        exchanges,
    };
    part.finish(&args.to, args.force)?;
    print(output, &got, || got.table())?;
    Ok(Exit::Done)
}

/// The path at the ingress.
fn path_of(text: &str) -> Option<String> {
    let below = text.strip_prefix("/data/").unwrap_or(text);
    let (member, dataset) = below.split_once('/')?;
    let fits = !member.is_empty() && !dataset.is_empty() && !text.contains(['?', '#']);
    fits.then(|| format!("/data/{member}/{dataset}"))
}

struct Fetching<'a> {
    args: &'a DataGetArgs,
    config: AgentConfig,
    output: Output,
    path: String,
    part: Part,
    exchanges: Vec<String>,
}

impl Fetching<'_> {
    /// Tries until all of it is there, and says its root; or how the command ends.
    async fn fetch(&mut self) -> Result<Result<String, Exit>, Failure> {
        let (mut tried, mut restarted) = (0, 0);
        loop {
            let before = self.part.len();
            let why = match self.attempt().await {
                Ok(root) => return Ok(Ok(root)),
                Err(Missed::Said(exit)) => return Ok(Err(exit)),
                Err(Missed::Over(failure)) => return Err(failure),
                Err(Missed::Broken(why)) => why,
                Err(Missed::Anew(why)) => {
                    restarted += 1;
                    self.part.clear()?;
                    if restarted > RESTARTS_MAX {
                        return Err(Failure::refused(why, "ask the provider what changes it"));
                    }
                    eprint(&format!("{why}; it begins anew"));
                    continue;
                }
            };
            // Whoever gets further may go on for as long as it takes.
            tried = if self.part.len() > before { 0 } else { tried + 1 };
            if tried > self.args.retries {
                let what = format!("{why}; {} bytes of it are kept", self.part.len());
                return Err(Failure::unreachable(
                    what,
                    "run it again later: it goes on from there",
                ));
            }
            let pause = PAUSE.saturating_mul(1 << tried.min(16)).min(PAUSE_MAX);
            eprint(&format!("{why}; going on in {} s", pause.as_secs_f32()));
            sleep(pause).await;
        }
    }

    /// One exchange.
    async fn attempt(&mut self) -> Result<String, Missed> {
        let at = self.part.resume_at();
        let mut asked = headers(&self.args.asking, None)?;
        if let Some(of) = self.part.of.as_ref().filter(|_| at > 0) {
            asked.push(("range", format!("bytes={at}-")));
            asked.push(("if-range", of.etag.clone()));
            asked.push(("tally-resumes", of.first.clone()));
        }
        let mut ingress = Ingress::connect(&self.config, &self.args.asking.shown).await?;
        let answer = ingress.get(&self.path, &asked).await?;
        let head = answer.headers().clone();
        match answer.status() {
            StatusCode::OK => self.part.begin(of(&self.path, &head)?)?,
            StatusCode::PARTIAL_CONTENT if goes_on_at(&head) == Some(at) => {
                self.part.go_on_at(at)?;
            }
            status => return Err(self.refused(status, answer).await),
        }
        let exchange = text(&head, "tally-exchange").unwrap_or_default();
        self.exchanges.push(exchange.clone());
        self.take(answer.into_body()).await?;
        // On a connection of its own: the body's may be gone.
        let mut ingress = Ingress::connect(&self.config, &self.args.asking.shown).await?;
        self.check(&mut ingress, &exchange).await
    }

    async fn take(&mut self, mut body: Incoming) -> Result<(), Missed> {
        let all = self.part.of.as_ref().and_then(|of| of.bytes).unwrap_or(0);
        let mut progress = Progress::new(all, "bytes");
        progress.skip(self.part.len());
        let broken = |why: String| Missed::Broken(format!("it broke off: {why}"));
        while !body.is_end_stream() {
            let frame = timeout(BODY_WAIT_MAX, body.frame()).await;
            let frame = frame.map_err(|_| broken("it stood still".to_owned()))?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|why| broken(why.to_string()))?;
            if let Ok(data) = frame.into_data() {
                self.part.push(&data)?;
                progress.show(self.part.len());
            }
        }
        Ok(())
    }

    /// Holds all that is there against what the provider's agent has signed.
    async fn check(&self, ingress: &mut Ingress, exchange: &str) -> Result<String, Missed> {
        let answer = ingress.get(&format!("/receipts/{exchange}"), &[]).await?;
        let body = small(answer.into_body()).await?;
        let receipt = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        let end = receipt.get("stream_end").and_then(Value::as_str);
        let end = end.and_then(|text| STANDARD.decode(text).ok());
        let end = end.and_then(|bytes| tally_wire::decode_value::<StreamEnd>(&bytes).ok());
        let Some(end) = end else {
            let what = "the agent has no signed end of the stream";
            return Err(Missed::Broken(what.to_owned()));
        };
        let Some(signed) = end.sum.content_root else {
            let what = "the provider can't say the digest of all from so far on";
            return Err(Missed::Anew(what.to_owned()));
        };
        let root = self.part.root();
        if root == signed {
            return Ok(root.to_string());
        }
        let what = "what has come is not what the provider's agent signed";
        Err(Missed::Anew(what.to_owned()))
    }

    /// What an answer means that brings nothing.
    async fn refused(&self, status: StatusCode, answer: Response<Incoming>) -> Missed {
        let resuming = self.part.len() > 0;
        let code = text(answer.headers(), "tally-refusal").unwrap_or_else(|| status.to_string());
        match status.as_u16() {
            206 | 409 | 412 | 416 if resuming => {
                return Missed::Anew(format!("it can't be gone on with ({code})"));
            }
            429 | 502..=504 => return Missed::Broken(code),
            _ => {}
        }
        let body = match small(answer.into_body()).await {
            Ok(body) => body,
            Err(failure) => return failure.into(),
        };
        match refused(status, &body, self.output) {
            Ok(exit) => Missed::Said(exit),
            Err(failure) => Missed::Over(failure),
        }
    }
}

impl Got {
    fn table(&self) -> String {
        pairs(&[
            ("file", self.file.clone()),
            ("bytes", self.bytes.to_string()),
            ("etag", self.etag.clone()),
            ("content root", self.content_root.clone()),
            ("exchanges", self.exchanges.join(" ")),
        ])
    }
}

/// What begins with this answer.
fn of(path: &str, head: &HeaderMap) -> Result<Of, Failure> {
    let unfit = |what| {
        Failure::refused(what, "fetch it with tally get: it can't be gone on with after a break")
    };
    let etag = text(head, ETAG).ok_or_else(|| unfit("the dataset has no version"))?;
    let first = text(head, "tally-exchange");
    let first = first.ok_or_else(|| unfit("the answer names no exchange"))?;
    let bytes = text(head, CONTENT_LENGTH).and_then(|it| it.parse().ok());
    Ok(Of { tally: 1, path: path.to_owned(), etag, first, bytes })
}

/// The byte that a part begins with.
fn goes_on_at(head: &HeaderMap) -> Option<u64> {
    let range = text(head, CONTENT_RANGE)?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// What a header says.
pub(super) fn text(head: &HeaderMap, name: impl TryInto<HeaderName>) -> Option<String> {
    let name = name.try_into().ok()?;
    head.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// For the eye alone.
fn eprint(line: &str) {
    drop(crate::output::show(&format!("{line}\n")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_is_named_by_its_member_and_its_name() {
        for (text, path) in [
            ("RZ9/beds", Some("/data/RZ9/beds")),
            ("/data/RZ9/flow/2026/may.csv", Some("/data/RZ9/flow/2026/may.csv")),
            ("RZ9", None),
            ("/data/RZ9", None),
            ("/fhir/RZ9/Patient", None),
            ("RZ9/spend?year=2024", None),
            ("", None),
        ] {
            assert_eq!(path_of(text).as_deref(), path, "{text}");
        }
    }
}
