//! Where the entries stand, in little memory: one mark for each stretch of 64 KiB.
//!
//! Invariant: from a mark up to the index of the next one, the entries stand one behind the other in
//! one segment, in order, with none among them that a truncation killed. A truncation, a new segment
//! and a gap each start a new stretch.

use crate::marks::Position;

/// Marks in the order of the entries.
#[derive(Debug, Default)]
pub(super) struct Index {
    marks: Vec<Mark>,
    /// Bytes of frames since the last mark.
    stretch: u64,
    /// The next entry that continues the stretch.
    next: Option<u64>,
}

/// An entry whose place is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(super) index: u64,
    pub(super) position: Position,
}

/// Where to start reading for an entry, and how far the stretch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) start: Mark,
    /// The first index that is not in the stretch; `None` if it is the last one.
    pub(super) end: Option<u64>,
}

const STRETCH_BYTES: u64 = 64 << 10;

impl Index {
    /// An entry was written; `bytes` is the size of its frame.
    pub(super) fn add(&mut self, index: u64, position: Position, bytes: u64) {
        let same_segment =
            self.marks.last().is_some_and(|mark| mark.position.segment == position.segment);
        let continues = self.next == Some(index) && same_segment;
        if !continues || self.stretch >= STRETCH_BYTES {
            self.marks.push(Mark { index, position });
            self.stretch = 0;
        }
        self.stretch = self.stretch.saturating_add(bytes);
        self.next = index.checked_add(1);
    }

    /// Entries behind `last` are dead; without it, all are.
    pub(super) fn truncate_after(&mut self, last: Option<u64>) {
        let kept = self.marks.partition_point(|mark| last.is_some_and(|last| mark.index <= last));
        self.marks.truncate(kept);
        self.next = None;
    }

    /// Takes in the marks of a closed segment. What it has takes the place of what was there before:
    /// entries that it holds again are dead further up.
    pub(super) fn extend(&mut self, marks: &[Mark], last: Option<u64>) {
        let kept = marks.first().map_or(last, |mark| mark.index.checked_sub(1));
        self.truncate_after(kept);
        self.marks.extend_from_slice(marks);
    }

    /// All marks, in order.
    pub(super) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The stretch that holds an entry; `None` if it would be before all of them.
    pub(super) fn find(&self, index: u64) -> Option<Stretch> {
        let next = self.marks.partition_point(|mark| mark.index <= index);
        let start = *self.marks.get(next.checked_sub(1)?)?;
        Some(Stretch { start, end: self.marks.get(next).map(|mark| mark.index) })
    }

    /// How many marks there are: what the index costs.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_million_small_entries_need_few_marks() {
        let mut index = Index::default();
        for entry in 0..10_000_000u64 {
            let segment = u32::try_from(entry / 600_000).unwrap();
            index.add(entry, at(segment, 96 + entry % 600_000 * 400), 400);
        }
        assert!(index.len() < 62_000, "{}", index.len());
        let stretch = index.find(9_999_999).unwrap();
        assert!(stretch.start.index > 9_999_999 - 164);
        assert_eq!(stretch.end, None);
    }

    #[test]
    fn what_follows_a_truncation_is_found_behind_it_and_not_among_the_dead() {
        let mut index = Index::default();
        (5..=8).for_each(|entry| index.add(entry, at(0, entry * 100), 100));
        index.truncate_after(Some(6));
        index.add(7, at(0, 2000), 100);
        index.add(8, at(0, 2100), 100);
        assert_eq!(index.find(4), None);
        let start = Mark { index: 5, position: at(0, 500) };
        assert_eq!(index.find(6), Some(Stretch { start, end: Some(7) }));
        let start = Mark { index: 7, position: at(0, 2000) };
        assert_eq!(index.find(8), Some(Stretch { start, end: None }));
        index.truncate_after(Some(7));
        index.add(9, at(0, 2300), 100);
        assert_eq!(index.find(9).unwrap().start, Mark { index: 9, position: at(0, 2300) });
        index.truncate_after(None);
        assert_eq!(index.find(8), None);
    }

    #[test]
    fn a_stretch_never_crosses_segments_or_gaps() {
        let mut index = Index::default();
        index.add(0, at(0, 96), 100);
        index.add(1, at(1, 96), 100);
        index.add(9, at(1, 196), 100);
        assert_eq!(index.len(), 3);
    }

    fn at(segment: u32, offset: u64) -> Position {
        Position { segment, offset }
    }
}
