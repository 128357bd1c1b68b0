//! Damaged files of a node that was down: what a crash can leave is mended, all else is named.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tally_tests::mesh::{Mesh, Plan, until};

use super::TALLY;
use super::history::Recorder;
use super::load::{append, entry};

/// Bytes before the first frame of a segment, and of a frame before its payload.
const SEGMENT_HEADER_BYTES: u64 = 96;
const IN_THE_FIRST_FRAME: u64 = SEGMENT_HEADER_BYTES + 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_last_write_was_torn_starts_and_catches_up() {
    let mut mesh = Mesh::running(TALLY, Plan::THREE).await.unwrap();
    let recorder = Recorder::new();
    let client = mesh.client(0);
    for (number, torn_bytes) in (0..).zip([1, 9, 40, 150]) {
        let recorded = append(&recorder, &client, 0, entry(&mesh, 0, number)).await.unwrap();
        mesh.reach(recorded.leaf().0 + 2).await.unwrap();
        let node = (mesh.leader().await.unwrap() + 1) % 3;
        mesh.kill(node).await.unwrap();
        let segment = last_segment(&mesh, node);
        let end = data_end(&segment);
        zero(&segment, end - torn_bytes, end);
        // A crash that tears the log's last write loses what was said of it, too.
        fs::remove_file(mesh.data_dir(node).join("log/marks")).unwrap();
        mesh.start(node).unwrap();
        mesh.reach(recorded.leaf().0 + 2).await.unwrap();
        let leader = mesh.leader().await.unwrap();
        let (size, root) = mesh.head(leader).await.unwrap();
        mesh.reach(size).await.unwrap();
        assert_eq!(mesh.head(node).await.unwrap(), (size, root), "{torn_bytes} bytes were torn");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_what_was_committed_refuses_to_start() {
    let mut mesh = with_entries(8).await;
    let node = (mesh.leader().await.unwrap() + 1) % 3;
    mesh.stop(node).await.unwrap();
    let segment = last_segment(&mesh, node);
    let end = data_end(&segment);
    zero(&segment, end - 1500, end);
    let exit = mesh.start_to_fail(node).await.unwrap();
    assert!(exit.code.is_some_and(|code| code != 0), "{exit:?}");
    let name = segment.file_name().unwrap().to_str().unwrap();
    let named = exit.said.contains(&format!("{name} is damaged at offset "));
    assert!(named && exit.said.contains("committed"), "{}", exit.said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_that_was_flipped_in_an_earlier_frame_is_named_and_the_node_does_not_start() {
    let mut mesh = with_entries(8).await;
    let node = (mesh.leader().await.unwrap() + 1) % 3;
    mesh.stop(node).await.unwrap();
    let segment = last_segment(&mesh, node);
    let file = File::options().read(true).write(true).open(&segment).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, IN_THE_FIRST_FRAME).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], IN_THE_FIRST_FRAME).unwrap();
    let exit = mesh.start_to_fail(node).await.unwrap();
    assert!(exit.code.is_some_and(|code| code != 0), "{exit:?}");
    let name = segment.file_name().unwrap().to_str().unwrap();
    let place = exit.said.split(&format!("{name} is damaged at offset ")).nth(1);
    let offset = place.and_then(|rest| rest.split(':').next()?.parse::<u64>().ok());
    assert!(offset.is_some_and(|it| it <= IN_THE_FIRST_FRAME), "{}", exit.said);
    // The others don't need it.
    let recorder = Recorder::new();
    append(&recorder, &mesh.client(1), 1, entry(&mesh, 1, 0)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_went_bad_are_found_by_fsck_and_made_again_by_repair() {
    let mut mesh = with_entries(12).await;
    let node = (mesh.leader().await.unwrap() + 1) % 3;
    mesh.stop(node).await.unwrap();
    let exit = mesh.look_after(node, &["fsck"]).await.unwrap();
    assert_eq!(exit.code, Some(0), "{}", exit.said);
    let segment = last_segment(&mesh, node);
    let name = segment.file_name().unwrap().to_str().unwrap().to_owned();
    let before = fs::read(&segment).unwrap();
    let exit = mesh.look_after(node, &["repair"]).await.unwrap();
    assert!(exit.code == Some(0) && exit.said.contains("nothing to repair"), "{exit:?}");

    // A payload, a header, and a sector with several of both: of entries, which others have too.
    let frames = entry_frames(&before);
    let [.., early, middle, late, _] = frames[..] else { panic!("too few frames") };
    for (from, to) in [(early + 90, early + 91), (middle + 20, middle + 21), (early + 3, late + 40)]
    {
        let file = File::options().write(true).open(&segment).unwrap();
        let bytes = before[from..to].iter().map(|byte| byte ^ 0x55).collect::<Vec<_>>();
        file.write_all_at(&bytes, from as u64).unwrap();
        let exit = mesh.start_to_fail(node).await.unwrap();
        assert!(exit.said.contains(&format!("{name} is damaged at offset ")), "{}", exit.said);
        let exit = mesh.look_after(node, &["fsck"]).await.unwrap();
        assert_eq!(exit.code, Some(1), "{}", exit.said);
        assert!(exit.said.contains(&format!("{name} is damaged at offset ")), "{}", exit.said);
        let exit = mesh.look_after(node, &["repair"]).await.unwrap();
        assert_eq!(exit.code, Some(0), "{}", exit.said);
        assert!(exit.said.contains("signs the root"), "{}", exit.said);
        assert!(fs::read(&segment).unwrap() == before, "{from}..{to} is not as it was");
        let aside = fs::read_dir(mesh.data_dir(node).join("log")).unwrap();
        let kept = aside.filter(|file| {
            file.as_ref().unwrap().file_name().to_string_lossy().starts_with(&format!("bad-{name}"))
        });
        assert!(kept.count() > 0, "what was bad is not kept");
    }
    let exit = mesh.look_after(node, &["fsck"]).await.unwrap();
    assert_eq!(exit.code, Some(0), "{}", exit.said);
    mesh.start(node).unwrap();
    let leader = mesh.leader().await.unwrap();
    let size = mesh.head(leader).await.unwrap().0;
    mesh.reach(size).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_prove_is_not_written() {
    let mut mesh = with_entries(6).await;
    let leader = mesh.leader().await.unwrap();
    let node = (leader + 1) % 3;
    mesh.stop(node).await.unwrap();
    let segment = last_segment(&mesh, node);
    let frames = entry_frames(&fs::read(&segment).unwrap());
    zero(&segment, frames[3] as u64, frames[3] as u64 + 200);
    let damaged = fs::read(&segment).unwrap();
    // Nobody who has the entry runs.
    mesh.stop(leader).await.unwrap();
    mesh.stop((leader + 2) % 3).await.unwrap();
    let exit = mesh.look_after(node, &["repair"]).await.unwrap();
    assert_eq!(exit.code, Some(1), "{}", exit.said);
    assert!(exit.said.contains("nothing was written"), "{}", exit.said);
    assert!(fs::read(&segment).unwrap() == damaged, "something was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_in_the_last_acknowledged_frame_costs_the_vote_until_it_has_caught_up() {
    let mut mesh = with_entries(5).await;
    let leader = mesh.leader().await.unwrap();
    let node = (leader + 1) % 3;
    let size = mesh.head(leader).await.unwrap().0;
    mesh.kill(node).await.unwrap();
    let segment = last_segment(&mesh, node);
    let last = *entry_frames(&fs::read(&segment).unwrap()).last().unwrap() as u64;
    // Raft's own note of what it had committed may be of before: it is never synced.
    let marks = fs::read(mesh.data_dir(node).join("log/marks")).unwrap();
    let file = File::options().read(true).write(true).open(&segment).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, last + 80).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], last + 80).unwrap();
    assert_eq!(marks.len(), 64);
    mesh.start(node).unwrap();
    // Either its marks say that the entry was committed, and it does not start; or it says that its
    // end is lost, and gives no vote before the others have brought it back.
    let said = format!("node {} says what became of its end", node + 1);
    let found = until(&said, Duration::from_secs(30), async || {
        let said = mesh.said(node);
        let named = said.contains("is damaged at offset") || said.contains("gives no vote before");
        if named { Ok(said) } else { Err(said) }
    });
    let found = found.await.unwrap();
    if found.contains("gives no vote before") {
        mesh.reach(size).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_a_directory_is_detected_and_not_voted_with() {
    for in_good_order in [true, false] {
        let mut mesh = with_entries(4).await;
        let leader = mesh.leader().await.unwrap();
        let node = (leader + 1) % 3;
        if in_good_order {
            mesh.stop(node).await.unwrap();
        } else {
            mesh.kill(node).await.unwrap();
        }
        let data = mesh.data_dir(node);
        let backup = data.with_file_name("backup");
        copy(&data, &backup);
        mesh.start(node).unwrap();
        let recorder = Recorder::new();
        let recorded = append(&recorder, &mesh.client(2), 2, entry(&mesh, 2, 7)).await.unwrap();
        mesh.reach(recorded.leaf().0 + 2).await.unwrap();
        mesh.stop(node).await.unwrap();
        fs::remove_dir_all(&data).unwrap();
        fs::rename(&backup, &data).unwrap();
        let exit = mesh.look_after(node, &["fsck"]).await.unwrap();
        assert!(exit.said.contains("the files were copied or restored"), "{}", exit.said);
        mesh.start(node).unwrap();
        let gone = until("a node that gives no vote", Duration::from_secs(30), async || {
            let said = mesh.said(node);
            let told = "gives no vote before it has caught up with a leader: the files were copied";
            if said.contains(told) { Ok(()) } else { Err(said) }
        });
        gone.await.unwrap();
        mesh.reach(recorded.leaf().0 + 2).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_all_were_copied_a_majority_is_trusted_by_hand_and_that_stays_on_record() {
    let mut mesh = with_entries(3).await;
    let size = mesh.head(0).await.unwrap().0;
    for node in 0..3 {
        mesh.stop(node).await.unwrap();
        let data = mesh.data_dir(node);
        let backup = data.with_file_name("backup");
        copy(&data, &backup);
        fs::remove_dir_all(&data).unwrap();
        fs::rename(&backup, &data).unwrap();
    }
    for node in 0..2 {
        let exit = mesh.look_after(node, &["trust"]).await.unwrap();
        assert_eq!(exit.code, Some(1), "{}", exit.said);
        assert!(exit.said.contains("an acknowledged entry can be lost"), "{}", exit.said);
        let exit = mesh.look_after(node, &["trust", "--yes"]).await.unwrap();
        assert_eq!(exit.code, Some(0), "{}", exit.said);
        assert!(exit.said.contains("trusted by hand"), "{}", exit.said);
        let exit = mesh.look_after(node, &["fsck"]).await.unwrap();
        assert!(exit.code == Some(0) && exit.said.contains("trusted by hand"), "{}", exit.said);
    }
    for node in 0..3 {
        mesh.start(node).unwrap();
    }
    let recorder = Recorder::new();
    let recorded = append(&recorder, &mesh.client(1), 1, entry(&mesh, 1, 9)).await.unwrap();
    assert!(recorded.leaf().0 >= size);
    // The third catches up by itself.
    mesh.reach(recorded.leaf().0 + 2).await.unwrap();
    assert!(mesh.said(0).contains("was trusted by hand at"), "{}", mesh.said(0));
}

/// Where the frames of entries with a payload start.
fn entry_frames(segment: &[u8]) -> Vec<usize> {
    let marker = &segment[64..72];
    let starts = (96..segment.len() - 72).step_by(8);
    let frames = starts.filter(|start| segment[*start..].starts_with(marker));
    frames.filter(|start| segment[start + 20] == PROPOSAL).collect()
}

/// The kind of a frame that holds a proposal.
const PROPOSAL: u8 = 2;

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(path, to).unwrap();
        }
    }
}

async fn with_entries(count: u64) -> Mesh {
    let mesh = Mesh::running(TALLY, Plan::THREE).await.unwrap();
    let recorder = Recorder::new();
    let client = mesh.client(0);
    let mut size = 1;
    for number in 0..count {
        let recorded = append(&recorder, &client, 0, entry(&mesh, 0, number)).await.unwrap();
        size = recorded.leaf().0 + 2;
    }
    mesh.reach(size).await.unwrap();
    mesh
}

/// The segment that was written to last: one prepared ahead holds a header and nothing else.
fn last_segment(mesh: &Mesh, node: usize) -> PathBuf {
    let files = fs::read_dir(mesh.data_dir(node).join("log")).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let segments = paths.filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("segment") && !name.contains('.') && data_end(path) > SEGMENT_HEADER_BYTES
    });
    segments.max().unwrap()
}

/// Where the zeros begin that reach to the end of a file.
fn data_end(path: &PathBuf) -> u64 {
    let file = File::open(path).unwrap();
    let mut end = 0;
    let mut at = 0;
    let mut bytes = vec![0; 1 << 16];
    loop {
        let read = file.read_at(&mut bytes, at).unwrap();
        match bytes[..read].iter().rposition(|byte| *byte != 0) {
            Some(last) => end = at + last as u64 + 1,
            // Frames are nowhere so far apart.
            None => return end,
        }
        at += read as u64;
    }
}

fn zero(path: &PathBuf, from: u64, to: u64) {
    let file = File::options().write(true).open(path).unwrap();
    let count = usize::try_from(to - from).unwrap();
    file.write_all_at(&vec![0; count], from).unwrap();
}
