//! Three organisations and three ledger nodes. Nobody in here ever lived.

use std::time::Duration;

use serde_json::Value;
use tally_tests::dev::{Dev, Files};
use tally_tests::mesh::{Waited, until};

use super::TALLY;

pub(super) const MEMBERS: [&str; 3] = ["LZ9", "QX1", "RZ9"];
pub(super) const NODES: [&str; 3] = ["ledger-1", "ledger-2", "ledger-3"];
/// Far longer than anything takes on a busy machine.
pub(super) const LONG: Duration = Duration::from_secs(60);

const MESH: &str = r#"
tally = 1
mesh = "dev.example"
environment = "test"
ledger_nodes = 3

[[member]]
id = "RZ9"
name = "Anytown Hospitals NHS Trust (fictional)"
codes = { ods = "RZ9" }

[[member]]
id = "LZ9"
name = "Elsewhere Council (fictional)"

[[member]]
id = "QX1"
name = "Nowhere Partnership NHS Trust (fictional)"
codes = { ods = "QX1" }
"#;

pub(super) async fn mesh() -> Dev {
    Dev::start(TALLY, &Files::new(MESH)).await.unwrap()
}

/// Has something recorded: a person of this number says no. Gives the ledger's size after it.
pub(super) async fn record(dev: &Dev, number: &str) -> u64 {
    let subject = format!("nhs-number|{number}");
    let args = ["consent", "record", "--subject", &subject, "--purpose", "TREAT", "--deny"];
    dev.tally("RZ9", &args).await.unwrap().done().unwrap();
    dev.published().await.unwrap();
    dev.size().await.unwrap()
}

/// What the witness of a member says of itself.
pub(super) async fn witness(dev: &Dev, member: &str) -> Result<Value, Waited> {
    let args = ["witness", "status", "--output", "json"];
    Ok(dev.tally(member, &args).await?.done()?.json())
}

/// Waits until the witnesses of all members have cosigned this size at least.
pub(super) async fn all_cosigned(dev: &Dev, size: u64) {
    for member in MEMBERS {
        until("a witness that has cosigned", LONG, async || {
            let status = witness(dev, member).await.map_err(|why| why.to_string())?;
            match status["size"].as_u64() {
                Some(found) if found >= size => Ok(()),
                _ => Err(format!("{member}: {status}, wanted {size}")),
            }
        })
        .await
        .unwrap();
    }
}

/// The events that a watch told, one JSON document a line.
pub(super) fn events(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Those of one kind.
pub(super) fn of_kind(events: &[Value], kind: &str) -> Vec<Value> {
    events.iter().filter(|event| event["event"] == kind).cloned().collect()
}
