//! Agreement files: TOML that an information governance lead writes and reads.
//!
//! Invariant: what is not understood is refused, never skipped; and all that is wrong is told at
//! once, each with its place.

use super::check::{check_dates, check_overlaps, check_share};
use super::condition::CONDITION_LEN_MAX;
use super::words::{
    ARTICLES_6, ARTICLES_9, ASSESSMENTS_MIN, COMMON_LAWS, CONFIDENTIALITIES, DATA_KINDS,
    RELATIONSHIPS, USERS_KNOWN,
};
use super::{Agreement, AllowList, Basis, Condition, DataKind, Elements, Party, Share};
use crate::entry::UserKnown;
pub use crate::file::Problem;
use crate::file::{self, Keys, Reader, Value};
use crate::id::{GroupId, MemberId};
use crate::record::Confidentiality;
use crate::refusal::Refusal;
use crate::register::AssessmentStatus;

/// Bytes of an agreement file at most.
pub const FILE_LEN_MAX: usize = 64 * 1024;
/// Parties, shares, requesters, purposes at most.
pub const LIST_LEN_MAX: usize = 64;
/// Types, elements of a type, and columns at most.
pub const FIELDS_MAX: usize = 512;
/// Steps of an element's path at most.
pub const PATH_STEPS_MAX: usize = 8;
/// Bytes of a title, a reference or a power at most.
pub const TEXT_LEN_MAX: usize = 200;

/// Reads an agreement file, and checks it for contradictions.
///
/// # Errors
/// All that is missing, unknown, repeated or contradictory, in the order of the lines.
pub fn read(text: &str) -> Result<Agreement, Vec<Problem>> {
    file::read(text, FILE_LEN_MAX, &[], read_agreement)
}

fn read_agreement(reader: &mut Reader, mut keys: Keys<'_>) -> Option<Agreement> {
    let format = reader.required(&mut keys, "tally");
    if let Some(format) = format
        && reader.number(&format).is_some_and(|number| number != 1)
    {
        reader.complain(&format, "this version reads format 1 only");
    }
    let id = reader.required(&mut keys, "id").and_then(|it| reader.parsed(&it));
    let version = reader.required(&mut keys, "version").and_then(|it| reader.number(&it));
    let title = reader.required(&mut keys, "title").and_then(|it| some_text(reader, &it));
    let mut day = |key| reader.required(&mut keys, key).and_then(|it| reader.date(&it));
    let (start, review, end) = (day("start"), day("review"), day("end"));
    let dpia = match reader.optional(&mut keys, "dpia") {
        None => Some(""),
        Some(it) => reader.text(&it, TEXT_LEN_MAX),
    };
    let parties = reader.required(&mut keys, "parties").and_then(|it| read_parties(reader, &it, 2));
    let shares = reader.required(&mut keys, "share").and_then(|it| read_shares(reader, &it));
    reader.close(keys);

    let mut found = Vec::new();
    if let (Some(start), Some(review), Some(end)) = (start, review, end) {
        found.extend(check_dates(start, review, end));
    }
    let read_shares = shares.as_deref().unwrap_or_default();
    for (place, share) in read_shares.iter().enumerate() {
        let share = share.as_ref();
        found.extend(share.into_iter().flat_map(|it| check_share(place, it, parties.as_deref())));
    }
    found.extend(check_overlaps(read_shares.iter().map(Option::as_ref)));
    for problem in found {
        reader.complain_at(problem);
    }

    Some(Agreement {
        id: id?,
        version: version?,
        title: title?.to_owned(),
        start: start?,
        review: review?,
        end: end?,
        dpia: dpia?.to_owned(),
        parties: parties?,
        shares: shares?.into_iter().collect::<Option<_>>()?,
    })
}

/// Each share that could be read; none for one that could not.
fn read_shares(reader: &mut Reader, value: &Value<'_>) -> Option<Vec<Option<Share>>> {
    let tables = reader.list(value, LIST_LEN_MAX)?;
    if tables.is_empty() {
        reader.complain(value, "an agreement shares something");
        return None;
    }
    let shares = tables.iter().map(|table| {
        let keys = reader.table(table)?;
        read_share(reader, keys)
    });
    Some(shares.collect())
}

