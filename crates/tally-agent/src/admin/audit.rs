//! What the own organisation may ask of the ledger: all that concerns it, and who asked for one
//! person's records here.
//!
//! Invariant: an answer about a person says how far it is the whole truth: how many of the own
//! entries were tested for the person's tag, of how many, up to which size of the ledger. What can't
//! be tested is counted as such, never left out.

use std::collections::BTreeSet;

use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tally_core::entry::{Outcome, ProviderHalf};
use tally_core::id::{LeafIndex, MeshId};
use tally_core::opening::TagKey;
use tally_core::record::Person;
use tally_log::{Hash, leaf_hash};

use super::api::{AskSubject, OwnLeaf, OwnPage, ReadOwn, SubjectAnswer, SubjectRow};
use super::{Admin, No, answer, person, question};
use crate::recorder::PullError;
use crate::store::OwnProviderHalf;

/// Own halves that are looked at at once.
const HALVES_MAX: usize = 1024;
/// Openings of one person that are read at once.
const OPENINGS_MAX: usize = 1024;

pub(super) async fn own(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<ReadOwn>(request).await?;
    let page = admin.0.recorder.own(LeafIndex(asked.first), asked.count).await.map_err(silent)?;
    let leaf = |own: &tally_wire::message::ledger::OwnEntry| OwnLeaf {
        leaf: own.leaf.0,
        time_ms: own.time.0,
        entry: STANDARD.encode(own.entry.bytes()),
    };
    let leaves = page.entries.iter().map(leaf).collect();
    Ok(answer(&OwnPage { next: page.next.0, size: page.size, leaves }))
}

pub(super) async fn subject(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<AskSubject>(request).await?;
    let search = Search::begin(&admin, admin.known_as(person(&asked.subject)?)).await?;
    let size = admin.0.replica.known().size;
    admin.0.recorder.pull(size).await.map_err(silent)?;
    let mut found = SubjectAnswer {
        rows: Vec::new(),
        tested: 0,
        own_entries: 0,
        disposed: 0,
        disposed_before: admin.0.store.disposed_before().await?,
        size,
    };
    let mut first = LeafIndex(0);
    loop {
        let halves = admin.0.store.own_halves(first, HALVES_MAX).await?;
        let Some(last) = halves.last() else { break };
        first = LeafIndex(last.leaf.0.saturating_add(1));
        for own in halves.iter().filter(|own| own.leaf.0 < size) {
            found.own_entries += 1;
            let tested = search.test(&admin, own).await?;
            found.tested += u64::from(matches!(tested, Tested::Found | Tested::Absent));
            found.disposed += u64::from(tested == Tested::Disposed);
            if tested == Tested::Found {
                found.rows.push(search.row(&admin, own).await?);
            }
        }
    }
    Ok(answer(&found))
}

/// One person, under each name that decisions may have known, with the keys of their tags and the
/// openings that name them.
struct Search {
    names: BTreeSet<Person>,
    mesh_id: MeshId,
    keys: Vec<TagKey>,
    named: BTreeSet<Hash>,
    /// Whether anything was ever disposed of here.
    any_disposed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tested {
    Found,
    Absent,
    /// The entry is about several people, and its opening is not here any more.
    Unknown,
    /// The keys of its year, or of somebody in it, were destroyed: whom it is about is gone for good.
    Disposed,
}

impl Search {
    async fn begin(admin: &Admin, names: BTreeSet<Person>) -> Result<Self, No> {
        let store = &admin.0.store;
        let (mut keys, mut named) = (Vec::new(), BTreeSet::new());
        let any_disposed = store.any_disposal().await?;
        for person in &names {
            keys.extend(store.tag_keys(person.clone()).await?.into_values());
            let mut after = 0;
            loop {
                let page = store.openings_of_person(person.clone(), after, OPENINGS_MAX).await?;
                let Some(last) = page.last() else { break };
                after = last.place;
                named.extend(page.iter().map(|part| part.commitment));
            }
        }
        Ok(Self { names, mesh_id: admin.mesh_id(), keys, named, any_disposed })
    }

