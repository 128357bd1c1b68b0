//! Legal holds: what is known of a person's access history stays, whatever year has ended and whoever
//! asks. An inquiry can freeze disposal (NHS Records Management Code of Practice, 2021).

use std::collections::{BTreeMap, BTreeSet};

use tally_core::record::Person;

use super::super::people::KnownAs;
use super::super::secrets::Key;
use super::super::thread::Desk;
use super::super::{Store, StoreError};

/// Bytes of a reason's code at most.
const REASON_LEN_MAX: usize = 32;

impl Store {
    /// Puts a person, by all their names, on hold. A later reason takes an earlier one's place.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] if the reason's code is too long; otherwise it is not durable.
    pub async fn hold(&self, names: Vec<Person>, reason: String) -> Result<(), StoreError> {
        if reason.len() > REASON_LEN_MAX {
            return Err(StoreError::TooLarge { what: "a reason's code", limit: REASON_LEN_MAX });
        }
        self.write(move |desk| {
            let sql = "INSERT INTO holds (blind, reason) VALUES (?1, ?2) \
                       ON CONFLICT (blind) DO UPDATE SET reason = ?2";
            for person in &names {
                desk.change(sql, (desk.home.secrets.blind(person), &reason))?;
            }
            Ok(())
        })
        .await
    }

    /// Ends a person's hold; says whether there was one.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable.
    pub async fn release(&self, names: Vec<Person>) -> Result<bool, StoreError> {
        self.write(move |desk| {
            let mut ended = 0;
            for person in &names {
                let sql = "DELETE FROM holds WHERE blind = ?1";
                ended += desk.change(sql, [desk.home.secrets.blind(person)])?;
            }
            Ok(ended > 0)
        })
        .await
    }

    /// Puts whoever is on hold under a name of before on hold under the present one, for the same reason:
    /// a hold is about a person, whatever became known of them since. Says for how many that was news.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable.
    pub async fn holds_follow(&self, renamed: Vec<KnownAs>) -> Result<usize, StoreError> {
        let found = self.read(move |desk| {
            let held = desk.list("SELECT blind, reason FROM holds", [], |row| {
                Ok((row.get::<_, Key>(0)?, row.get::<_, String>(1)?))
            })?;
            let held: BTreeMap<_, _> = held.into_iter().collect();
            let blind = |person: &Person| desk.home.secrets.blind(person);
            let known = renamed.iter().filter(|_| !held.is_empty());
            let found = known.filter_map(|KnownAs { person, before }| {
                let reason = before.iter().find_map(|it| held.get(&blind(it)))?;
                let now = blind(person);
                (!held.contains_key(&now)).then(|| (now, reason.clone()))
            });
            Ok(found.collect::<Vec<_>>())
        });
        let found = found.await?;
        let news = found.len();
        if news > 0 {
            self.write(move |desk| {
                let sql =
                    "INSERT INTO holds (blind, reason) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
                found.iter().try_for_each(|held| desk.change(sql, (held.0, &held.1)).map(drop))
            })
            .await?;
        }
        Ok(news)
    }

    /// How many names are on hold, by reason.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn holds_by_reason(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.read(|desk| {
            let sql = "SELECT reason, count(*) FROM holds GROUP BY reason ORDER BY reason";
            desk.list(sql, [], |row| Ok((row.get(0)?, super::super::schema::unsigned(row.get(1)?))))
        })
        .await
    }
}

/// Everybody who is on hold.
pub(super) fn all(desk: &Desk<'_>) -> Result<BTreeSet<Key>, StoreError> {
    let all = desk.list("SELECT blind FROM holds", [], |row| row.get::<_, Key>(0))?;
    Ok(all.into_iter().collect())
}

/// Whether somebody is on hold.
pub(super) fn is_held(desk: &Desk<'_>, blind: &Key) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM holds WHERE blind = ?1";
    Ok(desk.find(sql, [blind], |_| Ok(()))?.is_some())
}

/// Whether none of a person's names is on hold.
pub(super) fn check_free(desk: &Desk<'_>, names: &[Person]) -> Result<(), StoreError> {
    for person in names {
        if is_held(desk, &desk.home.secrets.blind(person))? {
            return Err(StoreError::Held);
        }
    }
    Ok(())
}
