//! A forced recovery, as operators and officers carry it out: by the binary, and the files that people
//! send each other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tally_core::entry::{Recovery, recovery_preimage};
use tally_core::id::{NodeId, Salt16};
use tally_log::Hash;

use super::{Mesh, Waited};

/// What a node's directory would go on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The epoch that would begin.
    pub epoch: u64,
    /// Leaves that are kept.
    pub size: u64,
    /// The root over them, in hexadecimal.
    pub root: String,
    /// Where its log ends.
    pub last_log_id: String,
    /// What officers sign.
    pub paper: PathBuf,
}

impl Mesh {
    /// Plans a recovery from the directory of a node that does not run.
    ///
    /// # Errors
    /// [`Waited`] if it can't be, with what the command said.
    pub async fn plan(&self, node: usize) -> Result<Planned, Waited> {
        let paper = self.node_dir(node).join("recovery.json");
        let to = paper.to_string_lossy().into_owned();
        let args = ["recover", "--plan", "--to", &to, "--output", "json"];
        let exit = self.look_after(node, &args).await?;
        let json = exit.said.lines().find(|line| line.starts_with('{')).unwrap_or_default();
        let json = serde_json::from_str::<Value>(json);
        let json = json.map_err(|error| Waited::of(&exit.said, error))?;
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        Ok(Planned {
            epoch: json["epoch"].as_u64().unwrap_or_default(),
            size: json["size"].as_u64().unwrap_or_default(),
            root: text("root"),
            last_log_id: text("last_log_id"),
            paper,
        })
    }

    /// Has the officers of the first so many members approve what was planned.
    ///
    /// # Errors
    /// [`io::Error`] if the file can't be read or written.
    pub fn approve(&self, paper: &Path, members: usize) -> io::Result<()> {
        let mut json: Value = serde_json::from_slice(&fs::read(paper)?)?;
        let what = &json["what"]["recovery"];
        let number = |key: &str| what[key].as_u64().unwrap_or_default();
        let bytes = |key: &str| hex(what[key].as_str().unwrap_or_default());
        let unreadable = || io::Error::other("the paper is not what it was");
        let recovery = Recovery {
            salt: Salt16(bytes("salt").try_into().map_err(|_| unreadable())?),
            mesh_id: self.id(),
            epoch: number("epoch"),
            size: number("size"),
            root: Hash::from_bytes(bytes("root").try_into().map_err(|_| unreadable())?),
            node: NodeId(number("node")),
            approvals: Vec::new(),
        };
        let preimage = recovery_preimage(&recovery);
        let approvals = self.members.iter().take(members).map(|member| {
            let key = &member.officer_key;
            json!({
                "member": member.id.to_string(),
                "role": "ig-lead",
                "public_key": STANDARD.encode(key.verifying_key().as_bytes()),
                "signature": STANDARD.encode(key.sign(&preimage).as_bytes()),
            })
        });
        json["approvals"] = approvals.collect();
        fs::write(paper, json.to_string())
    }
}

fn hex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    pairs.filter_map(byte).collect()
}
