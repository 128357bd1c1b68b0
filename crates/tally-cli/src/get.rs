//! `tally get`: a record or a dataset of another member, through the own member's ingress.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::{Response, StatusCode};
use serde_json::Value;
use tally_agent::config::AgentConfig;
use tokio::time::{Instant, sleep, timeout};

use crate::acting::{load, runtime};
use crate::args::GetArgs;
use crate::failure::{Exit, Failure};
use crate::ingress::Ingress;
use crate::output::{Output, shown};
use crate::system::{read_text, write_private};

/// A body that stands still for so long has ended.
const BODY_WAIT_MAX: Duration = Duration::from_secs(60);
/// Bytes of a file with a token at most.
const TOKEN_LEN_MAX: u64 = 64 * 1024;
/// Witnesses have cosigned an entry within this time, or something is wrong.
const WITNESSED_WAIT_MAX: Duration = Duration::from_secs(10);
/// The pause between two questions whether they have.
const WITNESSED_PAUSE: Duration = Duration::from_millis(250);
/// Bytes of a refusal, and of a receipt, at most.
const SMALL_LEN_MAX: usize = 4 * 1024 * 1024;

/// `tally get`.
///
/// # Errors
/// [`Failure`] if the agent is not there, or the answer is no.
pub(crate) fn get(args: &GetArgs, config: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    let path = config_of(config)?;
    let Some(wanted) = path_of(&args.path) else {
        let remedy = "begin it with a slash: /fhir/MEMBER/Patient/ID or /data/MEMBER/DATASET";
        return Err(Failure::usage("what was asked for is no path of an ingress", remedy));
    };
    let config = load(path)?;
    runtime()?.block_on(ask(wanted, args, &config, output))
}

/// The configuration of the agent to ask through.
///
/// # Errors
/// [`Failure`] if none is named.
pub(crate) fn config_of(config: Option<&Path>) -> Result<&Path, Failure> {
    config.ok_or_else(|| {
        let remedy =
            "give the configuration of your member's agent: --config FILE, or TALLY_CONFIG";
        Failure::usage("nobody said through which agent to ask", remedy)
    })
}

/// A path as it is, or that of a link in a searchset: it is asked of the own ingress, whatever host or
/// proxy stands before it.
fn path_of(text: &str) -> Option<&str> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    match rest {
        Some(rest) => rest.find("/fhir/").and_then(|start| rest.get(start..)),
        None => text.starts_with('/').then_some(text),
    }
}

async fn ask(
    wanted: &str,
    args: &GetArgs,
    config: &AgentConfig,
    output: Output,
) -> Result<Exit, Failure> {
    let mut ingress = Ingress::connect(config, &args.shown).await?;
    let answer = ingress.get(wanted, &headers(args)?).await?;
    let status = answer.status();
    if !status.is_success() {
        let body = small(answer.into_body()).await?;
        return refused(status, &body, output);
    }
    let receipt = answer.headers().get("tally-receipt").and_then(|it| it.to_str().ok());
    let receipt = receipt.map(str::to_owned);
    hand_on(answer.into_body()).await?;
    let Some(to) = &args.receipt else { return Ok(Exit::Done) };
    let no_receipt = || Failure::refused("the answer came without a receipt", "ask again");
    let path = receipt.ok_or_else(no_receipt)?;
    let answer = match args.witnessed {
        false => ingress.get(&path, &[]).await?,
        true => witnessed(&mut ingress, &path).await?,
    };
    let status = answer.status();
    if status == StatusCode::ACCEPTED && args.witnessed {
        let what = "no quorum of the ledger's witnesses has cosigned the entry yet";
        let remedy = format!("ask for the receipt later: tally get '{path}?witnessed=true'");
        return Err(Failure::refused(what, remedy));
    }
    if status == StatusCode::ACCEPTED {
        return Err(Failure::refused(
            "the record came in an emergency, and the ledger does not have its entry yet"
                .to_owned(),
            format!("ask for the receipt later: tally get {path}"),
        ));
    }
    let body = small(answer.into_body()).await?;
    if !status.is_success() {
        return refused(status, &body, output);
    }
    // The opening in it names people.
    write_private(to, &body)?;
    Ok(Exit::Done)
}

/// The receipt under a checkpoint that witnesses have cosigned: on an idle ledger that takes a second.
async fn witnessed(ingress: &mut Ingress, path: &str) -> Result<Response<Incoming>, Failure> {
    let deadline = Instant::now() + WITNESSED_WAIT_MAX;
    loop {
        let answer = ingress.get(&format!("{path}?witnessed=true"), &[]).await?;
        if answer.status() != StatusCode::ACCEPTED || Instant::now() > deadline {
            return Ok(answer);
        }
        // The connection is free for the next question once this answer is read.
        drop(small(answer.into_body()).await?);
        sleep(WITNESSED_PAUSE).await;
    }
}

