//! What a path and a query ask of a FHIR source.
//!
//! Invariant: what is not known is refused, never skipped, and no refusal repeats a value.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use tally_core::entry::Action;
use tally_core::refusal::Refusal;
use tally_record::fhir::{is_fhir_id, type_names};

use super::{Ask, Unread};

/// Entries of a page where the request does not say.
pub(super) const COUNT_DEFAULT: u16 = 20;
/// Entries of a page at most; who asks for more gets these.
pub(super) const COUNT_MAX: u16 = 200;

const VALUE_LEN_MAX: usize = 1024;
const PARAMETERS_MAX: usize = 16;

/// What a path names.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// `Type/id`.
    Record { kind: &'static str, id: String },
    /// `Type/id/_history/version`.
    Version { kind: &'static str, id: String, version: String },
    /// `Type`.
    Type { kind: &'static str },
    /// `Patient/id/$everything`.
    Everything { id: String },
}

/// What is searched for. All of it has to match.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Criteria {
    /// `_id`.
    pub(super) id: Option<String>,
    /// `identifier`, as `system|value`.
    pub(super) identifier: Option<String>,
    /// `patient`: a Patient's id.
    pub(super) patient: Option<String>,
    /// `subject`: a Patient's id.
    pub(super) subject: Option<String>,
}

/// A query that was read.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) criteria: Criteria,
    pub(super) count: Option<u16>,
    pub(super) page: Option<String>,
}

/// What of a FHIR source is asked for: records, which are read from their start.
///
/// # Errors
/// As [`Target::of`] and [`Query::of`]; `bad-query` where the request says another action, and
/// `range-invalid` where it asks for a part.
pub(super) fn asked(ask: &Ask) -> Result<(Target, Query), Unread> {
    let target = Target::of(&ask.path)?;
    if target.action() != ask.action {
        let detail = "The action is not the one that the path names.";
        return Err(Unread::new(Refusal::BadQuery, detail));
    }
    if ask.wanted.insists_on_a_part() {
        return Err(Unread::new(Refusal::RangeInvalid, "Records are read from their start."));
    }
    let query = Query::of(&target, &ask.query)?;
    Ok((target, query))
}

/// What a path below `/fhir/MEMBER/` asks for.
///
/// # Errors
/// `unknown-type`, `unsupported-parameter` or `bad-query` where it asks for nothing that a source can
/// answer.
pub fn action_of(path: &str) -> Result<Action, Unread> {
    Target::of(path).map(|target| target.action())
}

impl Target {
    pub(super) fn of(path: &str) -> Result<Self, Unread> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut segments = Vec::new();
        for segment in path.split('/') {
            segments.push(decoded(segment, false)?);
        }
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let kind = type_names().find(|name| segments.first() == Some(name));
        let kind = kind.ok_or_else(|| {
            Unread::new(Refusal::UnknownType, "FHIR R4 has no such type of record.")
        })?;
        match segments.as_slice() {
            [_] => Ok(Self::Type { kind }),
            [_, id] if is_fhir_id(id) => Ok(Self::Record { kind, id: (*id).to_owned() }),
            ["Patient", id, "$everything"] if is_fhir_id(id) => {
                Ok(Self::Everything { id: (*id).to_owned() })
            }
            [_, id, "_history", version] if is_fhir_id(id) && is_fhir_id(version) => {
                Ok(Self::Version { kind, id: (*id).to_owned(), version: (*version).to_owned() })
            }
            [_, _, "_history"] => {
                let detail = "Histories are not read: ask for the record itself, or for a version.";
                Err(Unread::new(Refusal::UnsupportedParameter, detail))
            }
            _ => {
                let detail = "Ask for Type/id, for Type/id/_history/version, for Type?parameters, \
                              or for Patient/id/$everything.";
                Err(Unread::new(Refusal::BadQuery, detail))
            }
        }
    }

    pub(super) const fn action(&self) -> Action {
        match self {
            Self::Record { .. } => Action::Read,
            Self::Version { .. } => Action::VersionRead,
            Self::Type { .. } => Action::Search,
            Self::Everything { .. } => Action::Everything,
        }
    }

    /// The type that it names.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Record { kind, .. } | Self::Version { kind, .. } | Self::Type { kind } => kind,
            Self::Everything { .. } => "Patient",
        }
    }

    /// The path in one spelling.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Record { kind, id } => format!("{kind}/{id}"),
            Self::Version { kind, id, version } => format!("{kind}/{id}/_history/{version}"),
            Self::Type { kind } => (*kind).to_owned(),
            Self::Everything { id } => format!("Patient/{id}/$everything"),
        }
    }
}

