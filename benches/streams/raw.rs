//! quinn alone: one stream that a server fills with chunks, under the certificates and the TLS of
//! agents. It favours QUIC: nothing is hashed or framed, and nobody looks at what comes.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tally_core::opening::CHUNK_LEN;
use tally_log::Hash;
use tally_net::endpoint::{ConnectionLimits, client_config, returning_endpoint, server_config};
use tally_net::quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use tally_net::quinn::{ClientConfig, Connection, Endpoint, ServerConfig};
use tally_net::tls::{self, Accept, SERVER_NAME};
use tally_net::{Role, rustls};

use crate::Trouble;
use crate::mesh::whole;
use crate::process::Process;
use crate::proxy::Ends;
use crate::table::Raw;

const ALPN: &[u8] = b"raw/1";

/// The server, in a process of its own.
pub(crate) struct Server {
    process: Process,
    /// As quinn is by default, and as agents are.
    addresses: [SocketAddr; 2],
    clients: [ClientConfig; 2],
}

impl Server {
    /// Starts it with the certificates of a mesh, before a file.
    ///
    /// # Errors
    /// [`Trouble`] if it does not come up.
    pub(crate) fn start(mesh: &Path, dir: &Path, file: &Path) -> Result<Self, Trouble> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--serve-raw").arg(mesh).arg(file);
        let mut process = Process::start(&mut command, &dir.join("raw.log"), true)?;
        let said = process.child().stdout.take().ok_or("the server has no standard output")?;
        let mut said = BufReader::new(said);
        let mut address = || {
            let mut line = String::new();
            said.read_line(&mut line)?;
            Ok::<_, Trouble>(line.trim().parse()?)
        };
        let addresses = [address()?, address()?];
        let tls = Ends::of(mesh)?.client(ALPN)?;
        let clients = [
            ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls.clone())?)),
            client_config(tls, &limits())?,
        ];
        Ok(Self { process, addresses, clients })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Reads so many bytes over one connection, which is there before.
    ///
    /// # Errors
    /// [`Trouble`] if fewer come.
    pub(crate) async fn read(&self, it: Raw, bytes: u64) -> Result<(), Trouble> {
        let local = (Ipv4Addr::LOCALHOST, 0).into();
        let endpoint = if it.as_agents {
            returning_endpoint(local, None, &Hash::default())
        } else {
            Endpoint::client(local)
        }?;
        let [default, agents] = &self.clients;
        let [default_address, agents_address] = self.addresses;
        let (client, address) =
            if it.as_agents { (agents, agents_address) } else { (default, default_address) };
        let connection = endpoint.connect_with(client.clone(), address, SERVER_NAME)?.await?;
        let (mut ask, mut answer) = connection.open_bi().await?;
        ask.write_all(&bytes.to_be_bytes()).await?;
        ask.write_all(&[u8::from(it.from_file)]).await?;
        ask.finish()?;
        let mut read = 0;
        while let Some(chunk) = answer.read_chunk(CHUNK_LEN, true).await? {
            read += u64::try_from(chunk.bytes.len())?;
        }
        connection.close(0_u32.into(), b"");
        whole(read, bytes)
    }
}

/// Those of agents.
fn limits() -> ConnectionLimits {
    ConnectionLimits { window_bytes: 16 * 1024 * 1024, ..ConnectionLimits::default() }
}

/// Serves until it is killed, and says first where.
///
/// # Errors
/// [`Trouble`] if it can't.
pub(crate) async fn serve(mesh: &Path, file: &Path) -> Result<(), Trouble> {
    let tls = dialled(&Ends::of(mesh)?)?;
    let local = (Ipv4Addr::LOCALHOST, 0).into();
    let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls.clone())?));
    let default = Endpoint::server(config, local)?;
    let agents = returning_endpoint(local, Some(server_config(tls, &limits())?), &Hash::default())?;
    println!("{}\n{}", default.local_addr()?, agents.local_addr()?);
    std::io::stdout().flush()?;
    let each = [default, agents].map(|endpoint| accept(endpoint, file.to_owned()));
    for each in each.map(tokio::spawn) {
        each.await?;
    }
    Ok(())
}

async fn accept(endpoint: Endpoint, file: PathBuf) {
    while let Some(incoming) = endpoint.accept().await {
        if let Ok(connection) = incoming.await {
            let file = file.clone();
            tokio::spawn(async move {
                if let Err(why) = fill(&connection, &file).await {
                    eprintln!("{why}");
                }
                connection.closed().await;
            });
        }
    }
}

/// As many bytes as are asked for.
async fn fill(connection: &Connection, file: &Path) -> Result<(), Trouble> {
    let (mut answer, mut ask) = connection.accept_bi().await?;
    let (mut asked, mut from_file) = ([0; 8], [0]);
    ask.read_exact(&mut asked).await?;
    ask.read_exact(&mut from_file).await?;
    let mut file = if from_file == [1] { Some(File::open(file)?) } else { None };
    let mut left = u64::from_be_bytes(asked);
    let mut chunk = vec![0; CHUNK_LEN];
    while left > 0 {
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_LEN);
        let piece = chunk.get_mut(..len).ok_or("a chunk is longer")?;
        if let Some(file) = &mut file {
            // It lies in memory: no thread waits for a disk.
            file.read_exact(piece)?;
        }
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
