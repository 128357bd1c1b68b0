//! The map in ARCHITECTURE.md, as tests: who may import whom, and what pure means.
//!
//! Each check is a function from what it reads to the list of what is wrong, so that a second
//! test can show it something bad and see that it says so.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the workspace should stop there")]
#![allow(clippy::indexing_slicing, reason = "a JSON value answers null for what it has not")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::Value;
use tally_tests::{TextFile, text_files, workspace_root};

/// Packages of ours that only test or measure, and where they stand. They may import anything;
/// nothing imports them.
const ONLY_TESTS: &[(&str, &str)] = &[
    ("tally-tests", "tests"),
    ("tally-simulation", "tests/simulation"),
    ("tally-benches", "benches"),
];

/// What a pure crate may not have among its normal dependencies, however far down: runtimes,
/// sockets, threads and sources of randomness.
const IMPURE: &[&str] = &[
    "async-std",
    "fastrand",
    "getrandom",
    "mio",
    "quinn",
    "rand",
    "rayon",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "tokio",
];

/// What the clippy.toml of a pure crate must ban.
const BANNED_IN_PURE: &[&str] = &[
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::thread::spawn",
    "std::thread::sleep",
    "std::fs::File::open",
    "std::env::var",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::hash::RandomState",
];

/// A file that is longer has more than one idea in it.
const FILE_LINES_MAX: usize = 500;

/// Longer all the same, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

fn only_tests(name: &str) -> Option<&'static str> {
    ONLY_TESTS.iter().find(|(package, _)| *package == name).map(|(_, at)| *at)
}