impl Query {
    pub(super) fn of(target: &Target, text: &str) -> Result<Self, Unread> {
        let mut query = Self::default();
        let mut names = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name, true)?, decoded(value, true)?);
            if names.len() >= PARAMETERS_MAX || names.contains(&name) {
                return Err(bad("A parameter stands twice, or there are too many."));
            }
            if value.len() > VALUE_LEN_MAX {
                return Err(bad("A parameter's value is too long."));
            }
            query.take(target, &name, &value)?;
            names.push(name);
        }
        let others = names.iter().filter(|name| !["_page", "_format"].contains(&name.as_str()));
        if query.page.is_some() && others.count() > 0 {
            return Err(bad("_page says all: no other parameter stands beside it."));
        }
        Ok(query)
    }

    fn take(&mut self, target: &Target, name: &str, value: &str) -> Result<(), Unread> {
        let pages = matches!(target, Target::Type { .. } | Target::Everything { .. });
        let searches = matches!(target, Target::Type { .. });
        let criteria = &mut self.criteria;
        match name {
            "_format" => {
                let known = ["json", "application/json", "application/fhir+json"];
                if !known.contains(&value) {
                    return Err(Unread::new(Refusal::NotAcceptable, "Only JSON is answered."));
                }
            }
            "_count" if pages => self.count = Some(count_of(value)?),
            "_page" if pages => self.page = Some(value.to_owned()),
            "_id" if searches => {
                if !is_fhir_id(value) {
                    return Err(bad("_id takes one FHIR id."));
                }
                criteria.id = Some(value.to_owned());
            }
            "identifier" if searches => {
                let (_, one) = value.split_once('|').unwrap_or_default();
                if one.is_empty() || value.contains([',', '\\']) {
                    return Err(bad("identifier takes one system|value."));
                }
                criteria.identifier = Some(value.to_owned());
            }
            "patient" if searches && target.kind() != "Patient" => {
                criteria.patient = Some(patient_of(value)?);
            }
            "subject" if searches && target.kind() != "Patient" => {
                criteria.subject = Some(patient_of(value)?);
            }
            _ => return Err(unsupported(name)),
        }
        Ok(())
    }
}

impl Criteria {
    /// In a fixed order.
    pub(super) fn values(&self) -> [Option<&str>; 4] {
        [&self.id, &self.identifier, &self.patient, &self.subject].map(|it| it.as_deref())
    }

    pub(super) fn from_values(values: Vec<Option<String>>) -> Option<Self> {
        let [id, identifier, patient, subject] = values.try_into().ok()?;
        Some(Self { id, identifier, patient, subject })
    }
}

fn count_of(value: &str) -> Result<u16, Unread> {
    let digits =
        !value.is_empty() && value.len() <= 9 && value.bytes().all(|it| it.is_ascii_digit());
    let number = value.parse::<u32>().ok().filter(|number| digits && *number > 0);
    let number = number.ok_or_else(|| bad("_count takes a whole number from 1."))?;
    Ok(u16::try_from(number).unwrap_or(COUNT_MAX).min(COUNT_MAX))
}

/// `Patient/id`, or the id alone.
fn patient_of(value: &str) -> Result<String, Unread> {
    let id = value.strip_prefix("Patient/").unwrap_or(value);
    if is_fhir_id(id) {
        Ok(id.to_owned())
    } else {
        Err(bad("patient and subject take Patient/id or an id."))
    }
}

