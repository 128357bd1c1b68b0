//! Checks of the national data opt-out: whom they were about and what came back, for as long as an
//! answer may be used.
//!
//! Invariant: what the service says of a person stands here sealed, for no longer than an answer may be
//! old, and is then deleted; what stays of a check is about all its people together. Someone whom no
//! usable answer names counts as opted out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tally_core::entry::{OPT_OUT_CHECKS_MAX, OptOutCheck, OptOutChecks};
use tally_core::id::{BadId, OptOutReference};
use tally_core::record::Person;
use tally_core::time::{Date, Timestamp};
use tally_log::{Hash, hmac_sha256};

use super::schema::{number, unsigned};
use super::secrets::{Key, draw};
use super::thread::Desk;
use super::{Store, StoreError};

/// People that one transaction writes or deletes: others wait for it.
const SLICE: usize = 2_000;
/// People who are looked up in one go: whoever asks about one more person meanwhile waits for these.
const LOOKED_UP: usize = 128;
/// How far ahead a check's time may lie: the host's clock may have been set back a little.
const AHEAD_MAX: Duration = Duration::from_secs(60);
/// Checks that a list shows at most.
const LISTED_MAX: usize = 100;

const WHAT: StoreError = StoreError::Unreadable("opt-out checks");

/// What is known of people who were asked for, of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOutKnown {
    /// Those whom the newest usable answer about them names.
    pub may_be_used: BTreeSet<Person>,
    /// The checks that say so; the newest usable one if they say so of nobody. None: no answer is
    /// usable.
    pub checks: Option<OptOutChecks>,
}

/// A check, without its people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOutRow {
    /// What it is called.
    pub reference: OptOutReference,
    /// When the request was made.
    pub asked_at: Timestamp,
    /// People who were asked about; none if the request was never finished.
    pub asked: Option<u64>,
    /// When the reply was taken, the people whom it names, and its keyed digest.
    pub answer: Option<(Timestamp, u64, Hash)>,
}

/// What became of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptOutTaken {
    /// It is taken, now or before.
    Taken(OptOutRow),
    /// No check is called that.
    UnknownCheck,
    /// The check is so old that its answer may not be used any more.
    TooOld,
    /// Another reply was taken for the check.
    OtherReply,
    /// So many of its people were not asked about.
    NotAsked(usize),
}

impl Store {
    /// Notes that these people are asked about, under a new reference of that mailbox and day.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable. The inner error: the mailbox is none, or has no reference
    /// left that day.
    pub async fn ask_opt_out(
        &self,
        mailbox: String,
        day: Date,
        asked_at: Timestamp,
        people: &[Person],
    ) -> Result<Result<OptOutReference, BadId>, StoreError> {
        let begun = self.write(move |desk| begin(desk, &mailbox, day, asked_at)).await?;
        let (id, reference) = match begun {
            Ok(begun) => begun,
            Err(bad) => return Ok(Err(bad)),
        };
        for slice in people.chunks(SLICE) {
            let slice = slice.to_vec();
            self.write(move |desk| {
                let sql = "INSERT OR IGNORE INTO opt_out_people (blind, check_id) VALUES (?1, ?2)";
                slice.iter().try_for_each(|person| {
                    desk.change(sql, (desk.home.secrets.blind(person), id)).map(drop)
                })
            })
            .await?;
        }
        self.write(move |desk| {
            let count = "SELECT count(*) FROM opt_out_people WHERE check_id = ?1";
            let count = desk.find(count, [id], |row| row.get::<_, i64>(0))?.unwrap_or(0);
            desk.change("UPDATE opt_out_checks SET asked = ?2 WHERE id = ?1", (id, count))
        })
        .await?;
        Ok(Ok(reference))
    }

