//! Bundles of entries: each entry behind its length, a big-endian u16.

use super::{TILE_WIDTH, TilePath};

/// The longest entry that a bundle can hold, in bytes.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// What is wrong with the entries or with the bytes of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBundle {
    /// The writer's fault: the length of an entry is two bytes.
    #[error("an entry of {0} bytes is too long")]
    EntryTooLong(usize),
    /// The writer's fault: a bundle holds 256 entries.
    #[error("a bundle does not hold {0} entries")]
    TooMany(usize),
    /// The file's fault: it ends within an entry, or before as many as there should be.
    #[error("the bundle ends early")]
    EndsEarly,
    /// The file's fault: something follows the last entry.
    #[error("the bundle goes on after its last entry")]
    GoesOn,
}

/// The bytes of a bundle of these entries, 256 at most.
///
/// # Errors
/// [`BadBundle`] if there are more, or one is longer than [`ENTRY_BYTES_MAX`].
pub fn encode_bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, BadBundle> {
    if entries.len() > usize::from(TILE_WIDTH) {
        return Err(BadBundle::TooMany(entries.len()));
    }
    let length = entries.iter().map(|entry| 2 + entry.as_ref().len()).sum();
    let mut bytes = Vec::with_capacity(length);
    for entry in entries {
        let entry = entry.as_ref();
        let length =
            u16::try_from(entry.len()).map_err(|_| BadBundle::EntryTooLong(entry.len()))?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}

/// The entries in the bundle at `path`.
///
/// # Errors
/// [`BadBundle`] if it does not hold exactly as many as the path says.
pub fn bundle_entries(path: TilePath, bytes: &[u8]) -> Result<Vec<&[u8]>, BadBundle> {
    let mut entries = Vec::with_capacity(path.width().into());
    let mut rest = bytes;
    for _ in 0..path.width() {
        let (entry, after) = split_entry(rest)?;
        entries.push(entry);
        rest = after;
    }
    if rest.is_empty() { Ok(entries) } else { Err(BadBundle::GoesOn) }
}

/// The bytes of the first `width` entries: the partial bundle that this one grew from.
///
/// # Errors
/// [`BadBundle::EndsEarly`] if it holds fewer.
pub fn bundle_prefix(bytes: &[u8], width: u16) -> Result<&[u8], BadBundle> {
    let rest = (0..width).try_fold(bytes, |rest, _| split_entry(rest).map(|(_, after)| after))?;
    bytes.get(..bytes.len() - rest.len()).ok_or(BadBundle::EndsEarly)
}

fn split_entry(bytes: &[u8]) -> Result<(&[u8], &[u8]), BadBundle> {
    let (length, rest) = bytes.split_first_chunk().ok_or(BadBundle::EndsEarly)?;
    rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or(BadBundle::EndsEarly)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::TileContent;
    use super::*;

    fn path(width: usize) -> TilePath {
        TilePath::new(TileContent::Entries, 0, u16::try_from(width).unwrap()).unwrap()
    }

    #[test]
    fn an_entry_stands_behind_its_length() {
        let bytes = encode_bundle(&[b"ab".as_slice(), b"", b"c"]).unwrap();
        assert_eq!(bytes, b"\x00\x02ab\x00\x00\x00\x01c");
        assert_eq!(bundle_prefix(&bytes, 1), Ok(b"\x00\x02ab".as_slice()));
        assert_eq!(bundle_prefix(&bytes, 2), Ok(b"\x00\x02ab\x00\x00".as_slice()));
        assert_eq!(bundle_prefix(&bytes, 4), Err(BadBundle::EndsEarly));
    }

    #[test]
    fn an_entry_has_a_longest_length_and_a_bundle_a_largest_count() {
        assert!(encode_bundle(&[vec![0; ENTRY_BYTES_MAX]]).is_ok());
        let long = encode_bundle(&[vec![0; ENTRY_BYTES_MAX + 1]]);
        assert_eq!(long, Err(BadBundle::EntryTooLong(65_536)));
        assert_eq!(encode_bundle(&[b""; 257]), Err(BadBundle::TooMany(257)));
    }

    #[test]
    fn a_bundle_holds_as_many_as_its_path_says() {
        let bytes = encode_bundle(&[b"ab", b"cd"]).unwrap();
        assert_eq!(bundle_entries(path(1), &bytes), Err(BadBundle::GoesOn));
        assert_eq!(bundle_entries(path(3), &bytes), Err(BadBundle::EndsEarly));
        assert_eq!(bundle_entries(path(2), &bytes[..7]), Err(BadBundle::EndsEarly));
    }

    proptest! {
        #[test]
        fn entries_come_back_as_they_were(
            entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..=256),
            width in any::<prop::sample::Index>(),
        ) {
            let bytes = encode_bundle(&entries).unwrap();
            prop_assert_eq!(bundle_entries(path(entries.len()), &bytes).unwrap(), &entries[..]);
            let width = width.index(entries.len());
            let shorter = encode_bundle(&entries[..width]).unwrap();
            let width = u16::try_from(width).unwrap();
            prop_assert_eq!(bundle_prefix(&bytes, width), Ok(shorter.as_slice()));
        }
    }
}
