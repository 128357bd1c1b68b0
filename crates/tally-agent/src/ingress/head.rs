//! How much may stand before the body of a request: what is beyond it is refused in our own words. The
//! server reads somewhat more than that, or nobody could be told.

use axum::http::{HeaderMap, Uri};
use tally_core::refusal::Refusal;

use super::request::Unfit;

/// Headers of a request at most.
const HEADERS_MAX: usize = 64;
/// Bytes of them together at most, each with its colon, blank and line end.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Bytes of path and query together at most.
const ADDRESS_LEN_MAX: usize = 12 * 1024;

/// # Errors
/// [`Unfit`] with the limit that is passed.
pub(super) fn fits(uri: &Uri, headers: &HeaderMap) -> Result<(), Unfit> {
    let address = uri.path_and_query().map_or(0, |it| it.as_str().len());
    if address > ADDRESS_LEN_MAX {
        return Err(Unfit::new(Refusal::AddressTooLong, ""));
    }
    let lines = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    if headers.len() > HEADERS_MAX || lines.sum::<usize>() > HEADER_BYTES_MAX {
        return Err(Unfit::new(Refusal::HeadTooLarge, ""));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn refused(address_len: usize, headers: usize, value_len: usize) -> Option<Refusal> {
        let uri = format!("/{}", "a".repeat(address_len - 1)).parse().unwrap();
        let mut lines = HeaderMap::new();
        for _ in 0..headers {
            lines.append("x-a", HeaderValue::from_str(&"b".repeat(value_len)).unwrap());
        }
        fits(&uri, &lines).err().map(|unfit| unfit.refusal)
    }

    #[test]
    fn what_passes_a_limit_is_refused_and_what_reaches_it_is_not() {
        assert_eq!(refused(ADDRESS_LEN_MAX, HEADERS_MAX, 1), None);
        assert_eq!(refused(ADDRESS_LEN_MAX + 1, 0, 1), Some(Refusal::AddressTooLong));
        assert_eq!(refused(1, HEADERS_MAX + 1, 1), Some(Refusal::HeadTooLarge));
        assert_eq!(refused(1, 1, HEADER_BYTES_MAX - 7), None);
        assert_eq!(refused(1, 1, HEADER_BYTES_MAX - 6), Some(Refusal::HeadTooLarge));
    }
}
