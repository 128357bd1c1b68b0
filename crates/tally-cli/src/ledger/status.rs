//! `tally ledger status`: what each node says of itself.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};
use crate::https::HttpsError;
use crate::online::Online;
use crate::output::{Output, columns, print};

/// Bytes of an answer at most.
const STATUS_LEN_MAX: usize = 64 * 1024;

#[derive(Debug, Serialize)]
struct Answer {
    nodes: Vec<Node>,
    /// Whether those of one size have one root.
    agree: bool,
}

#[derive(Debug, Serialize)]
struct Node {
    https: String,
    reachable: bool,
    why: Option<String>,
    #[serde(flatten)]
    status: Option<Status>,
}

/// What a node says, as far as it is shown here; the rest is passed on as it is.
#[derive(Debug, Serialize, Deserialize)]
struct Status {
    node: u64,
    member: String,
    role: String,
    term: u64,
    last_log_index: Option<u64>,
    applied_index: Option<u64>,
    size: u64,
    root: String,
    published_size: Option<u64>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// `tally ledger status`.
///
/// # Errors
/// [`Failure`] if no node can be asked.
pub(crate) fn status(config: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    let mut online = Online::open(config)?;
    let mut nodes = Vec::new();
    let mut failed = None;
    for node in 0..online.https.nodes().len() {
        let https = online.https.nodes().get(node).cloned().unwrap_or_default();
        let asked = online.https.get(node, "/admin/status", STATUS_LEN_MAX);
        let status = asked.and_then(|body| {
            let body = body.unwrap_or_default();
            let wrong = |why: serde_json::Error| HttpsError::Wrong {
                node: https.clone(),
                why: why.to_string(),
            };
            serde_json::from_slice::<Status>(&body).map_err(wrong)
        });
        nodes.push(match status {
            Ok(status) => {
                let status = Some(Status { root: base64_of(&status.root), ..status });
                Node { https, reachable: true, why: None, status }
            }
            Err(error) => {
                let why = Some(error.to_string());
                let reachable = !matches!(error, HttpsError::Unreachable { .. });
                failed = Some(error);
                Node { https, reachable, why, status: None }
            }
        });
    }
    if let Some(error) = failed
        && nodes.iter().all(|node| node.status.is_none())
        && output == Output::Table
    {
        return Err(error.into());
    }
    let answer = Answer { agree: agree(&nodes), nodes };
    print(output, &answer, || table(&answer.nodes))?;
    Ok(if answer.nodes.iter().all(|node| node.status.is_none()) {
        Exit::Unreachable
    } else if answer.agree {
        Exit::Done
    } else {
        Exit::Refused
    })
}

fn agree(nodes: &[Node]) -> bool {
    let heads = || nodes.iter().filter_map(|node| node.status.as_ref());
    heads().all(|one| heads().all(|other| one.size != other.size || one.root == other.root))
}

/// Roots are shown as checkpoints have them.
fn base64_of(hexadecimal: &str) -> String {
    let pairs = hexadecimal.as_bytes().as_chunks::<2>().0.iter();
    let bytes = pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
    let bytes = bytes.collect::<Option<Vec<u8>>>();
    bytes.map_or_else(|| hexadecimal.to_owned(), |bytes| STANDARD.encode(bytes))
}

fn table(nodes: &[Node]) -> String {
    let head =
        ["node", "member", "role", "term", "last", "applied", "size", "root", "published", "https"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |it| it.to_string());
    rows.extend(nodes.iter().map(|node| match &node.status {
        Some(status) => vec![
            status.node.to_string(),
            status.member.clone(),
            status.role.clone(),
            status.term.to_string(),
            number(status.last_log_index),
            number(status.applied_index),
            status.size.to_string(),
            status.root.chars().take(12).collect(),
            number(status.published_size),
            node.https.clone(),
        ],
        None => {
            let why = node.why.clone().unwrap_or_default();
            let mut row = vec!["-".to_owned(); head.len() - 2];
            row.extend([node.https.clone(), why]);
            row
        }
    }));
    columns(&rows)
}
