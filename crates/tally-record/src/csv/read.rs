//! Bytes to rows. Written here rather than taken from a library because libraries read on where a
//! quote is astray, and a cell that swallows its neighbours would release them.

use super::{CsvError, CsvFault, CsvLimits};

pub(super) const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Reads rows out of pieces of a file. Blank lines are skipped, a byte order mark too. After an
/// error it only repeats the error.
#[derive(Debug)]
pub struct Reader {
    limits: CsvLimits,
    state: State,
    row: Buffer,
    /// Bytes of a byte order mark seen at the start; 3 once that is settled.
    mark_seen: usize,
    line: u64,
    failed: Option<CsvError>,
}

/// A row as it was read.
#[derive(Clone, Copy)]
pub struct Record<'r> {
    row: &'r Buffer,
    ending: &'static str,
}

/// Where in a row the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Unquoted,
    Quoted,
    /// After a quote in a quoted cell: its end, or the first of two that stand for one.
    QuoteInQuoted,
    /// After a carriage return outside quotes.
    CarriageReturn,
}

/// The cells of a row, one after the other, and where each ends.
struct Buffer {
    line: u64,
    text: Vec<u8>,
    ends: Vec<usize>,
    /// Whether something other than a line's end was seen: a quoted empty cell is something.
    started: bool,
}

impl Reader {
    /// At the start of a file.
    #[must_use]
    pub const fn new(limits: CsvLimits) -> Self {
        let row = Buffer { line: 1, text: Vec::new(), ends: Vec::new(), started: false };
        Self { limits, state: State::FieldStart, row, mark_seen: 0, line: 1, failed: None }
    }

    /// Takes the next piece of the file and calls `each` for every row that ends in it. A fault that
    /// `each` finds is an error of that row.
    ///
    /// # Errors
    ///
    /// When a row is malformed or larger than a limit.
    pub fn push(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(&Record<'_>) -> Result<(), CsvFault>,
    ) -> Result<(), CsvError> {
        self.try_to(|reader| {
            let mut rest = reader.skip_mark(bytes);
            while let Some((&byte, after)) = rest.split_first() {
                rest = after;
                reader.step(byte, each)?;
                if reader.state == State::Unquoted || reader.state == State::Quoted {
                    rest = reader.take_run(rest)?;
                }
            }
            Ok(())
        })
    }

    /// Ends the file: the last row may lack its line's end.
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push); also when the file ends inside a quoted cell.
    pub fn finish(
        &mut self,
        each: &mut impl FnMut(&Record<'_>) -> Result<(), CsvFault>,
    ) -> Result<(), CsvError> {
        self.try_to(|reader| {
            reader.end_mark();
            match reader.state {
                State::Quoted => return Err(CsvFault::UnclosedQuote),
                State::CarriageReturn => return Err(CsvFault::BareCarriageReturn),
                State::FieldStart | State::Unquoted | State::QuoteInQuoted => {}
            }
            reader.end_row("", each)
        })
    }

    fn try_to(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), CsvFault>,
    ) -> Result<(), CsvError> {
        if self.failed.is_none() {
            self.failed = work(self).err().map(|fault| CsvError { line: self.row.line, fault });
        }
        self.failed.map_or(Ok(()), Err)
    }

    fn skip_mark<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let mut rest = bytes;
        while let (Some(expected), Some((byte, after))) =
            (BYTE_ORDER_MARK.get(self.mark_seen), rest.split_first())
        {
            if byte != expected {
                self.end_mark();
                break;
            }
            self.mark_seen += 1;
            rest = after;
        }
        rest
    }

    /// What looked like the start of a mark was text.
    fn end_mark(&mut self) {
        let seen = std::mem::replace(&mut self.mark_seen, BYTE_ORDER_MARK.len());
        if (1..BYTE_ORDER_MARK.len()).contains(&seen) {
            self.row.text.extend(BYTE_ORDER_MARK.iter().take(seen));
            self.row.started = true;
            self.state = State::Unquoted;
        }
    }

    fn step(
        &mut self,
        byte: u8,
        each: &mut impl FnMut(&Record<'_>) -> Result<(), CsvFault>,
    ) -> Result<(), CsvFault> {
        let was = self.state;
        if byte == b'\n' {
            self.line += 1;
        }
        self.state = match (was, byte) {
            (_, 0) => return Err(CsvFault::NotText),
            (State::Quoted, b'"') => State::QuoteInQuoted,
            (State::Quoted, _) | (State::QuoteInQuoted, b'"') => {
                self.keep(byte)?;
                State::Quoted
            }
            (State::CarriageReturn, b'\n') => {
                self.end_row("\r\n", each)?;
                State::FieldStart
            }
            (State::CarriageReturn, _) => return Err(CsvFault::BareCarriageReturn),
            (_, b'\r') => State::CarriageReturn,
            (_, b'\n') => {
                self.end_row("\n", each)?;
                State::FieldStart
            }
            (_, b',') => {
                self.row.started = true;
                self.end_field()?;
                State::FieldStart
            }
            (State::FieldStart, b'"') => {
                self.row.started = true;
                State::Quoted
            }
            (State::Unquoted, b'"') | (State::QuoteInQuoted, _) => {
                return Err(CsvFault::StrayQuote);
            }
            (State::FieldStart | State::Unquoted, _) => {
                self.row.started = true;
                self.keep(byte)?;
                State::Unquoted
            }
        };
        Ok(())
    }

    /// Takes the bytes up to the next that may mean something, all at once.
    fn take_run<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], CsvFault> {
        let quoted = self.state == State::Quoted;
        let stops = |byte: &u8| match byte {
            0 | b'"' | b'\n' => true,
            b',' | b'\r' => !quoted,
            _ => false,
        };
        let length = bytes.iter().position(stops).unwrap_or(bytes.len());
        let (run, rest) = bytes.split_at(length);
        if self.row.text.len() + run.len() > self.limits.row_bytes_max {
            return Err(CsvFault::RowTooLarge);
        }
        self.row.text.extend_from_slice(run);
        Ok(rest)
    }

    fn keep(&mut self, byte: u8) -> Result<(), CsvFault> {
        if self.row.text.len() >= self.limits.row_bytes_max {
            return Err(CsvFault::RowTooLarge);
        }
        self.row.text.push(byte);
        Ok(())
    }

    fn end_field(&mut self) -> Result<(), CsvFault> {
        if self.row.ends.len() >= self.limits.columns_max {
            return Err(CsvFault::TooManyColumns);
        }
        self.row.ends.push(self.row.text.len());
        Ok(())
    }

    fn end_row(
        &mut self,
        ending: &'static str,
        each: &mut impl FnMut(&Record<'_>) -> Result<(), CsvFault>,
    ) -> Result<(), CsvFault> {
        if self.row.started {
            self.end_field()?;
            each(&Record { row: &self.row, ending })?;
        }
        self.row.text.clear();
        self.row.ends.clear();
        self.row.started = false;
        self.row.line = self.line;
        Ok(())
    }
}

impl<'r> Record<'r> {
    /// The line of the file on which it starts, from 1.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.row.line
    }

    /// Its cells, without their quotes.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = &'r [u8]> {
        let row = self.row;
        let mut start = 0;
        row.ends.iter().map(move |&end| {
            let field = row.text.get(start..end).unwrap_or_default();
            start = end;
            field
        })
    }

    /// How its line ended: `"\n"`, `"\r\n"`, or not at all.
    #[must_use]
    pub const fn ending(&self) -> &'static str {
        self.ending
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer").field("line", &self.line).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").field("line", &self.row.line).finish_non_exhaustive()
    }
}
