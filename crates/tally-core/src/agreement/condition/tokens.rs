//! A condition's words, as far as its limits ask, and what of it can be said before any record.
//!
//! What is cut here decides only when a no is said, never whether: the whole text is evaluated
//! before anything is released.

use super::{Fault, NESTING_MAX, TOKENS_MAX};

/// A word, a text, an operator or a bracket, by its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token {
    start: usize,
    end: usize,
}

/// The parts that all must be true, each with whether it asks for no count of records or people.
///
/// # Errors
/// What is beyond a limit, or asks for what conditions do not know.
pub(super) fn parts(text: &str) -> Result<Vec<(&str, bool)>, Fault> {
    let tokens = tokens(text);
    let of = |token: &Token| text.get(token.start..token.end).unwrap_or_default();
    let fault = |token: &Token, what: String| Fault { at: Some(place(text, token.start)), what };
    if let Some(token) = tokens.get(TOKENS_MAX) {
        let what = format!("it has more than {TOKENS_MAX} words, operators and brackets");
        return Err(fault(token, what));
    }
    let (mut depth, mut splits, mut alternatives) = (0_usize, Vec::new(), false);
    let mut before = "";
    for token in &tokens {
        match of(token) {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            "&&" if depth == 0 => splits.push(*token),
            // What binds weaker than `&&`: there is nothing to cut at.
            "||" | "if" if depth == 0 => alternatives = true,
            word @ ("principal" | "action" | "resource") if before != "." => {
                let what =
                    format!("conditions know no `{word}`, only what stands after `context.`");
                return Err(fault(token, what));
            }
            _ => {}
        }
        if depth > NESTING_MAX {
            let what = format!("there are more than {NESTING_MAX} brackets within brackets");
            return Err(fault(token, what));
        }
        before = of(token);
    }
    if alternatives {
        splits.clear();
    }
    let starts = std::iter::once(0).chain(splits.iter().map(|token| token.end));
    let ends = splits.iter().map(|token| token.start).chain([text.len()]);
    let parts = starts.zip(ends).map(|(start, end)| {
        let within = tokens.iter().filter(|token| start <= token.start && token.end <= end);
        let words: Vec<_> = within.map(of).collect();
        (text.get(start..end).unwrap_or_default(), asks_no_count(&words))
    });
    Ok(parts.collect())
}

/// Whether each `context` is followed by `.` and something that is no count.
fn asks_no_count(words: &[&str]) -> bool {
    let places = (0..words.len()).filter(|place| words.get(*place) == Some(&"context"));
    let mut after = places.map(|place| (words.get(place + 1), words.get(place + 2)));
    after.all(|(dot, name)| {
        dot == Some(&".") && name.is_some_and(|name| !["records", "people"].contains(name))
    })
}

/// Line and column of a byte, both from 1. Columns count characters.
pub(super) fn place(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

/// Cedar's own tokens, as far as brackets, words and texts go. Comments run to the end of the line.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some((start, first)) = rest.next() {
        let second = rest.peek().map(|(_, next)| *next);
        if first.is_whitespace() {
            continue;
        }
        if first == '/' && second == Some('/') {
            while rest.next_if(|(_, next)| !matches!(next, '\n' | '\r')).is_some() {}
            continue;
        }
        if first == '"' {
            let mut escaped = false;
            for (_, next) in rest.by_ref() {
                match next {
                    '"' if !escaped => break,
                    _ => escaped = next == '\\' && !escaped,
                }
            }
        } else if is_word(first) {
            while rest.next_if(|(_, next)| is_word(*next)).is_some() {}
        } else if second.is_some_and(|second| is_double(first, second)) {
            rest.next();
        }
        let end = rest.peek().map_or(text.len(), |(at, _)| *at);
        tokens.push(Token { start, end });
    }
    tokens
}

const fn is_double(first: char, second: char) -> bool {
    matches!((first, second), ('&', '&') | ('|', '|') | ('=' | '!' | '<' | '>', '=') | (':', ':'))
}

const fn is_word(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || sign == '_'
}
