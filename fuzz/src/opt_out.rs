//! Files of the national data opt-out: what is taken is written again as the same bytes, what is cut
//! short names nobody else, and no error repeats a number.

use std::collections::BTreeSet;

use tally_core::id::CheckDigit;
use tally_record::opt_out::{
    BAD_LINES_MAX, BadOptOutFile, read_list, read_reply, read_request, write,
};

pub fn fuzz(data: &[u8]) {
    for check in [CheckDigit::Checked, CheckDigit::Skipped] {
        request(data, check);
        reply(data, check);
        list(data, check);
    }
}

fn request(data: &[u8], check: CheckDigit) {
    match read_request(data, check) {
        Ok(numbers) => {
            assert_eq!(write(&numbers), data, "what is written is not what was read");
            let once: BTreeSet<_> = numbers.iter().collect();
            assert_eq!(once.len(), numbers.len(), "somebody stands there twice");
            // Whatever is taken with the check is taken without.
            assert_eq!(read_request(data, CheckDigit::Skipped), Ok(numbers));
        }
        Err(why) => says_no_number(&why),
    }
}

fn reply(data: &[u8], check: CheckDigit) {
    let read = read_reply(data, check);
    match &read {
        Ok(numbers) => assert_eq!(read_request(data, check).as_ref(), Ok(numbers)),
        Err(why) => {
            says_no_number(why);
            assert!(read_request(data, check).is_err(), "a reply has the form of a request");
        }
    }
    let shorter = data.get(..data.len() / 2).unwrap_or_default();
    if let (Ok(numbers), Ok(fewer)) = (read, read_reply(shorter, check)) {
        assert!(numbers.starts_with(&fewer), "a reply that was cut short names somebody else");
    }
}

fn list(data: &[u8], check: CheckDigit) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match read_list(text, check) {
        Ok(numbers) => {
            let ordered: Vec<_> = numbers.into_iter().collect();
            assert_eq!(read_request(&write(&ordered), check), Ok(ordered));
        }
        Err(why) => {
            says_no_number(&why);
            assert!(read_request(data, check).is_err(), "a request is a list too");
        }
    }
}

fn says_no_number(why: &BadOptOutFile) {
    if let BadOptOutFile::Lines { bad, count } = why {
        assert_eq!(bad.len(), (*count).min(BAD_LINES_MAX));
        assert!(bad.is_sorted_by(|a, b| a.line < b.line));
    }
    let said = why.to_string();
    let digits = said.split(|char: char| !char.is_ascii_digit()).map(str::len).max();
    assert!(digits.unwrap_or(0) < 6, "{said}");
}
