//! A trust that shares a file about nobody, and a council whose application reads it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::Trouble;
use crate::proxy::{Connection, connection, read};
use crate::tally::{Mesh, pids};

/// The mesh file, with the port of a FHIR server.
fn mesh_file(fhir_port: u16) -> String {
    let fhir = format!(
        "[[member.source]]\nid = \"fhir\"\nkind = \"fhir\"\n\
         url = \"http://127.0.0.1:{fhir_port}/r4\"\nanswer_timeout_ms = 60000\n\
         whole_timeout_ms = 60000\n"
    );
    MESH.replace("FHIR\n", &fhir)
}

const MESH: &str = r#"
tally = 1
mesh = "dev.example"
environment = "test"
ledger_nodes = 3
agreements = ["share.toml"]

[[member]]
id = "RZ9"
name = "Anytown Hospitals NHS Trust (fictional)"
codes = { ods = "RZ9" }

[[member.source]]
id = "dataset"
kind = "files"
path = "dataset"
person = "none"

FHIR
[[member]]
id = "LZ9"
name = "Anytown City Council (fictional)"
codes = { ods = "LZ9" }

[[member.ingress]]
purpose = "local:PLANNING"
user = "header"
"#;

const AGREEMENT: &str = r#"
tally = 1
id = "DSA-1"
version = 1
title = "Measurements"
start = 2025-01-01
review = 2099-06-30
end = 2099-12-31
dpia = "DPIA-77"
parties = ["RZ9", "LZ9"]

[[share]]
provider = "RZ9"
requesters = ["LZ9"]
source = "dataset"
purposes = ["local:PLANNING"]
data = "none"

[[share]]
provider = "RZ9"
requesters = ["LZ9"]
source = "fhir"
purposes = ["TREAT"]
data = "special"
confidential = true
basis = { art6 = "6(1)(e)", art9 = "9(2)(h)", common_law = "implied-consent", power = "HSCA2012-s251B" }
user_known = "service"
relationship = "none"
overrides = []
offline_emergency = false
fields = { Patient = ["*"] }
"#;

const DATASET: &str = "/data/RZ9/dataset";
const PLANNING: &str = "local:PLANNING";

/// A configuration is read within this time.
const WIDE_WAIT_MAX: Duration = Duration::from_secs(5);

/// The mesh.
pub(crate) struct Members(Mesh);

impl Members {
    /// Brings it up below a directory, with a file of so many bytes that lies in the system's memory.
    ///
    /// # Errors
    /// [`Trouble`] if it does not come up.
    pub(crate) fn start(
        binary: &Path,
        dir: &Path,
        bytes: u64,
        fhir_port: u16,
    ) -> Result<Self, Trouble> {
        let files = dir.join("files");
        fs::create_dir_all(&files)?;
        fill(&files.join("dataset"), bytes)?;
        fs::write(files.join("share.toml"), AGREEMENT)?;
        let mesh = files.join("mesh.toml");
        fs::write(&mesh, mesh_file(fhir_port))?;
        let args = ["--mesh".as_ref(), mesh.as_os_str()];
        let mesh = Mesh::start(binary, dir, args)?;
        Ok(Self(mesh))
    }

    /// Lets so many exchanges be open, from the agents' next reading of their configuration on, which
    /// they are told to do.
    ///
    /// # Errors
    /// [`Trouble`] of the files, or if an agent does not run.
    pub(crate) fn widen(&self, count: usize) -> Result<(), Trouble> {
        // A part of the places is kept for care.
        let max = count.saturating_mul(2);
        for (id, keys) in [
            ("RZ9", &["exchanges_max", "exchanges_per_member_max"][..]),
            ("LZ9", &["requests_max", "requests_per_user_max"]),
        ] {
            let path = self.dir().join(id).join("tally.toml");
            let limits: String = keys.iter().map(|key| format!("{key} = {max}\n")).collect();
            fs::write(&path, format!("{}\n[limits]\n{limits}", fs::read_to_string(&path)?))?;
            let member = self.members().find(|member| member.get("id") == Some(&Value::from(id)));
            let pid = pids(member.into_iter()).first().and_then(|pid| i32::try_from(*pid).ok());
            let pid = pid.and_then(Pid::from_raw).ok_or("dev.json lacks a process")?;
            kill_process(pid, Signal::HUP)?;
        }
        Ok(())
    }