    async fn test(&self, admin: &Admin, own: &OwnProviderHalf) -> Result<Tested, No> {
        let half = &own.half;
        let tags = self.keys.iter().map(|key| key.tag(&self.mesh_id, half.exchange));
        let tags: Vec<Hash> = tags.collect();
        // About one person, or nobody: the root is the leaf hash of the one tag.
        if tags.iter().any(|tag| leaf_hash(tag.as_bytes()) == half.tags_root) {
            return Ok(Tested::Found);
        }
        if admin.0.store.disposed_of(half.commitment).await?.is_some() {
            return Ok(Tested::Disposed);
        }
        let kept = admin.0.store.opening(half.commitment).await?;
        let is_named = self.named.contains(&half.commitment);
        Ok(match kept {
            Some(kept) if kept.destroyed == 0 => {
                if kept.opening.tags_root(&self.mesh_id) != half.tags_root {
                    return Ok(Tested::Unknown);
                }
                let mut people = kept.known.iter();
                let is_named = is_named && people.any(|it| self.names.contains(&it.person));
                if is_named { Tested::Found } else { Tested::Absent }
            }
            // Somebody's part is gone. That it was this person's can't be excluded: of a key that was
            // destroyed nothing is left, and one that was drawn since says nothing.
            Some(_) => {
                if is_named {
                    Tested::Found
                } else {
                    Tested::Disposed
                }
            }
            // One tag, and it is not the person's; nor can it be of a year whose key is gone.
            None if self.is_of_one_person(half) && !self.any_disposed => Tested::Absent,
            None => Tested::Unknown,
        })
    }

    fn is_of_one_person(&self, half: &ProviderHalf) -> bool {
        half.people == 1 && half.people_withheld == 0 && !self.keys.is_empty()
    }

    async fn row(&self, admin: &Admin, own: &OwnProviderHalf) -> Result<SubjectRow, No> {
        let half = &own.half;
        let kept = admin.0.store.opening(half.commitment).await?;
        let opening = kept.as_ref().map(|kept| &kept.opening);
        let people = kept.iter().flat_map(|kept| &kept.known);
        let own_part = people.filter(|it| self.names.contains(&it.person));
        let at = match admin.0.recorder.own(own.leaf, 1).await {
            Ok(page) => page.entries.first().filter(|it| it.leaf == own.leaf).map(|it| it.time),
            Err(_) => None,
        };
        let (outcome, code) = outcome(half);
        Ok(SubjectRow {
            exchange: half.exchange.to_string(),
            leaf: own.leaf.0,
            at: at.map(|at| at.rfc3339()),
            requester: half.requester.to_string(),
            requester_name: admin
                .0
                .replica
                .known()
                .names
                .at(&half.requester, own.leaf)
                .map(str::to_owned),
            purpose: half.purpose.to_string(),
            agreement: half.agreement.as_ref().map(|it| it.id.to_string()),
            source: half.source.to_string(),
            outcome,
            code,
            user: opening.and_then(|it| it.user.clone()),
            role: opening.and_then(|it| it.role.clone()),
            relationship: opening.and_then(|it| it.relationship.clone()),
            reason: opening.and_then(|it| it.reason.clone()),
            request_ids: opening.map(|it| it.request_ids.clone()).unwrap_or_default(),
            records: own_part.flat_map(|it| it.record_ids.clone()).collect(),
        })
    }
}

fn outcome(half: &ProviderHalf) -> (String, Option<String>) {
    match half.outcome {
        Outcome::Permit => ("permit".to_owned(), None),
        Outcome::Refuse(refusal) => ("refuse".to_owned(), Some(refusal.code().to_owned())),
    }
}

fn silent(error: PullError) -> No {
    No::ours(error.to_string(), "see whether the ledger's nodes run: tally ledger status")
}
