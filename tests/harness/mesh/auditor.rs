//! An auditor of the mesh: what it is configured with, and the binary run as it.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use tally_log::Policy;
use tally_net::authority::Validity;
use tally_net::{Role, SpiffeId};
use tokio::process::Command;

use super::node::{Exit, run};
use super::{MESH, Mesh, Waited, now_s};

impl Mesh {
    /// Runs `tally` with these arguments as an auditor of the first member, and waits until it has
    /// ended. Below `dir` it may write.
    ///
    /// # Errors
    /// [`Waited`] if it goes on.
    pub async fn audit(&self, args: &[&str], dir: &std::path::Path) -> Result<Exit, Waited> {
        let config = self.auditor().map_err(|error| Waited::of("an auditor", error))?;
        let mut command = Command::new(&self.node(0).binary);
        command.arg("--config").arg(config).args(args).current_dir(dir);
        command.stdin(Stdio::null()).kill_on_drop(true);
        run(command).await
    }

    /// Its configuration, with all that it names.
    fn auditor(&self) -> io::Result<PathBuf> {
        let dir = self.dir.path();
        let validity = Validity { from_s: now_s() - 60, until_s: now_s() + 3600 };
        let member = &self.members[0];
        let mesh = MESH.parse().map_err(io::Error::other)?;
        let name = "auditor".to_owned();
        let id = SpiffeId { mesh, member: member.id.clone(), role: Role::Auditor, name };
        let issued = member.authority.issue(&id, &[], validity).map_err(io::Error::other)?;
        fs::write(dir.join("auditor.pem"), &issued.certificate_pem)?;
        fs::write(dir.join("auditor.key"), &issued.key_pem)?;
        fs::write(dir.join("genesis.cbor"), self.genesis.bytes())?;
        let policy = Policy::threshold(self.log_keys(), [], 0).map_err(io::Error::other)?;
        fs::write(dir.join("policy.txt"), policy.to_string())?;
        let https = self.nodes.iter().map(|node| format!("\"https://{}\"", node.https));
        let text = format!(
            "tally = 1\n\n[mesh]\nid = \"{}\"\ngenesis = \"genesis.cbor\"\n\n\
             [identity]\ncert = \"auditor.pem\"\nkey = \"auditor.key\"\n\n\
             [ledger]\nhttps = [{}]\npolicy = \"policy.txt\"\n",
            self.id(),
            https.collect::<Vec<_>>().join(", "),
        );
        let path = dir.join("auditor.toml");
        fs::write(&path, text)?;
        Ok(path)
    }
}
