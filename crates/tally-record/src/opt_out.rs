//! The files of the national data opt-out's check service, as they travel over MESH (DCB3058, now
//! NHS England's S73): numbers go out, and those that may be used come back.
//!
//! Invariant: a file that is taken has one form, to the byte: each line one NHS number of ten digits
//! and a comma, ended by LF. What is read and written again are the same bytes, and an error says
//! which line is wrong and why, never what stands there.
//!
//! The reply names whom data may be used of. Who is missing has opted out, or is unknown to the
//! service: both are left out, so a reply that was cut short at the end of a line releases less.

use std::collections::BTreeSet;

use tally_core::id::{BadId, BadNhsNumber, CheckDigit, NhsNumber, OptOutReference};

/// Lines of a file at most: as many people as one exchange may be about.
pub const LINES_MAX: usize = 65_536;
/// Bytes of a line: ten digits, comma, LF.
const LINE_LEN: usize = 12;
/// Bytes of a file at most.
pub const FILE_LEN_MAX: usize = LINES_MAX * LINE_LEN;
/// Bad lines that an error names; the others it counts.
pub const BAD_LINES_MAX: usize = 20;
/// What the names of files end in.
const EXTENSION: &str = ".dat";

/// Why a file is not taken. Holds nothing of what stands in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOptOutFile {
    /// There is more of it than fits.
    #[error("the file has more than {LINES_MAX} lines, or bytes for as many")]
    TooLarge,
    /// It is the one line by which the service says that it could not take the request. What it says
    /// may quote numbers, so it is not repeated.
    #[error("the service could not take the request: the file is one line of words, no reply")]
    ErrorFile,
    /// Lines are wrong; half a file is none.
    #[error("{}", lines(bad, *count))]
    Lines {
        /// The first of them.
        bad: Vec<BadLine>,
        /// How many there are.
        count: usize,
    },
}

/// A line that is wrong, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct BadLine {
    /// The line, from 1.
    pub line: usize,
    /// Why.
    pub why: LineFault,
}

/// Why a line is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// The number is none.
    #[error(transparent)]
    Number(#[from] BadNhsNumber),
    /// It does not end with one comma.
    #[error("a comma has to follow the number, and nothing else")]
    Comma,
    /// It ends with CR LF.
    #[error("the line ends with CR LF: it has to be LF alone")]
    CarriageReturn,
    /// No LF ends it: the file may have been cut short.
    #[error("no line feed ends the line: the file may have been cut short")]
    NotEnded,
    /// An earlier line has the same number.
    #[error("the number stands on an earlier line too")]
    Twice,
}

/// A request: these numbers, in this order.
#[must_use]
pub fn write(numbers: &[NhsNumber]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(numbers.len().saturating_mul(LINE_LEN));
    for number in numbers {
        bytes.extend_from_slice(number.reveal().as_bytes());
        bytes.extend_from_slice(b",\n");
    }
    bytes
}

/// The numbers of a request or a list in its form, in their order.
///
/// # Errors
/// [`BadOptOutFile`] with all that is wrong.
pub fn read_request(bytes: &[u8], check: CheckDigit) -> Result<Vec<NhsNumber>, BadOptOutFile> {
    if bytes.len() > FILE_LEN_MAX {
        return Err(BadOptOutFile::TooLarge);
    }
    let mut numbers = Vec::with_capacity(bytes.len() / LINE_LEN);
    let mut seen = BTreeSet::new();
    let (mut bad, mut count) = (Vec::new(), 0);
    for (place, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match read_line(line, check, &mut seen) {
            Ok(number) => numbers.push(number),
            Err(why) => {
                count += 1;
                if bad.len() < BAD_LINES_MAX {
                    bad.push(BadLine { line: place + 1, why });
                }
            }
        }
    }
    if count > 0 { Err(BadOptOutFile::Lines { bad, count }) } else { Ok(numbers) }
}

/// The numbers of a reply: those whose data may be used. None if nobody's may.
///
/// # Errors
/// [`BadOptOutFile`]; [`BadOptOutFile::ErrorFile`] if the service says that something is wrong.
pub fn read_reply(bytes: &[u8], check: CheckDigit) -> Result<Vec<NhsNumber>, BadOptOutFile> {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let one_line = !line.contains(&b'\n');
    if one_line && line.iter().any(u8::is_ascii_alphabetic) {
        return Err(BadOptOutFile::ErrorFile);
    }
    read_request(bytes, check)
}

/// The numbers of a list that somebody keeps: one a line, written as they like, with or without a comma,
/// in any order. A number that stands there twice counts once.
///
/// # Errors
/// [`BadOptOutFile`] with all that is wrong.
pub fn read_list(text: &str, check: CheckDigit) -> Result<BTreeSet<NhsNumber>, BadOptOutFile> {
    let mut numbers = BTreeSet::new();
    let (mut bad, mut count) = (Vec::new(), 0);
    for (place, line) in text.lines().enumerate() {
        let line = line.trim();
        let line = line.strip_suffix(',').unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        match NhsNumber::parse(line, check) {
            Ok(number) => drop(numbers.insert(number)),
            Err(why) => {
                count += 1;
                if bad.len() < BAD_LINES_MAX {
                    bad.push(BadLine { line: place + 1, why: why.into() });
                }
            }
        }
    }
    if count > 0 { Err(BadOptOutFile::Lines { bad, count }) } else { Ok(numbers) }
}

/// The name of a request's file.
#[must_use]
pub fn file_name(reference: &OptOutReference) -> String {
    format!("{reference}{EXTENSION}")
}

/// The reference that a file's name says.
///
/// # Errors
/// [`BadId`] if it is no such name.
pub fn reference_of(file_name: &str) -> Result<OptOutReference, BadId> {
    file_name.strip_suffix(EXTENSION).unwrap_or_default().parse()
}

fn read_line(
    line: &[u8],
    check: CheckDigit,
    seen: &mut BTreeSet<NhsNumber>,
) -> Result<NhsNumber, LineFault> {
    let line = line.strip_suffix(b"\n").ok_or(LineFault::NotEnded)?;
    if line.ends_with(b"\r") {
        return Err(LineFault::CarriageReturn);
    }
    let digits = line.strip_suffix(b",").ok_or(LineFault::Comma)?;
    if digits.contains(&b',') {
        return Err(LineFault::Comma);
    }
    // The forms with separators, which a number may have elsewhere, would not be written again.
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(BadNhsNumber::Character.into());
    }
    let digits = std::str::from_utf8(digits).map_err(|_| BadNhsNumber::Character)?;
    let number = NhsNumber::parse(digits, check)?;
    if seen.insert(number) { Ok(number) } else { Err(LineFault::Twice) }
}

fn lines(bad: &[BadLine], count: usize) -> String {
    let mut text = bad.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let more = count.saturating_sub(bad.len());
    if more > 0 {
        text.push_str(&format!("; and {more} more bad lines"));
    }
    text
}

#[cfg(test)]
mod tests;
