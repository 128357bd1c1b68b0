//! The configurations that a mesh's directory holds, as texts.

mod sources;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use tally_agent::config::IngressUser;
use tally_core::id::MeshId;

use super::AgentPlan;
use crate::mesh::file::MemberPlan;

/// The configuration of a member's agent, and what its officers act with.
pub(super) fn agent_config(member: &MemberPlan, agent: &AgentPlan, mesh_id: &MeshId) -> String {
    let listen = |port| SocketAddr::new(agent.listen, port);
    let mut text = format!(
        "tally = 1\ndata_dir = \"data\"\nmember = \"{id}\"\n\n\
         [mesh]\nid = \"{mesh_id}\"\ngenesis = \"../genesis.cbor\"\n\n\
         [identity]\ncert = \"identity.pem\"\nkey = \"identity.key\"\nca = \"ca.pem\"\n\n\
         [agent]\nkey = \"agent.key\"\n\n\
         [witness]\nkey = \"witness.key\"\n\n\
         [quic]\nlisten = \"{quic}\"\n\n\
         [ingress]\nlisten = \"{ingress}\"\n",
        id = member.id,
        quic = listen(agent.quic),
        ingress = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), agent.ingress),
    );
    // Writing to a text can't fail.
    if let Some(purpose) = &member.ingress.purpose {
        let _ = writeln!(text, "purpose = {}", quoted(&purpose.to_string()));
    }
    text.push_str(&user_lines(&member.ingress.user));
    let _ = write!(text, "\n[health]\nlisten = \"{}\"\n", listen(agent.health));
    for source in &member.sources {
        text.push_str(&sources::table(source));
    }
    text.push_str("\n[officer]\nrole = \"ig-lead\"\nkey = \"officers/ig-lead.key\"\n");
    text
}

/// How the users of an ingress are known, in an agent's configuration.
fn user_lines(user: &IngressUser) -> String {
    match user {
        IngressUser::Header => "user = \"header\"\n".to_owned(),
        IngressUser::Service(name) => format!("user = {}\n", quoted(&format!("service:{name}"))),
        IngressUser::Token(settings) => {
            let mut text = "user = \"jwt\"\n".to_owned();
            let jwks = settings.jwks.as_ref().map(|path| path.display().to_string());
            let keys =
                [("jwks", &jwks), ("issuer", &settings.issuer), ("audience", &settings.audience)];
            for (key, value) in keys {
                if let Some(value) = value {
                    // Writing to a text can't fail.
                    let _ = writeln!(text, "{key} = {}", quoted(value));
                }
            }
            if settings.unsigned {
                text.push_str("unsigned_tokens = true\n");
            }
            text
        }
    }
}

/// A TOML basic string: those of JSON are among them, but for one sign that TOML wants escaped.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use tally_core::file;

    use super::*;

    #[test]
    fn a_text_comes_back_as_it_was_whatever_stands_in_it() {
        let all: String = (0..=0xff).filter_map(char::from_u32).collect();
        let table = "a\"\n[officer]\nkey = \"x\\".to_owned();
        for text in [all, table, "\u{2028}\u{1f3e5}".to_owned()] {
            let written = format!("key = {}\n", quoted(&text));
            let read = file::read(&written, 4096, &[], |reader, mut keys| {
                let value = reader.required(&mut keys, "key")?;
                let found = reader.text(&value, 4096).map(str::to_owned);
                reader.close(keys);
                found
            });
            assert_eq!(read, Ok(text));
        }
    }
}
