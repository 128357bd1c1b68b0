//! Whoever has everything that is left (the store's files, its key, the ledger) and tries every NHS
//! number there is, finds nobody of whom it was disposed.
//!
//! The numbers that are tried are all valid ones of 999 000 0000 to 999 999 9999: the range of test data
//! that all made-up people here are from. The rest of 9… differs from it in nothing but its size.

use std::collections::BTreeSet;
use std::fs;

use tally_core::entry::DisposalBasis;
use tally_core::opening::{TagKey, digest};
use tally_core::time::Timestamp;
use tally_log::{leaf_hash, sha256};

use super::super::secrets::{Key, Secrets, open};
use super::disposal::order;
use super::*;

const STRANGER: &str = "9990000034";

/// Every valid number of the range: digit 10 is a check digit (ISB 0149, modulus 11).
fn numbers() -> impl Iterator<Item = [u8; 10]> {
    (0..1_000_000_u32).filter_map(|rest| {
        let mut digits = *b"9990000000";
        let mut left = rest;
        for digit in digits[3..9].iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
        let sum: u32 = (2..=10).rev().zip(&digits).map(|(it, d)| it * u32::from(d - b'0')).sum();
        let check = (11 - sum % 11) % 11;
        digits[9] = b'0' + check as u8;
        (check < 10).then_some(digits)
    })
}

/// What an attacker has.
struct Loot {
    secrets: Secrets,
    /// Keys of years, as far as their files are there and open.
    years: Vec<(u16, years::YearKey)>,
    /// Which three bytes stand together anywhere in a file: most guesses end here.
    starts: Vec<bool>,
    bytes: Vec<Vec<u8>>,
    /// Salts of openings that can be read, and tag keys of people.
    salts: Vec<Salt32>,
    halves: Vec<ProviderHalf>,
}

impl Loot {
    /// `others`: more directories, of which all files are looked at.
    fn of(directory: &TempDir, others: &[&TempDir], halves: &[ProviderHalf]) -> Self {
        let read = |name: &str| fs::read(directory.path().join(name)).unwrap();
        let master: Key = read("store.key").try_into().unwrap();
        let secrets = Secrets::of(&master);
        let directories = others.iter().copied().chain([directory]);
        let files = directories.flat_map(|it| fs::read_dir(it.path()).unwrap());
        let files = files.map(|file| file.unwrap().path());
        let bytes: Vec<_> = files.map(|path| fs::read(path).unwrap()).collect();
        let mut starts = vec![false; 1 << 24];
        bytes.iter().flat_map(|it| it.windows(3)).for_each(|it| starts[start(it)] = true);
        let years = (2030..2040).flat_map(|year| (1..5).map(move |it| (year, it)));
        let years = years.filter_map(|(year, generation)| {
            let key = years::steal(directory.path(), &secrets, year, generation)?;
            Some((year, key))
        });
        let years: Vec<_> = years.collect();
        let db = Connection::open(directory.path().join("store.sqlite")).unwrap();
        let mut salts = Vec::new();
        let mut heads =
            db.prepare("SELECT commitment, key, head FROM openings WHERE key NOT NULL").unwrap();
        let heads = heads
            .query_map([], |row| {
                Ok((
                    row.get::<_, [u8; 32]>(0)?,
                    row.get::<_, Vec<u8>>(1)?,
                    row.get::<_, Vec<u8>>(2)?,
                ))
            })
            .unwrap();
        for (commitment, key, head) in heads.map(Result::unwrap) {
            let place: [&[u8]; 2] = [b"opening\0", &commitment];
            let keys = years.iter().filter_map(|(_, year)| year.open(&place, &key));
            let keys = keys.chain(secrets.open(&place, &key));
            salts.extend(keys.filter_map(|key| {
                let head = open(&key.try_into().unwrap(), &head)?;
                Some(tally_wire::decode::<Opening>(&head).unwrap().value().salt)
            }));
        }
        Self { secrets, years, starts, bytes, salts, halves: halves.to_vec() }
    }

    fn is_there(&self, text: &[u8]) -> bool {
        self.starts[start(text)]
            && self.bytes.iter().any(|it| memchr::memmem::find(it, text).is_some())
    }

