//! Members beyond those that `tally dev` lays out, each with an agent of its own: admitted as any mesh
//! admits them, approved by a majority of those that are there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use tally_core::entry::{Algorithm, Entry};
use tally_core::id::{KeyId, MemberId, MeshId, MeshName, Salt16};
use tally_core::register::{
    Approval, MemberRecord, MemberStatus, Officer, RegisterBody, RegisterName, RegisterWrite,
    register_preimage,
};
use tally_log::{SigningKey, sha256};
use tally_net::keyfile::{self, KeyUse};
use tally_net::ledger::{Client, Travel};
use tally_net::{Authority, Identity, Role, SpiffeId};
use tally_wire::encode_checked;

use crate::Trouble;
use crate::tally::validity;

/// Founders at most: the genesis has to hold them all.
const FOUNDERS_MAX: usize = 24;
/// Whose approval counts.
const ROLE: &str = "ig-lead";
/// An admission has to be on the ledger after that.
const ADMISSION_WAIT_MAX: Duration = Duration::from_secs(10);

/// The mesh file of so many members, or as many of them as can found a mesh.
pub(crate) fn mesh_file(members: usize) -> String {
    let mut text =
        "tally = 1\nmesh = \"dev.example\"\nenvironment = \"test\"\nledger_nodes = 3\n".to_owned();
    for number in 0..members.clamp(3, FOUNDERS_MAX) {
        let id = name(number);
        // Writing to a text does not fail.
        let _ = write!(
            text,
            "\n[[member]]\nid = \"{id}\"\nname = \"{id} (fictional)\"\ncodes = {{ ods = \"{id}\" }}\n"
        );
    }
    text
}

/// The id of a member, by its number: as long as the codes of trusts are, so that entries are.
fn name(number: usize) -> String {
    format!("Z{number:02X}")
}

/// A member and what its agent needs.
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) agent_key: SigningKey,
    pub(crate) identity: Identity,
}

/// Those whose approval counts.
pub(crate) struct Officers {
    mesh: MeshName,
    mesh_id: MeshId,
    keys: BTreeMap<MemberId, SigningKey>,
}

impl Officers {
    /// The founders' officers.
    ///
    /// # Errors
    /// [`Trouble`] if a key can't be read.
    pub(crate) fn of(
        dir: &Path,
        mesh: MeshName,
        mesh_id: MeshId,
        founders: &[MemberRecord],
    ) -> Result<Self, Trouble> {
        let key = |founder: &MemberRecord| {
            let path = dir.join(founder.id.as_str()).join("officers").join(format!("{ROLE}.key"));
            Ok((founder.id.clone(), keyfile::load(&path, KeyUse::Officer)?))
        };
        let keys = founders.iter().map(key).collect::<Result<_, Trouble>>()?;
        Ok(Self { mesh, mesh_id, keys })
    }

    /// Makes a member and has it admitted.
    ///
    /// # Errors
    /// [`Trouble`] if the ledger does not take it.
    pub(crate) async fn admit(&mut self, number: usize, by: &Client) -> Result<Member, Trouble> {
        let id = name(number).parse::<MemberId>()?;
        let key = |what: &str| {
            SigningKey::from_seed(sha256(&[what.as_bytes(), id.as_str().as_bytes()]).as_bytes())
        };
        let (agent_key, officer) = (key("agent"), key(ROLE));
        let authority = Authority::create(&format!("{id} CA"), validity()?)?;
        let record = MemberRecord {
            id: id.clone(),
            name: id.to_string(),
            codes: Vec::new(),
            ca: authority.certificate_der().to_vec(),
            agent_key: agent_key.verifying_key(),
            officers: vec![Officer { role: ROLE.parse()?, key: officer.verifying_key() }],
            nodes: Vec::new(),
            address: None,
            status: MemberStatus::Active,
            supersedes: Vec::new(),
            assessment: None,
        };
        let write = self.approved(record)?;
        by.append(Entry::Register(Box::new(write)), Travel::Together, ADMISSION_WAIT_MAX).await?;
        self.keys.insert(id.clone(), officer);
        let role = Role::Agent;
        let subject = SpiffeId {
            mesh: self.mesh.clone(),
            member: id.clone(),
            role,
            name: "bench".to_owned(),
        };
        let identity = authority.issue(&subject, &[], validity()?)?.identity();
        Ok(Member { id, agent_key, identity })
    }

    fn approved(&self, record: MemberRecord) -> Result<RegisterWrite, Trouble> {
        let name = RegisterName::Member(record.id.clone());
        let body = encode_checked(RegisterBody::Member(Box::new(record)))?;
        let preimage = register_preimage(&self.mesh_id, &name, 1, None, true, body.bytes());
        let approving = self.keys.iter().take(self.keys.len() / 2 + 1);
        let approval = |(member, key): (&MemberId, &SigningKey)| {
            let signature = key.sign(&preimage);
            Ok(Approval {
                member: member.clone(),
                role: ROLE.parse()?,
                key: KeyId::of(&key.verifying_key()),
                algorithm: Algorithm::EdDsa,
                signature,
            })
        };
        let approvals = approving.map(approval).collect::<Result<Vec<_>, Trouble>>()?;
        Ok(RegisterWrite {
            salt: Salt16([0; 16]),
            name,
            version: 1,
            previous: None,
            narrows: true,
            body,
            approvals,
        })
    }
}
