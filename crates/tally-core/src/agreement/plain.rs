//! An agreement in plain English, for those who sign it and those whom it is about.
//!
//! Invariant: made from the document alone, the same text each time. What it says of conditions is
//! the text that runs.

use super::words::{CONFIDENTIALITIES, word_of};
use super::{
    Agreement, AllowList, Article6, Article9, CommonLaw, DataKind, Elements, Party, Share,
};
use crate::entry::UserKnown;
use crate::id::Purpose;
use crate::purpose::rows;
use crate::record::Confidentiality;
use crate::refusal::Refusal;

/// The agreement as sentences.
#[must_use]
pub fn plain(agreement: &Agreement) -> String {
    let Agreement { id, version, title, start, review, end, .. } = agreement;
    let mut text = format!("{id}, version {version}: {title}\n\n");
    let mut say = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    say(format!(
        "It holds from {start} to {end}, both days included, between those of its parties who have \
         signed it. Until {review} it should be reviewed: after that day it warns, and still holds. \
         After {end} nothing is given under it."
    ));
    say(format!("Its parties are {}.", list(agreement.parties.iter().map(party))));
    say(if agreement.dpia.is_empty() {
        "It names no data protection impact assessment.".to_owned()
    } else {
        format!("Its data protection impact assessment is {}.", agreement.dpia)
    });
    for (place, share) in agreement.shares.iter().enumerate() {
        let requesters = list(share.requesters.iter().map(party));
        let Share { provider, source, .. } = share;
        say(format!("\n{}. {provider} gives to {requesters}, from its source {source}", place + 1));
        for (head, what) in share_lines(share) {
            say(format!("   {head}: {what}"));
        }
    }
    text
}

fn share_lines(share: &Share) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("For what", list(share.purposes.iter().map(purpose))),
        ("What data", data(share)),
        ("On which law", law(share)),
        ("What may be given", given(&share.fields)),
        ("What never leaves", never(share)),
        ("Who may ask", users(share)),
    ];
    if share.data != DataKind::None {
        lines.push(("How confidential", confidentiality(share)));
        lines.push(("What people have said", people(share)));
        lines.push(("National data opt-out", opt_out(share)));
        lines.push(("Break-glass", overrides(share)));
    }
    if !share.condition.is_empty() {
        let condition = share.condition.text().trim();
        lines
            .push(("Only if this is true", format!("{condition}\n   Otherwise nothing is given.")));
    }
    lines.push(("Without the ledger", without_ledger(share).to_owned()));
    lines
}

/// By the records' own labels (HL7 v3-Confidentiality).
fn confidentiality(share: &Share) -> String {
    match share.confidentiality {
        Confidentiality::VeryRestricted => "records of any label".to_owned(),
        most => format!(
            "records labelled {} or less, or not at all; what is labelled higher stays",
            word_of(CONFIDENTIALITIES, most)
        ),
    }
}

fn party(party: &Party) -> String {
    match party {
        Party::Member(id) => id.to_string(),
        Party::Group(id) => format!("the members of the group {id}"),
    }
}

fn purpose(purpose: &Purpose) -> String {
    let known =
        |row: &&crate::purpose::Row| row.system == purpose.system() && row.code == purpose.code();
    match rows().iter().find(known) {
        Some(row) => format!("{purpose} ({})", row.display),
        None => purpose.to_string(),
    }
}

fn data(share: &Share) -> String {
    let kind = match share.data {
        DataKind::None => "about nobody: nobody can be identified in it",
        DataKind::Personal => "about people",
        DataKind::Special => "about people, of a special category such as health",
    };
    let confidence = match (share.data, share.confidential) {
        (DataKind::None, _) => "",
        (_, true) => "; it was given in confidence",
        (_, false) => "; no duty of confidence is owed for it",
    };
    format!("{kind}{confidence}")
}

fn law(share: &Share) -> String {
    if share.data == DataKind::None {
        return "data about nobody needs no legal basis".to_owned();
    }
    let basis = &share.basis;
    let mut said = Vec::new();
    said.push(basis.article_6.map_or_else(
        || "NO basis under UK GDPR Article 6, so nothing is given".to_owned(),
        |article| format!("UK GDPR Article {article} ({})", article_6(article)),
    ));
    if share.data == DataKind::Special {
        said.push(basis.article_9.map_or_else(
            || "NO condition of UK GDPR Article 9, so nothing is given".to_owned(),
            |article| format!("Article {article} ({})", article_9(article)),
        ));
    }
    said.push(if basis.power.is_empty() {
        "NO statutory power, so nothing is given".to_owned()
    } else {
        format!("the power of {}", basis.power)
    });
    if share.confidential {
        said.push(basis.common_law.map_or_else(
            || "NO basis at common law, so nothing is given".to_owned(),
            |basis| format!("confidence is kept by {}", common_law(basis)),
        ));
    }
    said.join("; ")
}

fn given(fields: &AllowList) -> String {
    match fields {
        AllowList::Everything => "the dataset as it is".to_owned(),
        AllowList::Columns(columns) => format!("the columns {}", list(columns.iter().cloned())),
        AllowList::Elements(types) => {
            let types = types.iter().map(|(kind, elements)| match elements {
                Elements::All => format!("{kind} whole"),
                Elements::These(names) => format!("of {kind} only {}", list(names.iter().cloned())),
            });
            types.collect::<Vec<_>>().join("; ")
        }
    }
}

