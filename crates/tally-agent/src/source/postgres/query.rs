//! A named query with parameters: what its keeper wrote, and what a request may fill in.
//!
//! Invariant: nothing of a request ever becomes a part of the query's text. COPY takes no bound
//! parameters (PostgreSQL binds them in plans, and COPY is none), so each value is bound to a setting
//! of the transaction by `set_config($1, $2, true)`, and the query reads that setting.

use std::fmt;

use percent_encoding::percent_decode;
use tally_core::refusal::Refusal;

use crate::source::Unread;

/// Parameters of a query, at most.
pub(super) const PARAMETERS_MAX: usize = 16;
const NAME_LEN_MAX: usize = 32;
const VALUE_LEN_MAX: usize = 1024;
const DIGITS_MAX: usize = 38;

/// A query as PostgreSQL is asked it, and what it takes.
#[derive(Clone, PartialEq, Eq)]
pub struct NamedQuery {
    sql: String,
    parameters: Vec<(String, ParameterType)>,
}

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterType {
    /// `integer`: a whole number of 64 bits.
    Integer,
    /// `decimal`: a number with or without a fraction, of 38 digits at most.
    Decimal,
    /// `boolean`: `true` or `false`.
    Boolean,
    /// `date`: such as `2026-11-26`.
    Date,
    /// `text`: up to 1,024 bytes.
    Text,
}

/// Why a text is no query that can be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadQuery {
    /// It names a parameter that is not declared.
    #[error("the query has :{0}, which parameters does not declare")]
    Undeclared(String),
    /// A declared parameter that it does not name.
    #[error("the query has no :{0}, which parameters declares")]
    Unused(String),
    /// Several statements.
    #[error("expected one query, without a semicolon")]
    Several,
    /// A quote, a comment or a parenthesis without its end.
    #[error("a quote, a comment or a parenthesis of the query does not end, or ends twice")]
    Unbalanced,
    /// A name that is none.
    #[error("a parameter's name has a to z, 0 to 9 and _, 32 at most")]
    Name,
}

impl NamedQuery {
    /// Reads a query in which `:name` stands for a parameter.
    ///
    /// # Errors
    /// [`BadQuery`] where its text and its parameters don't fit together.
    pub fn new(text: &str, parameters: Vec<(String, ParameterType)>) -> Result<Self, BadQuery> {
        if !parameters.iter().all(|(name, _)| is_name(name)) {
            return Err(BadQuery::Name);
        }
        let text = text.trim().trim_end_matches(';').trim_end();
        let mut sql = String::with_capacity(text.len());
        let mut used = Vec::new();
        let mut depth = 0_usize;
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, after) = piece_of(rest, &sql)?;
            match piece {
                Piece::Parameter(name) => {
                    let known = parameters.iter().find(|(known, _)| known == name);
                    let (_, kind) = known.ok_or_else(|| BadQuery::Undeclared(name.to_owned()))?;
                    sql.push_str(&kind.reads(name));
                    used.push(name);
                }
                Piece::Text(text) => {
                    match text {
                        "(" => depth += 1,
                        ")" => depth = depth.checked_sub(1).ok_or(BadQuery::Unbalanced)?,
                        ";" => return Err(BadQuery::Several),
                        _ => {}
                    }
                    sql.push_str(text);
                }
            }
            rest = after;
        }
        if depth > 0 {
            return Err(BadQuery::Unbalanced);
        }
        if let Some((name, _)) = parameters.iter().find(|(name, _)| !used.contains(&name.as_str()))
        {
            return Err(BadQuery::Unused(name.clone()));
        }
        Ok(Self { sql, parameters })
    }

    /// How its result is asked for. The line end closes a comment at the query's own end.
    pub(super) fn copy(&self) -> String {
        format!("COPY ({}\n) TO STDOUT (FORMAT csv, HEADER true, ENCODING 'UTF8')", self.sql)
    }

    /// The settings that a request's query fills in, each with its value in one spelling.
    pub(super) fn bind(&self, query: &str) -> Result<Vec<(String, String)>, Unread> {
        let mut bound: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            let known = self.parameters.iter().find(|(known, _)| *known == name);
            let Some((_, kind)) = known else {
                return Err(Unread::new(Refusal::UnsupportedParameter, self.takes()));
            };
            let setting = setting_of(&name);
            if bound.iter().any(|(known, _)| *known == setting) {
                return Err(self.bad("A parameter stands twice."));
            }
            let value = kind.read(&value).ok_or_else(|| self.bad("A value is not of its type."))?;
            bound.push((setting, value));
        }
        if bound.len() < self.parameters.len() {
            return Err(self.bad("A parameter is missing."));
        }
        Ok(bound)
    }

    fn bad(&self, what: &str) -> Unread {
        Unread::new(Refusal::BadQuery, format!("{what} {}", self.takes()))
    }

    /// Names and types: what its keeper declared, nothing of a request.
    fn takes(&self) -> String {
        if self.parameters.is_empty() {
            return "The dataset takes no parameters.".to_owned();
        }
        let each = self.parameters.iter().map(|(name, kind)| format!("{name} ({})", kind.word()));
        let mut text = format!("The dataset takes {}.", each.collect::<Vec<_>>().join(", "));
        // All are of ASCII.
        text.truncate(400);
        text
    }

    /// Its text, for a configuration that is written again; parameters stand in it as `:name`.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, ParameterType)> {
        self.parameters.iter().map(|(name, kind)| (name.as_str(), *kind))
    }
}

