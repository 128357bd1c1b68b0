//! An auditor of the mesh: what it is configured with, and the binary run as it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tally_log::{Checkpoint, Hash, KeyName, NoteSigner, Origin, Policy, SignedCheckpoint};
use tally_net::authority::Validity;
use tally_net::{Role, SpiffeId};
use tokio::process::{Child, Command};

use super::node::{Exit, run};
use super::{MESH, Mesh, Waited, now_s};

impl Mesh {
    /// Runs `tally` with these arguments as an auditor of the first member, and waits until it has
    /// ended. Below `dir` it may write.
    ///
    /// # Errors
    /// [`Waited`] if it goes on.
    pub async fn audit(&self, args: &[&str], dir: &Path) -> Result<Exit, Waited> {
        run(self.auditing(None, args, dir)?).await
    }

    /// The same, run by another program, which gets the binary after its own arguments.
    ///
    /// # Errors
    /// [`Waited`] if it goes on.
    pub async fn audit_by(
        &self,
        program: &str,
        program_args: &[&str],
        args: &[&str],
        dir: &Path,
    ) -> Result<Exit, Waited> {
        run(self.auditing(Some((program, program_args)), args, dir)?).await
    }

    /// The same, started only. It is killed when it is dropped.
    ///
    /// # Errors
    /// [`Waited`] if it does not start.
    pub fn start_audit(&self, args: &[&str], dir: &Path) -> Result<Child, Waited> {
        let mut command = self.auditing(None, args, dir)?;
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map_err(|error| Waited::of("a process", error))
    }

    /// Where auditors have their configuration, and keep the checkpoints that they have seen.
    #[must_use]
    pub fn auditor_dir(&self) -> &Path {
        self.dir.path()
    }

    fn auditing(
        &self,
        by: Option<(&str, &[&str])>,
        args: &[&str],
        dir: &Path,
    ) -> Result<Command, Waited> {
        let config = self.auditor().map_err(|error| Waited::of("an auditor", error))?;
        let binary = &self.node(0).binary;
        let mut command = match by {
            None => Command::new(binary),
            Some((program, program_args)) => {
                let mut command = Command::new(program);
                command.args(program_args).arg(binary);
                command
            }
        };
        command.arg("--config").arg(config).args(args).current_dir(dir);
        command.stdin(Stdio::null()).kill_on_drop(true);
        Ok(command)
    }

    /// A checkpoint as all nodes would sign it together, whatever it says.
    ///
    /// # Panics
    /// If there are more nodes than signatures fit.
    #[must_use]
    pub fn sign_checkpoint(&self, size: u64, root: [u8; 32]) -> String {
        let name = format!("{MESH}/ledger/0");
        let signers = self
            .log_keys
            .iter()
            .map(|key| NoteSigner::new(KeyName::new(&name).unwrap(), key.clone()));
        let signers = signers.collect::<Vec<_>>();
        let origin = Origin::new(&name).unwrap();
        let checkpoint = Checkpoint { origin, size, root: Hash::from_bytes(root) };
        let mut signed = SignedCheckpoint::sign(checkpoint, &signers[0]).unwrap();
        for signer in &signers[1..] {
            signed.add(signer.sign(signed.note().text())).unwrap();
        }
        signed.to_string()
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
