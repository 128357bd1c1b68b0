//! Identifiers as records write them. Whether an NHS number is valid, and fit for the mesh, is policy.

/// Ten digits, from the ways in which an NHS number is written: together, or as 3-3-4 with single
/// spaces or hyphens, not mixed. `None` for anything else. The check digit is not looked at: a
/// number that was given to somebody by mistake still says whom the record is about.
#[must_use]
pub fn normalise_nhs_number(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digits = match bytes {
        [_, _, _, first, _, _, _, second, _, _, _, _]
            if first == second && (*first == b' ' || *first == b'-') =>
        {
            let at = [0, 1, 2, 4, 5, 6, 8, 9, 10, 11];
            at.iter().filter_map(|&index| bytes.get(index).copied()).collect()
        }
        _ => bytes.to_vec(),
    };
    let digits = String::from_utf8(digits).ok()?;
    (digits.len() == 10 && digits.bytes().all(|digit| digit.is_ascii_digit())).then_some(digits)
}

/// FHIR R4 §2.24: `[A-Za-z0-9\-\.]{1,64}`.
pub(crate) fn is_fhir_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_come_in_one_kind_and_in_their_places() {
        for good in ["9990000018", "999 000 0018", "999-000-0018"] {
            assert_eq!(normalise_nhs_number(good).as_deref(), Some("9990000018"));
        }
        let bad = ["", "999000001", "99900000180", "999 000-0018", "9990 000 018", "999 0000018"];
        for bad in bad.into_iter().chain([" 9990000018", "999000001A", "９990000018"]) {
            assert_eq!(normalise_nhs_number(bad), None, "{bad}");
        }
    }

    #[test]
    fn fhir_ids_are_short_and_plain() {
        let long = "a".repeat(64);
        assert!(["p1", "A-1.b", &long].into_iter().all(is_fhir_id));
        assert!(!["", "a_b", "a/b", "é", &format!("{long}a")].into_iter().any(is_fhir_id));
    }
}