    /// Where it is laid out.
    pub(crate) fn dir(&self) -> PathBuf {
        self.0.dir.clone()
    }

    /// The processes of the agents.
    pub(crate) fn agents(&self) -> Vec<u32> {
        pids(self.members())
    }

    /// Reads all of the dataset at the council's ingress.
    ///
    /// # Errors
    /// [`Trouble`] if it is refused, or not whole.
    pub(crate) async fn read(&self, bytes: u64) -> Result<(), Trouble> {
        let (mut sender, request) = self.request(DATASET, PLANNING).await?;
        whole(read(&mut sender, request).await?, bytes)
    }

    /// Reads the first bytes of the dataset, and leaves the rest for later. The connection is to be
    /// kept beside the body.
    ///
    /// # Errors
    /// [`Trouble`] if it is refused.
    pub(crate) async fn begin(&self) -> Result<(Connection, Incoming), Trouble> {
        let until = Instant::now() + WIDE_WAIT_MAX;
        let (sender, answer) = loop {
            let (mut sender, request) = self.request(DATASET, PLANNING).await?;
            let answer = sender.send_request(request).await?;
            match answer.status() {
                StatusCode::OK => break (sender, answer),
                // The configuration that lets so many be open may not have been read yet.
                StatusCode::TOO_MANY_REQUESTS if Instant::now() < until => {}
                status => return Err(format!("no dataset, but {status}").into()),
            }
        };
        let mut body = answer.into_body();
        body.frame().await.ok_or("a dataset without a byte")??;
        Ok((sender, body))
    }

    /// A connection to the council's ingress, and what is asked for there.
    ///
    /// # Errors
    /// [`Trouble`] if there is none.
    pub(crate) async fn request(
        &self,
        path: &str,
        purpose: &str,
    ) -> Result<(Connection, Request<Empty<Bytes>>), Trouble> {
        let council = self.members().find(|member| member.get("id") == Some(&Value::from("LZ9")));
        let url = council.and_then(|council| council.get("http")?.as_str());
        let host = url.ok_or("dev.json lacks an ingress")?.trim_start_matches("http://");
        let sender = connection(TcpStream::connect(host).await?).await?;
        let request = Request::get(path).header(HOST, host).header("tally-purpose", purpose);
        let request = request.body(Empty::new())?;
        Ok((sender, request))
    }

    fn members(&self) -> impl Iterator<Item = &Value> {
        self.0.document.get("members").and_then(Value::as_array).into_iter().flatten()
    }
}

/// Makes a file without holes: of those the system would have to make pages first, each time.
fn fill(path: &Path, bytes: u64) -> Result<(), Trouble> {
    let mut file = File::create(path)?;
    let (mut left, mut number) = (bytes, 0_u64);
    while left > 0 {
        let block: Vec<u8> = (number..).take(BLOCK_NUMBERS).flat_map(mixed).collect();
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        file.write_all(block.get(..len).unwrap_or_default())?;
        left -= u64::try_from(len)?;
        number += u64::try_from(BLOCK_NUMBERS)?;
    }
    // What is still to be written to the disk would be written while something is measured.
    Ok(file.sync_all()?)
}

/// Eight bytes that look like nothing.
fn mixed(number: u64) -> [u8; 8] {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).to_le_bytes()
}

/// Numbers in what is written at once.
const BLOCK_NUMBERS: usize = 128 * 1024;

/// Whether all came that there is.
///
/// # Errors
/// [`Trouble`] if not.
pub(crate) fn whole(read: u64, bytes: u64) -> Result<(), Trouble> {
    if read == bytes { Ok(()) } else { Err(format!("{read} of {bytes} bytes came").into()) }
}
