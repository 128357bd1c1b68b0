//! Datasets as byte strings: which of their bytes are asked for and on what condition, and the root over
//! their chunks.
//!
//! Only datasets about nobody are streamed, so nothing in here names anybody.

mod content;
mod wanted;

pub use content::{ContentDigest, ContentMark};
pub use wanted::{ByteRange, Selected, Selection, Unselected, Wanted, is_strong_tag};
