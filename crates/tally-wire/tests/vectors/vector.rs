//! A vector: bytes in `proto/vectors`, and what reading them must give.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::{env, fs};

use tally_wire::{DecodeError, Object, decode_value, encode};

use super::cbor::diagnostic;

type Reader = dyn Fn(&[u8]) -> Result<Read, DecodeError> + Send + Sync;

/// What bytes were read as.
struct Read {
    /// Whether it is the value that the vector was made from.
    same: bool,
    /// Its encoding.
    again: Vec<u8>,
}

/// Bytes, and what reading them must give.
pub(crate) struct Vector {
    name: String,
    /// The CDDL file and the rule in it.
    rule: (&'static str, &'static str),
    bytes: Vec<u8>,
    read: Box<Reader>,
    /// None if they are good.
    code: Option<&'static str>,
}

/// What a value of this type is encoded as.
pub(crate) fn good<T: Object + PartialEq + Debug + Send + Sync + 'static>(
    name: &str,
    rule: (&'static str, &'static str),
    value: T,
) -> Vector {
    let bytes = encode(&value);
    let read = move |bytes: &[u8]| {
        decode_value::<T>(bytes).map(|read| Read { same: read == value, again: encode(&read) })
    };
    Vector { name: name.to_owned(), rule, bytes, read: Box::new(read), code: None }
}

/// What is no value of this type.
pub(crate) fn bad<T: Object>(
    name: &str,
    rule: (&'static str, &'static str),
    bytes: Vec<u8>,
    code: &'static str,
) -> Vector {
    let read = |bytes: &[u8]| {
        decode_value::<T>(bytes).map(|read| Read { same: false, again: encode(&read) })
    };
    Vector { name: format!("bad-{name}"), rule, bytes, read: Box::new(read), code: Some(code) }
}

impl Vector {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Reads the bytes that are committed, and says what is wrong.
    pub(crate) fn wrong(&self) -> Option<String> {
        let wrong = |what: String| Some(format!("{}: {what}", self.name));
        let committed = fs::read(self.path("cbor")).unwrap_or_default();
        if committed != self.bytes {
            return wrong("the committed bytes are others".to_owned());
        }
        if fs::read_to_string(self.path("diag")).unwrap_or_default() != self.text() {
            return wrong("the committed text is another".to_owned());
        }
        match ((self.read)(&committed), self.code) {
            (Ok(read), None) if read.same => None,
            (Ok(_), None) => wrong("reads as another value".to_owned()),
            (Err(error), None) => wrong(format!("refused: {error}")),
            (Ok(_), Some(code)) => wrong(format!("accepted, though {code}")),
            (Err(error), Some(code)) if error.code() == code => None,
            (Err(error), Some(code)) => wrong(format!("{} instead of {code}", error.code())),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads other bytes as what this vector is: refused, or what has these bytes as its encoding.
    pub(crate) fn is_refused_or_canonical(&self, bytes: &[u8]) -> bool {
        (self.read)(bytes).map_or(true, |read| read.again == bytes)
    }

    pub(crate) fn rewrite(&self) {
        fs::write(self.path("cbor"), &self.bytes).unwrap();
        fs::write(self.path("diag"), self.text()).unwrap();
    }

    fn path(&self, extension: &str) -> PathBuf {
        directory().join(format!("{}.{extension}", self.name))
    }

    /// A line for whoever checks the vectors, then the bytes in diagnostic notation.
    fn text(&self) -> String {
        let (file, rule) = self.rule;
        let verdict =
            self.code.map_or_else(|| "accepted".to_owned(), |code| format!("refused, {code}"));
        format!("/ {file}.cddl {rule}: {verdict} /\n{}\n", diagnostic(&self.bytes))
    }
}

/// Where the vectors are.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/vectors")
}

/// Whether the committed files are to be written anew (`just gen`) rather than compared.
pub(crate) fn generates() -> bool {
    env::var_os("GENERATE").is_some()
}
