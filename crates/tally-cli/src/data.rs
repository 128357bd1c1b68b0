//! `tally data`: datasets of other members, through the own member's ingress.

mod get;
mod list;
mod part;

use std::path::Path;

use crate::args::{DataArgs, DataAskingArgs, DataCommand};
use crate::failure::{Exit, Failure};
use crate::get::token_of;
use crate::ingress::Ingress;
use crate::output::Output;

/// `tally data`.
///
/// # Errors
/// [`Failure`] if the agent is not there, or the answer is no.
pub(crate) fn data(
    args: &DataArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    match &args.command {
        DataCommand::List(list) => list::list(list, config, output),
        DataCommand::Get(get) => get::get(get, config, output),
    }
}

/// Who asks, and why, as headers. A token is for one request: it is read for each.
fn headers(
    asking: &DataAskingArgs,
    purpose: Option<&str>,
) -> Result<Vec<(&'static str, String)>, Failure> {
    let headers = [
        ("authorization", token_of(asking.token.as_deref())?),
        ("tally-purpose", asking.purpose.clone().or_else(|| purpose.map(str::to_owned))),
        ("tally-user", asking.user.clone()),
        ("tally-agreement", asking.agreement.clone()),
    ];
    Ok(headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}