#[test]
fn crates_import_only_what_the_map_allows() {
    let wrong = forbidden_imports(&read_map(), &read_packages());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_import_against_the_map_is_found() {
    let map = parse_map("| `tally-log` | pure | – | x |\n| `tally-core` | pure | log | x |");
    let package = |name: &str, imports: &[&str]| Package {
        name: name.to_owned(),
        imports: imports.iter().map(|&import| import.to_owned()).collect(),
        manifest: String::new(),
    };
    let check = |name, imports: &[&str]| forbidden_imports(&map, &[package(name, imports)]);
    assert!(check("tally-core", &["tally-log"]).is_empty());
    assert_eq!(
        check("tally-log", &["tally-core"]),
        ["tally-log imports tally-core, which the map does not allow"]
    );
    assert_eq!(
        check("tally-core", &["tally-tests"]),
        ["tally-core imports tally-tests, which the map does not allow"]
    );
    assert_eq!(check("tally-new", &[]), ["tally-new is not on the map in ARCHITECTURE.md"]);
    assert!(check("tally-tests", &["tally-core", "tally-log"]).is_empty());
}

#[test]
fn every_package_stands_where_its_name_says() {
    let mut wrong = Vec::new();
    for package in read_packages() {
        let at = only_tests(&package.name)
            .map_or_else(|| format!("crates/{}", package.name), str::to_owned);
        if fs::read_to_string(workspace_root().join(&at).join("Cargo.toml")).is_err() {
            wrong.push(format!("{} should stand in {at}", package.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_package_inherits_the_lints() {
    for package in read_packages() {
        assert!(inherits_lints(&package.manifest), "{} has no [lints] workspace", package.name);
    }
    assert!(!inherits_lints("[package]\nname = \"x\"\n[lints.rust]\nunsafe_code = \"allow\"\n"));
}

#[test]
fn pure_crates_reach_no_runtime_clock_or_randomness() {
    for name in read_pure_crates() {
        let tree = dependency_tree(&name);
        let wrong = impure(&tree);
        assert!(wrong.is_empty(), "{name} is pure, but depends on {wrong:?}");
    }
    assert_eq!(impure("tally-x v0.1.0\nrand v0.10.4\nrand_core v0.10.1\n"), ["rand"]);
}

#[test]
fn pure_crates_ban_clocks_disks_sockets_and_random_order() {
    let root = fs::read_to_string(workspace_root().join("clippy.toml")).unwrap();
    for name in read_pure_crates() {
        let path = workspace_root().join("crates").join(&name).join("clippy.toml");
        let own = fs::read_to_string(path).unwrap_or_default();
        let missing = missing_bans(&root, &own);
        assert!(missing.is_empty(), "the clippy.toml of {name} lacks {missing:#?}");
    }
    assert_eq!(missing_bans(&root, &root).len(), BANNED_IN_PURE.len());
    assert!(missing_bans(&root, "").len() > BANNED_IN_PURE.len());
}

#[test]
fn no_file_is_longer_than_one_idea() {
    let files = text_files().unwrap();
    let wrong = long_files(&files);
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (path, _) in LONG_FILES {
        let known = files.iter().any(|file| file.path == *path);
        assert!(known, "{path} is on the list of long files, but is gone");
    }

    let text = "\n".repeat(FILE_LINES_MAX + 1);
    let long = TextFile { path: "crates/x/src/lib.rs".to_owned(), text };
    assert_eq!(long_files(&[long]), ["crates/x/src/lib.rs has 501 lines, more than 500"]);
}

#[test]
fn the_page_names_files_that_are_there() {
    let page = fs::read_to_string(workspace_root().join("ARCHITECTURE.md")).unwrap();
    let gone = |path: &&str| !workspace_root().join(path).exists();
    let gone: Vec<_> = named_sources(&page).into_iter().filter(gone).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md names {gone:#?}");
    assert_eq!(named_sources("see `crates/x/src/lib.rs`, not `lib.rs`"), ["crates/x/src/lib.rs"]);
}

/// One row of the map.
struct Place {
    pure: bool,
    imports: BTreeSet<String>,
}

/// One package of ours as cargo sees it.
struct Package {
    name: String,
    /// Packages of ours among its normal dependencies: tests may reach further than code.
    imports: BTreeSet<String>,
    manifest: String,
}

fn read_map() -> BTreeMap<String, Place> {
    let page = fs::read_to_string(workspace_root().join("ARCHITECTURE.md")).unwrap();
    let map = parse_map(&page);
    assert!(!map.is_empty(), "ARCHITECTURE.md has no map");
    map
}

/// Rows such as ``| `tally-wire` | pure | log core | … |``: name, kind, what it may import.
fn parse_map(page: &str) -> BTreeMap<String, Place> {
    let mut map = BTreeMap::new();
    for line in page.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let ["", name, kind @ ("pure" | "IO"), imports, ..] = cells.as_slice() else { continue };
        let imports = imports.split_whitespace().filter(|&word| word != "–");
        let imports = imports.map(|word| format!("tally-{word}")).collect();
        map.insert(name.replace('`', ""), Place { pure: *kind == "pure", imports });
    }
    map
}

fn read_packages() -> Vec<Package> {
    let json = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&json).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().map(read_package).collect()
}

fn read_package(package: &Value) -> Package {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let normal = package["dependencies"].as_array().unwrap().iter();
    let normal = normal.filter(|dependency| dependency["kind"].is_null());
    let ours = normal.filter(|dependency| dependency["path"].is_string());
    Package {
        name: text(&package["name"]),
        imports: ours.map(|dependency| text(&dependency["name"])).collect(),
        manifest: fs::read_to_string(text(&package["manifest_path"])).unwrap(),
    }
}

/// The pure crates of the map that are built yet.
fn read_pure_crates() -> Vec<String> {
    let map = read_map();
    let built = read_packages().into_iter().map(|package| package.name);
    built.filter(|name| map.get(name).is_some_and(|place| place.pure)).collect()
}

/// The crate with its normal dependencies, however far down, one a line. Asked of cargo crate by
/// crate, because features that a neighbour turns on are not this crate's.
fn dependency_tree(name: &str) -> String {
    cargo(&["tree", "--locked", "--package", name, "--edges", "normal", "--prefix", "none"])
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).current_dir(workspace_root()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn forbidden_imports(map: &BTreeMap<String, Place>, packages: &[Package]) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in packages {
        let name = &package.name;
        if only_tests(name).is_some() {
            continue;
        }
        let Some(place) = map.get(name) else {
            wrong.push(format!("{name} is not on the map in ARCHITECTURE.md"));
            continue;
        };
        for import in package.imports.difference(&place.imports) {
            wrong.push(format!("{name} imports {import}, which the map does not allow"));
        }
    }
    wrong
}

/// Paths below `crates/` between backticks.
fn named_sources(page: &str) -> Vec<&str> {
    page.split('`').filter(|quoted| quoted.starts_with("crates/")).collect()
}

fn inherits_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim);
    lines.any(|line| line == "[lints]") && lines.next() == Some("workspace = true")
}

fn impure(tree: &str) -> Vec<&str> {
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    names.filter(|name| IMPURE.contains(name)).collect()
}

/// A crate's clippy.toml replaces the root's rather than adding to it: it needs those lines too.
fn missing_bans(root: &str, own: &str) -> Vec<String> {
    let bans = BANNED_IN_PURE.iter().map(|path| format!("path = \"{path}\""));
    let keys = root.lines().filter(|line| line.contains('=')).map(str::to_owned);
    bans.chain(keys).filter(|wanted| !own.contains(wanted.as_str())).collect()
}

fn long_files(files: &[TextFile]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let lines = file.text.lines().count();
        let listed = LONG_FILES.iter().any(|(path, _)| *path == file.path);
        if lines > FILE_LINES_MAX && !listed {
            wrong.push(format!("{} has {lines} lines, more than {FILE_LINES_MAX}", file.path));
        }
    }
    wrong
}

/// A target that has no corpus is not run, and a corpus that has no target can't be.
#[test]
fn every_fuzz_target_has_a_corpus_and_every_corpus_a_target() {
    let root = workspace_root().join("fuzz");
    let main = fs::read_to_string(root.join("src/main.rs")).unwrap();
    let modules = main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    let modules: BTreeSet<_> = modules.map(str::to_owned).collect();
    let line = |name: &String| format!("(\"{}\", {name}::fuzz)", name.replace('_', "-"));
    let listed = modules.iter().filter(|name| main.contains(&line(name)));
    assert_eq!(
        listed.count(),
        modules.len(),
        "a module of fuzz/src/main.rs is in no line of TARGETS"
    );
    let corpora = fs::read_dir(root.join("corpus")).unwrap().map(Result::unwrap);
    let corpora: BTreeSet<_> = corpora
        .filter(|corpus| fs::read_dir(corpus.path()).unwrap().next().is_some())
        .map(|corpus| corpus.file_name().to_string_lossy().into_owned())
        .collect();
    let targets: BTreeSet<_> = modules.iter().map(|name| name.replace('_', "-")).collect();
    assert_eq!(targets, corpora);
}
