//! A disk that fails under the real binary, as the kernel would say it: by strace's injection.
//!
//! A smoke test: strace counts calls by thread, and what was written before stays in the system's
//! cache. What a power cut leaves is tried in `tally-ledger`, on a recording disk.

use std::process::{Command, Stdio};
use std::time::Duration;

use tally_tests::mesh::{Mesh, Plan, until};

use super::TALLY;
use super::history::{Fault, Recorder, check};
use super::load::Load;

const ONE: Plan = Plan { members: 2, nodes: 1 };
/// More than are taken before the disk fails.
const ENTRIES_EACH: u64 = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_fails_ends_and_has_lost_nothing_that_it_acknowledged() {
    let mut traces = Command::new("strace");
    traces.args(["-f", "-o", "/dev/null", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    let traces = traces.status();
    if !traces.is_ok_and(|status| status.success()) {
        eprintln!("strace can't trace here: no disk fails under the real binary");
        return;
    }
    for injection in [
        "fdatasync:error=EIO:when=9+",
        "pwrite64:error=ENOSPC:when=30+",
        "pwrite64:error=EIO:when=45",
    ] {
        let mut mesh = Mesh::running(TALLY, ONE).await.unwrap();
        mesh.stop(0).await.unwrap();
        mesh.start_under(0, injection).unwrap();
        let recorder = Recorder::new();
        let load = Load::start(&mesh, &recorder, ENTRIES_EACH);
        let exit = mesh.end(0).await.unwrap();
        assert!(exit.code.is_some_and(|code| code != 0), "{injection}: {exit:?}");
        let named = exit.said.contains("segment") || exit.said.contains("tile");
        assert!(named, "{injection}: {}", exit.said);
        // Callers get their answers from what comes up again.
        mesh.start(0).unwrap();
        let what = "all answers";
        let all = ENTRIES_EACH * ONE.members as u64;
        let answered = until(what, Duration::from_secs(60), async || match load.done() {
            done if done >= all => Ok(()),
            done => Err(format!("{done} answers")),
        });
        answered.await.unwrap();
        load.finish().await;
        let size = mesh.head(0).await.unwrap().0;
        let leaves = mesh.leaves(0, size).await.unwrap();
        assert_eq!(check(&recorder.appends(), &leaves), Vec::<Fault>::new(), "{injection}");
        mesh.stop(0).await.unwrap();
        let exit = mesh.look_after(0, &["fsck"]).await.unwrap();
        assert_eq!(exit.code, Some(0), "{injection}: {}", exit.said);
    }
}
