use proptest::prelude::*;

use super::*;
use CheckDigit::{Checked, Skipped};

fn number(text: &str) -> NhsNumber {
    NhsNumber::parse(text, Checked).unwrap()
}

fn faults(text: &str) -> Vec<(usize, LineFault)> {
    match read_request(text.as_bytes(), Checked).unwrap_err() {
        BadOptOutFile::Lines { bad, count } => {
            assert_eq!(bad.len(), count);
            bad.into_iter().map(|line| (line.line, line.why)).collect()
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_request_is_one_number_a_line_each_with_a_comma_and_a_line_feed() {
    let numbers = ["9990000018", "9876543210", "9000000009", "4010232137"].map(number);
    let bytes = write(&numbers);
    assert_eq!(bytes, b"9990000018,\n9876543210,\n9000000009,\n4010232137,\n");
    assert_eq!(read_request(&bytes, Checked).unwrap(), numbers);
    assert_eq!(read_reply(&bytes, Checked).unwrap(), numbers);
}

#[test]
fn a_reply_names_only_those_who_may_be_used_and_may_name_nobody() {
    let reply = read_reply(b"9876543210,\n", Checked).unwrap();
    assert_eq!(reply, [number("9876543210")]);
    assert_eq!(read_reply(b"", Checked).unwrap(), []);
}

#[test]
fn a_files_name_is_its_reference_and_dat() {
    let reference = "X26OT001-251126-1".parse::<OptOutReference>().unwrap();
    assert_eq!(file_name(&reference), "X26OT001-251126-1.dat");
    assert_eq!(reference_of("X26OT001-251126-1.dat").unwrap(), reference);
    for bad in ["X26OT001-251126-1", "X26OT001-251126-1.txt", "9990000018-251126-1.dat", ".dat"] {
        assert!(reference_of(bad).is_err(), "{bad}");
    }
}

/// Numbers of published test data: of 24 in an example of the service's files, 20 fail the check.
#[test]
fn each_wrong_number_is_told_by_its_line_and_reason_and_only_test_data_may_have_them() {
    let text = "9000000009,\n9000000015,\n9912003890,\n1234567890,\n9990000018,\n";
    let wrong = LineFault::Number(BadNhsNumber::CheckDigit);
    let never = LineFault::Number(BadNhsNumber::NeverIssued);
    assert_eq!(faults(text), [(2, wrong), (3, wrong), (4, never)]);
    assert_eq!(read_request(text.as_bytes(), Skipped).unwrap().len(), 5);
}

#[test]
fn another_form_than_the_services_is_refused() {
    let number = |why| LineFault::Number(why);
    let cases = [
        ("9990000018\n", LineFault::Comma),
        ("9990000018,,\n", LineFault::Comma),
        ("9990000018,9990000026,\n", LineFault::Comma),
        ("9990000018, \n", LineFault::Comma),
        ("9990000018,\r\n", LineFault::CarriageReturn),
        ("9990000018,", LineFault::NotEnded),
        ("999 000 0018,\n", number(BadNhsNumber::Character)),
        ("999-000-0018,\n", number(BadNhsNumber::Character)),
        ("999000001\u{661},\n", number(BadNhsNumber::Character)),
        ("999000001,\n", number(BadNhsNumber::Length)),
        (",\n", number(BadNhsNumber::Length)),
        ("\n", LineFault::Comma),
    ];
    for (text, why) in cases {
        assert_eq!(faults(text), [(1, why)], "{text:?}");
    }
    assert_eq!(faults("9990000018,\n9990000026,\n9990000018,\n"), [(3, LineFault::Twice)]);
}

#[test]
fn the_services_error_file_is_known_and_not_repeated() {
    for text in ["Invalid record: 9990000019\n", "ERROR", "E1,\n"] {
        assert_eq!(read_reply(text.as_bytes(), Checked), Err(BadOptOutFile::ErrorFile), "{text}");
        assert!(!BadOptOutFile::ErrorFile.to_string().contains("99900"));
    }
    // A wrong number is a wrong line, and in a request words are wrong lines too.
    assert!(matches!(read_reply(b"9990000019,\n", Checked), Err(BadOptOutFile::Lines { .. })));
    assert!(matches!(read_request(b"ERROR\n", Checked), Err(BadOptOutFile::Lines { .. })));
}

#[test]
fn a_list_may_be_written_as_people_write() {
    let list = read_list("999 000 0018\r\n\n 9876543210,\n9990000018", Checked).unwrap();
    assert_eq!(list.into_iter().collect::<Vec<_>>(), ["9876543210", "9990000018"].map(number));
    let refused = read_list("9990000018\nx\n9990000019\n", Checked).unwrap_err();
    let bad = vec![
        BadLine { line: 2, why: BadNhsNumber::Length.into() },
        BadLine { line: 3, why: BadNhsNumber::CheckDigit.into() },
    ];
    assert!(matches!(refused, BadOptOutFile::Lines { count: 2, .. }), "{refused} {bad:?}");
}

#[test]
fn what_is_larger_than_the_limit_is_not_read() {
    let bytes = vec![b'0'; FILE_LEN_MAX + 1];
    assert_eq!(read_request(&bytes, Skipped), Err(BadOptOutFile::TooLarge));
    let text = "x,\n".repeat(100);
    let refused = read_request(text.as_bytes(), Checked).unwrap_err();
    assert!(refused.to_string().ends_with("; and 80 more bad lines"), "{refused}");
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_again_to_the_byte(
        bytes in prop::collection::vec(
            prop::sample::select(b"0123456789,\n\r x".to_vec()), 0..40,
        ),
        numbers in prop::collection::btree_set("[0-9]{10}", 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        if let Ok(read) = read_request(&bytes, Skipped) {
            prop_assert_eq!(write(&read), bytes);
        }
        let numbers = numbers.iter().map(|it| NhsNumber::parse(it, Skipped).unwrap());
        let numbers = numbers.collect::<Vec<_>>();
        let whole = write(&numbers);
        prop_assert_eq!(read_request(&whole, Skipped).unwrap(), numbers.clone());
        // A part of a reply says less, or is refused.
        if let Ok(part) = read_reply(&whole[..cut.index(whole.len() + 1)], Skipped) {
            prop_assert!(part.iter().all(|it| numbers.contains(it)));
        }
    }

    #[test]
    fn no_bytes_make_it_panic_and_no_error_repeats_a_number(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        digits in "[0-9]{10}",
    ) {
        drop(read_reply(&bytes, Skipped));
        let text = format!("{digits}{digits},\n{digits},\r\n");
        let refused = read_reply(text.as_bytes(), Checked).unwrap_err();
        let said = format!("{refused} {refused:?}");
        prop_assert!(!said.contains(&digits));
    }
}