/// The setting that holds a parameter.
fn setting_of(name: &str) -> String {
    format!("tally.{name}")
}

/// A part of a query's text.
enum Piece<'q> {
    Parameter(&'q str),
    /// A quoted text, a comment, or one sign.
    Text(&'q str),
}

/// The first part of what is left, and the rest. PostgreSQL's lexical rules: manual, §4.1.
fn piece_of<'q>(text: &'q str, before: &str) -> Result<(Piece<'q>, &'q str), BadQuery> {
    let is_of_word = |sign: char| sign.is_alphanumeric() || sign == '_' || sign == '$';
    let in_word = before.ends_with(is_of_word);
    let len = match text.as_bytes() {
        [b'\'', ..] => {
            // An E before it that is a word of its own: backslashes then escape.
            let word = before.strip_suffix(['e', 'E']);
            let escapes = word.is_some_and(|before| !before.ends_with(is_of_word));
            quoted(text, '\'', escapes).ok_or(BadQuery::Unbalanced)?
        }
        [b'"', ..] => quoted(text, '"', false).ok_or(BadQuery::Unbalanced)?,
        [b'-', b'-', ..] => text.find('\n').unwrap_or(text.len()),
        [b'/', b'*', ..] => comment(text).ok_or(BadQuery::Unbalanced)?,
        [b'$', ..] if !in_word => dollar_quoted(text)?,
        [b':', b':' | b'=', ..] => 2,
        [b':', b'a'..=b'z', ..] => {
            let name = text.get(1..).unwrap_or_default();
            let end = name.find(|it| !is_name_char(it)).unwrap_or(name.len());
            let (name, rest) = name.split_at_checked(end).unwrap_or((name, ""));
            return Ok((Piece::Parameter(name), rest));
        }
        _ => text.chars().next().map_or(0, char::len_utf8),
    };
    let (piece, rest) = text.split_at_checked(len).ok_or(BadQuery::Unbalanced)?;
    Ok((Piece::Text(piece), rest))
}

/// Bytes of what stands in quotes, with these. A doubled quote is read as two texts side by side.
fn quoted(text: &str, quote: char, escapes: bool) -> Option<usize> {
    let mut signs = text.char_indices().skip(1);
    while let Some((at, sign)) = signs.next() {
        if escapes && sign == '\\' {
            signs.next()?;
        } else if sign == quote {
            // The second half of a doubled quote would otherwise lose the backslashes' meaning.
            if escapes && text.get(at + 1..).is_some_and(|rest| rest.starts_with(quote)) {
                signs.next()?;
                continue;
            }
            return Some(at + 1);
        }
    }
    None
}