    /// Whether anything at all says that this number is in it.
    fn knows(&self, number: &[u8; 10], db: &Connection) -> bool {
        let text = std::str::from_utf8(number).unwrap();
        let person = person(text);
        let blind = self.secrets.blind(&person);
        let plain = sha256(&[number]);
        let named = sha256(&[person.reveal().as_bytes()]);
        let guesses = [&blind, plain.as_bytes(), named.as_bytes()];
        if guesses.into_iter().any(|guess| self.is_there(guess)) {
            return true;
        }
        let tag_is_there = |key: TagKey| {
            let mesh_id = MeshId(Hash::from_bytes([3; 32]));
            self.halves.iter().any(|half| {
                leaf_hash(key.tag(&mesh_id, half.exchange).as_bytes()) == half.tags_root
            })
        };
        // Whatever follows from the store's key alone makes no tag.
        if tag_is_there(TagKey(blind)) {
            return true;
        }
        for (year, key) in &self.years {
            let place = key.place(&blind);
            if !self.is_there(&place) {
                continue;
            }
            let sql = "SELECT sealed FROM subject_keys WHERE blind = ?1 AND year = ?2";
            let sealed = db.query_row(sql, (place, year), |row| row.get::<_, Vec<u8>>(0));
            let Ok(sealed) = sealed else { return true };
            let key = people::open_key(key, &place, &sealed).unwrap();
            return tag_is_there(key.tag);
        }
        let body = body(text);
        let digests = self.salts.iter().map(|salt| digest(salt, &[body.as_bytes()]));
        let mut digests =
            digests.filter(|it| self.halves.iter().any(|half| half.digest == Some(*it)));
        digests.next().is_some()
    }

    fn finds(
        directory: &TempDir,
        others: &[&TempDir],
        halves: &[ProviderHalf],
    ) -> BTreeSet<String> {
        let loot = Self::of(directory, others, halves);
        let db = Connection::open(directory.path().join("store.sqlite")).unwrap();
        let found = numbers().filter(|number| loot.knows(number, &db));
        found.map(|number| String::from_utf8(number.to_vec()).unwrap()).collect()
    }
}

fn start(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2])
}

/// A record that tells nothing but whose it is: the easiest to guess.
fn body(number: &str) -> String {
    format!("{{\"resourceType\":\"Patient\",\"identifier\":\"{number}\"}}")
}

/// An exchange about one person, as the decision makes it: tag, root, salted commitment, keyed digest.
async fn exchanged(store: &Store, number: u8, whose: &str, year: u16) -> ProviderHalf {
    let mesh_id = MeshId(Hash::from_bytes([3; 32]));
    let keys = store.people(vec![person(whose)], year).await.unwrap().tag_keys;
    let tag = keys[&person(whose)].tag(&mesh_id, exchange(number));
    let mut made = opening(number, &[whose]).opening.value().clone();
    made.people[0].tag = tag;
    let tags_root = made.tags_root(&mesh_id);
    let digest = Some(digest(&made.salt, &[body(whose).as_bytes()]));
    let made = encode_checked(made).unwrap();
    let commitment = commitment(&mesh_id, made.bytes());
    let kept = StoreOpening {
        commitment,
        opening: made,
        retention_year: year,
        known: std::collections::BTreeMap::new(),
    };
    store.store_opening(kept).await.unwrap();
    let half = provider_half(number, Outcome::Permit, commitment);
    let half = ProviderHalf { tags_root, digest, ..half };
    let entry = Draft::stored(Entry::ProviderHalf(Box::new(half.clone())));
    let at = LeafIndex(u64::from(number));
    store.mirror(vec![(at, Timestamp(2_000), leaf_of(entry))], LeafIndex(at.0 + 1)).await.unwrap();
    half
}

#[tokio::test]
async fn a_search_over_all_numbers_finds_nobody_of_whom_it_was_disposed() {
    assert_eq!(numbers().count(), 909_091);
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let mut halves = vec![
        exchanged(&store, 1, NUMBER, YEAR).await,
        exchanged(&store, 2, OTHER_NUMBER, YEAR).await,
    ];
    // Everybody else, so that rows move from page to page.
    let crowd: Vec<_> = numbers().step_by(1_500).skip(2).take(400).collect();
    for (place, number) in crowd.iter().enumerate() {
        let number = person(std::str::from_utf8(number).unwrap());
        store.people(vec![number], YEAR + (place % 2) as u16).await.unwrap();
    }
    halves.push(exchanged(&store, 3, STRANGER, YEAR + 1).await);

    // The search finds what there is: else it could not fail. Closed, the store has no long log.
    store.close();
    let live = copy(&directory);
    let store = store_in(&directory);
    let found = Loot::finds(&live, &[], &halves);
    assert!([NUMBER, OTHER_NUMBER, STRANGER].iter().all(|it| found.contains(*it)), "{found:?}");
    assert_eq!(found.len(), 403);

    // Both years go; what is left while the store is open counts as well as what it closes with.
    let plan = store.plan_disposal(YEAR + 1).await.unwrap();
    store.dispose(order(&plan, DisposalBasis::RetentionEnded, YEAR + 1)).await.unwrap();
    store.finish_disposals().await.unwrap();
    let plan = store.plan_disposal(YEAR + 2).await.unwrap();
    store.dispose(order(&plan, DisposalBasis::RetentionEnded, YEAR + 2)).await.unwrap();
    store.finish_disposals().await.unwrap();
    let running = copy(&directory);
    store.close();
    assert_eq!(Loot::finds(&directory, &[&running], &halves), BTreeSet::new());
}
