//! `docs/metrics.md`: what a ledger node measures, from the table that its metrics are made of.

use tally_ledger::metrics::METRICS;

use super::{head, row};

const TOP: &str = "# What a ledger node measures

Generated from the table of metrics; `just gen` makes it anew.

A ledger node answers at `/metrics` on its health port, in Prometheus' text format. No label names a
member, a person, an agreement or a register: each is a word of a closed list, or a node's number.
Beside them stand `/live`, which is 200 as long as the process runs, and `/ready`, which is 200 while
the node can do its work, and else 503; always JSON, as an agent's:
`{\"ready\":…,\"since\":…,\"reasons\":[{\"reason\",\"since\",\"meaning\",\"remedy\"}]}`. A reason is `no-leader`,
`catching-up`, `removed`, `halted` (the rules were raised beyond what it knows: upgrade it) or
`stopped`; `since` is when it was first seen by somebody who asked.

What to watch:

- **The ledger goes on:** `tally_ledger_commit_seconds` on the leader, and `tally_ledger_leader_changes_total`.
- **The disk:** `tally_ledger_fsync_seconds`, the bytes that are free, and `tally_ledger_held_bytes`, which
  grows with peers that take what they are sent slowly.
- **Contention:** `tally_ledger_stale_batches_total`: a permit is decided again when a register that it
  rests on has moved.
- **A member that misbehaves:** `tally_ledger_rejected_total` and `tally_ledger_turned_away_total`; each
  member has its own queue, so that only its own submissions wait.
- **An upgrade:** `tally_ledger_protocol_version`.

";

/// The page.
pub(super) fn page() -> String {
    let mut page = TOP.to_owned() + &head(&["metric", "labels", "what it is"]);
    for (name, labels, help) in METRICS {
        page += &row(&[&format!("`{name}`"), &labels.join(", "), help]);
    }
    page
}
