//! What README.md tells a reader to type, after the first two commands, which every run of `.ci/run`
//! types itself: the mesh that stays up, and how to look around in it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it is wrong")]
#![allow(clippy::indexing_slicing, reason = "a JSON value answers null for what it has not")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A mesh that runs. Dropped, its processes end with it.
struct Dev(Child);

impl Drop for Dev {
    fn drop(&mut self) {
        // It may have ended; its children end with it.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The blocks of commands below a heading, each without its comments.
fn blocks(heading: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = fs::read_to_string(path).unwrap();
    let section = text.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let line = |line: &str| line.split("  #").next().unwrap().trim_end().to_owned();
    blocks.map(|block| block.lines().map(line).collect::<Vec<_>>().join("\n")).collect()
}

#[test]
fn what_readme_tells_to_look_around_does_what_it_says() {
    let blocks = blocks("Look around");
    let (first, second) = (&blocks[0], &blocks[1]);
    assert_eq!(first.lines().nth(1), Some("tally dev"));
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    symlink(env!("CARGO_BIN_EXE_tally"), bin.join("tally")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let shell = |script: &str| {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", script]).current_dir(dir.path());
        command.env("PATH", &path).env_remove("TALLY_CONFIG");
        command
    };

    let mut child = shell("exec tally dev").stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let _dev = Dev(child);
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");

    // Whoever has the default port already sees in dev.json which one it is.
    let document = fs::read(dir.path().join("tally-dev/dev.json")).unwrap();
    let document: Value = serde_json::from_slice(&document).unwrap();
    let members = document["members"].as_array().unwrap();
    let council = members.iter().find(|member| member["id"] == "LZ9").unwrap();
    let mut script = second.replace("http://127.0.0.1:7601", council["http"].as_str().unwrap());
    if Command::new("curl").arg("--version").output().is_err() {
        // Not by a macro, whose text is kept back where a test passes.
        let why = "there is no curl here: the line with it is left out";
        drop(writeln!(std::io::stderr(), "{why}"));
        script = script.lines().filter(|it| !it.starts_with("curl")).collect::<Vec<_>>().join("\n");
    }
    let output = shell(&script).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    for word in ["\"Fairweather\"", "is the one that was released", "own entries tested", "halves"]
    {
        assert!(said.contains(word), "{word} is not in: {said}");
    }
    assert!(dir.path().join("export/checkpoint").exists());
}
