//! nginx as a proxy with mutual TLS before a server of files, both with their defaults where those do
//! not limit it: what a member would put before its application, with no record of who saw what.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::process::getuid;
use tally_core::entry::Genesis;
use tally_core::id::MemberId;
use tally_net::authority::Issued;
use tally_net::rustls::ClientConfig;
use tally_net::rustls::pki_types::ServerName;
use tally_net::tls::{self, Expect, SERVER_NAME};
use tally_net::{Authority, Role, SpiffeId, TrustStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Trouble;
use crate::process::Process;
use crate::tally::validity;

/// It answers within this time.
const READY_WAIT_MAX: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// A connection of an application.
pub(crate) type Connection = SendRequest<Empty<Bytes>>;

/// Two members of a mesh, as both ends of a connection between them.
pub(crate) struct Ends {
    pub(crate) provider: Issued,
    requester: Issued,
    requester_ca: String,
    pub(crate) trust: TrustStore,
}

impl Ends {
    /// With certificates from the members' own CAs.
    ///
    /// # Errors
    /// [`Trouble`] if the mesh's files are not what they should be.
    pub(crate) fn of(mesh: &Path) -> Result<Self, Trouble> {
        let genesis = fs::read(mesh.join("genesis.cbor"))?;
        let genesis = tally_wire::decode::<Genesis>(&genesis)?;
        let trust = TrustStore::new(genesis.value().mesh.clone());
        genesis.value().members.iter().for_each(|member| trust.update(member));
        let authority = |member: &str| {
            let pem = |name| fs::read_to_string(mesh.join(member).join(name));
            Ok::<_, Trouble>(Authority::from_pem(&pem("ca.pem")?, &pem("ca.key")?)?)
        };
        let issue = |authority: &Authority, member: &str| {
            let (mesh, member) = (genesis.value().mesh.clone(), member.parse::<MemberId>()?);
            let id = SpiffeId { mesh, member, role: Role::Agent, name: "bench".to_owned() };
            let address = Ipv4Addr::LOCALHOST.into();
            Ok::<_, Trouble>(authority.issue(&id, &[address], validity()?)?)
        };
        let (provider, requester) = (authority("RZ9")?, authority("LZ9")?);
        Ok(Self {
            provider: issue(&provider, "RZ9")?,
            requester: issue(&requester, "LZ9")?,
            requester_ca: requester.certificate_pem().to_owned(),
            trust,
        })
    }

    /// The TLS of the one that dials.
    ///
    /// # Errors
    /// [`Trouble`] if it can't be used.
    pub(crate) fn client(&self, alpn: &[u8]) -> Result<ClientConfig, Trouble> {
        let expect = Expect { member: Some("RZ9".parse()?), role: Role::Agent, name: None };
        let identity = Some(self.requester.identity());
        Ok(tls::client_config(identity, self.trust.clone(), expect, &[alpn])?)
    }
}

/// The proxy, which runs.
pub(crate) struct Proxy {
    process: Process,
    address: SocketAddr,
    tls: TlsConnector,
}

impl Proxy {
    /// Starts it before the files of a directory, with the certificates of a mesh.
    ///
    /// # Errors
    /// [`Trouble`] if it is not there, or does not answer.
    pub(crate) async fn start(mesh: &Path, files: &Path, dir: &Path) -> Result<Self, Trouble> {
        let ends = Ends::of(mesh)?;
        let dir = dir.join("nginx");
        fs::create_dir_all(dir.join("tmp"))?;
        for (name, pem) in [
            ("server.pem", &ends.provider.certificate_pem),
            ("server.key", &ends.provider.key_pem),
            ("client-ca.pem", &ends.requester_ca),
        ] {
            fs::write(dir.join(name), pem)?;
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o600))?;
        }
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        fs::write(dir.join("nginx.conf"), configuration(&dir, files, address))?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&dir).arg("-c").arg(dir.join("nginx.conf"));
        command.arg("-e").arg(dir.join("error.log"));
        let process = Process::start(&mut command, &dir.join("nginx.log"), false)?;
        let tls = TlsConnector::from(Arc::new(ends.client(b"http/1.1")?));
        let proxy = Self { process, address, tls };
        let until = Instant::now() + READY_WAIT_MAX;
        while let Err(why) = TcpStream::connect(address).await {
            if Instant::now() > until {
                let said = fs::read_to_string(dir.join("nginx.log")).unwrap_or_default();
                return Err(format!("nginx does not answer: {why}; {said}").into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(proxy)
    }

    /// Its processes: the workers as well.
    ///
    /// # Errors
    /// [`Trouble`] if they can't be found.
    pub(crate) fn pids(&self) -> Result<Vec<u32>, Trouble> {
        let own = self.process.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
        let mut pids = vec![own];
        for child in children.split_whitespace() {
            pids.push(child.parse()?);
        }
        Ok(pids)
    }

    /// A connection of a caller, who presents the requester's certificate.
    ///
    /// # Errors
    /// [`Trouble`] if there is none.
    pub(crate) async fn connect(&self) -> Result<Connection, Trouble> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(SERVER_NAME)?;
        connection(self.tls.connect(name, stream).await?).await
    }

    /// A request for one of its files.
    ///
    /// # Errors
    /// [`Trouble`] if the path is none.
    pub(crate) fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>, Trouble> {
        Ok(Request::get(path).header(HOST, self.address.to_string()).body(Empty::new())?)
    }
}

/// Speaks HTTP over a stream.
///
/// # Errors
/// [`Trouble`] if nobody does at the other end.
pub(crate) async fn connection<S>(stream: S) -> Result<Connection, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Its end shows at the next request.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// Asks, and reads to the last byte. Says how many there were.
///
/// # Errors
/// [`Trouble`] if the answer is no file, or breaks off.
pub(crate) async fn read(
    sender: &mut Connection,
    request: Request<Empty<Bytes>>,
) -> Result<u64, Trouble> {
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let mut body = answer.into_body();
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            read += u64::try_from(data.len())?;
        }
    }
    if status == StatusCode::OK { Ok(read) } else { Err(format!("no file, but {status}").into()) }
}

fn configuration(dir: &Path, files: &Path, address: SocketAddr) -> String {
    let user = if getuid().is_root() { "user root;" } else { "" };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {}/tmp;", dir.display()))
        .join("\n    ");
    let (origin, files): (PathBuf, _) = (dir.join("origin.sock"), files.display());
    let origin = origin.display();
    format!(
        r#"{user}
daemon off;
worker_processes auto;
pid nginx.pid;
events {{}}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 1000000000;
    {temporary}
    upstream origin {{
        server unix:{origin};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen unix:{origin};
        root {files};
    }}
    server {{
        listen {address} ssl;
        ssl_certificate server.pem;
        ssl_certificate_key server.key;
        ssl_protocols TLSv1.3;
        ssl_client_certificate client-ca.pem;
        ssl_verify_client on;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"#
    )
}