/// One part of a path or a query, decoded (RFC 3986 §2.1; in a query `+` is a blank).
fn decoded(text: &str, plus: bool) -> Result<String, Unread> {
    let text = if plus { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    let decoded = percent_decode(text.as_bytes()).decode_utf8().map(Cow::into_owned);
    decoded.map_err(|_| bad("The address is not UTF-8."))
}

fn bad(detail: &str) -> Unread {
    Unread::new(Refusal::BadQuery, detail)
}

/// Parameters that are often asked for. Only these are named in an answer: what else stands for a
/// name may be somebody's.
const OFTEN: [&str; 23] = [
    "_elements",
    "_has",
    "_include",
    "_lastUpdated",
    "_offset",
    "_pretty",
    "_revinclude",
    "_since",
    "_sort",
    "_summary",
    "_total",
    "_type",
    "birthdate",
    "category",
    "code",
    "date",
    "encounter",
    "family",
    "gender",
    "given",
    "name",
    "status",
    "type",
];

fn unsupported(name: &str) -> Unread {
    let known = "Known are _id, identifier, patient, subject, _count and _format.";
    let stem = name.split(':').next().unwrap_or_default();
    let detail = match OFTEN.iter().find(|often| **often == stem) {
        Some(often) => format!("The parameter {often} is not known here. {known}"),
        None => known.to_owned(),
    };
    Unread::new(Refusal::UnsupportedParameter, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Result<(Action, String), Refusal> {
        let target = Target::of(path).map_err(|unread| unread.refusal)?;
        Ok((target.action(), target.path()))
    }

    fn query(path: &str, text: &str) -> Result<Query, Refusal> {
        Query::of(&Target::of(path).unwrap(), text).map_err(|unread| unread.refusal)
    }

    #[test]
    fn a_path_names_a_record_a_type_or_everything_of_a_patient() {
        let read = |action, path: &str| Ok((action, path.to_owned()));
        assert_eq!(target("Patient/p1"), read(Action::Read, "Patient/p1"));
        assert_eq!(target("Observation/"), read(Action::Search, "Observation"));
        let everything = read(Action::Everything, "Patient/p1/$everything");
        assert_eq!(target("Patient/p1/$everything"), everything);
        assert_eq!(target("Patient/p1/%24everything"), everything);
        for unknown in ["", "patient", "Martian/1", "Bundle/b", "OperationOutcome", "metadata"] {
            assert_eq!(target(unknown), Err(Refusal::UnknownType), "{unknown}");
        }
        for bad in [
            "Patient/p_1",
            "Patient//x",
            "Patient/$everything",
            "Patient/1/_history/_",
            "Patient/%ff",
        ] {
            assert_eq!(target(bad), Err(Refusal::BadQuery), "{bad}");
        }
        let version = read(Action::VersionRead, "Patient/p1/_history/2");
        assert_eq!(target("Patient/p1/_history/2"), version);
        assert_eq!(target("Patient/p1/_history"), Err(Refusal::UnsupportedParameter));
        assert_eq!(action_of("Patient/p1").unwrap(), Action::Read);
    }

    #[test]
    fn parameters_are_read_however_they_are_escaped() {
        let text = "identifier=https%3A%2F%2Fx%7Ca+b&patient=Patient%2Fp1&subject=p1&_count=500";
        let found = query("Observation", text).unwrap();
        assert_eq!(found.criteria.identifier.as_deref(), Some("https://x|a b"));
        assert_eq!(found.criteria.patient.as_deref(), Some("p1"));
        assert_eq!(found.criteria.subject.as_deref(), Some("p1"));
        assert_eq!(found.count, Some(COUNT_MAX));
        assert!(query("Patient/p1", "_format=json").is_ok());
        assert!(query("Patient/p1/$everything", "_count=7&&").unwrap().count == Some(7));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for text in ["_pretty=true", "_summary=true", "_elements=id"] {
            let refused = Query::of(&Target::of("Patient").unwrap(), text).err().unwrap();
            assert_eq!(refused.refusal, Refusal::UnsupportedParameter, "{text}");
            assert!(refused.detail.contains(text.split('=').next().unwrap()), "{text}");
        }
        for text in ["code=1", "patient:Patient=p1", "patient.name=x", "x", "_include=*"] {
            let refused = query("Observation", text);
            assert_eq!(refused.err(), Some(Refusal::UnsupportedParameter), "{text}");
        }
        assert_eq!(query("Patient/p1", "_count=1").err(), Some(Refusal::UnsupportedParameter));
        assert_eq!(query("Patient", "patient=p1").err(), Some(Refusal::UnsupportedParameter));
        for text in [
            "_id=a&_id=b",
            "_id=a,b",
            "identifier=1",
            "identifier=x|",
            "identifier=x|1,y|2",
            "patient=Group/g",
            "_count=0",
            "_count=+1",
            "_page=x&_count=1",
            "_id=%ff",
        ] {
            assert_eq!(query("Observation", text).err(), Some(Refusal::BadQuery), "{text}");
        }
        assert_eq!(query("Patient", "_format=xml").err(), Some(Refusal::NotAcceptable));
    }

    #[test]
    fn a_refusal_names_no_value_and_no_unheard_of_name() {
        let unread = |text: &str| Query::of(&Target::Type { kind: "Patient" }, text).err().unwrap();
        assert!(unread("family=Smith").detail.contains("family"));
        for text in ["family=Smith", "Smith=1", "Smith:exact=1", "9990000018"] {
            let printed = format!("{:?}", unread(text));
            assert!(!printed.contains("Smith") && !printed.contains("999"), "{printed}");
        }
    }
}
