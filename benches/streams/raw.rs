//! quinn alone: one stream that a server fills with chunks from memory, as it is by default, under the
//! certificates and the TLS of agents. It favours QUIC: nothing is read, hashed or framed.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tally_core::opening::CHUNK_LEN;
use tally_net::quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use tally_net::quinn::{ClientConfig, Connection, Endpoint, ServerConfig};
use tally_net::tls::{self, Accept, SERVER_NAME};
use tally_net::{Role, rustls};

use crate::Trouble;
use crate::mesh::whole;
use crate::process::Process;
use crate::proxy::Ends;

const ALPN: &[u8] = b"raw/1";

/// The server, in a process of its own.
pub(crate) struct Server {
    process: Process,
    address: SocketAddr,
    client: ClientConfig,
}

impl Server {
    /// Starts it with the certificates of a mesh.
    ///
    /// # Errors
    /// [`Trouble`] if it does not come up.
    pub(crate) fn start(mesh: &Path, dir: &Path) -> Result<Self, Trouble> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--serve-raw").arg(mesh);
        let mut process = Process::start(&mut command, &dir.join("raw.log"), true)?;
        let said = process.child().stdout.take().ok_or("the server has no standard output")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        let tls = QuicClientConfig::try_from(Ends::of(mesh)?.client(ALPN)?)?;
        let client = ClientConfig::new(Arc::new(tls));
        Ok(Self { process, address: line.trim().parse()?, client })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Reads so many bytes over one connection, which is there before.
    ///
    /// # Errors
    /// [`Trouble`] if fewer come.
    pub(crate) async fn read(&self, bytes: u64) -> Result<(), Trouble> {
        let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
        let connecting = endpoint.connect_with(self.client.clone(), self.address, SERVER_NAME)?;
        let connection = connecting.await?;
        let (mut ask, mut answer) = connection.open_bi().await?;
        ask.write_all(&bytes.to_be_bytes()).await?;
        ask.finish()?;
        let mut read = 0;
        while let Some(chunk) = answer.read_chunk(CHUNK_LEN, true).await? {
            read += u64::try_from(chunk.bytes.len())?;
        }
        connection.close(0_u32.into(), b"");
        whole(read, bytes)
    }
}

/// Serves until it is killed, and says first where.
///
/// # Errors
/// [`Trouble`] if it can't.
pub(crate) async fn serve(mesh: &Path) -> Result<(), Trouble> {
    let tls = QuicServerConfig::try_from(dialled(&Ends::of(mesh)?)?)?;
    let config = ServerConfig::with_crypto(Arc::new(tls));
    let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into())?;
    println!("{}", endpoint.local_addr()?);
    std::io::stdout().flush()?;
    while let Some(incoming) = endpoint.accept().await {
        if let Ok(connection) = incoming.await {
            tokio::spawn(async move {
                if let Err(why) = fill(&connection).await {
                    eprintln!("{why}");
                }
                connection.closed().await;
            });
        }
    }
    Ok(())
}

/// As many bytes as are asked for.
async fn fill(connection: &Connection) -> Result<(), Trouble> {
    let (mut answer, mut ask) = connection.accept_bi().await?;
    let mut asked = [0; 8];
    ask.read_exact(&mut asked).await?;
    let mut left = u64::from_be_bytes(asked);
    let chunk = vec![0; CHUNK_LEN];
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_LEN);
        let piece = chunk.get(..len).unwrap_or(&chunk);
        answer.write_all(piece).await?;
        left -= u64::try_from(piece.len())?;
    }
    answer.finish()?;
    Ok(())
}

/// The TLS of the one that is dialled.
fn dialled(ends: &Ends) -> Result<rustls::ServerConfig, Trouble> {
    let accept = Accept { roles: &[Role::Agent], anonymous: false };
    Ok(tls::server_config(ends.provider.identity(), ends.trust.clone(), accept, &[ALPN])?)
}