fn headers(args: &GetArgs) -> Result<Vec<(&'static str, String)>, Failure> {
    let token = token_of(args.token.as_deref())?;
    let encoded = |text: &String| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let headers = [
        ("authorization", token),
        ("tally-purpose", args.purpose.clone()),
        ("tally-user", args.user.clone()),
        ("tally-reason", args.reason.as_ref().map(encoded)),
        ("tally-agreement", args.agreement.clone()),
        ("tally-relationship", args.relationship.clone()),
    ];
    Ok(headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

/// A token in a file, as a request carries it.
pub(crate) fn token_of(path: Option<&Path>) -> Result<Option<String>, Failure> {
    let token = path.map(|path| read_text(path, TOKEN_LEN_MAX)).transpose()?;
    Ok(token.map(|text| format!("Bearer {}", text.trim())))
}

/// Writes a body to standard output as it comes.
async fn hand_on(mut body: Incoming) -> Result<(), Failure> {
    let broken = |why: String| {
        Failure::refused(
            format!("the body broke off: {why}"),
            "ask again; the ledger has how far it came",
        )
    };
    let mut out = std::io::stdout().lock();
    while !body.is_end_stream() {
        let frame = timeout(BODY_WAIT_MAX, body.frame()).await;
        let frame = frame.map_err(|_| broken("it stood still".to_owned()))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|why| broken(why.to_string()))?;
        if let Ok(data) = frame.into_data() {
            let written = out.write_all(&data);
            written.map_err(|why| {
                Failure::environment(format!("standard output: {why}"), "check where it goes to")
            })?;
        }
    }
    out.flush().map_err(|why| {
        Failure::environment(format!("standard output: {why}"), "check where it goes to")
    })
}

/// A short answer.
///
/// # Errors
/// [`Failure`] if it breaks off, or is long.
pub(crate) async fn small(body: Incoming) -> Result<Bytes, Failure> {
    let collected = Limited::new(body, SMALL_LEN_MAX).collect().await;
    let collected = collected
        .map_err(|why| Failure::refused(format!("the answer broke off: {why}"), "ask again"))?;
    Ok(collected.to_bytes())
}

/// Says what an OperationOutcome says.
///
/// # Errors
/// [`Failure`] with it, unless JSON is asked for.
pub(crate) fn refused(status: StatusCode, body: &[u8], output: Output) -> Result<Exit, Failure> {
    if output == Output::Json {
        crate::output::write(&String::from_utf8_lossy(body))?;
        return Ok(exit(status));
    }
    let outcome = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let issue = |path: &str| outcome.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let code = issue("/issue/0/details/coding/0/code").unwrap_or_else(|| status.to_string());
    let text = issue("/issue/0/details/text").unwrap_or_default();
    let remedy = issue("/issue/0/diagnostics").unwrap_or_else(|| "see the agent's log".to_owned());
    // Some of it is another organisation's words.
    let what = shown(&format!("{code}: {text}")).into_owned();
    let remedy = shown(&remedy).into_owned();
    Err(match exit(status) {
        Exit::Unreachable => Failure::unreachable(what, remedy),
        Exit::Usage => Failure::usage(what, remedy),
        Exit::Refused | Exit::Done => Failure::refused_as(what, remedy),
    })
}

/// What cannot be reached, what makes no sense, and what is refused.
fn exit(status: StatusCode) -> Exit {
    match status.as_u16() {
        502..=504 => Exit::Unreachable,
        400 | 405 | 406 | 416 => Exit::Usage,
        _ => Exit::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_another_organisation_do_not_pass_for_the_commands_own() {
        let text = "fine\n  what to do:  nothing\u{1b}[2J";
        let body =
            serde_json::json!({ "issue": [{ "details": { "text": text }, "diagnostics": text }] });
        let failure = refused(StatusCode::BAD_REQUEST, body.to_string().as_bytes(), Output::Table);
        let shown = failure.unwrap_err().to_string();
        assert_eq!((shown.lines().count(), shown.contains('\u{1b}')), (3, false), "{shown}");
    }

    #[test]
    fn a_link_of_a_searchset_is_asked_of_the_own_ingress() {
        for (text, path) in [
            ("/fhir/RZ9/Patient/p1", Some("/fhir/RZ9/Patient/p1")),
            ("/catalogue", Some("/catalogue")),
            (
                "http://127.0.0.1:7601/fhir/RZ9/Observation?_page=x",
                Some("/fhir/RZ9/Observation?_page=x"),
            ),
            ("https://records.rz8.example/tally/fhir/RZ9/Patient", Some("/fhir/RZ9/Patient")),
            ("http://127.0.0.1:7601", None),
            ("fhir/RZ9/Patient", None),
            ("", None),
        ] {
            assert_eq!(path_of(text), path, "{text}");
        }
    }
}
