//! A witness that others published: aics-witness 0.1.0 from the Python package index, if it is here.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::process::Stdio;

use tally_log::NoteKey;
use tally_tests::mesh::{MESH, Mesh, until};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::LONG;

/// Where it is: what this variable names, or the first of that name on the path.
const VARIABLE: &str = "AICS_WITNESS";

/// One that runs. Dropped, it is killed.
pub(super) struct Published {
    pub(super) key: NoteKey,
    pub(super) address: SocketAddr,
    _child: Child,
    _dir: TempDir,
}

fn binary() -> Option<PathBuf> {
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join("aics-witness"));
    named.into_iter().chain(found).find(|file| file.is_file())
}

/// Starts one that knows the log's keys; none, with a line that says so, if there is none here.
pub(super) async fn start(mesh: &Mesh) -> Option<Published> {
    let Some(binary) = binary() else {
        eprintln!("no aics-witness on the path or in {VARIABLE}: a witness of our own stands in");
        return None;
    };
    let dir = tempfile::tempdir().unwrap();
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let config = dir.path().join("witness.json");
    let run = |args: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(args).arg("--config").arg(&config).current_dir(dir.path());
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    };
    let listen = address.to_string();
    let name = format!("{MESH}/witness/others");
    let made = run(&["init", "--name", &name, "--listen", &listen, "--prefix", "/w"]);
    let made = { made }.output().await.unwrap();
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    let key = said.split_whitespace().find_map(|word| word.parse::<NoteKey>().ok());
    let key = key.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&made.stderr)));
    for log in mesh.log_keys() {
        let (origin, vkey) = (log.name().to_string(), log.to_string());
        let added = { run(&["add-log", "--origin", &origin, "--vkey", &vkey]) };
        let added = { added }.output().await.unwrap();
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    }
    let mut serve = run(&["serve"]);
    let child = serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the witness of others", LONG, async || {
        TcpStream::connect(address).await.map(drop).map_err(|error| error.to_string())
    })
    .await
    .unwrap();
    Some(Published { key, address, _child: child, _dir: dir })
}
