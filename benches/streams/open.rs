//! Many datasets at once that nobody reads on: what an exchange takes while it is open.

use std::time::Duration;

use crate::mesh::Members;
use crate::{Trouble, memory};

/// So long nothing is done before memory is read.
const IDLE: Duration = Duration::from_secs(5);

/// Opens so many, and says in a line what the agents have resident before and meanwhile.
///
/// # Errors
/// [`Trouble`] if one is refused.
pub(crate) async fn open(members: &Members, count: usize) -> Result<String, Trouble> {
    let resident = || {
        let each = members.agents().into_iter().map(|pid| memory::resident_mb(pid, "VmRSS:"));
        each.collect::<Result<Vec<_>, _>>()
    };
    let before = resident()?;
    members.widen(count)?;
    let mut open = Vec::new();
    for _ in 0..count {
        open.push(members.begin().await?);
    }
    tokio::time::sleep(IDLE).await;
    let during = resident()?;
    drop(open);
    Ok(format!(
        "resident MB of provider and requester: {before:.1?}; with {count} open: {during:.1?}"
    ))
}
