//! A PostgreSQL server as Debian packages it, in a directory of its own that is gone with the test.
//! The agent's own tests include this file, too.

use std::fs;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Where Debian puts a version's programs.
const VERSIONS: &str = "/usr/lib/postgresql";

/// A server that runs. Dropped, it is stopped, and its directory is gone.
pub struct Postgres {
    dir: TempDir,
    programs: PathBuf,
    port: u16,
}

/// What it speaks TLS with.
pub struct Identity<'p> {
    /// Its certificate, for 127.0.0.1.
    pub certificate_pem: &'p str,
    /// Its key.
    pub key_pem: &'p str,
}

impl Postgres {
    /// Makes and starts one, in which `owner` may do everything, and needs the password `owner` over TCP.
    /// None, and a line that no test runner hides, where there is no PostgreSQL.
    pub fn start(identity: Option<Identity<'_>>) -> Option<Self> {
        let Some(programs) = programs() else {
            let line = "NOT TESTED: queries of PostgreSQL: install Debian's package postgresql\n";
            io::stderr().write_all(line.as_bytes()).unwrap();
            return None;
        };
        let port = free_port();
        let dir = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let postgres = Self { dir, programs, port };
        postgres.make(identity);
        let options = format!(
            "-k '{}' -p {port} -c listen_addresses=127.0.0.1 -c fsync=off",
            postgres.socket().display()
        );
        let log = postgres.path("log");
        let log = log.to_str().unwrap();
        postgres.run("pg_ctl", &["-w", "-t", "60", "-l", log, "-o", &options, "start"]);
        Some(postgres)
    }

    fn make(&self, identity: Option<Identity<'_>>) {
        fs::set_permissions(self.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(self.path("password"), "owner\n").unwrap();
        let password = format!("--pwfile={}", self.path("password").display());
        let auth = ["--auth-local=trust", "--auth-host=scram-sha-256", "-U", "owner", "-N"];
        self.run("initdb", &[&auth[..], &[&password, "-E", "UTF8", "--locale=C"]].concat());
        let Some(identity) = identity else { return };
        for (name, text) in
            [("server.crt", identity.certificate_pem), ("server.key", identity.key_pem)]
        {
            let path = self.path("data").join(name);
            fs::write(&path, text).unwrap();
            // The server takes a key that it, and nobody else, may read.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            if is_root() {
                succeeded(Command::new("chown").arg("postgres").arg(&path).output().unwrap());
            }
        }
        let settings = self.path("data").join("postgresql.conf");
        let text = fs::read_to_string(&settings).unwrap();
        fs::write(&settings, format!("{text}\nssl = on\n")).unwrap();
    }

    /// The directory of its socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Its port, which is a part of the socket's name, too.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it answers to the owner, as text.
    pub fn ask(&self, sql: &str) -> String {
        let mut command = Command::new(self.programs.join("psql"));
        command.arg("-h").arg(self.socket()).args(["-p", &self.port.to_string(), "-U", "owner"]);
        command.args(["-d", "postgres", "-v", "ON_ERROR_STOP=1", "-qAtX", "-c", sql]);
        succeeded(command.output().unwrap()).trim().to_owned()
    }

    /// Stops it at once.
    pub fn stop(&self) {
        self.run("pg_ctl", &["-w", "-m", "immediate", "stop"]);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, program: &str, args: &[&str]) {
        succeeded(self.command(program, args).output().unwrap());
    }

    /// A program of it for its directory. The server refuses to run as root.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(args).arg("-D").arg(self.path("data"));
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // One that was stopped needs no stopping.
        drop(self.command("pg_ctl", &["-m", "immediate", "stop"]).output());
    }
}

/// A port that nobody listens at.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// The programs of the newest version that is installed.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(Path::new(VERSIONS)).ok()?;
    let programs = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    programs.filter(|it| it.join("initdb").is_file()).max()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.starts_with(b"0\n")
}

fn succeeded(output: Output) -> String {
    let Output { status, stdout, stderr } = output;
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}
