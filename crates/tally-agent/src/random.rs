//! Random bytes of the operating system.

use aws_lc_rs::rand;

/// So many random bytes; none if the system gives none.
#[must_use]
pub fn bytes<const LEN: usize>() -> Option<[u8; LEN]> {
    let mut bytes = [0; LEN];
    rand::fill(&mut bytes).ok()?;
    Some(bytes)
}

/// Puts a list into a random order, so that a place in it tells nothing. None if the system gives no
/// randomness.
#[must_use]
pub fn shuffle<T>(items: Vec<T>) -> Option<Vec<T>> {
    let mut drawn = items
        .into_iter()
        .map(|item| bytes::<16>().map(|draw| (draw, item)))
        .collect::<Option<Vec<_>>>()?;
    drawn.sort_by_key(|(draw, _)| *draw);
    Some(drawn.into_iter().map(|(_, item)| item).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffled_list_has_the_same_items_in_another_order() {
        let items: Vec<_> = (0..64).collect();
        let shuffled = shuffle(items.clone()).unwrap();
        assert_ne!(shuffled, items);
        let mut sorted = shuffled;
        sorted.sort_unstable();
        assert_eq!(sorted, items);
        assert_ne!(bytes::<32>(), bytes::<32>());
    }
}
