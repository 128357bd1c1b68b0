//! The one binary `tally`, and what auditors and officers type.
//!
//! Invariant: what a command prints on standard output is its answer and nothing else, one document
//! if it is JSON; what went wrong stands on standard error and says what, whose fault it is and what
//! to do. The exit code is 0 for done, 1 for refused or not verified, 2 for usage or configuration,
//! 3 for unreachable.

mod acting;
mod agent;
mod agreement;
mod args;
mod audit;
mod breakglass;
mod catalogue;
mod config;
mod consent;
mod data;
mod demo;
mod dev;
mod doctor;
mod erase;
mod explain;
mod export;
mod failure;
mod get;
#[cfg(test)]
#[path = "../tests/support/golden.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests of the binary use the rest")]
mod golden;
mod history;
mod https;
mod identity;
mod ingress;
mod kept;
mod leaves;
mod ledger;
mod manual;
mod member;
mod mesh;
mod online;
mod opt_out;
mod output;
mod paper;
mod process;
mod progress;
mod registers;
mod sidecar;
mod subject;
mod system;
mod verify;
mod witness;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tally_agent::admin::api::RegisterKind;
use tally_core::register::MemberStatus;

use args::{
    AgreementCommand, Args, AuditCommand, BreakglassCommand, Command, ConfigCommand,
    ConsentCommand, EraseCommand, GroupCommand, IdentityCommand, LedgerArgs, LedgerCommand,
    MemberCommand, MeshCommand, OptOutCommand, ProtocolCommand, RecoveryCommand, WitnessCommand,
    WitnessesCommand,
};
use failure::{Exit, Failure};
use output::Output;

/// Does what the command line says, as a later version would that knows this version of the ledger's
/// rules. For tests of upgrades alone: that version is applied as the newest real one is.
#[must_use]
pub fn run_next(rules: u64) -> ExitCode {
    tally_net::rules::raise_for_tests(rules);
    run()
}

/// Does what the command line says.
#[must_use]
pub fn run() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers, not errors.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            // Nobody is left to be told when the terminal is gone.
            drop(error.print());
            return exit.into();
        }
    };
    match dispatch(&args) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::fail(&failure);
            failure.exit().into()
        }
    }
}

fn dispatch(args: &Args) -> Result<Exit, Failure> {
    let config = args.config.as_deref();
    match &args.command {
        Command::Audit(audit) => match &audit.command {
            AuditCommand::Log(log) => audit::log(log, config, args.output),
            AuditCommand::Show(show) => audit::show(show, config, args.output),
            AuditCommand::Subject(person) => subject::subject(person, config, args.output),
            AuditCommand::Stats(stats) => audit::stats(stats, config, args.output),
            AuditCommand::Export(export) => audit::export(export, config, args.output),
            AuditCommand::Verify(verify) => audit::verify(verify, config, args.output),
            AuditCommand::Missing(it) => audit::missing(it, config, args.output),
            AuditCommand::Receipt(receipt) => audit::receipt(receipt, config),
            AuditCommand::Check(check) => audit::check(check, args.output),
            AuditCommand::Watch(watch) => audit::watch(watch, config, args.output),
        },
        Command::Demo(demo) => demo::demo(demo, args.output),
        Command::Get(get) => get::get(get, config, args.output),
        Command::Doctor(it) => doctor::doctor(it, config, args.output),
        Command::Catalogue(it) => catalogue::catalogue(it, config, args.output),
        Command::Data(it) => data::data(it, config, args.output),
        Command::Consent(consent) => match &consent.command {
            ConsentCommand::Record(record) => consent::record(record, config, args.output),
            ConsentCommand::Withdraw(withdraw) => consent::withdraw(withdraw, config, args.output),
            ConsentCommand::Import(import) => consent::import(import, config, args.output),
            ConsentCommand::Explain(explain) => consent::explain(explain, config, args.output),
            ConsentCommand::List(list) => consent::list(list, config, args.output),
        },
        Command::OptOut(opt_out) => match &opt_out.command {
            OptOutCommand::Request(request) => opt_out::request(request, config, args.output),
            OptOutCommand::Import(import) => opt_out::import(import, config, args.output),
            OptOutCommand::Status => opt_out::status(config, args.output),
        },
        Command::Breakglass(glass) => match &glass.command {
            BreakglassCommand::List(list) => breakglass::list(list, config, args.output),
            BreakglassCommand::Show(show) => breakglass::show(show, config, args.output),
            BreakglassCommand::Review(review) => breakglass::review(review, config, args.output),
        },
        Command::Agreement(agreement) => of_agreement(&agreement.command, config, args.output),
        Command::Erase(erase) => match &erase.command {
            EraseCommand::Plan(plan) => erase::plan(plan, config, args.output),
            EraseCommand::Run(run) => erase::run(run, config, args.output),
            EraseCommand::Subject(person) => erase::erase_subject(person, config, args.output),
            EraseCommand::Hold(hold) => erase::hold(hold, config, args.output),
            EraseCommand::Release(release) => erase::release(release, config, args.output),
            EraseCommand::Holds => erase::holds(config, args.output),
        },
        Command::Dev(dev) => dev::dev(dev),
        Command::Agent(agent) => agent::run(agent, config),
        Command::Sidecar(sidecar) => sidecar::run(sidecar, config),
        Command::Ledger(ledger) => of_ledger(ledger, config, args.output),
        Command::Witness(witness) => of_witness(&witness.command, config, args.output),
        Command::Mesh(mesh) => of_mesh(&mesh.command, config, args.output),
        Command::Member(member) => of_member(&member.command, config, args.output),
        Command::Identity(identity) => match &identity.command {
            IdentityCommand::Issue(issue) => identity::issue(issue, args.output),
            IdentityCommand::Show(show) => identity::show(show, config, args.output),
        },
        Command::Config(config) => match &config.command {
            ConfigCommand::Check(it) => config::check(it, args.config.as_deref(), args.output),
            ConfigCommand::Show(it) => config::show(it, args.config.as_deref(), args.output),
        },
        Command::Explain(code) => explain::explain(code, args.output),
        Command::Completions(shell) => manual::completions(shell),
        Command::Man(to) => manual::man(to),
    }
}

