//! `tally catalogue`: who is in the mesh, what each member shares with this one, and whether that may be
//! asked for today.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::acting::{load, runtime};
use crate::args::CatalogueArgs;
use crate::failure::{Exit, Failure};
use crate::get::{refused, small};
use crate::ingress::Ingress;
use crate::output::{Output, columns, csv, print, write};

/// What the ingress answers, as far as it is shown here; the rest is passed on as it is.
#[derive(Debug, Serialize, Deserialize)]
struct Catalogue {
    member: String,
    members: Vec<Member>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Member {
    id: String,
    name: String,
    active: bool,
    sources: Vec<Source>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Source {
    source: String,
    kind: String,
    path: String,
    agreement: String,
    version: u64,
    purposes: Vec<String>,
    until: String,
    usable: bool,
    in_the_way: Vec<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// `tally catalogue`.
///
/// # Errors
/// [`Failure`] if the agent is not there, or there is no such member.
pub(crate) fn catalogue(
    args: &CatalogueArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let Some(path) = config else {
        let remedy =
            "give the configuration of your member's agent: --config FILE, or TALLY_CONFIG";
        return Err(Failure::usage("nobody said whose catalogue to show", remedy));
    };
    let config = load(path)?;
    let answer = runtime()?.block_on(async {
        let mut ingress = Ingress::connect(&config, &args.shown).await?;
        let answer = ingress.get("/catalogue", &[]).await?;
        Ok::<_, Failure>((answer.status(), small(answer.into_body()).await?))
    });
    let (status, body) = answer?;
    if !status.is_success() {
        return refused(status, &body, output);
    }
    let catalogue = serde_json::from_slice::<Catalogue>(&body);
    let mut catalogue = catalogue
        .map_err(|why| Failure::environment(why, "use a tally of the same version as the agent"))?;
    if let Some(wanted) = &args.member {
        catalogue.members.retain(|member| member.id == *wanted || member.has_code(wanted));
        if catalogue.members.is_empty() {
            let what = format!("no member of the mesh has the id or code {wanted:?}");
            return Err(Failure::refused_as(what, "see all of them: tally catalogue"));
        }
    }
    match output {
        Output::Csv => write(&csv(&rows(&catalogue, false)))?,
        Output::Table | Output::Json => {
            print(output, &catalogue, || columns(&rows(&catalogue, true)))?;
        }
    }
    Ok(Exit::Done)
}

impl Member {
    fn has_code(&self, wanted: &str) -> bool {
        let codes = self.rest.get("codes").and_then(Value::as_object);
        codes.into_iter().flatten().any(|(_, code)| code == wanted)
    }
}

/// A row for each source, after the head. For people, a member that shares nothing has a row too.
fn rows(catalogue: &Catalogue, all: bool) -> Vec<Vec<String>> {
    let head = [
        "member",
        "name",
        "source",
        "kind",
        "path",
        "agreement",
        "purposes",
        "until",
        "usable",
        "in the way",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for member in &catalogue.members {
        let name = match member.active {
            true => member.name.clone(),
            false => format!("{} (takes no part)", member.name),
        };
        for source in &member.sources {
            rows.push(vec![
                member.id.clone(),
                name.clone(),
                source.source.clone(),
                source.kind.clone(),
                source.path.clone(),
                format!("{}@{}", source.agreement, source.version),
                source.purposes.join(" "),
                source.until.clone(),
                if source.usable { "yes" } else { "no" }.to_owned(),
                source.in_the_way.join(" "),
            ]);
        }
        if member.sources.is_empty() && all {
            let nothing = vec!["-".to_owned(); head.len() - 2];
            rows.push([vec![member.id.clone(), name], nothing].concat());
        }
    }
    rows
}
