//! The other member as if it were far away: a relay before its agent that holds each datagram back.
//!
//! The register says where the relay is; the agent behind it listens elsewhere. Ledger nodes and
//! applications stay near, so what is added is the way between the two members and nothing else.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Trouble;
use crate::measure::Caller;
use crate::mesh::Members;

const STOP_WAIT_MAX: Duration = Duration::from_secs(10);
/// The requester's agent finds the way within this time.
const REACHED_WAIT_MAX: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);
const DATAGRAM_LEN_MAX: usize = 65_535;

/// Has the provider's agent come back behind a relay that holds everything back for so long, each
/// way. The relay works as long as the runtime does.
///
/// # Errors
/// [`Trouble`] if the agent does not come back.
pub(crate) async fn move_away(
    members: &Members,
    binary: &Path,
    delay: Duration,
) -> Result<(), Trouble> {
    let dir = members.dir();
    let trust = members.member("RZ9").ok_or("dev.json lacks the provider")?;
    let text = |what| trust.get(what).and_then(Value::as_str).ok_or("dev.json lacks a text");
    let near = text("quic")?.parse::<SocketAddr>()?;
    let pid = trust.get("pid").and_then(Value::as_i64).and_then(|pid| i32::try_from(pid).ok());
    stop(pid.and_then(Pid::from_raw).ok_or("dev.json lacks a process")?).await?;
    let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?;
    let path = dir.join("RZ9/tally.toml");
    let (before, after) = (format!("listen = \"{near}\""), format!("listen = \"{free}\""));
    let file = fs::read_to_string(&path)?;
    if !file.contains(&before) {
        return Err("the agent's configuration does not say where it listens".into());
    }
    fs::write(&path, file.replacen(&before, &after, 1))?;
    let relay = Arc::new(UdpSocket::bind(near).await?);
    tokio::spawn(run(relay, free, delay));
    let started = Command::new(binary).args(["dev", "start", "RZ9", "--dir"]).arg(dir).output()?;
    if !started.status.success() {
        return Err(String::from_utf8_lossy(&started.stderr).into_owned().into());
    }
    let until = Instant::now() + REACHED_WAIT_MAX;
    while let Err(why) = one(members).await {
        if Instant::now() > until {
            return Err(format!("the provider is not reached any more: {why}").into());
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// An exchange, that does not count.
async fn one(members: &Members) -> Result<u16, Trouble> {
    let mut readers = members.readers(1).await?;
    readers.first_mut().ok_or("nobody reads")?.ask().await
}

async fn stop(pid: Pid) -> Result<(), Trouble> {
    kill_process(pid, Signal::TERM)?;
    let until = Instant::now() + STOP_WAIT_MAX;
    while test_kill_process(pid).is_ok() {
        if Instant::now() > until {
            return Err("the provider's agent does not stop".into());
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// Hands on what comes from anybody, and what is answered.
async fn run(relay: Arc<UdpSocket>, to: SocketAddr, delay: Duration) -> Result<(), Trouble> {
    let mut ways: HashMap<SocketAddr, mpsc::UnboundedSender<Held>> = HashMap::new();
    let mut buffer = vec![0; DATAGRAM_LEN_MAX];
    loop {
        let (len, from) = relay.recv_from(&mut buffer).await?;
        let held = Held::new(buffer.get(..len).unwrap_or_default(), delay);
        if let Some(way) = ways.get(&from) {
            way.send(held)?;
            continue;
        }
        let beyond = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        beyond.connect(to).await?;
        let way = hand_on(Arc::clone(&beyond), None);
        way.send(held)?;
        ways.insert(from, way);
        let back = hand_on(Arc::clone(&relay), Some(from));
        tokio::spawn(async move {
            let mut buffer = vec![0; DATAGRAM_LEN_MAX];
            // While the agent is not there yet, a send shows here as an error of the socket.
            loop {
                if let Ok(len) = beyond.recv(&mut buffer).await
                    && back.send(Held::new(buffer.get(..len).unwrap_or_default(), delay)).is_err()
                {
                    return;
                }
            }
        });
    }
}

/// A datagram that waits.
struct Held {
    until: Instant,
    bytes: Vec<u8>,
}

impl Held {
    fn new(bytes: &[u8], delay: Duration) -> Self {
        Self { until: Instant::now() + delay, bytes: bytes.to_vec() }
    }
}

/// One way, in order: all wait for the same time.
fn hand_on(socket: Arc<UdpSocket>, to: Option<SocketAddr>) -> mpsc::UnboundedSender<Held> {
    let (sender, mut waiting) = mpsc::unbounded_channel::<Held>();
    tokio::spawn(async move {
        while let Some(held) = waiting.recv().await {
            sleep_until(held.until).await;
            // What is lost on the way is sent again by those who speak.
            let _ = match to {
                Some(to) => socket.send_to(&held.bytes, to).await,
                None => socket.send(&held.bytes).await,
            };
        }
    });
    sender
}
