//! The tables, and how numbers stand in them.
//!
//! Invariant: the form is written with the first transaction, together with whose store it is, so
//! there is no moment at which a store does not say what it is. A new form is a new number, with a
//! step from the one before.

use rusqlite::Connection;
use tally_core::id::LeafIndex;

use super::StoreError;

/// "TALY": tells a store from other people's databases.
pub(super) const APPLICATION_ID: i64 = 0x5441_4c59;
/// The form of the tables below.
pub(super) const FORM: i64 = 1;

/// Makes the tables, inside the caller's transaction.
pub(super) fn make(db: &Connection) -> Result<(), StoreError> {
    db.execute_batch(TABLES)?;
    db.pragma_update(None, "application_id", APPLICATION_ID)?;
    db.pragma_update(None, "user_version", FORM)?;
    Ok(())
}

/// A number as SQLite has it. What is larger than it can hold is the largest that it can.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number that was written by [`number`].
pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A leaf that was written by [`number`].
pub(super) fn leaf(value: i64) -> LeafIndex {
    LeafIndex(unsigned(value))
}

const TABLES: &str = "
    -- Whose store it is: one row.
    CREATE TABLE owner (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        member TEXT NOT NULL,
        mesh_id BLOB NOT NULL,
        key_check BLOB NOT NULL,
        behind INTEGER NOT NULL DEFAULT 0,
        session INTEGER,
        batch INTEGER,
        mirror_next INTEGER NOT NULL DEFAULT 0
    ) STRICT;

    -- Everybody who was seen, and the consent register that was drawn for them.
    CREATE TABLE subjects (
        blind BLOB PRIMARY KEY,
        register INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- A person's keys of one retention year: of their tags, and of their parts of openings. Where they
    -- stand hangs on the year's own key, which is no part of the database.
    CREATE TABLE subject_keys (
        blind BLOB NOT NULL,
        year INTEGER NOT NULL,
        sealed BLOB NOT NULL,
        PRIMARY KEY (blind, year)
    ) STRICT, WITHOUT ROWID;

    -- Openings, sent and received. The head lacks the people; its key hangs on that of the year. The
    -- row stays when the year goes, without what it said.
    CREATE TABLE openings (
        id INTEGER PRIMARY KEY,
        commitment BLOB NOT NULL UNIQUE,
        exchange BLOB NOT NULL,
        received INTEGER NOT NULL,
        year INTEGER NOT NULL,
        key BLOB,
        head BLOB NOT NULL,
        people INTEGER NOT NULL,
        finished INTEGER NOT NULL DEFAULT 0,
        bytes INTEGER NOT NULL DEFAULT 0,
        leaf INTEGER
    ) STRICT;
    CREATE INDEX openings_by_year ON openings (year) WHERE key IS NOT NULL;
    CREATE TABLE opened (
        id INTEGER PRIMARY KEY,
        opening INTEGER NOT NULL REFERENCES openings (id),
        place INTEGER NOT NULL,
        blind BLOB NOT NULL,
        sealed BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX opened_by_opening ON opened (opening, place);
    CREATE INDEX opened_by_person ON opened (blind, id);

    -- Entries that wait for the ledger. They hold nobody.
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY,
        owed BLOB NOT NULL UNIQUE,
        draft BLOB NOT NULL,
        not_before INTEGER NOT NULL,
        -- Not used any more: which entries are in a batch is remembered.
        sent INTEGER NOT NULL DEFAULT 0
    ) STRICT;

    -- Exchanges that this member began and owes a half of.
    CREATE TABLE intents (
        exchange BLOB PRIMARY KEY,
        provider TEXT NOT NULL,
        source TEXT NOT NULL,
        action INTEGER NOT NULL,
        purpose TEXT NOT NULL,
        agreement TEXT,
        user_known INTEGER NOT NULL,
        resumes BLOB,
        bytes INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE receipts (
        leaf INTEGER PRIMARY KEY,
        exchange BLOB NOT NULL,
        receipt BLOB NOT NULL,
        commitment BLOB NOT NULL
    ) STRICT;
    CREATE INDEX receipts_by_exchange ON receipts (exchange, leaf);

    -- Leaves that this member wrote, and halves of others that name it. `open`: something may still
    -- be owed about it.
    CREATE TABLE mirror (
        id INTEGER PRIMARY KEY,
        leaf INTEGER NOT NULL,
        role INTEGER NOT NULL,
        owed BLOB,
        exchange BLOB,
        commitment BLOB,
        open INTEGER NOT NULL,
        entry BLOB NOT NULL
    ) STRICT;
    CREATE INDEX mirror_open ON mirror (role, leaf) WHERE open = 1;
    CREATE UNIQUE INDEX mirror_roles ON mirror (role, leaf);
    CREATE INDEX mirror_owed ON mirror (owed) WHERE owed IS NOT NULL;
    CREATE INDEX mirror_exchanges ON mirror (exchange) WHERE exchange IS NOT NULL;
    CREATE INDEX mirror_commitments ON mirror (commitment) WHERE commitment IS NOT NULL;

    -- Break-glass halves that concern this member, own and others'. `filed`: the alert is in the file;
    -- `sent`: the webhook has it. `continues`: it goes on with an episode, and alerts nobody.
    CREATE TABLE glass (
        leaf INTEGER PRIMARY KEY,
        exchange BLOB NOT NULL,
        at INTEGER NOT NULL,
        provider TEXT NOT NULL,
        requester TEXT NOT NULL,
        commitment BLOB NOT NULL,
        continues INTEGER NOT NULL,
        by_provider INTEGER NOT NULL DEFAULT 1,
        by_requester INTEGER NOT NULL DEFAULT 1,
        filed INTEGER NOT NULL,
        sent INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX glass_alerts ON glass (leaf) WHERE filed = 0 OR sent = 0;
    CREATE INDEX glass_exchanges ON glass (exchange);
    CREATE INDEX glass_commitments ON glass (commitment);

    -- Releases before the ledger had their entry: own ones (`side` 1), whose half waits in the outbox, and
    -- others' (`side` 2), with the promise of their half and with the own one until that is there.
    -- `marked`: the half on the ledger is the late one. `over`: nothing is left to be said.
    CREATE TABLE emergencies (
        side INTEGER NOT NULL,
        commitment BLOB NOT NULL,
        exchange BLOB NOT NULL,
        at INTEGER NOT NULL,
        provider TEXT NOT NULL,
        requester TEXT NOT NULL,
        promise BLOB,
        half BLOB,
        how INTEGER,
        bytes INTEGER NOT NULL DEFAULT 0,
        leaf INTEGER,
        marked INTEGER NOT NULL DEFAULT 0,
        over INTEGER NOT NULL DEFAULT 0,
        filed INTEGER NOT NULL DEFAULT 0,
        sent INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (side, commitment)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX emergencies_by_exchange ON emergencies (exchange);
    CREATE INDEX emergencies_owed ON emergencies (at) WHERE leaf IS NULL;
    CREATE INDEX emergencies_untold ON emergencies (at) WHERE filed = 0 OR sent = 0;

    -- Halves that concern this member and released on a relationship that the user alone claims.
    CREATE TABLE claimed (
        leaf INTEGER PRIMARY KEY,
        exchange BLOB NOT NULL,
        at INTEGER NOT NULL,
        provider TEXT NOT NULL,
        requester TEXT NOT NULL,
        filed INTEGER NOT NULL DEFAULT 0,
        sent INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX claimed_alerts ON claimed (leaf) WHERE filed = 0 OR sent = 0;

    -- Which openings belong to one episode, by the commitment of its first. The key, by which reads of
    -- one person by one user are known as such, goes once no more can belong to it.
    CREATE TABLE episodes (
        commitment BLOB PRIMARY KEY,
        key BLOB,
        first BLOB NOT NULL,
        began INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX episodes_by_key ON episodes (key) WHERE key IS NOT NULL;
    CREATE INDEX episodes_by_first ON episodes (first);

    -- What officers noted when they reviewed.
    CREATE TABLE glass_notes (
        id INTEGER PRIMARY KEY,
        leaf INTEGER NOT NULL,
        at INTEGER NOT NULL,
        role TEXT NOT NULL,
        state INTEGER NOT NULL,
        sealed BLOB NOT NULL
    ) STRICT;
    CREATE INDEX glass_notes_by_leaf ON glass_notes (leaf, id);

    -- What people want. The register's version says from when on a word that lifts counts.
    CREATE TABLE directives (
        id INTEGER PRIMARY KEY,
        blind BLOB NOT NULL,
        register INTEGER NOT NULL,
        version INTEGER NOT NULL,
        withdrawn INTEGER,
        ruling INTEGER,
        ruled INTEGER,
        sealed BLOB NOT NULL
    ) STRICT;
    CREATE INDEX directives_by_person ON directives (blind, id);

    -- This custodian's consent registers: the version that the ledger is to reach, and the one that
    -- it is known to have reached.
    CREATE TABLE consent_registers (
        register INTEGER PRIMARY KEY,
        intended INTEGER NOT NULL,
        written INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE consent_writes (
        register INTEGER NOT NULL,
        version INTEGER NOT NULL,
        narrows INTEGER NOT NULL,
        PRIMARY KEY (register, version)
    ) STRICT, WITHOUT ROWID;

    -- Checks of the national data opt-out. `asked` stands there once all its people do, the last four
    -- once the reply is taken.
    CREATE TABLE opt_out_checks (
        id INTEGER PRIMARY KEY,
        reference TEXT NOT NULL UNIQUE,
        asked_at INTEGER NOT NULL,
        asked INTEGER,
        answered_at INTEGER,
        answered INTEGER,
        key BLOB,
        reply BLOB
    ) STRICT;
    CREATE INDEX opt_out_checks_by_time ON opt_out_checks (asked_at);
    -- Whom they are about, and what the reply says of each, until the check is too old.
    CREATE TABLE opt_out_people (
        blind BLOB NOT NULL,
        check_id INTEGER NOT NULL REFERENCES opt_out_checks (id),
        sealed BLOB,
        PRIMARY KEY (blind, check_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX opt_out_people_by_check ON opt_out_people (check_id);
";
