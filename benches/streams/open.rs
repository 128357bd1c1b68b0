//! Many exchanges at once that do not end: what one takes while it is open.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::mesh::Members;
use crate::{Trouble, memory};

/// So long nothing is done before memory is read. Less than a source may take.
const IDLE: Duration = Duration::from_secs(5);

/// A FHIR server that takes what is asked and answers nothing. Says where it is.
///
/// # Errors
/// [`Trouble`] if there is no port.
pub(crate) async fn silent_server() -> Result<u16, Trouble> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((caller, _)) = listener.accept().await {
            held.push(caller);
        }
    });
    Ok(port)
}

/// Opens so many of both kinds, one after the other, and says in a line each what the agents have
/// resident before and meanwhile.
///
/// # Errors
/// [`Trouble`] if one is refused.
pub(crate) async fn open(members: &Members, count: usize) -> Result<String, Trouble> {
    members.widen(count)?;
    tokio::time::sleep(IDLE).await;
    let before = resident(members)?;
    let mut records = Vec::new();
    for _ in 0..count {
        let (mut sender, request) = members.request("/fhir/RZ9/Patient/x", "TREAT").await?;
        records.push(tokio::spawn(async move {
            let answer = sender.send_request(request).await;
            answer.map(|answer| answer.status())
        }));
    }
    tokio::time::sleep(IDLE).await;
    let during = resident(members)?;
    let waiting = records.iter().filter(|record| !record.is_finished()).count();
    records.iter().for_each(tokio::task::JoinHandle::abort);
    drop(records);
    let mut said = format!(
        "resident MB of provider and requester: {before:.1?}; with {waiting} of {count} records \
         open whose source is slow: {during:.1?}"
    );
    tokio::time::sleep(IDLE).await;
    let before = resident(members)?;
    let mut datasets = Vec::new();
    for _ in 0..count {
        datasets.push(members.begin().await?);
    }
    tokio::time::sleep(IDLE).await;
    let during = resident(members)?;
    drop(datasets);
    said.push_str(&format!(
        "\n{before:.1?}; with {count} datasets open whose readers stopped after the first bytes: \
         {during:.1?}"
    ));
    Ok(said)
}

fn resident(members: &Members) -> Result<Vec<f64>, Trouble> {
    let each = members.agents().into_iter().map(|pid| memory::resident_mb(pid, "VmRSS:"));
    each.collect()
}
