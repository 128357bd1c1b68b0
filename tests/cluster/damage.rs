//! Damaged files of a node that was down: what a crash can leave is mended, all else is named.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use tally_tests::mesh::{Mesh, Plan};

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
        name.starts_with("segment") && data_end(path) > SEGMENT_HEADER_BYTES
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
