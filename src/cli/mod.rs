//! The command line: `serve`, and what an operator does beside a running server.
//!
//! There is one file for each command. `outcome` is what commands return, `password` asks for a password,
//! `first_admin` makes the first user, `reload` reads the configuration again, `answer` reads what a server answers, and
//! `supervisor` tells systemd how far a server is.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::outcome::{Failed, note, say};
use self::reload::Source;
use crate::app::{Core, Environment, build};
use crate::config::{Config, FILE, Flags};
use crate::store::connect::missing_file;
use crate::telemetry;

mod answer;
mod backup;
mod copy;
mod doctor;
mod event;
mod first_admin;
mod healthcheck;
mod outcome;
mod password;
mod reload;
mod replicas;
mod second_factor;
mod serve;
mod session;
mod supervisor;
mod transfer;
mod user;

/// Logs people in, tells proxies and services who is calling, and logs them out for real.
#[derive(Debug, Parser)]
#[command(name = "sessiond", version = version(), args_conflicts_with_subcommands = false)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// A TOML file with settings; flags and environment come before it
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until told to stop (the default)
    Serve,
    /// Add, list and change users
    #[command(subcommand)]
    User(user::Command),
    /// List and end sessions
    #[command(subcommand)]
    Session(session::Command),
    /// Put second factors under another key
    #[command(subcommand)]
    SecondFactor(second_factor::Command),
    /// Read the audit
    #[command(subcommand)]
    Event(event::Command),
    /// List the servers on this database: alive or not, and how far behind
    Replicas,
    /// Bring the database up to date, and do nothing else
    Migrate,
    /// Copy an embedded store into PostgreSQL, so that everybody stays logged in
    Copy(copy::CopyArgs),
    /// Copy an embedded store whole into one file, beside a running server too
    Backup(backup::BackupArgs),
    /// Put a backup where no store is yet, and end every session in it
    Restore(backup::RestoreArgs),
    /// Ask a running server whether it is ready; exits 0 if so
    Healthcheck,
    /// Try a deployment from outside, and say what is wrong with it
    #[command(long_about = doctor::LONG)]
    Doctor(doctor::DoctorArgs),
    /// Print the configuration that would be used, secrets hidden
    CheckConfig,
    /// Print a completion script
    Completions(CompletionsArgs),
}

#[derive(Debug, Args)]
struct CompletionsArgs {
    /// The shell it is for
    shell: clap_complete::Shell,
}

const fn version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("SESSIOND_COMMIT"), ")")
}

/// The command line, with the variable that sets the same in the help of each flag. The variables are read by `config`.
fn command_line() -> clap::Command {
    let command = Cli::command().mut_args(|argument| {
        let id = argument.get_id().as_str();
        let variable = if id == "config" { Some(FILE) } else { Flags::variable(id) };
        match (variable, argument.get_help()) {
            (Some(variable), Some(help)) => {
                let help = format!("{help} [env: {variable}]");
                argument.help(help)
            }
            (Some(_) | None, _) => argument,
        }
    });
    let hidden = |arguments: &dyn Fn(&str) -> bool| -> Vec<Arg> {
        let named = command.get_arguments().filter(|argument| arguments(argument.get_id().as_str()));
        named.map(|argument| argument.clone().hide(true)).collect()
    };
    let settings = hidden(&|id| Flags::variable(id).is_some());
    let all = hidden(&|id| id == "config" || Flags::variable(id).is_some());
    command.mut_subcommands(|command| match command.get_name() {
        "serve" => command,
        // It needs no setting.
        "doctor" => command.args(&all),
        _ => without_settings(command, &settings),
    })
}

