//! `tally mesh witnesses`: who cosigns the ledger's checkpoints.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use tally_agent::admin::api::RegisterKind;
use tally_core::file::{self, Keys, Problem, Reader, Value};
use tally_core::id::MemberId;
use tally_core::register::{RegisterBody, RegisterName, Witness};
use tally_log::NoteKey;
use tally_log::note::KeyKind;

use crate::acting::Acting;
use crate::args::WitnessesProposeArgs;
use crate::failure::{Exit, Failure};
use crate::output::{Output, columns, print};
use crate::registers;
use crate::system::read_text;

/// Bytes of such a file at most.
const FILE_LEN_MAX: usize = 64 * 1024;
/// Who signs a checkpoint at most.
const WITNESSES_MAX: usize = 16;
/// Bytes of a key and of a URL at most, as the register has room for them.
const TEXT_LEN_MAX: usize = 300;

/// A witness as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    name: String,
    member: Option<String>,
    url: Option<String>,
    vkey: String,
}

#[derive(Debug, Serialize)]
struct Rows {
    rows: Vec<Row>,
}

/// `tally mesh witnesses list`.
///
/// # Errors
/// [`Failure`] if the agent is not there.
pub(crate) fn list(config: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let answer = Rows { rows: rows(&acting)? };
    print(output, &answer, || {
        let mut table = vec![["witness", "of", "key"].map(str::to_owned).to_vec()];
        table.extend(answer.rows.iter().map(|row| {
            let of = row.member.clone().or_else(|| row.url.clone()).unwrap_or_default();
            vec![row.name.clone(), of, row.vkey.clone()]
        }));
        columns(&table)
    })?;
    Ok(Exit::Done)
}

/// The witnesses in force.
///
/// # Errors
/// [`Failure`] if the agent is not there.
pub(crate) fn rows(acting: &Acting) -> Result<Vec<Row>, Failure> {
    let known = registers::ask(acting, RegisterKind::Witnesses)?;
    let body = known.rows.first().map(registers::body_of).transpose()?;
    let Some(RegisterBody::Witnesses(witnesses)) = body else { return Ok(Vec::new()) };
    Ok(witnesses.iter().map(shown).collect())
}

/// `tally mesh witnesses propose`.
///
/// # Errors
/// [`Failure`] with all that is wrong with the file, or if the register may not hold that.
pub(crate) fn propose(
    args: &WitnessesProposeArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let text = read_text(&args.file, FILE_LEN_MAX as u64)?;
    let witnesses = read(&text).map_err(|problems| Failure::problems(&args.file, &problems))?;
    let body = RegisterBody::Witnesses(witnesses);
    registers::propose(&acting, &RegisterName::Witnesses, body, &args.to, output)
}

fn shown(witness: &Witness) -> Row {
    let name = witness.vkey.split('+').next().unwrap_or_default().to_owned();
    Row {
        name,
        member: witness.member.as_ref().map(ToString::to_string),
        url: Some(witness.url.clone()).filter(|url| !url.is_empty()),
        vkey: witness.vkey.clone(),
    }
}

fn read(text: &str) -> Result<Vec<Witness>, Vec<Problem>> {
    file::read(text, FILE_LEN_MAX, &[], read_witnesses)
}

fn read_witnesses(reader: &mut Reader, mut keys: Keys<'_>) -> Option<Vec<Witness>> {
    let before = reader.problems_found();
    let format = reader.required(&mut keys, "tally");
    if let Some(format) = format
        && reader.number(&format).is_some_and(|number| number != 1)
    {
        reader.complain(&format, "this version reads format 1 only");
    }
    let elements = reader.optional(&mut keys, "witness");
    let elements = elements.and_then(|it| reader.list(&it, WITNESSES_MAX)).unwrap_or_default();
    let mut witnesses: Vec<Witness> = Vec::new();
    let mut seen = BTreeSet::new();
    for element in &elements {
        let Some((witness, key)) = read_witness(reader, element) else { continue };
        let member = witness.member.as_ref().map(ToString::to_string);
        let of = member.unwrap_or_else(|| witness.url.clone());
        // A name with another key would be told apart by four bytes alone.
        for one in [key.name().to_string(), format!("{:?}", key.kind()), of] {
            if !seen.insert(one) {
                reader.complain(element, "another one has the same name, key, member or URL");
                break;
            }
        }
        witnesses.push(witness);
    }
    reader.close(keys);
    (reader.problems_found() == before).then_some(witnesses)
}

