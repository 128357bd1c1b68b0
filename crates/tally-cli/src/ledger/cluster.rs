//! `tally ledger nodes`: who is in the cluster, as its leader sees it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::args::ExpectedId;
use crate::failure::{Exit, Failure};
use crate::https::HttpsError;
use crate::online::Online;
use crate::output::{Output, columns, print};

/// Bytes of an answer at most.
pub(super) const ANSWER_LEN_MAX: usize = 64 * 1024;
/// How long a leader is waited for.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(15);
/// The pause between two looks.
pub(super) const PAUSE: Duration = Duration::from_millis(200);

/// The cluster as a node sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct View {
    pub(super) node: u64,
    pub(super) leader: Option<u64>,
    pub(super) membership_log_id: Option<LogId>,
    pub(super) settled: bool,
    pub(super) nodes: Vec<Node>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<String>,
}

/// The name of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogId {
    term: u64,
    leader: u64,
    index: u64,
}

/// A node of the cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) node: u64,
    pub(super) member: Option<String>,
    pub(super) votes: bool,
    pub(super) raft_address: Option<String>,
    pub(super) matched: Option<u64>,
    pub(super) behind: Option<u64>,
}

/// What a node of the configuration says of itself.
#[derive(Debug, Serialize)]
struct Answered {
    https: String,
    #[serde(flatten)]
    status: Option<Status>,
    why: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Status {
    node: u64,
    role: String,
    trust: String,
    place: String,
}

#[derive(Debug, Serialize)]
struct Answer {
    cluster: View,
    asked: Vec<Answered>,
}

/// `tally ledger nodes`.
///
/// # Errors
/// [`Failure`] if no node says who is in the cluster.
pub(crate) fn nodes(config: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    let mut online = Online::open(config)?;
    let (_, cluster) = look(&mut online, None)?;
    let asked = (0..online.https.nodes().len()).map(|place| {
        let https = online.https.nodes().get(place).cloned().unwrap_or_default();
        match get::<Status>(&mut online, place, "/admin/status") {
            Ok(status) => Answered { https, status: Some(status), why: None },
            Err(error) => Answered { https, status: None, why: Some(error.to_string()) },
        }
    });
    let answer = Answer { cluster, asked: asked.collect() };
    print(output, &answer, || table(&answer))?;
    Ok(Exit::Done)
}

/// The cluster, and at which place of the configuration the node is that said so: the leader if one
/// answers, or else any. `hint` is who is said to lead.
pub(super) fn look(online: &mut Online, hint: Option<u64>) -> Result<(usize, View), Failure> {
    let mut best: Option<(usize, View)> = None;
    let mut last = None;
    for place in 0..online.https.nodes().len() {
        match get::<View>(online, place, "/admin/nodes") {
            Ok(view) => {
                if view.leader == Some(view.node) && hint.is_none_or(|hint| hint == view.node) {
                    return Ok((place, view));
                }
                let newer = |(_, best): &(usize, View)| index(&view) > index(best);
                if best.as_ref().is_none_or(newer) {
                    best = Some((place, view));
                }
            }
            Err(error) => last = Some(error),
        }
    }
    match (best, last) {
        (Some(best), _) => Ok(best),
        (None, Some(error)) => Err(error.into()),
        (None, None) => {
            Err(Failure::configuration("no ledger node is named", "see [ledger] https"))
        }
    }
}

/// The same once there is a leader that answers.
pub(super) fn look_for_leader(online: &mut Online) -> Result<(usize, View), Failure> {
    let deadline = Instant::now() + LEADER_WAIT_MAX;
    loop {
        let seen = look(online, None);
        match seen {
            Ok((place, view)) if view.leader == Some(view.node) => return Ok((place, view)),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Ok((_, view)) if Instant::now() >= deadline => {
                let who = view.leader.map_or_else(
                    || "none is known to lead".to_owned(),
                    |leader| format!("node {leader} leads, and does not answer here"),
                );
                let remedy = "name all ledger nodes under [ledger] https, and see whether they run";
                return Err(Failure::unreachable(format!("no leader answers: {who}"), remedy));
            }
            _ => thread::sleep(PAUSE),
        }
    }
}

/// Asks one node for one document.
pub(super) fn get<T: for<'de> Deserialize<'de>>(
    online: &mut Online,
    place: usize,
    path: &str,
) -> Result<T, HttpsError> {
    let node = online.https.nodes().get(place).cloned().unwrap_or_default();
    let body = online.https.get(place, path, ANSWER_LEN_MAX)?;
    let wrong = |why: String| HttpsError::Wrong { node: node.clone(), why };
    let body = body.ok_or_else(|| wrong("it does not know this request: is it older?".into()))?;
    serde_json::from_slice(&body).map_err(|why| wrong(why.to_string()))
}

fn index(view: &View) -> Option<u64> {
    view.membership_log_id.map(|id| id.index)
}

fn table(answer: &Answer) -> String {
    let View { membership_log_id, settled, leader, nodes, .. } = &answer.cluster;
    let mut known: BTreeMap<u64, &Status> = BTreeMap::new();
    for status in answer.asked.iter().filter_map(|it| it.status.as_ref()) {
        known.insert(status.node, status);
    }
    let head = ["node", "member", "place", "role", "trust", "behind", "peers reach it at"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let dash = || "-".to_owned();
    for node in nodes {
        let status = known.remove(&node.node);
        rows.push(vec![
            node.node.to_string(),
            node.member.clone().unwrap_or_else(|| "no register".to_owned()),
            if node.votes { "voter" } else { "learner" }.to_owned(),
            status.map_or_else(dash, |status| status.role.clone()),
            status.map_or_else(dash, |status| status.trust.clone()),
            node.behind.map_or_else(dash, |behind| behind.to_string()),
            node.raft_address.clone().unwrap_or_else(dash),
        ]);
    }
    for (node, status) in known {
        let mut row = vec![node.to_string(), dash(), status.place.clone()];
        row.extend([status.role.clone(), status.trust.clone(), dash(), dash()]);
        rows.push(row);
    }
    let entry = membership_log_id.map_or_else(dash, |id| id.to_string());
    let leader = leader.map_or_else(|| "none is known".to_owned(), |leader| leader.to_string());
    let state = if *settled { "" } else { ", and another change is under way" };
    let silent = answer.asked.iter().filter(|it| it.status.is_none());
    let silent =
        silent.map(|it| format!("{}: {}\n", it.https, it.why.as_deref().unwrap_or_default()));
    format!(
        "{}leader: {leader}; the cluster is so since entry {entry}{state}\n{}",
        columns(&rows),
        silent.collect::<String>()
    )
}

impl From<ExpectedId> for LogId {
    fn from(ExpectedId { term, leader, index }: ExpectedId) -> Self {
        Self { term, leader, index }
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.term, self.leader, self.index)
    }
}
