//! Facts about reading and projecting tables.

use proptest::prelude::*;

use super::*;

/// Each row's line and cells.
type Rows = Vec<(u64, Vec<String>)>;

fn read(text: &[u8], piece: usize) -> Result<Rows, CsvError> {
    let mut rows = Vec::new();
    let mut take = |record: &Record<'_>| {
        let cells = record.fields().map(|cell| String::from_utf8_lossy(cell).into_owned());
        rows.push((record.line(), cells.collect()));
        Ok(())
    };
    let mut reader = Reader::new(CsvLimits { row_bytes_max: 40, columns_max: 4 });
    for piece in text.chunks(piece) {
        reader.push(piece, &mut take)?;
    }
    reader.finish(&mut take)?;
    Ok(rows)
}

fn project(text: &str, columns: &[&str], person: Option<&str>) -> Result<String, CsvError> {
    let released = match columns {
        ["*"] => Released::All,
        these => Released::These(these.iter().map(|&column| column.to_owned()).collect()),
    };
    let mut projection = Projection::new(released, person.map(str::to_owned), CsvLimits::default());
    let mut out = Vec::new();
    let mut write = |row: &Row<'_>| {
        if *row.person() != RowPerson::Unknown {
            row.write(&mut out);
        }
    };
    projection.push(text.as_bytes(), &mut write)?;
    projection.finish(&mut write)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn rows_know_their_line_and_blank_lines_are_none() {
    let text = "\u{feff}\"a\",b\r\n\r\n1,\"x\n\"\"y\"\"\"\n\n\"\",\n3,4";
    for piece in [1, 2, 3, 7, 100] {
        let rows = read(text.as_bytes(), piece).unwrap();
        let expected = [(1, ["a", "b"]), (3, ["1", "x\n\"y\""]), (6, ["", ""]), (7, ["3", "4"])];
        let expected = expected.map(|(line, cells)| (line, cells.map(str::to_owned).to_vec()));
        assert_eq!(rows, expected, "in pieces of {piece}");
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_with_its_line() {
    let cases: [(&str, u64, CsvFault); 8] = [
        ("a,b\n1,x\"y\n", 2, CsvFault::StrayQuote),
        ("a,b\n1,\"x\"y\n", 2, CsvFault::StrayQuote),
        ("a,b\n1,\"x\n2,3\n", 2, CsvFault::UnclosedQuote),
        ("a,b\r1,2\r", 1, CsvFault::BareCarriageReturn),
        ("a,b\n1,2\r", 2, CsvFault::BareCarriageReturn),
        ("a\0,b\n", 1, CsvFault::NotText),
        ("a,b,c,d,e\n", 1, CsvFault::TooManyColumns),
        ("a\n\"1234567890123456789012345678901234567890\n\"", 2, CsvFault::RowTooLarge),
    ];
    for (text, line, fault) in cases {
        for piece in [1, 3, 100] {
            let error = read(text.as_bytes(), piece).unwrap_err();
            assert_eq!(error, CsvError { line, fault }, "{text:?} in pieces of {piece}");
        }
    }
}

#[test]
fn an_error_stays_an_error() {
    let mut reader = Reader::new(CsvLimits::default());
    let mut nothing = |_: &Record<'_>| Ok(());
    let error = reader.push(b"a\"", &mut nothing).unwrap_err();
    assert_eq!(reader.push(b"b\n", &mut |_| panic!("no more rows")), Err(error));
    assert_eq!(reader.finish(&mut nothing), Err(error));
}

#[test]
fn only_released_columns_leave_in_the_files_order() {
    let text = "id,name,ward\r\n1,\"Doe, Jane\",A\r\n2,Roe,\"B\"\n3,,\"say \"\"x\"\"\"";
    assert_eq!(
        project(text, &["ward", "name", "gone"], None).unwrap(),
        "name,ward\r\n\"Doe, Jane\",A\r\nRoe,B\n,\"say \"\"x\"\"\""
    );
    assert_eq!(project("a,b\n,1\n", &["a"], None).unwrap(), "a\n\"\"\n");
}

#[test]
fn headers_must_say_what_is_needed() {
    let fault = |text, columns: &[&str], person| project(text, columns, person).unwrap_err().fault;
    assert_eq!(fault("", &["*"], None), CsvFault::NoHeader);
    assert_eq!(fault("a,b\n", &["c"], None), CsvFault::NoReleasedColumn);
    assert_eq!(fault("a,b,a\n", &["b"], None), CsvFault::DuplicateColumn);
    assert_eq!(fault("a,b\n", &["a"], Some("nhs_number")), CsvFault::NoPersonColumn);
    let ragged = project("a,b\n1,2\n1\n", &["a"], None).unwrap_err();
    assert_eq!(ragged.fault, CsvFault::Ragged { found: 1, expected: 2 });
    assert_eq!(ragged.to_string(), "line 3: the row has 1 cells, the header 2");
}

#[test]
fn a_row_says_whom_it_is_about_or_that_nobody_knows() {
    let text = "nhs_number,x\n9990000018,1\n999 000 0026,2\n,3\n12,4\n";
    let released = Released::These(vec!["x".to_owned()]);
    let column = Some("nhs_number".to_owned());
    let mut projection = Projection::new(released, column, CsvLimits::default());
    let mut people = Vec::new();
    projection
        .push(text.as_bytes(), &mut |row| {
            people.push(match row.person() {
                RowPerson::Nobody => "nobody".to_owned(),
                RowPerson::Known(person) => person.reveal().to_owned(),
                RowPerson::Unknown => "unknown".to_owned(),
            });
        })
        .unwrap();
    let known = ["nobody", "nhs-number|9990000018", "nhs-number|9990000026", "unknown", "unknown"];
    assert_eq!(people, known);
    assert_eq!(project(text, &["x"], Some("nhs_number")).unwrap(), "x\n1\n2\n");
}

/// Found by bytes that nobody wrote on purpose.
#[test]
fn a_byte_order_mark_in_a_cell_and_a_part_of_one_are_text() {
    let mark = "\u{feff}";
    let first = format!("\"{mark}x\",y\n1,2\n");
    let written = project(&first, &[&format!("{mark}x"), "y"], None).unwrap();
    assert_eq!(written, first);
    assert_eq!(read(first.as_bytes(), 1).unwrap()[0].1, [format!("{mark}x"), "y".to_owned()]);
    for part in [&mark.as_bytes()[..1], &mark.as_bytes()[..2]] {
        assert_eq!(read(part, 1).unwrap().len(), 1);
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_as_the_same_cells(rows in prop::collection::vec(prop::collection::vec("[a,\"\r\n é]{0,5}", 3), 1..6)) {
        let mut text = "h1,h2,h3\n".to_owned();
        for row in &rows {
            let cells = row.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\"")));
            text.push_str(&format!("{}\n", cells.collect::<Vec<_>>().join(",")));
        }
        let written = project(&text, &["h1", "h3"], None).unwrap();
        let mut again = ::csv::Reader::from_reader(written.as_bytes());
        let cells = again.records().map(|record| record.unwrap().iter().map(str::to_owned).collect::<Vec<_>>());
        let expected = rows.iter().map(|row| vec![row[0].clone(), row[2].clone()]);
        prop_assert_eq!(cells.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }

    #[test]
    fn what_is_released_of_a_table_is_what_its_listed_columns_hold(
        rows in prop::collection::vec(prop::collection::vec("[a,\"\r\n é]{0,4}", 4), 0..6),
        listed in prop::sample::subsequence(vec!["h1", "h2", "h3", "h4", "gone"], 1..=5),
        less in any::<prop::sample::Index>(),
    ) {
        let header = ["h1", "h2", "h3", "h4"];
        let mut text = header.join(",") + "\n";
        for row in &rows {
            let cells = row.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\"")));
            text.push_str(&format!("{}\n", cells.collect::<Vec<_>>().join(",")));
        }
        let mut fewer = listed.clone();
        fewer.remove(less.index(listed.len()));
        for listed in [listed, fewer] {
            let places = (0..4).filter(|place| listed.contains(&header[*place]));
            let places: Vec<usize> = places.collect();
            let Ok(written) = project(&text, &listed, None) else {
                prop_assert!(places.is_empty());
                continue;
            };
            let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(written.as_bytes());
            let left = reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect::<Vec<_>>());
            let names = header.map(str::to_owned).to_vec();
            let expected = std::iter::once(&names).chain(&rows);
            let expected = expected.map(|row| places.iter().map(|place| row[*place].clone()).collect());
            prop_assert_eq!(left.collect::<Vec<_>>(), expected.collect::<Vec<Vec<String>>>());
        }
    }

    #[test]
    fn pieces_make_no_difference(text in prop::collection::vec(prop::sample::select(b"a,\"\r\n".to_vec()), 0..30), piece in 1..7_usize) {
        prop_assert_eq!(read(&text, piece), read(&text, 1_000));
    }
}