/// Bytes of a comment, and of those in it.
fn comment(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth = depth.checked_sub(1)?;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += rest.chars().next()?.len_utf8();
        }
    }
}

/// Bytes of what stands between two `$tag$`; 1 for a sign that begins no such thing.
fn dollar_quoted(text: &str) -> Result<usize, BadQuery> {
    let inner = text.get(1..).unwrap_or_default();
    let Some(end) = inner.find('$') else { return Ok(1) };
    let tag = inner.get(..end).unwrap_or_default();
    let starts_well = !tag.starts_with(|first: char| first.is_ascii_digit());
    if !starts_well || !tag.chars().all(|it| it.is_alphanumeric() || it == '_') {
        return Ok(1);
    }
    let mark = format!("${tag}$");
    let inner = text.get(mark.len()..).unwrap_or_default();
    let closes = inner.find(&mark).ok_or(BadQuery::Unbalanced)?;
    Ok(closes + 2 * mark.len())
}

fn is_name(text: &str) -> bool {
    let fits = !text.is_empty() && text.len() <= NAME_LEN_MAX && text.chars().all(is_name_char);
    fits && text.starts_with(|first: char| first.is_ascii_lowercase())
}

const fn is_name_char(sign: char) -> bool {
    matches!(sign, 'a'..='z' | '0'..='9' | '_')
}

fn decoded(text: &str) -> Result<String, Unread> {
    let text = text.replace('+', " ");
    let decoded = percent_decode(text.as_bytes()).decode_utf8();
    let bad = |_| Unread::new(Refusal::BadQuery, "The address is not UTF-8.");
    decoded.map(std::borrow::Cow::into_owned).map_err(bad)
}

impl ParameterType {
    /// Its word in a configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Decimal => "decimal",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Text => "text",
        }
    }

    /// How a query reads the setting of a parameter of this type.
    fn reads(self, name: &str) -> String {
        let cast = match self {
            Self::Integer => "bigint",
            Self::Decimal => "numeric",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Text => "text",
        };
        format!("(current_setting('{}')::{cast})", setting_of(name))
    }

    /// A value in one spelling; `None` if it is none of this type.
    fn read(self, text: &str) -> Option<String> {
        match self {
            Self::Integer => text.parse::<i64>().ok().map(|number| number.to_string()),
            Self::Decimal => is_decimal(text).then(|| text.to_owned()),
            Self::Boolean => ["true", "false"].contains(&text).then(|| text.to_owned()),
            Self::Date => is_date(text).then(|| text.to_owned()),
            Self::Text => {
                let fits = text.len() <= VALUE_LEN_MAX && !text.contains('\0');
                fits.then(|| text.to_owned())
            }
        }
    }
}

/// A day of the Gregorian calendar as RFC 3339 writes it, of the years that PostgreSQL reads in four digits.
fn is_date(text: &str) -> bool {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range).filter(|it| it.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|it| it.parse::<u32>().ok())
    };
    let dashes = text.len() == 10 && text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
    let (Some(year), Some(month), Some(day)) = (number(0..4), number(5..7), number(8..10)) else {
        return false;
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    dashes && year > 0 && (1..=12).contains(&month) && (1..=days).contains(&day)
}

fn is_decimal(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    digits(whole) && digits(fraction) && whole.len() + fraction.len() <= DIGITS_MAX
}

