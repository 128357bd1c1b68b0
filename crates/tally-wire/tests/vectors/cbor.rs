//! A small reader of CBOR for tests alone: prints vectors, and spoils them on purpose.

use std::fmt::Write as _;

/// An item, well-formed or not.
#[derive(Debug, Clone)]
pub(crate) enum Cbor {
    Number(u64),
    Negative(u64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Self>),
    Bool(bool),
    /// Bytes that are written as they are.
    Raw(Vec<u8>),
}

impl Cbor {
    /// Reads one item; none if it is not well-formed, or nothing that we use.
    pub(crate) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first()?;
        *bytes = rest;
        if head >> 5 == 7 {
            return [(0xf4, false), (0xf5, true)]
                .into_iter()
                .find(|(byte, _)| byte == head)
                .map(|(_, truth)| Self::Bool(truth));
        }
        let value = argument(head & 0x1f, bytes)?;
        let len = usize::try_from(value).ok()?;
        match head >> 5 {
            0 => Some(Self::Number(value)),
            1 => Some(Self::Negative(value)),
            2 => Some(Self::Bytes(taken(bytes, len)?.to_vec())),
            3 => String::from_utf8(taken(bytes, len)?.to_vec()).ok().map(Self::Text),
            4 => (0..len).map(|_| Self::read(bytes)).collect::<Option<_>>().map(Self::Array),
            _ => None,
        }
    }

    /// Reads bytes that are one item and nothing else.
    pub(crate) fn whole(mut bytes: &[u8]) -> Option<Self> {
        Self::read(&mut bytes).filter(|_| bytes.is_empty())
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Number(number) => head(0, *number),
            Self::Negative(number) => head(1, *number),
            Self::Bytes(bytes) => [head(2, bytes.len() as u64), bytes.clone()].concat(),
            Self::Text(text) => [head(3, text.len() as u64), text.clone().into_bytes()].concat(),
            Self::Array(items) => {
                let items = items.iter().flat_map(Self::to_bytes);
                head(4, self.len() as u64).into_iter().chain(items).collect()
            }
            Self::Bool(truth) => vec![0xf4 | u8::from(*truth)],
            Self::Raw(bytes) => bytes.clone(),
        }
    }

    /// The item at a place, through arrays and through objects in byte strings.
    pub(crate) fn edit(&mut self, path: &[usize], with: impl FnOnce(&mut Self)) {
        let Some((first, rest)) = path.split_first() else { return with(self) };
        match self {
            Self::Array(items) => items[*first].edit(rest, with),
            Self::Bytes(bytes) => {
                let mut inner = Self::whole(bytes).unwrap();
                inner.edit(path, with);
                *bytes = inner.to_bytes();
            }
            _ => panic!("nothing stands inside {self:?}"),
        }
    }

    fn len(&self) -> usize {
        if let Self::Array(items) = self { items.len() } else { 0 }
    }

    /// Diagnostic notation (RFC 8949 §8, with embedded CBOR of RFC 8610 §G.3), one field a line.
    pub(crate) fn print(&self, indent: usize) -> String {
        let one_line = self.print_short();
        if indent + one_line.len() <= 96 {
            return one_line;
        }
        let inside = |items: &[Self], open, close| {
            let mut text = format!("{open}\n");
            for item in items {
                let line = item.print(indent + 2);
                writeln!(text, "{:width$}{line},", "", width = indent + 2).unwrap();
            }
            let end = text.trim_end_matches(",\n").len();
            text.truncate(end);
            write!(text, "\n{:indent$}{close}", "").unwrap();
            text
        };
        match (self, self.embedded()) {
            (Self::Array(items), _) => inside(items, "[", "]"),
            (_, Some(embedded)) => inside(&[embedded], "<<", ">>"),
            _ => one_line,
        }
    }

    fn print_short(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Negative(number) => format!("-{}", u128::from(*number) + 1),
            Self::Bytes(bytes) => match self.embedded() {
                Some(inner) => format!("<<{}>>", inner.print_short()),
                None => hex(bytes),
            },
            Self::Text(text) => format!("{text:?}"),
            Self::Array(items) => {
                let items = items.iter().map(Self::print_short).collect::<Vec<_>>();
                format!("[{}]", items.join(", "))
            }
            Self::Bool(truth) => truth.to_string(),
            Self::Raw(bytes) => hex(bytes),
        }
    }

    /// What a byte string holds, if that is an object of ours.
    fn embedded(&self) -> Option<Self> {
        let Self::Bytes(bytes) = self else { return None };
        let inner = Self::whole(bytes)?;
        let Self::Array(items) = &inner else { return None };
        matches!(items.as_slice(), [Self::Number(_), Self::Number(1), ..]).then_some(inner)
    }
}

/// What stands in a `.diag` file; bytes that are not well-formed are shown as they are.
pub(crate) fn diagnostic(bytes: &[u8]) -> String {
    Cbor::whole(bytes).map_or_else(|| hex(bytes), |item| item.print(0))
}

/// Long strings are cut: the `.cbor` file has them whole.
fn hex(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 1024;
    let mut text = "h'".to_owned();
    bytes.iter().take(SHOWN_MAX).for_each(|byte| write!(text, "{byte:02x}").unwrap());
    text.push('\'');
    if bytes.len() > SHOWN_MAX {
        write!(text, " / the first {SHOWN_MAX} of {} bytes /", bytes.len()).unwrap();
    }
    text
}

fn argument(low: u8, bytes: &mut &[u8]) -> Option<u64> {
    match low {
        0..24 => Some(u64::from(low)),
        24..28 => {
            let taken = taken(bytes, 1 << (low - 24))?;
            Some(taken.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
        }
        _ => None,
    }
}

fn taken<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

fn head(major: u8, value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let major = major << 5;
    match value {
        0..24 => vec![major | bytes[7]],
        24..0x100 => vec![major | 24, bytes[7]],
        0x100..0x1_0000 => [&[major | 25], &bytes[6..]].concat(),
        0x1_0000..0x1_0000_0000 => [&[major | 26], &bytes[4..]].concat(),
        _ => [&[major | 27], bytes.as_slice()].concat(),
    }
}
