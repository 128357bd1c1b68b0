//! Many exchanges at once that do not end: what one takes while it is open.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::mesh::Members;
use crate::{Trouble, memory};

/// Memory is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// And has settled once so many looks, one after the other, differ by no more than [`SETTLED_MB`].
const LOOKS: usize = 8;
/// Megabytes of a process that come and go without anybody's doing.
const SETTLED_MB: f64 = 0.3;
/// It has settled within this time, and callers have arrived, or nothing is measured. Of a source that
/// takes longer nobody waits, so how many still wait is counted once memory was read.
const WAIT_MAX: Duration = Duration::from_secs(9);

/// A FHIR server that takes what is asked and answers nothing.
pub(crate) struct SilentServer {
    /// Where it is.
    pub(crate) port: u16,
    /// Who has come so far, and waits.
    held: watch::Receiver<usize>,
}

impl SilentServer {
    /// Listens.
    ///
    /// # Errors
    /// [`Trouble`] if there is no port.
    pub(crate) async fn start() -> Result<Self, Trouble> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (came, held) = watch::channel(0);
        tokio::spawn(async move {
            let mut callers = Vec::new();
            while let Ok((caller, _)) = listener.accept().await {
                callers.push(caller);
                came.send_replace(callers.len());
            }
        });
        Ok(Self { port, held })
    }
}

/// Opens so many of both kinds, one after the other, and says in a line each what the agents have
/// resident before and meanwhile.
///
/// # Errors
/// [`Trouble`] if one is refused, or memory does not settle.
pub(crate) async fn open(
    members: &Members,
    server: &SilentServer,
    count: usize,
) -> Result<String, Trouble> {
    members.widen(count)?;
    let before = settled(members).await?;
    let (mut held, mut records) = (server.held.clone(), Vec::new());
    let earlier = *held.borrow_and_update();
    let (told, mut ended) = watch::channel(0_usize);
    for _ in 0..count {
        let (mut sender, request) = members.request("/fhir/RZ9/Patient/x", "TREAT").await?;
        let told = told.clone();
        records.push(tokio::spawn(async move {
            drop(sender.send_request(request).await);
            told.send_modify(|ended| *ended += 1);
        }));
    }
    // Each waits at the server, or has been told that it may not.
    let arrived = async {
        while *held.borrow_and_update() - earlier + *ended.borrow_and_update() < count {
            tokio::select! {
                _ = held.changed() => {}
                _ = ended.changed() => {}
            }
        }
    };
    timeout(WAIT_MAX, arrived).await.map_err(|_| "not all arrive at the source")?;
    let during = settled(members).await?;
    let waiting = count.saturating_sub(*ended.borrow());
    records.iter().for_each(tokio::task::JoinHandle::abort);
    drop(records);
    let mut said = format!(
        "resident MB of provider and requester: {before:.1?}; with {waiting} of {count} records \
         open whose source is slow: {during:.1?}"
    );
    let before = settled(members).await?;
    let mut datasets = Vec::new();
    for _ in 0..count {
        datasets.push(members.begin().await?);
    }
    let during = settled(members).await?;
    drop(datasets);
    said.push_str(&format!(
        "\n{before:.1?}; with {count} datasets open whose readers stopped after the first bytes: \
         {during:.1?}"
    ));
    Ok(said)
}

/// What is resident once it stays as it is.
async fn settled(members: &Members) -> Result<Vec<f64>, Trouble> {
    let (began, mut last, mut looks) = (Instant::now(), resident(members)?, 0);
    while looks < LOOKS {
        if began.elapsed() > WAIT_MAX {
            return Err("memory does not settle".into());
        }
        sleep(LOOK_EVERY).await;
        let now = resident(members)?;
        let same = now.iter().zip(&last).all(|(now, last)| (now - last).abs() <= SETTLED_MB);
        (last, looks) = if same { (last, looks + 1) } else { (now, 0) };
    }
    Ok(last)
}

fn resident(members: &Members) -> Result<Vec<f64>, Trouble> {
    let each = members.agents().into_iter().map(|pid| memory::resident_mb(pid, "VmRSS:"));
    each.collect()
}