    /// Takes the reply to a check: `people` are those whom it names, `bytes` the whole of it. The check
    /// was made no longer than `age_max` before `now`.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable: then it was not taken.
    pub async fn answer_opt_out(
        &self,
        reference: OptOutReference,
        people: Vec<Person>,
        bytes: Vec<u8>,
        now: Timestamp,
        age_max: Duration,
    ) -> Result<OptOutTaken, StoreError> {
        // Two replies to one check would mix.
        let _alone = self.shared.answering.lock().await;
        let name = reference.clone();
        let looked = self.read(move |desk| {
            let blinds = people.iter().map(|person| desk.home.secrets.blind(person)).collect();
            look(desk, &name, &bytes, blinds, (now, age_max))
        });
        let (id, named, key, reply) = match looked.await? {
            Looked::Done(taken) => return Ok(taken),
            Looked::Waits { id, asked, key, reply } => (id, asked, key, reply),
        };
        let answered = named.iter().filter(|(_, is_named)| *is_named).count();
        for slice in named.chunks(SLICE) {
            let slice = slice.to_vec();
            self.write(move |desk| slice.iter().try_for_each(|it| seal(desk, id, it))).await?;
        }
        self.write(move |desk| {
            let sealed = desk.home.secrets.seal(&[b"opt-out reply\0", &place(id)], &key)?;
            let sql = "UPDATE opt_out_checks SET answered_at = ?2, answered = ?3, key = ?4, \
                       reply = ?5 WHERE id = ?1 AND answered_at IS NULL";
            let answered = number(u64::try_from(answered).unwrap_or(u64::MAX));
            desk.change(sql, (id, number(now.0), answered, sealed, reply.as_bytes()))?;
            let check = check(desk, &reference)?.ok_or(WHAT)?;
            Ok(OptOutTaken::Taken(check.row))
        })
        .await
    }

    /// What usable answers say of these people: those to checks made no longer than `age_max` before
    /// `now`.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn opt_out(
        &self,
        people: Vec<Person>,
        now: Timestamp,
        age_max: Duration,
    ) -> Result<OptOutKnown, StoreError> {
        let mut found = Found::default();
        let mut left = people.into_iter();
        loop {
            let slice: Vec<_> = left.by_ref().take(LOOKED_UP).collect();
            let is_last = slice.len() < LOOKED_UP;
            let more = self.read(move |desk| known(desk, slice, now, age_max)).await?;
            found.may_be_used.extend(more.may_be_used);
            found.told.extend(more.told);
            found.newest = found.newest.or(more.newest);
            if is_last {
                return Ok(found.into_known());
            }
        }
    }

    /// The latest checks, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn opt_out_checks(&self) -> Result<Vec<OptOutRow>, StoreError> {
        self.read(|desk| {
            let sql = format!(
                "SELECT {COLUMNS} FROM opt_out_checks ORDER BY asked_at DESC, id DESC LIMIT {LISTED_MAX}"
            );
            desk.list(&sql, [], read_row)?.into_iter().map(|row| row.parsed().map(|it| it.row)).collect()
        })
        .await
    }

    /// Deletes what is known of the people of checks made before then. Says of how many.
    ///
    /// # Errors
    /// [`StoreError`] if that is not durable.
    pub async fn forget_opt_outs(&self, before: Timestamp) -> Result<usize, StoreError> {
        const FOUND: &str = "SELECT blind, check_id FROM opt_out_people JOIN opt_out_checks \
                             ON id = check_id WHERE asked_at < ?1";
        let before = number(before.0);
        let mut all = 0;
        loop {
            // Nothing to delete is the normal case, and needs no transaction.
            let some = self.read(move |desk| {
                desk.find(&format!("{FOUND} LIMIT 1"), [before], |_| Ok(())).map(|it| it.is_some())
            });
            if !some.await? {
                return Ok(all);
            }
            all += self
                .write(move |desk| {
                    let sql = format!(
                        "DELETE FROM opt_out_people WHERE (blind, check_id) IN ({FOUND} LIMIT {SLICE})"
                    );
                    desk.empty_log = true;
                    desk.change(&sql, [before])
                })
                .await?;
        }
    }
}

/// A check's row as it stands there.
struct Row {
    id: i64,
    reference: String,
    asked_at: i64,
    asked: Option<i64>,
    answered_at: Option<i64>,
    answered: Option<i64>,
    key: Option<Vec<u8>>,
    reply: Option<[u8; 32]>,
}

/// A check, with what only the store knows of it.
struct Check {
    id: i64,
    row: OptOutRow,
    /// Sealed: keys the reply's digest.
    key: Option<Vec<u8>>,
}

const COLUMNS: &str = "id, reference, asked_at, asked, answered_at, answered, key, reply";

fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        id: row.get(0)?,
        reference: row.get(1)?,
        asked_at: row.get(2)?,
        asked: row.get(3)?,
        answered_at: row.get(4)?,
        answered: row.get(5)?,
        key: row.get(6)?,
        reply: row.get(7)?,
    })
}

impl Row {
    fn parsed(self) -> Result<Check, StoreError> {
        let answer = match (self.answered_at, self.answered, self.reply) {
            (Some(at), Some(answered), Some(reply)) => {
                Some((Timestamp(unsigned(at)), unsigned(answered), Hash::from_bytes(reply)))
            }
            _ => None,
        };
        let row = OptOutRow {
            reference: self.reference.parse().map_err(|_| WHAT)?,
            asked_at: Timestamp(unsigned(self.asked_at)),
            asked: self.asked.map(unsigned),
            answer,
        };
        Ok(Check { id: self.id, row, key: self.key })
    }
}

impl OptOutRow {
    /// How old its answer is; none if it has none, or one that may not be used.
    #[must_use]
    pub fn usable_age(&self, now: Timestamp, age_max: Duration) -> Option<Duration> {
        let age = now.since(self.asked_at);
        let is_ahead = self.asked_at.since(now) > AHEAD_MAX;
        (self.answer.is_some() && age <= age_max && !is_ahead).then_some(age)
    }
}

fn check(desk: &Desk<'_>, reference: &OptOutReference) -> Result<Option<Check>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM opt_out_checks WHERE reference = ?1");
    desk.find(&sql, [reference.as_str()], read_row)?.map(Row::parsed).transpose()
}

fn begin(
    desk: &Desk<'_>,
    mailbox: &str,
    day: Date,
    asked_at: Timestamp,
) -> Result<Result<(i64, OptOutReference), BadId>, StoreError> {
    // The day's references differ in their ends only.
    let first = match OptOutReference::new(mailbox, day, 1) {
        Ok(first) => first,
        Err(bad) => return Ok(Err(bad)),
    };
    let stem = first.as_str().strip_suffix('1').unwrap_or_default().to_owned();
    let sql = "SELECT coalesce(max(CAST(substr(reference, length(?1) + 1) AS INTEGER)), 0) \
               FROM opt_out_checks WHERE substr(reference, 1, length(?1)) = ?1";
    let last = desk.find(sql, [&stem], |row| row.get::<_, u32>(0))?.unwrap_or(0);
    let reference = match OptOutReference::new(mailbox, day, last.saturating_add(1)) {
        Ok(reference) => reference,
        Err(bad) => return Ok(Err(bad)),
    };
    let sql = "INSERT INTO opt_out_checks (reference, asked_at) VALUES (?1, ?2)";
    desk.change(sql, (reference.as_str(), number(asked_at.0)))?;
    Ok(Ok((desk.last_row(), reference)))
}

/// What a reply meets.
enum Looked {
    Done(OptOutTaken),
    /// Everybody who was asked about, and whether the reply names them.
    Waits {
        id: i64,
        asked: Vec<(Key, bool)>,
        key: Key,
        reply: Hash,
    },
}

fn look(
    desk: &Desk<'_>,
    reference: &OptOutReference,
    bytes: &[u8],
    named: BTreeSet<Key>,
    (now, age_max): (Timestamp, Duration),
) -> Result<Looked, StoreError> {
    let known = check(desk, reference)?.filter(|check| check.row.asked.is_some());
    let Some(Check { id, row, key }) = known else {
        return Ok(Looked::Done(OptOutTaken::UnknownCheck));
    };
    if let (Some((_, _, known)), Some(key)) = (row.answer, key) {
        let key = desk.home.secrets.open(&[b"opt-out reply\0", &place(id)], &key).ok_or(WHAT)?;
        let is_same = hmac_sha256(&key, &[bytes]) == known;
        let taken = if is_same { OptOutTaken::Taken(row) } else { OptOutTaken::OtherReply };
        return Ok(Looked::Done(taken));
    }
    if now.since(row.asked_at) > age_max {
        return Ok(Looked::Done(OptOutTaken::TooOld));
    }
    let sql = "SELECT blind FROM opt_out_people WHERE check_id = ?1";
    let asked = desk.list(sql, [id], |row| row.get::<_, Key>(0))?;
    let asked: Vec<_> = asked.into_iter().map(|blind| (blind, named.contains(&blind))).collect();
    let found = asked.iter().filter(|(_, is_named)| *is_named).count();
    if found < named.len() {
        return Ok(Looked::Done(OptOutTaken::NotAsked(named.len() - found)));
    }
    let key = draw::<32>()?;
    Ok(Looked::Waits { id, asked, key, reply: hmac_sha256(&key, &[bytes]) })
}