fn never(share: &Share) -> String {
    match &share.fields {
        AllowList::Everything => "any other dataset".to_owned(),
        AllowList::Columns(_) => "any other column".to_owned(),
        AllowList::Elements(types) => {
            let partly = types.iter().any(|(_, elements)| *elements != Elements::All);
            let elements = if partly { ", and any other element of these" } else { "" };
            format!("any other kind of record{elements}")
        }
    }
}

fn users(share: &Share) -> String {
    let user = match share.user_known {
        UserKnown::Service => "their applications, with or without a user who is named",
        UserKnown::Asserted => "a user whom the application that asks has named",
        UserKnown::Verified => "a user whose sign-in was verified",
    };
    let relationship = match share.relationship_required {
        true => "; they must say how they are related to the person",
        false => "",
    };
    let assessed = share.assessment_min.map_or_else(String::new, |least| {
        let least = least.word();
        format!("; their organisation's data security (DSPT) must be assessed as {least} or better")
    });
    format!("{user}{relationship}{assessed}")
}

fn people(share: &Share) -> String {
    let silent = match share.basis.common_law {
        _ if !share.confidential => "what is about them is given",
        Some(basis) if basis.sets_confidence_aside() => "what is about them is given",
        Some(CommonLaw::ImpliedConsent) => {
            "what is about them is given for their own care, and for nothing else"
        }
        _ => "nothing about them is given",
    };
    let reasons = match share.show_reasons {
        true => "Who asks is told why something is withheld.",
        false => "Who asks is not told whether a person is known.",
    };
    format!("a no or an objection holds. If a person has said nothing, {silent}. {reasons}")
}

fn opt_out(share: &Share) -> String {
    let asked: Vec<_> =
        share.purposes.iter().filter(|purpose| share.asks_opt_out(purpose)).collect();
    if asked.is_empty() {
        return "does not apply".to_owned();
    }
    let purposes = list(asked.iter().map(ToString::to_string));
    format!("applies to {purposes}: who has opted out is left out whole")
}

fn overrides(share: &Share) -> String {
    if share.overrides.is_empty() {
        return "may lift nothing".to_owned();
    }
    let lifted = share.overrides.iter().map(|refusal| lifted(*refusal));
    format!("a named person, with a reason, may lift {}", list(lifted))
}

fn lifted(refusal: Refusal) -> String {
    match refusal {
        Refusal::RelationshipMissing => "that no relationship was stated".to_owned(),
        Refusal::ConsentAbsent => "that the person has said nothing".to_owned(),
        Refusal::ConsentDenied => "a person's no or objection".to_owned(),
        Refusal::ConsentUnreadable => "that what the person has said can't be read".to_owned(),
        Refusal::PolicyForbids => "what the provider's own policy forbids".to_owned(),
        other => other.to_string(),
    }
}

const fn without_ledger(share: &Share) -> &'static str {
    if share.offline_emergency {
        "a named person whose sign-in was verified, who breaks the glass with a reason, may have one \
         person's record although the ledger does not answer. Both privacy officers are alerted at once. \
         The access is recorded, marked late, before anything else when the ledger is back. Nothing else \
         leaves"
    } else {
        "nothing leaves, in emergencies either"
    }
}

const fn article_6(article: Article6) -> &'static str {
    match article {
        Article6::Consent => "consent",
        Article6::Contract => "a contract",
        Article6::LegalObligation => "a legal obligation",
        Article6::VitalInterests => "vital interests",
        Article6::PublicTask => "a public task",
        Article6::LegitimateInterests => "legitimate interests",
    }
}

const fn article_9(article: Article9) -> &'static str {
    match article {
        Article9::ExplicitConsent => "explicit consent",
        Article9::EmploymentAndSocialProtection => "employment and social protection",
        Article9::VitalInterests => "vital interests",
        Article9::NotForProfitBodies => "a not-for-profit body's members",
        Article9::MadePublic => "made public by the person",
        Article9::LegalClaims => "legal claims",
        Article9::SubstantialPublicInterest => "substantial public interest",
        Article9::HealthOrSocialCare => "health or social care",
        Article9::PublicHealth => "public health",
        Article9::ArchivingResearchStatistics => "archiving, research or statistics",
    }
}

const fn common_law(basis: CommonLaw) -> &'static str {
    match basis {
        CommonLaw::ImpliedConsent => "implied consent",
        CommonLaw::ExplicitConsent => "the person's explicit consent",
        CommonLaw::Statute => "a statute",
        CommonLaw::CourtOrder => "a court's order",
        CommonLaw::Section251 => "support under section 251 of the NHS Act 2006",
        CommonLaw::CopiRegulation3 => "regulation 3 of the COPI Regulations 2002",
        CommonLaw::PublicInterest => "an overriding public interest",
        CommonLaw::VitalInterests => "somebody's life being at stake",
    }
}

/// `a, b and c`.
fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.collect();
    match items.split_last() {
        None => "nobody".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::file;

    const DEMO: &str = include_str!("../../../tally-cli/demo/agreements/dsa-1.toml");
    const OPEN: &str = include_str!("../../../tally-cli/demo/agreements/dsa-3.toml");
    const RESEARCH: &str = include_str!("plain/research.toml");

    #[test]
    fn an_agreement_reads_as_english() {
        let cases = [
            (DEMO, include_str!("plain/dsa-1.txt")),
            (OPEN, include_str!("plain/dsa-3.txt")),
            (RESEARCH, include_str!("plain/research.txt")),
        ];
        let found = cases.map(|(text, _)| plain(&file::read(text).unwrap()));
        assert_eq!(found, cases.map(|(_, golden)| golden.to_owned()), "{}", found.join("\n---\n"));
    }
}
