//! Cedar: a condition parsed, validated and evaluated.

use std::str::FromStr;
use std::sync::LazyLock;

use cedar_policy::{
    Context, Entities, EntityUid, EvalResult, Expression, Policy, PolicySet, Request,
    RestrictedExpression, Schema, ValidationMode, Validator, eval_expression,
};
use miette::Diagnostic;

use super::tokens::{parts, place};
use super::{ATTRIBUTES, CONDITION_LEN_MAX, Circumstances, Extent, Fault};
use crate::policy::Relationship;
use crate::register::AssessmentStatus;

/// What conditions are validated against. What is not named here can't be asked for.
const SCHEMA: &str = r#"
entity Anybody;
action "release" appliesTo {
    principal: [Anybody],
    resource: [Anybody],
    context: {
        date: Long,
        dspt: String,
        emergency: Bool,
        hour: Long,
        people: Long,
        provider: String,
        purpose: String,
        records: Long,
        relationship: String,
        requester: String,
        source: String,
        user_known: String,
        weekday: Long,
    },
};
"#;

/// What a condition is the middle of: a refusal that only its truth lifts. On lines of its own, so
/// that a comment at its end ends there.
const BEFORE: &str = "forbid(principal, action, resource) unless {\n";
const AFTER: &str = "\n};";

/// Faults that are told at most.
const FAULTS_MAX: usize = 8;

struct Known {
    validator: Validator,
    anybody: EntityUid,
    release: EntityUid,
    nothing: Entities,
}

/// Our own text: that it can be read is a test's to show. Where it could not, no condition holds.
static KNOWN: LazyLock<Option<Known>> = LazyLock::new(|| {
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA).ok()?;
    Some(Known {
        validator: Validator::new(schema),
        anybody: EntityUid::from_str("Anybody::\"anybody\"").ok()?,
        release: EntityUid::from_str("Action::\"release\"").ok()?,
        nothing: Entities::empty(),
    })
});

/// A condition that was found good.
pub(super) struct Program {
    /// What can be said before any record.
    early: Vec<Expression>,
    whole: Expression,
    counts: bool,
}

impl Program {
    /// Reads a condition.
    ///
    /// # Errors
    /// All that is wrong with it, as far as it could be read.
    pub(super) fn read(text: &str) -> Result<Self, Vec<Fault>> {
        let plain = |what: String| vec![Fault { at: None, what }];
        if text.len() > CONDITION_LEN_MAX {
            let what = format!("has {} bytes, at most {CONDITION_LEN_MAX} fit", text.len());
            return Err(plain(what));
        }
        let parts = parts(text).map_err(|fault| vec![fault])?;
        let Some(known) = &*KNOWN else {
            return Err(plain("conditions can't be read by this version".to_owned()));
        };
        // By itself first: what is more than one expression is none, whatever it would make of the
        // policy around it.
        let whole = Expression::from_str(text).map_err(|error| faults(text, 0, &error))?;
        let policy = Policy::from_str(&format!("{BEFORE}{text}{AFTER}"));
        let policy = policy.map_err(|error| faults(text, BEFORE.len(), &error))?;
        let mut policies = PolicySet::new();
        policies.add(policy).map_err(|error| plain(error.to_string()))?;
        let judged = known.validator.validate(&policies, ValidationMode::Strict);
        let wrong = judged.validation_errors().flat_map(|it| faults(text, BEFORE.len(), it));
        let mut wrong: Vec<_> = wrong.collect();
        if !wrong.is_empty() {
            wrong.sort();
            wrong.dedup();
            wrong.truncate(FAULTS_MAX);
            return Err(wrong);
        }
        let counts = parts.iter().any(|(_, asks_no_count)| !asks_no_count);
        let early = parts.into_iter().filter(|(_, asks_no_count)| *asks_no_count);
        let early = early.map(|(part, _)| Expression::from_str(part).map_err(|it| it.to_string()));
        let early = early.collect::<Result<Vec<_>, _>>().map_err(plain)?;
        Ok(Self { early, whole, counts })
    }

