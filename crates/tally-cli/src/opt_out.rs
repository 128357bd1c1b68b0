//! `tally opt-out`: files to the national data opt-out's check service, and back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tally_agent::admin::api::{
    ImportOptOut, OptOutCheckRow, OptOutCheckRows, OptOutRequest, RequestOptOut,
};
use tally_record::opt_out::{FILE_LEN_MAX, reference_of};

use crate::acting::Acting;
use crate::args::{OptOutImportArgs, OptOutRequestArgs};
use crate::failure::{Exit, Failure};
use crate::output::{Output, columns, print};

/// What was written.
#[derive(Serialize)]
struct Requested {
    files: Vec<RequestedFile>,
    /// People of the source who can't be asked about.
    without_number: usize,
}

#[derive(Serialize)]
struct RequestedFile {
    file: PathBuf,
    reference: String,
    asked: usize,
}

/// `tally opt-out request`.
///
/// # Errors
/// [`Failure`] if the agent is not there or says no, or a file can't be written.
pub(crate) fn request(
    args: &OptOutRequestArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let list = args.list.as_deref().map(read_list).transpose()?;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&args.out);
    made.map_err(|why| cannot(&args.out, &why))?;
    let mut done = Requested { files: Vec::new(), without_number: 0 };
    let mut next = Some(0);
    while let Some(skip) = next {
        let asked = RequestOptOut {
            source: args.source.clone(),
            list: list.clone(),
            synthetic: args.synthetic,
            mailbox: args.mailbox.clone(),
            skip,
        };
        let OptOutRequest { reference, file_name, file, asked, without_number, next: further } =
            acting.ask("/opt-out/request", &asked)?;
        // The name is the agent's; it must not lead anywhere else.
        let is_name = reference_of(&file_name).is_ok();
        if !is_name {
            let remedy = "use a tally of the same version as the agent";
            return Err(Failure::environment("the agent gave no file's name", remedy));
        }
        let path = args.out.join(&file_name);
        write_whole(&path, file.as_bytes()).map_err(|why| cannot(&path, &why))?;
        done.files.push(RequestedFile { file: path, reference, asked });
        done.without_number = without_number;
        next = further;
    }
    print(output, &done, || {
        let mut rows = vec![["file", "reference", "asked"].map(str::to_owned).to_vec()];
        rows.extend(done.files.iter().map(|it| {
            vec![it.file.display().to_string(), it.reference.clone(), it.asked.to_string()]
        }));
        let without = match done.without_number {
            0 => String::new(),
            count => format!("{count} people have no NHS number: they are left out.\n"),
        };
        columns(&rows) + &without
    })?;
    Ok(Exit::Done)
}

/// `tally opt-out import`.
///
/// # Errors
/// [`Failure`] if the agent is not there, or does not take the reply.
pub(crate) fn import(
    args: &OptOutImportArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let named = || {
        let name = args.file.file_name().and_then(|name| name.to_str());
        reference_of(name.unwrap_or_default()).map(|reference| reference.to_string())
    };
    let reference = args.reference.clone().map_or_else(named, Ok).map_err(|bad| {
        let what = format!("the file's name is {bad}");
        Failure::usage(what, "say which check it answers: --reference")
    })?;
    let file = File::open(&args.file).map_err(|why| cannot(&args.file, &why))?;
    let reply = read_text(file).map_err(|why| cannot(&args.file, &why))?;
    let row: OptOutCheckRow = acting.ask("/opt-out/import", &ImportOptOut { reference, reply })?;
    print(output, &row, || table(std::slice::from_ref(&row)))?;
    Ok(Exit::Done)
}

/// `tally opt-out status`.
///
/// # Errors
/// [`Failure`] if the agent is not there.
pub(crate) fn status(config: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let answer: OptOutCheckRows = acting.ask("/opt-out/status", &serde_json::json!({}))?;
    print(output, &answer, || table(&answer.rows))?;
    Ok(Exit::Done)
}

fn table(rows: &[OptOutCheckRow]) -> String {
    let head = ["reference", "state", "asked", "may be used", "asked at", "usable until"];
    let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(|row| {
        vec![
            row.reference.clone(),
            row.state.clone(),
            count(row.asked),
            count(row.answered),
            row.asked_at.clone(),
            row.usable_until.clone(),
        ]
    }));
    columns(&lines)
}

fn read_list(path: &Path) -> Result<String, Failure> {
    if path == Path::new("-") {
        return read_text(io::stdin().lock()).map_err(|why| cannot(path, &why));
    }
    let read = File::open(path).and_then(read_text);
    read.map_err(|why| cannot(path, &why))
}

/// As much as a file of the service may have.
fn read_text(from: impl Read) -> io::Result<String> {
    let limit = u64::try_from(FILE_LEN_MAX).unwrap_or(u64::MAX);
    let mut text = String::new();
    from.take(limit.saturating_add(1)).read_to_string(&mut text)?;
    if text.len() > FILE_LEN_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_LEN_MAX} bytes")));
    }
    Ok(text)
}

/// Under its name there is the whole file or none, readable by its owner alone.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A store that was put back gives a reference again: the first request was sent perhaps.
    if path.try_exists()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let part = path.with_extension("part");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&part)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let named = written.and_then(|()| fs::rename(&part, path));
    if named.is_err() {
        // What is half written holds numbers.
        drop(fs::remove_file(&part));
    }
    named
}

fn cannot(path: &Path, why: &io::Error) -> Failure {
    Failure::environment(format!("{}: {why}", path.display()), "check the path and its permissions")
}
