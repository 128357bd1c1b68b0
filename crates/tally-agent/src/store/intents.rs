//! Exchanges that this member began: each is durable before its first byte goes on to the
//! application, so that its half is not forgotten.

use std::collections::BTreeMap;

use rusqlite::Row;
use tally_core::entry::{Action, UserKnown};
use tally_core::exchange::requester::Intent;
use tally_core::exchange::{Draft, OwedId, Question};
use tally_core::id::{AgreementId, ExchangeId, MemberId};
use tally_core::time::Timestamp;

use super::schema::unsigned;
use super::thread::Desk;
use super::{Received, Store, StoreError, outbox, receipts};

impl Store {
    /// Makes durable that an exchange begins.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable.
    pub async fn store_intent(
        &self,
        exchange: ExchangeId,
        question: Question,
    ) -> Result<(), StoreError> {
        self.write_on(move |desk| {
            let values = (
                exchange.0,
                question.provider.as_str(),
                question.source.as_str(),
                action_number(question.action),
                question.purpose.to_string(),
                question.agreement.as_ref().map(AgreementId::as_str),
                known_number(question.user_known),
                question.resumes.map(|exchange| exchange.0),
            );
            let sql = "INSERT INTO intents (exchange, provider, source, action, purpose, \
                       agreement, user_known, resumes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
                       ON CONFLICT (exchange) DO NOTHING";
            desk.change(sql, values).map(drop)
        })
        .await
    }

    /// Says sometime soon that at least so many bytes have arrived. Nobody waits for it.
    pub fn intent_progress(&self, exchange: ExchangeId, bytes: u64) {
        self.shared.writer.note(|lazy| lazy.arrived(exchange, bytes));
    }

    /// Puts the requester's half into the outbox, and forgets the intent; and keeps the receipt that it
    /// answers, where that came a moment before.
    ///
    /// # Errors
    /// [`StoreError`] if none of it is durable.
    pub async fn owe_half(
        &self,
        id: OwedId,
        exchange: ExchangeId,
        half: Draft,
        received: Option<Received>,
    ) -> Result<(), StoreError> {
        self.write_on(move |desk| {
            if let Some(received) = received {
                receipts::keep(desk, received)?;
            }
            outbox::put(desk, &id, &half, Timestamp(0))?;
            forget(desk, exchange)
        })
        .await
    }

    /// Forgets an intent: no half is owed.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable.
    pub async fn forget(&self, exchange: ExchangeId) -> Result<(), StoreError> {
        self.write_on(move |desk| forget(desk, exchange)).await
    }

    /// All intents: at a start, those of an earlier life.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn intents(&self) -> Result<BTreeMap<ExchangeId, Intent>, StoreError> {
        self.read(|desk| {
            let sql = "SELECT exchange, bytes, provider, source, action, purpose, agreement, \
                       user_known, resumes FROM intents";
            let rows = desk.list(sql, [], |row| {
                let (exchange, bytes) = (ExchangeId(row.get(0)?), unsigned(row.get(1)?));
                Ok((exchange, bytes, QuestionRow::read(row)?))
            })?;
            let intents = rows.into_iter().map(|(exchange, bytes, row)| {
                let question = row.parse(&desk.home.member);
                let question = question.ok_or(StoreError::Unreadable("intents"))?;
                Ok((exchange, Intent { question, bytes }))
            });
            intents.collect()
        })
        .await
    }
}

/// Deletes an intent, if it is there.
pub(super) fn forget(desk: &Desk<'_>, exchange: ExchangeId) -> Result<(), StoreError> {
    desk.change("DELETE FROM intents WHERE exchange = ?1", [exchange.0]).map(drop)
}

struct QuestionRow {
    provider: String,
    source: String,
    action: u8,
    purpose: String,
    agreement: Option<String>,
    user_known: u8,
    resumes: Option<[u8; 16]>,
}

impl QuestionRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            provider: row.get(2)?,
            source: row.get(3)?,
            action: row.get(4)?,
            purpose: row.get(5)?,
            agreement: row.get(6)?,
            user_known: row.get(7)?,
            resumes: row.get(8)?,
        })
    }

    fn parse(&self, requester: &MemberId) -> Option<Question> {
        let agreement = match &self.agreement {
            Some(id) => Some(id.parse().ok()?),
            None => None,
        };
        Some(Question {
            provider: self.provider.parse().ok()?,
            requester: requester.clone(),
            source: self.source.parse().ok()?,
            action: ACTIONS.into_iter().find(|it| action_number(*it) == self.action)?,
            purpose: self.purpose.parse().ok()?,
            agreement,
            user_known: KNOWN.into_iter().find(|it| known_number(*it) == self.user_known)?,
            resumes: self.resumes.map(ExchangeId),
        })
    }
}

const ACTIONS: [Action; 5] =
    [Action::Read, Action::VersionRead, Action::Search, Action::Everything, Action::Dataset];

const fn action_number(action: Action) -> u8 {
    match action {
        Action::Read => 1,
        Action::VersionRead => 2,
        Action::Search => 3,
        Action::Everything => 4,
        Action::Dataset => 5,
    }
}

const KNOWN: [UserKnown; 3] = [UserKnown::Service, UserKnown::Asserted, UserKnown::Verified];

const fn known_number(known: UserKnown) -> u8 {
    match known {
        UserKnown::Service => 1,
        UserKnown::Asserted => 2,
        UserKnown::Verified => 3,
    }
}