/// Hides the settings in the help of this command and of its own ones, where the few other arguments would be lost among
/// them. They are taken all the same.
fn without_settings(command: clap::Command, settings: &[Arg]) -> clap::Command {
    command
        .args(settings)
        .after_help("It also takes the settings that `sessiond --help` lists, such as --database-url.")
        .mut_subcommands(|command| without_settings(command, settings))
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    if let Err(error) = seal() {
        note(format_args!("cores can be dumped, passwords and tokens with them: {error}"));
    }
    // Values are read by `config`, so that each is refused in its words; what clap answers is a wrong command line.
    let cli = match Cli::from_arg_matches(&command_line().get_matches()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let result = dispatch(cli);
    telemetry::traces::finish();
    let failed = result.as_ref().err().filter(|error| !matches!(error, Failed::ReaderGone));
    telemetry::log::finish(failed.map(|error| format!("sessiond: {error}")).as_deref());
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Lets no core be dumped and no other process of the same user look into this one: passwords, tokens and keys are in its
/// memory.
fn seal() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

fn dispatch(cli: Cli) -> Result<(), Failed> {
    if let Some(Command::Completions(CompletionsArgs { shell })) = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command_line(), "sessiond", &mut script);
        // A reader that closes the pipe early needs no more lines.
        let _ = io::Write::write_all(&mut io::stdout(), &script);
        return Ok(());
    }
    if let Some(Command::Doctor(asked)) = cli.command {
        let runtime = runtime()?;
        let examined = runtime.block_on(doctor::run(asked));
        // A name server that hangs delays a thread, but not the end of the process.
        runtime.shutdown_background();
        return examined;
    }
    let source = Source { flags: cli.settings, file: cli.config };
    let (config, warnings) = source.load()?;
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => {
            telemetry::log::start(&config)?;
            let runtime = runtime()?;
            let served = runtime.block_on(serve::run(config, warnings, source));
            // A disk or a name server that hangs delays a thread, but not the end of the process.
            runtime.shutdown_background();
            served
        }
        Command::User(command @ (user::Command::Add(_) | user::Command::Import(_))) => {
            beside(&config, async |core| user::run(command, core).await)
        }
        Command::User(command) => on_existing(&config, async |core| user::run(command, core).await),
        Command::Event(command) => on_existing(&config, async |core| event::run(command, core).await),
        Command::SecondFactor(command) => on_existing(&config, async |core| second_factor::run(command, core).await),
        Command::Session(command) => on_existing(&config, async |core| session::run(command, core).await),
        Command::Replicas => on_existing(&config, async |core| replicas::run(core).await),
        Command::Migrate => beside(&config, async |_| Ok(())),
        Command::Copy(which) => {
            telemetry::log::start(&config)?;
            runtime()?.block_on(copy::run(which, config))
        }
        Command::Backup(to) => runtime()?.block_on(backup::save(&to, &config)),
        Command::Restore(from) => runtime()?.block_on(backup::bring_back(from, &config)),
        Command::Healthcheck => healthcheck::run(&config),
        Command::CheckConfig => {
            write!(io::stdout(), "{config}")?;
            warnings.iter().try_for_each(|warning| say(format_args!("# warning: {warning}")))
        }
        // Answered above, before a configuration was needed.
        Command::Completions(_) | Command::Doctor(_) => Ok(()),
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Runs a command on a database that is there already: in the wrong directory, one would be made otherwise.
fn on_existing(config: &Config, command: impl AsyncFnOnce(&Core) -> Result<(), Failed>) -> Result<(), Failed> {
    if let Some(missing) = missing_file(&config.database_url)? {
        let missing = std::path::absolute(&missing).unwrap_or(missing);
        return Err(Failed::Sentence(format!(
            "there is no database at {}: run this where the server runs, or name its database by --database-url",
            missing.display()
        )));
    }
    beside(config, command)
}

/// Runs a command on the database. A server may be running on it.
fn beside(config: &Config, command: impl AsyncFnOnce(&Core) -> Result<(), Failed>) -> Result<(), Failed> {
    telemetry::log::start(config)?;
    runtime()?.block_on(async {
        let core = build(config, false, Environment::default()).await?;
        let result = command(&core).await;
        core.close().await;
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_sealed_process_dumps_no_core() {
        use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
        seal().expect("allowed");
        assert_eq!(dumpable_behavior().expect("allowed"), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core).current, Some(0));
    }

    /// The help of a command, by its names from the left to the right.
    fn help(names: &[&str]) -> String {
        let mut line = command_line();
        line.build();
        let mut command = &mut line;
        for name in names {
            command = command.find_subcommand_mut(name).expect(name);
        }
        command.render_long_help().to_string()
    }

    #[test]
    fn settings_are_in_the_help_of_what_serves_and_taken_by_every_command() {
        for names in [&[][..], &["serve"]] {
            assert!(help(names).contains("--session-idle"), "{names:?}");
        }
        for names in [&["user"][..], &["user", "add"], &["session", "list"], &["copy"], &["check-config"]] {
            let help = help(names);
            assert!(!help.contains("--session-idle") && help.contains("`sessiond --help`"), "{names:?}: {help}");
        }
        let doctor = help(&["doctor"]);
        assert!(doctor.contains("as an attacker would") && doctor.contains("--backend-echo"), "{doctor}");
        assert!(!doctor.contains("--session-idle") && !doctor.contains("--config"), "{doctor}");
        for line in [
            &["--listen", ":1", "user", "list"],
            &["user", "--listen", ":1", "list"],
            &["user", "list", "--listen", ":1"],
        ] {
            let matches = command_line().try_get_matches_from(["sessiond"].iter().chain(line)).expect("taken");
            let cli = Cli::from_arg_matches(&matches).expect("taken");
            assert!(format!("{:?}", cli.settings).contains("listen: [\":1\"]"), "{line:?}: {cli:?}");
        }
    }

    #[test]
    fn the_arguments_make_sense() {
        command_line().debug_assert();
    }
}
