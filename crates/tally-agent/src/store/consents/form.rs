//! An imported Consent's provisions as they stand in a directive's row.
//!
//! Invariant: a form that says anything that this version does not know, or lacks anything that it
//! does, is none: a condition that is overlooked would release more.

use serde_json::{Map, Value, json};
use tally_core::consent::{Actor, Data, Day, Days, Period, Provision, Reference, Rule};
use tally_core::record::Label;

/// Names of a provision's parts.
const PARTS: usize = 9;

pub(super) fn print(provision: &Provision) -> Value {
    let labels = provision.labels.iter().map(|label| json!([label.system, label.code]));
    let actors = provision.actors.iter().map(|actor| match actor {
        Actor::Member(member) => Value::from(member.to_string()),
        Actor::Unknown => Value::Null,
    });
    let data = provision.data.iter().map(|data| match data {
        Data::Instance(reference) => json!(["instance", reference.reveal()]),
        Data::Related(reference) => json!(["related", reference.reveal()]),
        Data::AuthoredBy(reference) => json!(["authored-by", reference.reveal()]),
    });
    json!({
        "rule": match provision.rule { Rule::Permit => "permit", Rule::Deny => "deny" },
        "actors": actors.collect::<Vec<_>>(),
        "purposes": provision.purposes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "period": provision.period.as_ref().map(print_period),
        "labels": labels.collect::<Vec<_>>(),
        "kinds": provision.kinds,
        "data_period": provision.data_period.as_ref().map(print_period),
        "data": data.collect::<Vec<_>>(),
        "exceptions": provision.exceptions.iter().map(print).collect::<Vec<_>>(),
    })
}

pub(super) fn parse(value: &Value) -> Option<Provision> {
    let parts = value.as_object().filter(|parts| parts.len() == PARTS)?;
    Some(Provision {
        rule: match parts.get("rule")?.as_str()? {
            "permit" => Rule::Permit,
            "deny" => Rule::Deny,
            _ => return None,
        },
        actors: list(parts, "actors", |value| match value {
            Value::Null => Some(Actor::Unknown),
            other => other.as_str()?.parse().ok().map(Actor::Member),
        })?,
        purposes: list(parts, "purposes", |value| value.as_str()?.parse().ok())?,
        period: period(parts.get("period")?)?,
        labels: list(parts, "labels", label)?,
        kinds: list(parts, "kinds", |value| value.as_str().map(str::to_owned))?,
        data_period: period(parts.get("data_period")?)?,
        data: list(parts, "data", data)?,
        exceptions: list(parts, "exceptions", parse)?,
    })
}

fn print_period(period: &Period) -> Value {
    let edge = |days: Days| json!([days.first.0, days.last.0, days.is_instant]);
    json!([period.start.map(edge), period.end.map(edge)])
}

fn list<T>(
    parts: &Map<String, Value>,
    name: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Option<Vec<T>> {
    parts.get(name)?.as_array()?.iter().map(read).collect()
}

fn pair(value: &Value) -> Option<(&Value, &Value)> {
    match value.as_array()?.as_slice() {
        [first, second] => Some((first, second)),
        _ => None,
    }
}

fn label(value: &Value) -> Option<Label> {
    let (system, code) = pair(value)?;
    Some(Label { system: system.as_str()?.to_owned(), code: code.as_str()?.to_owned() })
}

fn data(value: &Value) -> Option<Data> {
    let (meaning, reference) = pair(value)?;
    let reference = Reference::new(reference.as_str()?)?;
    match meaning.as_str()? {
        "instance" => Some(Data::Instance(reference)),
        "related" => Some(Data::Related(reference)),
        "authored-by" => Some(Data::AuthoredBy(reference)),
        _ => None,
    }
}

/// None if it is neither a period nor null.
fn period(value: &Value) -> Option<Option<Period>> {
    if value.is_null() {
        return Some(None);
    }
    let (start, end) = pair(value)?;
    Some(Some(Period { start: edge(start)?, end: edge(end)? }))
}

fn edge(value: &Value) -> Option<Option<Days>> {
    if value.is_null() {
        return Some(None);
    }
    let [first, last, is_instant] = value.as_array()?.as_slice() else { return None };
    let day = |value: &Value| value.as_i64().and_then(|day| i32::try_from(day).ok()).map(Day);
    let (first, last) = (day(first)?, day(last)?);
    Some(Some(Days { first, last, is_instant: is_instant.as_bool()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Provision {
        let days = |text| Days::parse(text).unwrap();
        let reference = |text| Reference::new(text).unwrap();
        Provision {
            actors: vec![Actor::Member("LZ9".parse().unwrap()), Actor::Unknown],
            purposes: vec!["TREAT".parse().unwrap(), "local:PLANNING".parse().unwrap()],
            period: Some(Period { start: Some(days("2026")), end: None }),
            labels: vec![Label { system: "s".to_owned(), code: "R".to_owned() }],
            kinds: vec!["Observation".to_owned()],
            data_period: Some(Period { start: None, end: Some(days("1999-01-01T00:00:00Z")) }),
            data: vec![
                Data::Instance(reference("Observation/o1")),
                Data::Related(reference("Encounter/e1")),
                Data::AuthoredBy(reference("Practitioner/f1")),
            ],
            exceptions: vec![Provision::new(Rule::Deny)],
            ..Provision::new(Rule::Permit)
        }
    }

    #[test]
    fn provisions_are_read_as_they_were_written() {
        assert_eq!(parse(&print(&whole())), Some(whole()));
    }

    #[test]
    fn half_a_provision_is_none() {
        let printed = print(&whole());
        for name in printed.as_object().unwrap().keys() {
            let mut less = printed.clone();
            less.as_object_mut().unwrap().remove(name);
            assert_eq!(parse(&less), None, "{name}");
            let mut other = printed.clone();
            other[name] = json!(7);
            assert_eq!(parse(&other), None, "{name}");
        }
        let mut more = printed;
        more["hours"] = json!([]);
        assert_eq!(parse(&more), None, "a condition of a later version");
    }
}