impl fmt::Debug for NamedQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedQuery").field("parameters", &self.parameters).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: &str = "(current_setting('tally.year')::bigint)";

    fn sql(text: &str) -> Result<String, BadQuery> {
        NamedQuery::new(text, vec![("year".to_owned(), ParameterType::Integer)]).map(|it| it.sql)
    }

    #[test]
    fn a_parameter_is_read_from_its_setting_wherever_it_is_one() {
        let found = sql("SELECT a::text FROM t WHERE y = :year AND z >= :year ;").unwrap();
        assert_eq!(found, format!("SELECT a::text FROM t WHERE y = {YEAR} AND z >= {YEAR}"));
        for quoted in [
            "':year'",
            "'it''s :year'",
            r"E'\':year'",
            r"E'a''\':year'",
            r"'\'",
            r"'a' LIKE'\'",
            "\":year\"",
            "$$:year$$",
            "$a$ $$ :year $a$",
            "-- :year )\n",
            "/* :year /* ) */ ' */",
        ] {
            let found = sql(&format!("SELECT {quoted}, :year")).unwrap();
            assert_eq!(found, format!("SELECT {quoted}, {YEAR}"), "{quoted}");
        }
        assert_eq!(sql("SELECT :year -- ; x").unwrap(), format!("SELECT {YEAR} -- ; x"));
    }

    #[test]
    fn a_query_is_one_query_and_ends() {
        for (text, why) in [
            ("SELECT 1", BadQuery::Unused("year".to_owned())),
            ("SELECT ':year'", BadQuery::Unused("year".to_owned())),
            ("SELECT :year, :month", BadQuery::Undeclared("month".to_owned())),
            ("SELECT :year; DELETE FROM t", BadQuery::Several),
            ("SELECT :year) TO PROGRAM 'x' --", BadQuery::Unbalanced),
            ("SELECT (:year", BadQuery::Unbalanced),
            ("SELECT :year, 'x", BadQuery::Unbalanced),
            ("SELECT :year /* /* */", BadQuery::Unbalanced),
            ("SELECT :year, $a$ $b$", BadQuery::Unbalanced),
        ] {
            assert_eq!(sql(text), Err(why), "{text}");
        }
        let named = NamedQuery::new("SELECT 1", vec![("Year".to_owned(), ParameterType::Text)]);
        assert_eq!(named, Err(BadQuery::Name));
    }

    #[test]
    fn values_are_of_their_types_and_are_never_a_part_of_the_text() {
        let all = [
            ("n", ParameterType::Integer),
            ("d", ParameterType::Decimal),
            ("b", ParameterType::Boolean),
            ("on", ParameterType::Date),
            ("t", ParameterType::Text),
        ];
        let all = all.map(|(name, kind)| (name.to_owned(), kind)).to_vec();
        let query = NamedQuery::new("SELECT :n, :d, :b, :on, :t", all).unwrap();
        let text = query.copy();
        let good = "n=%2B7&d=-1.50&b=true&on=2026-11-26&t=%27);DROP+TABLE+x;--";
        let bound = query.bind(good).unwrap();
        let values: Vec<_> =
            bound.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            values,
            [
                ("tally.n", "7"),
                ("tally.d", "-1.50"),
                ("tally.b", "true"),
                ("tally.on", "2026-11-26"),
                ("tally.t", "');DROP TABLE x;--"),
            ]
        );
        assert_eq!(query.copy(), text);
        for (bad, refusal) in [
            ("n=7", Refusal::BadQuery),
            ("n=7&n=8&d=1&b=true&on=2026-11-26&t=", Refusal::BadQuery),
            ("n=7.5&d=1&b=true&on=2026-11-26&t=", Refusal::BadQuery),
            ("n=9223372036854775808&d=1&b=true&on=2026-11-26&t=", Refusal::BadQuery),
            ("n=7&d=1e9&b=true&on=2026-11-26&t=", Refusal::BadQuery),
            ("n=7&d=NaN&b=true&on=2026-11-26&t=", Refusal::BadQuery),
            ("n=7&d=1&b=1&on=2026-11-26&t=", Refusal::BadQuery),
            ("n=7&d=1&b=true&on=2026-02-30&t=", Refusal::BadQuery),
            ("n=7&d=1&b=true&on=2026-11-26&t=%00", Refusal::BadQuery),
            ("n=7&d=1&b=true&on=2026-11-26&t=&secret-9990000018=1", Refusal::UnsupportedParameter),
        ] {
            let unread = query.bind(bad).unwrap_err();
            assert_eq!(unread.refusal, refusal, "{bad}");
            assert!(!unread.detail.contains("999"), "{unread:?}");
        }
    }
}