fn of_agreement(
    command: &AgreementCommand,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    match command {
        AgreementCommand::Check(file) => agreement::check(file, output),
        AgreementCommand::Propose(file) => agreement::propose(file, config, output),
        AgreementCommand::Sign(sign) => agreement::sign(sign, config, output),
        AgreementCommand::Accede(it) => agreement::accede(it, config, output),
        AgreementCommand::Accept(it) => agreement::accept(it, config, output),
        AgreementCommand::Suspend(it) => agreement::suspend(&it.agreement, true, config, output),
        AgreementCommand::Resume(it) => agreement::suspend(&it.agreement, false, config, output),
        AgreementCommand::List => agreement::list(config, output),
        AgreementCommand::Show(show) => agreement::show(show, config, output),
    }
}

fn of_member(
    command: &MemberCommand,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let set = |it, status| member::set_status(it, status, config, output);
    match command {
        MemberCommand::List => member::list(config, output),
        MemberCommand::New(it) => member::new(it, output),
        MemberCommand::Key(it) => member::key(it, output),
        MemberCommand::Admit(it) => member::admit(it, config, output),
        MemberCommand::Propose(it) => member::propose(it, config, output),
        MemberCommand::Suspend(it) => set(it, MemberStatus::Suspended),
        MemberCommand::Resume(it) => set(it, MemberStatus::Active),
        MemberCommand::Remove(it) => set(it, MemberStatus::Removed),
        MemberCommand::Approve(it) => {
            registers::approve(&it.file, RegisterKind::Member, config, output)
        }
    }
}

fn of_ledger(ledger: &LedgerArgs, config: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    match &ledger.command {
        None => ledger::run(ledger, config),
        Some(LedgerCommand::Status) => ledger::status(config, output),
        Some(LedgerCommand::Fsck(fsck)) => ledger::fsck(fsck, config, output),
        Some(LedgerCommand::Repair) => ledger::repair(config, output),
        Some(LedgerCommand::Trust(trust)) => ledger::trust(trust, config, output),
        Some(LedgerCommand::Recover(recover)) => ledger::recover(recover, config, output),
        Some(LedgerCommand::Join(join)) => ledger::join(join, config, output),
        Some(LedgerCommand::Nodes) => ledger::nodes(config, output),
        Some(LedgerCommand::Add(add)) => ledger::add(add, config, output),
        Some(LedgerCommand::Promote(it)) => ledger::promote(it, config, output),
        Some(LedgerCommand::Remove(it)) => ledger::remove(it, config, output),
        Some(LedgerCommand::Replace(it)) => ledger::replace(it, config, output),
        Some(LedgerCommand::Transfer(it)) => ledger::transfer(it, config, output),
        Some(LedgerCommand::Recovery(recovery)) => match &recovery.command {
            RecoveryCommand::Propose(it) => ledger::recovery::propose(it, config, output),
            RecoveryCommand::Show(it) => ledger::recovery::show(it, config, output),
            RecoveryCommand::Approve(it) => ledger::recovery::approve(it, config, output),
        },
    }
}

fn of_witness(
    command: &WitnessCommand,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    match command {
        WitnessCommand::New(new) => witness::new(new, config, output),
        WitnessCommand::Status => witness::status(config, output),
        WitnessCommand::Evidence(it) => witness::evidence(it, config, output),
        WitnessCommand::Trust(trust) => witness::trust(trust, config, output),
    }
}

fn of_mesh(command: &MeshCommand, config: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    match command {
        MeshCommand::Init(init) => mesh::init(init, output),
        MeshCommand::Show => mesh::show::show(config, output),
        MeshCommand::Witnesses(witnesses) => match &witnesses.command {
            WitnessesCommand::List => mesh::witnesses::list(config, output),
            WitnessesCommand::Propose(it) => mesh::witnesses::propose(it, config, output),
            WitnessesCommand::Approve(it) => {
                registers::approve(&it.file, RegisterKind::Witnesses, config, output)
            }
        },
        MeshCommand::Protocol(protocol) => match &protocol.command {
            ProtocolCommand::Show => mesh::protocol::show(config, output),
            ProtocolCommand::Propose(it) => mesh::protocol::propose(it, config, output),
            ProtocolCommand::Approve(it) => {
                registers::approve(&it.file, RegisterKind::Protocol, config, output)
            }
        },
        MeshCommand::Group(group) => match &group.command {
            GroupCommand::Propose(it) => mesh::group::propose(it, config, output),
            GroupCommand::Approve(it) => mesh::group::approve(it, config, output),
            GroupCommand::List => mesh::group::list(config, output),
        },
    }
}
