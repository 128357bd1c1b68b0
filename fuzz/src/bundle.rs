//! FHIR bodies: described or refused, and cut down to what can be described again, with no
//! record that was not there.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use tally_core::id::MemberId;
use tally_record::fhir::{Allowed, Context, Described, Links, RecordLimits, Verdict, describe};
use tally_record::{RecordError, Subjects};

static MEMBER: LazyLock<MemberId> = LazyLock::new(|| "RZ9".parse().expect("a member's id"));
static SUBJECTS: LazyLock<Subjects> = LazyLock::new(Subjects::default);
static LIMITS: LazyLock<RecordLimits> = LazyLock::new(RecordLimits::default);
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
    ["birthDate", "code", "name", "status", "subject"].map(str::to_owned).to_vec()
});

pub fn fuzz(data: &[u8]) {
    let context = Context {
        member: &MEMBER,
        subjects: &SUBJECTS,
        base: None,
        neighbours: None,
        limits: &LIMITS,
    };
    let Ok(described) = describe(data, &context) else { return };
    let part = Verdict::Keep { elements: Allowed::These(&NAMES), types: &[], unlocated: false };
    let all = Verdict::Keep { elements: Allowed::All, types: &[], unlocated: false };
    let first = data.len() % 4;
    let turns = [all, part, Verdict::Drop, Verdict::Hide];
    let mixed = turns.iter().cycle().skip(first).take(described.items().len()).copied();
    for verdicts in [vec![part; described.items().len()], mixed.collect()] {
        let left = described.minimise(&verdicts, &Links::default());
        let Some(body) = left.body else { continue };
        let again = match describe(&body, &context) {
            Ok(again) => again,
            // The number or the reference that says whom it is about was cut.
            Err(RecordError::SubjectUnresolved) => continue,
            Err(why) => panic!("{why}: {}", String::from_utf8_lossy(&body)),
        };
        assert!(again.items().len() <= described.items().len());
        let (before, after) = (items(&described), items(&again));
        assert!(after.is_subset(&before), "{after:?} is left of {before:?}");
    }
}

/// Types and ids: whom a record is about may look otherwise once a number was cut.
fn items(described: &Described<'_>) -> BTreeSet<(String, String)> {
    described.items().iter().map(|item| (item.kind.clone(), item.id.clone())).collect()
}
