//! Opening a session: ask for the last one, name it, sign, submit.

use tally_core::Encoded;
use tally_core::entry::{Algorithm, SessionStart, session_preimage};
use tally_core::id::{KeyId, Salt16, SessionId};
use tally_core::ledger::Submission;
use tally_wire::encode;
use tally_wire::message::ledger::{Query, QueryAnswer, SessionQuery};

use super::link::{Link, LinkError};
use super::{AgentKey, LedgerConfig};

/// A session's start that was signed: from here on it is these bytes.
pub(super) struct Start {
    pub(super) frame: Vec<u8>,
}

/// Makes the leaf that opens the session after the last one that this node knows.
pub(super) async fn prepare(
    link: &Link,
    config: &LedgerConfig,
    key: &AgentKey,
) -> Result<Start, LinkError> {
    let query = Query::Session(SessionQuery { member: config.member.clone() });
    let previous = match link.ask(&query).await? {
        QueryAnswer::Session(answer) => answer.last,
        _ => return Err(LinkError::NoAnswer { node: link.node() }),
    };
    let salt = Salt16(random()?);
    Ok(Start { frame: sign(config, key, salt, previous) })
}

fn sign(
    config: &LedgerConfig,
    key: &AgentKey,
    salt: Salt16,
    previous: Option<SessionId>,
) -> Vec<u8> {
    let LedgerConfig { member, mesh_id, epoch, .. } = config;
    let key_id = KeyId::of(&key.public);
    let preimage = session_preimage(&salt, mesh_id, *epoch, member, &key_id, previous);
    let start = SessionStart {
        salt,
        mesh_id: *mesh_id,
        epoch: *epoch,
        member: member.clone(),
        key: key_id,
        previous,
        algorithm: Algorithm::EdDsa,
        signature: key.secret.sign(&preimage),
    };
    let bytes = encode(&start);
    encode(&Submission::SessionStart(Encoded::new(start, bytes)))
}

fn random() -> Result<[u8; 16], LinkError> {
    let mut bytes = [0; 16];
    crate::tls::provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| LinkError::Unusable("the system gives no randomness".into()))?;
    Ok(bytes)
}
