//! Looks for texts in files and other bytes: as they are, and as base64 and hexadecimal digits would
//! have them, wherever they stand in what was encoded.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// What is looked for.
pub(super) struct Needles {
    /// What, and one of the forms that it may have.
    forms: Vec<(String, Vec<u8>)>,
    /// The forms by their first two bytes.
    by_start: Vec<Vec<usize>>,
}

impl Needles {
    /// Each of four bytes or more: shorter ones are found anywhere.
    pub(super) fn of(texts: &[&str]) -> Self {
        let forms = texts.iter().flat_map(|text| {
            assert!(text.len() >= 4, "{text}");
            forms(text).into_iter().map(|form| ((*text).to_owned(), form))
        });
        let forms = forms.collect::<Vec<_>>();
        let mut by_start = vec![Vec::new(); 1 << 16];
        for (place, (_, form)) in forms.iter().enumerate() {
            by_start[start_of(form)].push(place);
        }
        Self { forms, by_start }
    }

    /// Those that are there.
    pub(super) fn in_bytes(&self, bytes: &[u8]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (at, two) in bytes.windows(2).enumerate() {
            for place in &self.by_start[start_of(two)] {
                let (text, form) = &self.forms[*place];
                if bytes[at..].starts_with(form) {
                    found.insert(text.clone());
                }
            }
        }
        found
    }

    /// Those that are in the files below a directory, each with its file; and how many files there
    /// are. The names of the files count too.
    pub(super) fn below(&self, dir: &Path) -> (BTreeSet<(String, String)>, usize) {
        let (mut found, mut files) = (BTreeSet::new(), 0);
        let mut directories = vec![dir.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                let mut here = self.in_bytes(name.as_bytes());
                if path.is_dir() {
                    directories.push(path);
                } else if path.is_file() {
                    files += 1;
                    here.extend(self.in_bytes(&fs::read(&path).unwrap()));
                }
                found.extend(here.into_iter().map(|text| (name.clone(), text)));
            }
        }
        (found, files)
    }
}

fn start_of(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

fn forms(text: &str) -> Vec<Vec<u8>> {
    let digits = text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut forms = vec![text.into(), digits.to_uppercase().into(), digits.into()];
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        for before in 0..3 {
            let bytes = [&vec![0; before], text.as_bytes()].concat();
            let encoded = engine.encode(&bytes);
            // Digits that hang on what stands before or behind are left out.
            let from = (before * 4).div_ceil(3);
            let to = bytes.len() * 4 / 3;
            forms.push(encoded.as_bytes()[from..to].to_vec());
        }
    }
    forms.sort_unstable();
    forms.dedup();
    forms
}

#[test]
fn what_is_there_is_found_however_it_is_written() {
    let needles = Needles::of(&["9990000018", "Quillfeather"]);
    let alone = |bytes: &[u8]| needles.in_bytes(bytes).into_iter().collect::<Vec<_>>();
    assert_eq!(alone(b"a 9990000018."), ["9990000018"]);
    for before in 0..7 {
        let within = [&vec![b'x'; before], b"9990000018 said".as_slice()].concat();
        assert_eq!(alone(STANDARD_NO_PAD.encode(&within).as_bytes()), ["9990000018"], "{before}");
        assert_eq!(alone(URL_SAFE_NO_PAD.encode(&within).as_bytes()), ["9990000018"]);
        let digits = within.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
        assert_eq!(alone(digits.as_bytes()), ["9990000018"]);
    }
    assert!(alone(b"9990000019 Quill feather").is_empty());
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("below")).unwrap();
    fs::write(dir.path().join("below/a-Quillfeather"), "and 9990000018").unwrap();
    let (found, files) = needles.below(dir.path());
    assert_eq!((found.len(), files), (2, 1), "{found:?}");
}
