//! What a witness said, by status and body (C2SP tlog-witness, add-checkpoint).

use tally_log::note::signature_lines;
use tally_log::{NoteKey, NoteSignature, SignedCheckpoint};

use super::feeder::{Answered, Why};
use crate::published::note::is_by;

/// What came of it, and the cosignature if it is a good one.
pub(super) fn read(
    status: u16,
    body: &[u8],
    key: &NoteKey,
    old: u64,
    asked: &SignedCheckpoint,
) -> (Answered, Option<NoteSignature>) {
    let refused = |why| (Answered::Refused(why), None);
    match status {
        200 => cosignature(body, key, asked),
        // It was asked from the very size that it is to cosign: what it has of that size is another
        // root, which the specification answers with 409, too.
        409 if old == asked.checkpoint().size && size(body).is_none_or(|it| it == old) => {
            refused(Why::History)
        }
        409 => match size(body) {
            Some(size) => (Answered::Conflict(size), None),
            None => refused(Why::Answer),
        },
        400 => refused(Why::Request),
        403 => refused(Why::LogKey),
        404 => refused(Why::UnknownLog),
        422 => refused(Why::History),
        // Too busy, or broken: nothing is known.
        500.. => (Answered::Failed, None),
        _ => refused(Why::Answer),
    }
}

/// Of the lines that a witness answers, those by its key count; under its name may stand others, of
/// kinds that nobody here verifies.
fn cosignature(
    body: &[u8],
    key: &NoteKey,
    asked: &SignedCheckpoint,
) -> (Answered, Option<NoteSignature>) {
    let lines = std::str::from_utf8(body).ok().and_then(|text| signature_lines(text).ok());
    let Some(lines) = lines else { return (Answered::Refused(Why::Answer), None) };
    let mut own = lines.into_iter().filter(|line| is_by(line, key));
    let (Some(line), None) = (own.next(), own.next()) else {
        return (Answered::Refused(Why::Answer), None);
    };
    let mut note = asked.by_log_only();
    if note.add(line.clone()).is_err() || note.note().verify([key]).is_err() {
        return (Answered::Refused(Why::Signature), None);
    }
    (Answered::Cosigned(asked.checkpoint().size), Some(line))
}

/// A plain decimal, and a newline as a rule.
fn size(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let size = text.parse::<u64>().ok()?;
    (size.to_string() == text).then_some(size)
}

#[cfg(test)]
mod tests {
    use tally_log::leaf_hash;

    use super::*;
    use crate::published::note::tests::{cosigned, cosigner, signed};

    fn asked() -> SignedCheckpoint {
        signed(9, leaf_hash(b"root"), &[1])
    }

    fn lines(by: &[u8]) -> String {
        let all = cosigned(&asked(), by);
        let lines = all.note().signatures().iter().skip(1);
        lines.map(|line| format!("{line}\n")).collect()
    }

    fn said(status: u16, body: &str) -> Answered {
        said_from(4, status, body)
    }

    fn said_from(old: u64, status: u16, body: &str) -> Answered {
        let (answered, line) = read(status, body.as_bytes(), cosigner(1).key(), old, &asked());
        assert_eq!(line.is_some(), matches!(answered, Answered::Cosigned(_)));
        answered
    }

    #[test]
    fn the_line_of_its_key_counts_and_others_are_passed_over() {
        assert_eq!(said(200, &lines(&[1])), Answered::Cosigned(9));
        assert_eq!(said(200, &lines(&[2, 1, 3])), Answered::Cosigned(9));
        // The same name with another key: an ML-DSA cosignature has an id of its own.
        let name = cosigner(1).key().name().clone();
        let mut other = cosigner(2).cosign(asked().checkpoint(), 9).unwrap();
        other.name = name;
        assert_eq!(said(200, &format!("{other}\n{}", lines(&[1]))), Answered::Cosigned(9));
    }

    #[test]
    fn a_cosignature_that_fails_does_not_count() {
        let older = cosigner(1).cosign(signed(8, leaf_hash(b"root"), &[1]).checkpoint(), 9);
        let older = format!("{}\n", older.unwrap());
        assert_eq!(said(200, &older), Answered::Refused(Why::Signature));
        for nothing in ["", "\n", "cosigned", &lines(&[2]), &lines(&[1]).repeat(2)] {
            assert_eq!(said(200, nothing), Answered::Refused(Why::Answer), "{nothing}");
        }
    }

    #[test]
    fn each_status_says_what_it_does_in_the_specification() {
        assert_eq!(said(409, "1000\n"), Answered::Conflict(1000));
        assert_eq!(said(409, "0"), Answered::Conflict(0));
        for bad in ["", "01\n", "+1\n", "1\n\n", "18446744073709551616\n"] {
            assert_eq!(said(409, bad), Answered::Refused(Why::Answer), "{bad}");
        }
        for (status, why) in [
            (400, Why::Request),
            (403, Why::LogKey),
            (404, Why::UnknownLog),
            (422, Why::History),
            (204, Why::Answer),
        ] {
            assert_eq!(said(status, ""), Answered::Refused(why));
        }
        assert_eq!(said(503, ""), Answered::Failed);
    }

    #[test]
    fn a_conflict_from_the_size_that_was_asked_about_is_another_history() {
        for body in ["9\n", "9", ""] {
            assert_eq!(said_from(9, 409, body), Answered::Refused(Why::History), "{body}");
        }
        assert_eq!(said_from(9, 409, "7\n"), Answered::Conflict(7));
        assert_eq!(said_from(7, 409, "9\n"), Answered::Conflict(9));
    }
}
