//! `docs/purposes.md`.

use tally_core::agreement::CommonLaw;
use tally_core::id::PurposeSystem;
use tally_core::purpose::{Class, Row, rows};

use super::{head, row};

const INTRODUCTION: &str = "\
# Purposes

Why a record is asked for decides what may happen to it. A purpose is a code of HL7's v3-ActReason below \
PurposeOfUse (version 4.0.1), written as it is, such as `TREAT`; or one of the short list for councils, \
which HL7 has no code for, written `local:PLANNING`. Each has a class, or it is refused as \
`purpose-unclassified`: nobody guesses what it may be used for.

An agreement that permits a purpose also permits the codes below it, but only those of the same class and the \
same list: `TREAT` covers `ETREAT`, never `BTG`, `POPHLTH` or `CLINTRL`; `HOPERAT` covers `HQUALIMP`, never \
`HLEGAL` or `GOV`. A person's denial reaches everything below it, whatever its class.

This page is written by `just gen` from `crates/tally-core/src/purpose/table.rs`; a test compares them.

## Classes

The common-law bases are those that can carry a class where the data is confidential. Beside them an agreement \
names its basis under UK GDPR Article 6 for personal data, its condition under Article 9 for data of a special \
category, and the statutory power. Open data needs none of these.

Of a person who has said nothing, confidential data goes for direct care on `implied-consent`, and where a law \
sets the duty of confidence aside: `statute`, `court-order`, `section-251` and `copi-regulation-3`. On \
`explicit-consent`, `public-interest` and `vital-interests` nothing goes without a word of the person's: \
`consent-absent`. A no or an objection holds on every basis, and who has opted out is left out wherever the \
opt-out is asked.

";

const BASES: &[CommonLaw] = &[
    CommonLaw::ImpliedConsent,
    CommonLaw::ExplicitConsent,
    CommonLaw::Statute,
    CommonLaw::CourtOrder,
    CommonLaw::Section251,
    CommonLaw::CopiRegulation3,
    CommonLaw::PublicInterest,
    CommonLaw::VitalInterests,
];

pub(super) fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    page +=
        &head(&["class", "what it may be used for", "national data opt-out", "common-law bases"]);
    for class in Class::ALL {
        let opt_out =
            if class.asks_opt_out() { "asked, people opted out are removed" } else { "not asked" };
        let bases = BASES.iter().filter(|basis| class.allows(**basis));
        let bases: Vec<_> = bases.map(|basis| format!("`{basis}`")).collect();
        let bases = if bases.is_empty() { "none".to_owned() } else { bases.join(", ") };
        page += &row(&[class.name(), what_for(*class), opt_out, &bases]);
    }
    page += "\n## Codes of HL7 v3-ActReason\n\n";
    page += &table(PurposeSystem::ActReason, true);
    page += "\n## Codes of HL7 v3-ActReason without a class: always refused\n\n";
    page += &table(PurposeSystem::ActReason, false);
    page += "\n## The local list\n\n";
    page += "A denial of the code above it denies it too; a permit of that code does not permit it.\n\n";
    page += &table(PurposeSystem::Local, true);
    page
}

const fn what_for(class: Class) -> &'static str {
    match class {
        Class::DirectCare => "the care of the person whose record it is",
        Class::Override => {
            "break-glass: a named human, a reason, one person, for a short time, reviewed"
        }
        Class::Safeguarding => "protecting a child or an adult at risk",
        Class::Planning => "planning and improving services: a secondary use",
        Class::Research => "research: a secondary use",
        Class::PublicHealth => "protecting the public's health",
        Class::RequiredByLaw => "what a statute or an order requires",
        Class::Payment => "paying for care, and deciding who is entitled to what",
        Class::SubjectAccess => "a person's own record, for the person or who acts for them",
        Class::Test => "tests and training, on made-up people only",
        Class::OpenData => "what is published anyway: data about nobody",
        Class::Forbidden => "nothing, whatever an agreement says",
    }
}

fn table(system: PurposeSystem, classified: bool) -> String {
    let columns = if classified { 4 } else { 3 };
    let mut table = head(
        &["code", "what", "above it", "class"].iter().take(columns).copied().collect::<Vec<_>>(),
    );
    let is_meant = |row: &&Row| {
        // The root is no purpose.
        row.system == system && row.class.is_some() == classified && row.code != "PurposeOfUse"
    };
    for it in rows().iter().filter(is_meant) {
        let code = match system {
            PurposeSystem::ActReason => format!("`{}`", it.code),
            PurposeSystem::Local => format!("`local:{}`", it.code),
        };
        let above = it.parent.map(|parent| format!("`{parent}`")).unwrap_or_default();
        let cells = [&*code, it.display, &*above, it.class.map_or("", Class::name)];
        table += &row(&cells.into_iter().take(columns).collect::<Vec<_>>());
    }
    table
}
