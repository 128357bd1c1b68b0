//! Tables: however the bytes are cut into pieces, the same rows come out, and what is written reads
//! as the same cells.

use tally_record::csv::{CsvError, CsvLimits, Projection, Released};

pub fn fuzz(data: &[u8]) {
    let cut = data.first().map_or(1, |byte| usize::from(*byte).max(1));
    let whole = projected(data, data.len().max(1), &Released::All);
    assert_eq!(projected(data, cut, &Released::All), whole, "cut every {cut} bytes");
    if let (written, Ok(())) = &whole {
        let again = projected(written, written.len().max(1), &Released::All);
        assert_eq!(again, (written.clone(), Ok(())), "what is written reads otherwise");
    }
    let some = Released::These(vec!["ward".to_owned()]);
    let _ = projected(data, cut, &some);
}

fn projected(data: &[u8], piece: usize, released: &Released) -> (Vec<u8>, Result<(), CsvError>) {
    let person = matches!(released, Released::These(_)).then(|| "nhs_number".to_owned());
    let limits = CsvLimits { row_bytes_max: 4096, columns_max: 64 };
    let mut projection = Projection::new(released.clone(), person, limits);
    let mut out = Vec::new();
    for piece in data.chunks(piece) {
        if let Err(why) = projection.push(piece, &mut |row| row.write(&mut out)) {
            return (out, Err(why));
        }
    }
    let ended = projection.finish(&mut |row| row.write(&mut out));
    (out, ended)
}
