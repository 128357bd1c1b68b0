use proptest::prelude::*;

use super::*;

// The key and note of the tests of golang.org/x/mod/sumdb/note.
const PETER_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_SECRET: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const PETER_TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                          then you don't know what your problem is.\n";
const PETER_LINE: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const ENOCH_KEY: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";

// The key and note of the test vectors of C2SP signed-note.
const FOO_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const FOO_NOTE: &str = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

fn key(text: &str) -> NoteKey {
    text.parse().unwrap()
}

fn peter_note() -> String {
    format!("{PETER_TEXT}\n{PETER_LINE}")
}

fn peter() -> NoteSigner {
    let secret = parse_base64(PETER_SECRET).unwrap();
    let seed: &[u8; 32] = secret[1..].try_into().unwrap();
    NoteSigner::new(KeyName::new("PeterNeumann").unwrap(), SigningKey::from_seed(seed))
}

fn refused(text: impl AsRef<[u8]>) -> BadNote {
    Note::parse(text.as_ref()).unwrap_err()
}

#[test]
fn published_notes_verify() {
    for (text, vkey) in [(peter_note(), PETER_KEY), (FOO_NOTE.to_owned(), FOO_KEY)] {
        let note = Note::parse(text.as_bytes()).unwrap();
        let vkey = key(vkey);
        assert_eq!(note.verify([&vkey]), Ok(vec![Verified { key: &vkey, time_s: None }]));
        assert_eq!(note.to_string(), text);
        let other = text.replacen("is", "Is", 1);
        let other = Note::parse(other.as_bytes()).unwrap();
        let bad = NotVerified::BadSignature(vkey.name().clone());
        assert_eq!(other.verify([&vkey]), Err(bad));
    }
}

#[test]
fn signing_gives_the_published_bytes() {
    assert_eq!(peter().key(), &key(PETER_KEY));
    let mut note = Note::new(PETER_TEXT.to_owned()).unwrap();
    note.add(peter().sign(PETER_TEXT)).unwrap();
    assert_eq!(note.to_string(), peter_note());
}

#[test]
fn keys_print_as_they_were_read() {
    for text in [
        PETER_KEY,
        ENOCH_KEY,
        FOO_KEY,
        "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6",
    ] {
        assert_eq!(key(text).to_string(), text);
    }
}

#[test]
fn a_mangled_key_is_refused() {
    let whole = PETER_KEY.as_bytes();
    for begin in 0..whole.len() {
        for end in begin..whole.len() {
            assert!(PETER_KEY[begin..end].parse::<NoteKey>().is_err());
        }
        let mut bent = whole.to_vec();
        bent[begin] += 1;
        assert_ne!(std::str::from_utf8(&bent).unwrap().parse(), Ok(key(PETER_KEY)));
    }
    let wrong_length = "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==";
    assert_eq!(wrong_length.parse::<NoteKey>(), Err(BadNoteKey::BadText));
    let upper = "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    assert_eq!(upper.parse::<NoteKey>(), Err(BadNoteKey::BadText));
    let other_name = PETER_KEY.replace("Peter", "Petra");
    assert_eq!(other_name.parse::<NoteKey>(), Err(BadNoteKey::WrongId));
}

#[test]
fn a_key_of_another_kind_is_kept_and_verifies_nothing() {
    let text = "PeterNeumann+c74f20a3+Bhpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let other = key(text);
    assert_eq!(other.to_string(), text);
    assert!(matches!(other.kind(), KeyKind::Unknown { kind: 6, .. }));
    let note = Note::parse(peter_note().as_bytes()).unwrap();
    assert_eq!(note.verify([&other]), Err(NotVerified::NoKnownKey));
    let peter = key(PETER_KEY);
    assert_eq!(note.verify([&other, &peter]).unwrap().len(), 1);
}

#[test]
fn a_name_has_no_space_no_plus_and_an_end() {
    for good in ["a", "example.com/log", "é", &"a".repeat(255)] {
        assert!(KeyName::new(good).is_ok(), "{good}");
    }
    for bad in ["", "a b", "a+b", "a\tb", "a\nb", "a\u{a0}b", "a\u{2003}b", "a\0", &"a".repeat(256)]
    {
        assert_eq!(KeyName::new(bad), Err(BadKeyName), "{bad:?}");
    }
}

