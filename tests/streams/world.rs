//! A trust with figures about nobody, a council that fetches them, and a council that has no business
//! with them.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tally_core::dataset::ContentDigest;
use tally_log::Hash;
use tally_tests::dev::{Answer, Dev, Files};

use super::TALLY;

/// The trust that is asked.
pub(super) const PROVIDER: &str = "RZ9";
/// The council that asks.
pub(super) const COUNCIL: &str = "LZ9";
/// Another one.
pub(super) const OTHER: &str = "QX1";
/// How they say why.
pub(super) const PLANNING: (&str, &str) = ("tally-purpose", "local:PLANNING");

/// Bytes between two places of a long file that are not empty.
const STRIDE: u64 = 1024 * 1024 + 37;

const MESH: &str = r#"
tally = 1
mesh = "dev.example"
environment = "test"
ledger_nodes = 3
agreements = ["figures.toml"]

[[member]]
id = "RZ9"
name = "Anytown Hospitals NHS Trust (fictional)"
codes = { ods = "RZ9" }

[[member.source]]
id = "wards"
kind = "files"
path = "wards.csv"
title = "Wards, and what they cost"
licence = "OGL-UK-3.0"
person = "none"

[[member.source]]
id = "stays"
kind = "files"
path = "stays.csv"
person = "none"

[[member.source]]
id = "long"
kind = "files"
path = "long"
person = "none"

[[member]]
id = "LZ9"
name = "Anytown City Council (fictional)"
codes = { ods = "LZ9" }

[[member]]
id = "QX1"
name = "Othertown City Council (fictional)"
codes = { ods = "QX1" }
"#;

const FIGURES: &str = r#"
tally = 1
id = "DSA-FIGURES"
version = 1
title = "Figures about nobody"
start = 2025-01-01
review = 2099-06-30
end = 2099-12-31
parties = ["RZ9", "LZ9", "QX1"]

[[share]]
provider = "RZ9"
requesters = ["LZ9", "QX1"]
source = "wards"
purposes = ["local:PLANNING"]
data = "none"

[[share]]
provider = "RZ9"
requesters = ["LZ9", "QX1"]
source = "stays"
purposes = ["local:PLANNING"]
data = "none"
columns = ["ward", "note"]

[[share]]
provider = "RZ9"
requesters = ["LZ9", "QX1"]
source = "long"
purposes = ["local:PLANNING"]
data = "none"
"#;

pub(super) const WARDS: &str = "ward,beds\nA1,24\nA2,28\n";

/// A table whose price leaves nobody: rows with quotes, commas and line ends in their cells, many chunks.
pub(super) fn stays() -> String {
    let row = |row: u32| format!("W{},{row}0,\"a \"\"note\"\", of\nrow {row}\"\n", row % 7);
    "ward,price,note\n".to_owned() + &(0..30_000).map(row).collect::<String>()
}

/// What leaves of it.
pub(super) fn stays_cut() -> String {
    let row = |row: u32| format!("W{},\"a \"\"note\"\", of\nrow {row}\"\n", row % 7);
    "ward,note\n".to_owned() + &(0..30_000).map(row).collect::<String>()
}

/// This world, running.
pub(super) async fn running() -> Dev {
    let files = Files::new(MESH)
        .with("figures.toml", FIGURES)
        .with("wards.csv", WARDS)
        .with("stays.csv", stays())
        .with("long/README.txt", "Long files come and go.\n");
    Dev::start(&binary(), &files).await.unwrap()
}

/// The binary that is tested: the one that BINARY names, such as one that is built for release, or the
/// one beside these tests.
fn binary() -> String {
    std::env::var("BINARY").unwrap_or_else(|_| TALLY.to_owned())
}

/// Whether it was optimised.
pub(super) fn is_optimised() -> bool {
    !cfg!(debug_assertions) || binary() != TALLY
}

/// What a council asks.
pub(super) async fn ask(
    dev: &Dev,
    (method, member): (&str, &str),
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let headers: Vec<_> = [PLANNING].into_iter().chain(headers.iter().copied()).collect();
    dev.request(method, member, path, &headers).await.unwrap()
}

/// Where a file of the trust's is.
pub(super) fn source(dev: &Dev, path: &str) -> PathBuf {
    dev.files().join(path)
}

/// A long file of the trust's, mostly holes: no disk has to hold it.
pub(super) fn make_long(dev: &Dev, name: &str, bytes: u64) -> PathBuf {
    let path = source(dev, &format!("long/{name}"));
    let mut file = File::create(&path).unwrap();
    file.set_len(bytes).unwrap();
    let mut at = 0;
    while at + 8 <= bytes {
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&at.to_be_bytes()).unwrap();
        at += STRIDE;
    }
    path
}

/// The root over a file.
pub(super) fn root_of(path: &Path) -> Hash {
    let mut file = File::open(path).unwrap();
    let (mut digest, mut piece) = (ContentDigest::default(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece).unwrap() {
            0 => return digest.root(),
            read => digest.push(&piece[..read]),
        }
    }
}

/// So many bytes as the environment says, or these.
pub(super) fn bytes_or(default: u64) -> u64 {
    std::env::var("BYTES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

pub(super) fn len_of(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}