fn read_witness(reader: &mut Reader, value: &Value<'_>) -> Option<(Witness, NoteKey)> {
    let mut keys = reader.table(value)?;
    let vkey = reader.required(&mut keys, "vkey").and_then(|it| read_vkey(reader, &it));
    let member = reader.optional(&mut keys, "member");
    let url = reader.optional(&mut keys, "url");
    let of = match (member, url) {
        (Some(member), None) => {
            reader.parsed::<MemberId>(&member).map(|member| (Some(member), String::new()))
        }
        (None, Some(url)) => read_url(reader, &url).map(|url| (None, url)),
        (None, None) | (Some(_), Some(_)) => {
            reader.complain(value, "a witness is a member's, or has a URL");
            None
        }
    };
    reader.close(keys);
    let ((member, url), key) = (of?, vkey?);
    Some((Witness { member, vkey: key.to_string(), url }, key))
}

/// A C2SP verifier key that cosigns checkpoints.
fn read_vkey(reader: &mut Reader, value: &Value<'_>) -> Option<NoteKey> {
    let text = reader.text(value, TEXT_LEN_MAX)?;
    match text.parse::<NoteKey>() {
        Ok(key) if matches!(key.kind(), KeyKind::CosignatureV1(_)) => Some(key),
        Ok(_) => {
            reader.complain(value, "it is no key of a witness: those are of type 0x04");
            None
        }
        Err(why) => {
            reader.complain(value, why.to_string());
            None
        }
    }
}

/// `http` or `https`, a host, perhaps a port and a path: nothing that a server would not see.
fn read_url(reader: &mut Reader, value: &Value<'_>) -> Option<String> {
    let text = reader.text(value, TEXT_LEN_MAX)?;
    if is_url(text) {
        return Some(text.to_owned());
    }
    reader.complain(
        value,
        "expected http://HOST/ or https://HOST/, with a port or a path if need be",
    );
    None
}

fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    let default = if authority.contains(':') && !authority.ends_with(']') { "" } else { ":80" };
    let authority: Result<tally_core::register::Address, _> =
        format!("{authority}{default}").parse();
    let plain = |sign: char| sign.is_ascii_alphanumeric() || "-._~/%".contains(sign);
    matches!(scheme, "http" | "https") && authority.is_ok() && path.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use tally_log::{KeyName, SigningKey};

    use super::*;

    fn vkey(name: &str, seed: u8) -> String {
        let key = SigningKey::from_seed(&[seed; 32]).verifying_key();
        NoteKey::cosignature_v1(KeyName::new(name).unwrap(), key).to_string()
    }

    fn problems(text: &str) -> Vec<String> {
        read(text).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_witness_is_a_members_agent_or_a_server_with_a_url() {
        let (own, other) = (vkey("dev.example/witness/RZ9", 1), vkey("witness.example", 2));
        let text = format!(
            "tally = 1\n[[witness]]\nmember = \"RZ9\"\nvkey = \"{own}\"\n\
             [[witness]]\nurl = \"https://witness.example/a/\"\nvkey = \"{other}\"\n"
        );
        let witnesses = read(&text).unwrap();
        assert_eq!(witnesses[0].member.as_ref().unwrap().as_str(), "RZ9");
        assert_eq!((witnesses[0].vkey.as_str(), witnesses[0].url.as_str()), (own.as_str(), ""));
        assert_eq!(witnesses[1].url, "https://witness.example/a/");
        assert_eq!(read("tally = 1\n").unwrap(), [], "nobody cosigns any more");
    }

    #[test]
    fn a_witness_that_could_be_taken_for_another_is_told_with_its_line() {
        let one = format!("[[witness]]\nmember = \"RZ9\"\nvkey = \"{}\"\n", vkey("w/RZ9", 1));
        let with = |other: &str| problems(&format!("tally = 1\n{one}[[witness]]\n{other}\n"));
        for other in [
            format!("member = \"RZ9\"\nvkey = \"{}\"", vkey("w/LZ9", 2)),
            format!("member = \"LZ9\"\nvkey = \"{}\"", vkey("w/RZ9", 2)),
            format!("member = \"LZ9\"\nvkey = \"{}\"", vkey("w/LZ9", 1)),
        ] {
            let told = with(&other);
            assert!(told.len() == 1 && told[0].starts_with("line 5: witness[1]"), "{told:?}");
        }
        let log = NoteKey::ed25519(
            KeyName::new("x").unwrap(),
            SigningKey::from_seed(&[3; 32]).verifying_key(),
        );
        let told = with(&format!("vkey = \"{log}\"\nurl = \"ftp://x/\"\ncolour = 1"));
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].contains("type 0x04"), "{told:?}");
        assert_eq!(with("member = \"LZ9\"").len(), 1);
    }

    #[test]
    fn a_url_names_a_host_and_nothing_that_would_be_lost() {
        for good in ["https://w.example", "http://127.0.0.1:8080/", "https://[::1]:7/a/b-c%20d"] {
            assert!(is_url(good), "{good}");
        }
        for bad in [
            "w.example",
            "https://",
            "https://a b/",
            "https://u@h/",
            "https://h/?q",
            "https://h/#f",
            "ftp://h/",
            "https://h:99999/",
            "HTTPS://h/",
        ] {
            assert!(!is_url(bad), "{bad}");
        }
    }
}