fn read_share(reader: &mut Reader, mut keys: Keys<'_>) -> Option<Share> {
    let provider = reader.required(&mut keys, "provider").and_then(|it| reader.parsed(&it));
    let requesters =
        reader.required(&mut keys, "requesters").and_then(|it| read_parties(reader, &it, 1));
    let source = reader.required(&mut keys, "source").and_then(|it| reader.parsed(&it));
    let purposes = reader
        .required(&mut keys, "purposes")
        .and_then(|it| some_set(reader, &it, LIST_LEN_MAX, Reader::parsed));
    let data = reader.required(&mut keys, "data").and_then(|it| reader.word(&it, DATA_KINDS));
    // What is not said is taken as what protects more.
    let confidential = match reader.optional(&mut keys, "confidential") {
        None => data.map(|kind| kind != DataKind::None),
        Some(it) => reader.yes_or_no(&it),
    };
    let basis = match reader.optional(&mut keys, "basis") {
        None => Some(Basis::default()),
        Some(it) => read_basis(reader, &it),
    };
    let fields = read_fields(reader, &mut keys);
    let user_known = match reader.optional(&mut keys, "user_known") {
        None => Some(UserKnown::Service),
        Some(it) => reader.word(&it, USERS_KNOWN),
    };
    let relationship = match reader.optional(&mut keys, "relationship") {
        None => Some(false),
        Some(it) => reader.word(&it, RELATIONSHIPS),
    };
    let overrides: Option<Vec<Refusal>> = match reader.optional(&mut keys, "overrides") {
        None => Some(Vec::new()),
        Some(it) => reader.set(&it, LIST_LEN_MAX, Reader::parsed),
    };
    let mut flag = |key| match reader.optional(&mut keys, key) {
        None => Some(false),
        Some(it) => reader.yes_or_no(&it),
    };
    let (offline_emergency, show_reasons) = (flag("offline_emergency"), flag("show_reasons"));
    let condition = match reader.optional(&mut keys, "when") {
        None => Some(""),
        Some(it) => reader.text(&it, CONDITION_LEN_MAX),
    };
    let confidentiality = match reader.optional(&mut keys, "confidentiality") {
        None => Some(Confidentiality::Normal),
        Some(it) => reader.word(&it, CONFIDENTIALITIES),
    };
    let assessment_min = read_assessment(reader, &mut keys);
    reader.close(keys);
    Some(Share {
        provider: provider?,
        requesters: requesters?,
        source: source?,
        purposes: purposes?,
        data: data?,
        confidential: confidential?,
        basis: basis?,
        fields: fields?,
        user_known: user_known?,
        relationship_required: relationship?,
        overrides: overrides?,
        offline_emergency: offline_emergency?,
        show_reasons: show_reasons?,
        condition: Condition::new(condition?),
        confidentiality: confidentiality?,
        assessment_min: assessment_min?,
    })
}

/// Not said: it is not asked. None: it could not be read.
fn read_assessment(reader: &mut Reader, keys: &mut Keys<'_>) -> Option<Option<AssessmentStatus>> {
    match reader.optional(keys, "dspt") {
        None => Some(None),
        Some(it) => reader.word(&it, ASSESSMENTS_MIN).map(Some),
    }
}

fn read_basis(reader: &mut Reader, value: &Value<'_>) -> Option<Basis> {
    let mut keys = reader.table(value)?;
    let before = reader.problems_found();
    let article_6 = reader.optional(&mut keys, "art6").and_then(|it| reader.word(&it, ARTICLES_6));
    let article_9 = reader.optional(&mut keys, "art9").and_then(|it| reader.word(&it, ARTICLES_9));
    let common_law =
        reader.optional(&mut keys, "common_law").and_then(|it| reader.word(&it, COMMON_LAWS));
    let power = reader.optional(&mut keys, "power").and_then(|it| reader.text(&it, TEXT_LEN_MAX));
    reader.close(keys);
    // A basis that could not be read is not one that is missing.
    let whole = reader.problems_found() == before;
    let power = power.unwrap_or_default().to_owned();
    whole.then_some(Basis { article_6, article_9, common_law, power })
}

/// `fields` for FHIR, `columns` for a dataset, neither for a dataset that goes as it is.
fn read_fields(reader: &mut Reader, keys: &mut Keys<'_>) -> Option<AllowList> {
    let fields = reader.optional(keys, "fields");
    let columns = reader.optional(keys, "columns");
    match (fields, columns) {
        (None, None) => Some(AllowList::Everything),
        (Some(_), Some(columns)) => {
            reader.complain(&columns, "a share has fields (FHIR) or columns (datasets), not both");
            None
        }
        (None, Some(it)) => some_set(reader, &it, FIELDS_MAX, name).map(AllowList::Columns),
        (Some(it), None) => {
            let types = reader.table(&it)?.into_values(reader);
            if types.is_empty() || types.len() > FIELDS_MAX {
                reader.complain(&it, format!("expected 1 to {FIELDS_MAX} resource types"));
                return None;
            }
            // A table's keys are unique, and these come in ascending order.
            let types: Vec<_> =
                types.into_iter().map(|(kind, it)| read_elements(reader, kind, &it)).collect();
            types.into_iter().collect::<Option<Vec<_>>>().map(AllowList::Elements)
        }
    }
}

