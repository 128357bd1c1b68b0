//! What decisions about a person are bound by: what was said under each of their names, in the order in
//! which it was said.

use tally_core::consent::{Directive, Directives};
use tally_core::time::Timestamp;

use super::super::StoreError;
use super::super::secrets::Key;
use super::super::thread::Desk;
use super::row::DirectiveRow;
use super::{DirectiveId, ROWS_MAX, Registers};

/// What a decision is bound by.
pub(in super::super) fn standing(
    desk: &Desk<'_>,
    names: (&Key, &[Key]),
    register: u8,
    registers: &Registers,
) -> Result<Directives, StoreError> {
    let standing = numbered(desk, names, Some(register), registers)?;
    let directives =
        standing.map(|list| list.into_iter().map(|(_, directive)| directive).collect());
    Ok(directives.map_or(Directives::Unreadable, Directives::Known))
}

/// What a decision about somebody of these names is bound by, each with its number; none if it can't
/// be read, or stands in another register than the one that the decision rests on.
pub(super) fn numbered(
    desk: &Desk<'_>,
    (blind, before): (&Key, &[Key]),
    register: Option<u8>,
    registers: &Registers,
) -> Result<Option<Vec<(DirectiveId, Directive)>>, StoreError> {
    let mut rows = DirectiveRow::of_person(desk, blind)?;
    for blind in before {
        rows.extend(DirectiveRow::of_person(desk, blind)?);
    }
    let elsewhere = |row: &DirectiveRow| register.is_some_and(|register| row.register != register);
    if rows.len() > ROWS_MAX || rows.iter().any(elsewhere) {
        return Ok(None);
    }
    rows.sort_by_key(|row| row.id);
    let standing = rows.iter().filter_map(|row| {
        let bound = row.bound(desk, registers).transpose()?;
        Some(bound.map(|directive| (row.id, directive)))
    });
    match standing.collect::<Result<Vec<_>, _>>() {
        Ok(mut standing) => {
            in_order(&mut standing);
            Ok(Some(standing))
        }
        Err(StoreError::Unreadable(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The later word counts, and which one is later the numbers say: a clock that was set back in between
/// must not put a denial before the permit that it takes back.
fn in_order(standing: &mut [(DirectiveId, Directive)]) {
    let mut latest = Timestamp::default();
    for (_, directive) in standing {
        let Directive::Simple(simple) = directive else { continue };
        if simple.recorded_at < latest {
            simple.recorded_at = Timestamp(latest.0.saturating_add(1));
        }
        latest = simple.recorded_at;
    }
}