    pub(super) const fn counts(&self) -> bool {
        self.counts
    }

    pub(super) fn holds(&self, extent: Extent, circumstances: &Circumstances<'_>) -> bool {
        let evaluated = match extent {
            Extent::Whole => std::slice::from_ref(&self.whole),
            Extent::BeforeRecords if self.counts => self.early.as_slice(),
            Extent::BeforeRecords => std::slice::from_ref(&self.whole),
        };
        if evaluated.is_empty() {
            return true;
        }
        let Some((known, request)) = KNOWN.as_ref().and_then(|known| {
            let request = request(known, circumstances)?;
            Some((known, request))
        }) else {
            return false;
        };
        evaluated.iter().all(|expression| {
            let found = eval_expression(&request, &known.nothing, expression);
            matches!(found, Ok(EvalResult::Bool(true)))
        })
    }
}

fn request(known: &Known, circumstances: &Circumstances<'_>) -> Option<Request> {
    let pairs = attributes(circumstances).map(|(name, value)| (name.to_owned(), value));
    let context = Context::from_pairs(pairs).ok()?;
    // It is made as the schema says, and checked against it by a test.
    let (anybody, release) = (known.anybody.clone(), known.release.clone());
    Request::new(anybody.clone(), release, anybody, context, None).ok()
}

fn attributes(it: &Circumstances<'_>) -> [(&'static str, RestrictedExpression); 13] {
    let long = RestrictedExpression::new_long;
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let count = |count: usize| long(i64::try_from(count).unwrap_or(i64::MAX));
    let (year, month, day) = it.date.parts();
    let date = i64::from(year) * 10_000 + i64::from(month) * 100 + i64::from(day);
    let relationship = it.relationship.map_or("none", Relationship::word);
    [
        ("date", long(date)),
        ("dspt", text(it.assessment.map_or("unknown", AssessmentStatus::word))),
        ("emergency", RestrictedExpression::new_bool(it.emergency)),
        ("hour", long(i64::from(it.hour))),
        ("people", count(it.people)),
        ("provider", text(it.provider)),
        ("purpose", text(it.purpose)),
        ("records", count(it.records)),
        ("relationship", text(relationship)),
        ("requester", text(it.requester)),
        ("source", text(it.source)),
        ("user_known", text(it.user_known)),
        ("weekday", long(i64::from(it.date.weekday()))),
    ]
}

/// What Cedar says is wrong, each with its place in the condition. `skipped` bytes stand before it.
fn faults(text: &str, skipped: usize, error: &dyn Diagnostic) -> Vec<Fault> {
    let at = error
        .labels()
        .and_then(|mut labels| labels.next())
        .map(|label| place(text, label.offset().saturating_sub(skipped).min(text.len())));
    let mut what = one_line(&error.to_string());
    if what.contains("attribute") {
        let names: Vec<_> = ATTRIBUTES.iter().map(|(name, _)| *name).collect();
        what.push_str(&format!("; after `context.` stands one of {}", names.join(", ")));
    }
    let more = error.related().into_iter().flatten().flat_map(|it| faults(text, skipped, it));
    std::iter::once(Fault { at, what }).chain(more).take(FAULTS_MAX).collect()
}

/// Cedar's words without its line breaks, and without the name that it gave the policy.
fn one_line(words: &str) -> String {
    let words = words.strip_prefix("for policy `policy0`, ").unwrap_or(words);
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_can_be_read_and_names_what_is_documented() {
        let known = KNOWN.as_ref().unwrap();
        let circumstances = super::super::tests::circumstances();
        let pairs = attributes(&circumstances).map(|(name, value)| (name.to_owned(), value));
        let names: Vec<_> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        let documented: Vec<_> = ATTRIBUTES.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, documented);
        let context = Context::from_pairs(pairs).unwrap();
        let (anybody, release) = (known.anybody.clone(), known.release.clone());
        // With the schema, Cedar itself checks that each attribute is there and of its type.
        Request::new(anybody.clone(), release, anybody, context, Some(known.validator.schema()))
            .unwrap();
    }
}
