//! `tally man` and `tally completions`, from the same description as the help.

use std::fs;

use clap::CommandFactory;

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::failure::{Exit, Failure};
use crate::output::write;

/// `tally completions`.
///
/// # Errors
/// [`Failure`] if standard output takes it no more.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "tally", &mut script);
    write(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// `tally man`: one page to standard output, or all of them into a directory.
///
/// # Errors
/// [`Failure`] if they can't be written.
pub(crate) fn man(args: &ManArgs) -> Result<Exit, Failure> {
    let mut command = Args::command();
    command.build();
    match &args.to {
        None => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(command).render(&mut page);
            rendered.map_err(|why| Failure::environment(why, "try again"))?;
            write(&String::from_utf8_lossy(&page))?;
        }
        Some(dir) => {
            let written = fs::create_dir_all(dir)
                .and_then(|()| clap_mangen::generate_to(Args::command(), dir));
            written.map_err(|why| {
                let what = format!("{}: {why}", dir.display());
                Failure::environment(what, "give a directory that can be written")
            })?;
        }
    }
    Ok(Exit::Done)
}
