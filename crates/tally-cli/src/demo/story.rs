//! The story: which step comes after which, and what one step leaves for the next.

use std::time::Instant;

use tally_core::agreement::{Agreement, AllowList, Elements, file as agreement_file};

use super::files::file;
use super::mesh::{Document, Mesh, last_words};
use super::place::Place;
use super::step::{Seen, Step, Unlike};
use super::{offline, online};
use crate::failure::Failure;

/// The person whom it is about, and the person whom it is not about: people of the demo's files.
pub(super) const PERSON: Person = Person {
    title: "Mrs Ottoline Fairweather",
    given: "Ottoline",
    family: "Fairweather",
    nhs_number: "9990000018",
    record: "rz9-1001",
};
pub(super) const OTHER: Person = Person {
    title: "Mr Kwabena Larkspur",
    given: "Kwabena",
    family: "Larkspur",
    nhs_number: "9990000026",
    record: "rz9-1002",
};

/// The provider, the other trust and the council.
pub(super) const HOSPITALS: &str = "RZ9";
pub(super) const COMMUNITY: &str = "RZ8";
pub(super) const COUNCIL: &str = "LZ9";

/// Somebody made up.
pub(super) struct Person {
    pub(super) title: &'static str,
    pub(super) given: &'static str,
    pub(super) family: &'static str,
    pub(super) nhs_number: &'static str,
    /// The id of the Patient at the hospitals.
    pub(super) record: &'static str,
}

/// A step that is to be taken.
#[derive(Debug, Clone, Copy)]
enum Part {
    Read,
    Everything,
    SharedCare,
    OtherPurpose,
    Objection,
    LeaderKilled,
    WhoSaw,
    CheckedOffline,
    ByteFlipped,
    NobodyOnTheLedger,
}

const PARTS: [Part; 10] = [
    Part::Read,
    Part::Everything,
    Part::SharedCare,
    Part::OtherPurpose,
    Part::Objection,
    Part::LeaderKilled,
    Part::WhoSaw,
    Part::CheckedOffline,
    Part::ByteFlipped,
    Part::NobodyOnTheLedger,
];

/// The story as far as it was told.
pub(super) struct Story<'m> {
    pub(super) place: &'m Place,
    mesh: &'m mut Mesh,
    /// Who and what there is.
    pub(super) document: Document,
    /// The agreement between the hospitals and the council.
    pub(super) agreement: Agreement,
    /// Exchanges about the person that the hospitals recorded: which, on which leaf, and whether
    /// they were permitted.
    pub(super) about_person: Vec<Recorded>,
    /// Exchanges about others, or about nobody.
    pub(super) about_others: Vec<Recorded>,
}

/// An exchange that is on the ledger.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    pub(super) exchange: String,
    /// Its provider's half.
    pub(super) leaf: u64,
    /// Its requester's half.
    pub(super) requester_leaf: u64,
    /// When, by the ledger's clock.
    pub(super) at: String,
    pub(super) permitted: bool,
    /// The code on the ledger, if it was refused.
    pub(super) code: Option<String>,
}

impl<'m> Story<'m> {
    /// The beginning.
    ///
    /// # Errors
    /// [`Failure`] if the demo's own agreement is not one.
    pub(super) fn new(place: &'m Place, mesh: &'m mut Mesh) -> Result<Self, Failure> {
        let text = String::from_utf8_lossy(file("agreements/dsa-1.toml"));
        let agreement = agreement_file::read(&text)
            .map_err(|problems| Failure::problems("dsa-1.toml".as_ref(), &problems))?;
        let document = mesh.document.clone();
        let (about_person, about_others) = (Vec::new(), Vec::new());
        Ok(Self { place, mesh, document, agreement, about_person, about_others })
    }

    /// Takes the step of a number, from 1; none after the last.
    pub(super) async fn next(&mut self, number: usize) -> Option<Step> {
        let part = PARTS.get(number.checked_sub(1)?)?;
        let begun = Instant::now();
        let (name, seen) = self.part(*part).await;
        Some(Step::new(number, name, seen, begun.elapsed()))
    }

    /// What the mesh said last.
    pub(super) fn last_words(&self) -> String {
        last_words(self.place)
    }

    /// Ends the mesh: what follows needs nothing but files.
    pub(super) async fn stop_mesh(&mut self) {
        self.mesh.stop().await;
    }

    /// The elements of a type that the council gets; none if the agreement does not name the type.
    pub(super) fn released(&self, kind: &str) -> Option<&Elements> {
        let AllowList::Elements(types) = &self.agreement.shares.first()?.fields else {
            return None;
        };
        types.iter().find(|(name, _)| name == kind).map(|(_, elements)| elements)
    }

    async fn part(&mut self, part: Part) -> ((&'static str, &'static str), Result<Seen, Unlike>) {
        match part {
            Part::Read => (
                ("permitted-read", "A record is read: what is released, what is withheld"),
                online::read(self).await,
            ),
            Part::Everything => (
                ("whole-record", "Her whole record: what the agreement does not name stays"),
                online::everything(self).await,
            ),
            Part::SharedCare => (
                ("another-organisation", "Another organisation reads, under another agreement"),
                online::shared_care(self).await,
            ),
            Part::OtherPurpose => (
                ("other-purpose-refused", "The same record for another purpose: refused"),
                online::other_purpose(self).await,
            ),
            Part::Objection => (
                ("objection", "She objects, and the next read is refused"),
                online::objection(self).await,
            ),
            Part::LeaderKilled => (
                ("leader-killed", "The ledger's leader is killed, and the next read is served"),
                online::leader_killed(self).await,
            ),
            Part::WhoSaw => {
                (("who-saw", "\"Who has seen my record?\""), online::who_saw(self).await)
            }
            Part::CheckedOffline => (
                ("checked-offline", "The proof, checked with everything switched off"),
                offline::checked(self).await,
            ),
            Part::ByteFlipped => (
                ("byte-flipped", "One byte of a copy is changed, and the check names the place"),
                offline::byte_flipped(self).await,
            ),
            Part::NobodyOnTheLedger => (
                ("nobody-on-the-ledger", "The ledger's files are searched for her: nothing"),
                offline::nobody_on_the_ledger(self),
            ),
        }
    }
}

impl Story<'_> {
    /// The file that an exchange's receipt is kept in, and the one of the body that came with it.
    pub(super) fn kept(&self) -> (std::path::PathBuf, std::path::PathBuf) {
        (self.place.at("receipt.json"), self.place.at("record.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_people_of_the_story_are_those_of_the_files() {
        for person in [PERSON, OTHER] {
            let text =
                String::from_utf8_lossy(file(&format!("sources/rz9/{}.json", person.record)));
            for word in [person.given, person.family, person.nhs_number, person.record] {
                assert!(text.contains(&format!("\"{word}\"")), "{word}");
            }
            assert!(person.title.ends_with(&format!("{} {}", person.given, person.family)));
        }
    }
}