fn read_elements(reader: &mut Reader, kind: &str, value: &Value<'_>) -> Option<(String, Elements)> {
    let is_type = kind.len() <= 64
        && kind.starts_with(|first: char| first.is_ascii_uppercase())
        && kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_type {
        reader.complain(value, "the key is no FHIR resource type");
        return None;
    }
    let list = reader.list(value, FIELDS_MAX)?;
    if let [only] = list.as_slice()
        && reader.text(only, TEXT_LEN_MAX)? == "*"
    {
        return Some((kind.to_owned(), Elements::All));
    }
    let elements = some_set(reader, value, FIELDS_MAX, element)?;
    if let Some((whole, part)) = said_twice(&elements) {
        reader.complain(value, format!("{part} says again what {whole} says"));
        return None;
    }
    Some((kind.to_owned(), Elements::These(elements)))
}

/// The path of an element from its resource on, such as `birthDate` or `address.postalCode`.
fn element(reader: &mut Reader, value: &Value<'_>) -> Option<String> {
    let text = name(reader, value)?;
    let is_step = |step: &str| {
        let name = step.strip_suffix("[x]").unwrap_or(step);
        name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    if !text.split('.').all(is_step) || text.split('.').count() > PATH_STEPS_MAX {
        let what = format!(
            "expected an element's name, or a path of at most {PATH_STEPS_MAX} names such as \
             address.postalCode"
        );
        reader.complain(value, what);
        return None;
    }
    Some(text)
}

/// A path and one that lies below it: which of the two is meant nobody should have to guess.
fn said_twice(elements: &[String]) -> Option<(&str, &str)> {
    let below = |part: &str, whole: &str| {
        part.strip_prefix(whole).is_some_and(|rest| rest.starts_with('.'))
    };
    let pairs = elements.iter().flat_map(|whole| elements.iter().map(move |part| (whole, part)));
    let mut pairs = pairs.map(|(whole, part)| (whole.as_str(), part.as_str()));
    pairs.find(|(whole, part)| below(part, whole))
}

/// The name of an element or a column.
fn name(reader: &mut Reader, value: &Value<'_>) -> Option<String> {
    let text = some_text(reader, value)?;
    if text == "*" {
        reader.complain(value, "\"*\" stands alone, for all elements of a resource type");
        return None;
    }
    Some(text.to_owned())
}

/// A member's id begins with a capital or a digit, a group's with a small letter.
fn read_parties(reader: &mut Reader, value: &Value<'_>, len_min: usize) -> Option<Vec<Party>> {
    let parties = reader.set(value, LIST_LEN_MAX, |reader, it| {
        let text = reader.text(it, TEXT_LEN_MAX)?;
        if text.starts_with(|first: char| first.is_ascii_lowercase()) {
            reader.parsed::<GroupId>(it).map(Party::Group)
        } else {
            reader.parsed::<MemberId>(it).map(Party::Member)
        }
    })?;
    // A group alone may hold all parties.
    let group = parties.iter().any(|party| matches!(party, Party::Group(_)));
    if parties.len() < if group { 1 } else { len_min } {
        reader.complain(value, format!("expected at least {len_min}"));
        return None;
    }
    Some(parties)
}

fn some_text<'d>(reader: &mut Reader, value: &Value<'d>) -> Option<&'d str> {
    let text = reader.text(value, TEXT_LEN_MAX)?;
    if text.is_empty() {
        reader.complain(value, "is empty");
        return None;
    }
    Some(text)
}

/// A list that says something.
fn some_set<'d, T: Ord>(
    reader: &mut Reader,
    value: &Value<'d>,
    len_max: usize,
    read: impl Fn(&mut Reader, &Value<'d>) -> Option<T>,
) -> Option<Vec<T>> {
    let set = reader.set(value, len_max, read)?;
    if set.is_empty() {
        reader.complain(value, "is empty, so nothing would ever be released");
        return None;
    }
    Some(set)
}

#[cfg(test)]
mod tests;