/// Where a check's secrets stand.
fn place(id: i64) -> [u8; 8] {
    id.to_be_bytes()
}

fn seal(desk: &Desk<'_>, id: i64, (blind, is_named): &(Key, bool)) -> Result<(), StoreError> {
    let parts: [&[u8]; 3] = [b"opt-out\0", blind, &place(id)];
    let sealed = desk.home.secrets.seal(&parts, &[u8::from(*is_named)])?;
    let sql = "UPDATE opt_out_people SET sealed = ?3 WHERE blind = ?1 AND check_id = ?2";
    desk.change(sql, (blind, id, sealed)).map(drop)
}

/// What usable answers say, as far as people were looked up.
#[derive(Default)]
struct Found {
    may_be_used: BTreeSet<Person>,
    /// The checks that say so.
    told: BTreeMap<i64, OptOutCheck>,
    /// The newest usable one.
    newest: Option<OptOutCheck>,
}

impl Found {
    fn into_known(self) -> OptOutKnown {
        let mut checks: Vec<_> = self.told.into_values().collect();
        if checks.is_empty() {
            checks.extend(self.newest);
        }
        OptOutKnown { may_be_used: self.may_be_used, checks: OptOutChecks::new(checks) }
    }
}

fn known(
    desk: &Desk<'_>,
    people: Vec<Person>,
    now: Timestamp,
    age_max: Duration,
) -> Result<Found, StoreError> {
    // Whatever lies ahead is left out below; it must not push out what does not.
    let sql = format!(
        "SELECT {COLUMNS} FROM opt_out_checks WHERE answered_at IS NOT NULL AND asked_at <= ?1 \
         ORDER BY asked_at DESC, id DESC LIMIT {OPT_OUT_CHECKS_MAX}"
    );
    let rows = desk.list(&sql, [number(now.after(AHEAD_MAX).0)], read_row)?;
    let mut found = Found::default();
    let mut usable = BTreeMap::new();
    for (rank, row) in rows.into_iter().enumerate() {
        let Check { id, row, .. } = row.parsed()?;
        let Some(age) = row.usable_age(now, age_max) else { continue };
        if usable.is_empty() {
            found.newest = evidence(&row, age);
        }
        usable.insert(id, (rank, row, age));
    }
    if usable.is_empty() {
        return Ok(found);
    }
    for person in people {
        let blind = desk.home.secrets.blind(&person);
        let told = told_by(desk, &blind, |id| usable.get(&id).map(|it| it.0))?;
        let Some((id, (_, row, age))) = told.and_then(|id| Some((id, usable.get(&id)?))) else {
            continue;
        };
        found.told.insert(id, evidence(row, *age).ok_or(WHAT)?);
        found.may_be_used.insert(person);
    }
    Ok(found)
}

/// The check whose answer lets a person be used: the newest usable one about them, if it names them.
fn told_by(
    desk: &Desk<'_>,
    blind: &Key,
    rank: impl Fn(i64) -> Option<usize>,
) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT check_id, sealed FROM opt_out_people WHERE blind = ?1 AND sealed IS NOT NULL";
    let rows =
        desk.list(sql, [blind], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    let ranked = rows.into_iter().filter_map(|(id, sealed)| Some((rank(id)?, id, sealed)));
    let Some((_, id, sealed)) = ranked.min_by_key(|(rank, ..)| *rank) else { return Ok(None) };
    let parts: [&[u8]; 3] = [b"opt-out\0", blind, &place(id)];
    let plain = desk.home.secrets.open(&parts, &sealed).ok_or(WHAT)?;
    Ok((plain == [1]).then_some(id))
}

fn evidence(row: &OptOutRow, age: Duration) -> Option<OptOutCheck> {
    let (_, answered, reply) = row.answer?;
    let reference = row.reference.clone();
    Some(OptOutCheck { reference, asked: row.asked?, answered, reply, age_s: age.as_secs() })
}