#[test]
fn what_is_no_note_is_refused() {
    assert_eq!(refused(PETER_TEXT), BadNote::NoSignatures);
    assert_eq!(refused(format!("{PETER_TEXT}\n")), BadNote::NoSignatures);
    assert_eq!(refused(""), BadNote::NoSignatures);
    assert_eq!(refused(peter_note().trim_end()), BadNote::BadSignatureLine);
    assert_eq!(refused(format!("\x01{}", peter_note())), BadNote::NotText);
    assert_eq!(refused(peter_note().replace('\n', "\r\n")), BadNote::NoSignatures);
    assert_eq!(refused([b"\xff", peter_note().as_bytes()].concat()), BadNote::NotText);
    assert_eq!(refused(peter_note() + "Unexpected line.\n"), BadNote::BadSignatureLine);
    let note = |line: &str| format!("{PETER_TEXT}\n{line}\n");
    for line in [
        "— Bad Name x08go/ZJkuBS9UG/",
        "- PeterNeumann x08go/ZJkuBS9UG/",
        "— PeterNeumann",
        "— PeterNeumann  x08go/ZJkuBS9UG/",
        "— PeterNeumann x08go/ZJkuBS9UG/ ",
        "— PeterNeumann x08gow==",
        "— PeterNeumann x08go/ZJkuBS9UG",
    ] {
        assert_eq!(refused(note(line)), BadNote::BadSignatureLine, "{line}");
    }
}

#[test]
fn a_text_may_have_blank_lines() {
    let text = "one\n\ntwo\n\n";
    let mut note = Note::new(text.to_owned()).unwrap();
    note.add(peter().sign(text)).unwrap();
    let read = Note::parse(note.to_string().as_bytes()).unwrap();
    assert_eq!(read.text(), text);
    assert!(read.verify([peter().key()]).is_ok());
    assert_eq!(Note::new("unended".to_owned()), Err(BadNote::TextNotEnded));
}

#[test]
fn a_note_has_at_most_100_signatures() {
    let note = |count| format!("{PETER_TEXT}\n{}", PETER_LINE.repeat(count));
    let mut full = Note::parse(note(100).as_bytes()).unwrap();
    assert_eq!(full.verify([&key(PETER_KEY)]).unwrap().len(), 1);
    assert_eq!(full.add(peter().sign(PETER_TEXT)), Err(BadNote::TooManySignatures));
    assert_eq!(refused(note(101)), BadNote::TooManySignatures);
    assert_eq!(refused(vec![b'a'; NOTE_BYTES_MAX + 1]), BadNote::TooLong(NOTE_BYTES_MAX + 1));
}

#[test]
fn unknown_keys_are_ignored_but_a_known_one_must_verify() {
    let (peter, enoch) = (key(PETER_KEY), key(ENOCH_KEY));
    let note = Note::parse(peter_note().as_bytes()).unwrap();
    assert_eq!(note.verify([&enoch]), Err(NotVerified::NoKnownKey));
    assert_eq!(note.verify([&enoch, &peter]).unwrap().len(), 1);
    let mut forged = note;
    forged.add(enoch.signature(vec![0; 64])).unwrap();
    assert!(forged.verify([&peter]).is_ok());
    let bad = NotVerified::BadSignature(enoch.name().clone());
    assert_eq!(forged.verify([&peter, &enoch]), Err(bad));
    // The same name with another id is another key.
    let namesake = NoteSigner::new(peter.name().clone(), SigningKey::from_seed(&[9; 32]));
    assert_eq!(forged.verify([namesake.key()]), Err(NotVerified::NoKnownKey));
}

proptest! {
    #[test]
    fn whatever_parses_prints_as_it_was_read(
        text in "[a-z \n—]{0,20}",
        lines in prop::collection::vec("(— )?[a-z+]{1,3} [A-Za-z0-9+/]{8}(==|=|[A-Z]{4})?", 0..4),
    ) {
        let whole = format!("{text}\n\n{}\n", lines.join("\n"));
        if let Ok(note) = Note::parse(whole.as_bytes()) {
            prop_assert_eq!(note.to_string(), whole);
        }
    }
}
