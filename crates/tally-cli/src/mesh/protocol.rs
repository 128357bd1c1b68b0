//! `tally mesh protocol`: the version of the ledger's rules, and who knows it.

use std::path::Path;

use serde_json::json;
use tally_agent::admin::api::{NodeRules, RulesShown};
use tally_core::register::{RegisterBody, RegisterName};

use crate::acting::Acting;
use crate::args::ProtocolProposeArgs;
use crate::failure::{Exit, Failure};
use crate::output::{Output, columns, print};
use crate::registers;

/// `tally mesh protocol show`.
///
/// # Errors
/// [`Failure`] if the agent is not there.
pub(crate) fn show(config: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let rules: RulesShown = acting.ask("/rules", &json!({}))?;
    print(output, &rules, || {
        let head = ["node", "member", "knows", "in force"].map(str::to_owned).to_vec();
        let row = |it: &NodeRules| {
            let known = it.known.map_or_else(|| "no answer".to_owned(), |known| known.to_string());
            vec![it.node.to_string(), it.member.clone(), known, rules.in_force.to_string()]
        };
        columns(&[vec![head], rules.nodes.iter().map(row).collect()].concat())
    })?;
    Ok(Exit::Done)
}

/// `tally mesh protocol propose`.
///
/// # Errors
/// [`Failure`] if the version is not above the present one, or too few ledger nodes know it.
pub(crate) fn propose(
    args: &ProtocolProposeArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let rules: RulesShown = acting.ask("/rules", &json!({}))?;
    check_support(&rules, args.version)?;
    let body = RegisterBody::Protocol(args.version);
    registers::propose(&acting, &RegisterName::Protocol, body, &args.to, output)
}

/// The leader asks the same once more of those who vote, when it is to propose the write.
fn check_support(rules: &RulesShown, version: u64) -> Result<(), Failure> {
    let known = |it: &&NodeRules| it.known.is_some_and(|known| known >= version);
    let (knowing, all) = (rules.nodes.iter().filter(known).count(), rules.nodes.len());
    if version <= rules.in_force || knowing > all / 2 {
        return Ok(());
    }
    let others = rules.nodes.iter().filter(|it| !known(it));
    let others: Vec<_> = others.map(|it| format!("{} of {}", it.node, it.member)).collect();
    let what = format!(
        "{knowing} of {all} ledger nodes know version {version} of the rules, and a majority must; \
         not: node {}",
        others.join(", ")
    );
    Err(Failure::refused_as(what, "upgrade those first, one after the other"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_proposed_once_a_majority_of_the_nodes_know_it() {
        let node = |node, known| NodeRules { node, member: "RZ9".to_owned(), known };
        let rules = |known: [Option<u64>; 3]| RulesShown {
            in_force: 1,
            nodes: (1..).zip(known).map(|(number, known)| node(number, known)).collect(),
        };
        for (known, fits) in [
            ([Some(1), Some(1), Some(1)], false),
            ([Some(2), Some(1), None], false),
            ([Some(2), Some(3), None], true),
            ([Some(2), Some(2), Some(2)], true),
        ] {
            assert_eq!(check_support(&rules(known), 2).is_ok(), fits, "{known:?}");
        }
    }
}
