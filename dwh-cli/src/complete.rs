//! Completion: the shell calls the command at each TAB. Names of tables come from the configuration alone, so that no TAB
//! waits for a server.

use clap::{Arg, Command, CommandFactory};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use dwh_core::Config;
use dwh_core::config::Environment;
use std::env;
use std::path::PathBuf;

use crate::args::Cli;

/// The variable by which a shell asks.
pub const VARIABLE: &str = "COMPLETE";

/// Answers the shell, if it is one that asks.
pub fn answered() -> bool {
    let folder = env::current_dir().ok();
    let asked = CompleteEnv::with_factory(command).var(VARIABLE).try_complete(env::args_os(), folder.as_deref());
    // A shell that asks for what there is not gets nothing, and no words on the line that is typed.
    asked.unwrap_or(true)
}

/// The command line, knowing the names of tables.
pub fn command() -> Command {
    with_tables(Cli::command())
}

fn with_tables(command: Command) -> Command {
    let command =
        command.mut_args(|arg| if is_of_tables(&arg) { arg.add(ArgValueCandidates::new(tables)) } else { arg });
    let verbs: Vec<String> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    verbs.iter().fold(command, |command, verb| command.mut_subcommand(verb, with_tables))
}

/// Whether an argument takes names of the configuration's tables, and not those of a source, a manifest or a model.
fn is_of_tables(arg: &Arg) -> bool {
    let takes = arg.get_value_names().unwrap_or_default().iter().any(|name| matches!(name.as_str(), "GLOB" | "TABLE"));
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let of_the_configuration = ["Name of the table", "Names of tables", "of these tables", "of this table"];
    takes && of_the_configuration.iter().any(|words| help.contains(words))
}

/// The names in the configuration that the line means; none where it cannot be read.
fn tables() -> Vec<CompletionCandidate> {
    let named: Vec<CompletionCandidate> = Config::load(&config(env::args()), Environment::of_process())
        .map(|config| config.tables.iter().map(|table| CompletionCandidate::new(table.name.clone())).collect())
        .unwrap_or_default();
    named
}

/// The file behind `--config`, else that of the environment.
fn config(args: impl Iterator<Item = String>) -> PathBuf {
    let args: Vec<String> = args.collect();
    let behind = args.windows(2).find(|pair| pair[0] == "--config").map(|pair| pair[1].clone());
    let given = behind.or_else(|| args.iter().find_map(|arg| Some(arg.strip_prefix("--config=")?.to_owned())));
    let given = given.or_else(|| env::var("DWH_CONFIG").ok()).filter(|path| !path.is_empty());
    given.map_or_else(|| PathBuf::from("dwh.toml"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::{command, config, is_of_tables};
    use std::path::PathBuf;

    #[test]
    fn every_verb_that_takes_tables_knows_their_names() {
        let knows = |verb: &clap::Command| verb.get_arguments().any(is_of_tables);
        let verbs: Vec<String> =
            command().get_subcommands().filter(|verb| knows(verb)).map(|verb| verb.get_name().to_owned()).collect();
        for verb in ["check", "migrate", "run", "extract", "load", "status", "runs", "verify", "backfill", "reseed"] {
            assert!(verbs.iter().any(|known| known == verb), "{verb}: {verbs:?}");
        }
        for verb in ["resync", "deletes", "recover", "replay", "rebuild", "prune", "maintain", "export", "alert"] {
            assert!(verbs.iter().any(|known| known == verb), "{verb}: {verbs:?}");
        }
        assert!(!verbs.iter().any(|verb| matches!(verb.as_str(), "init" | "tap")), "{verbs:?}");
    }

    #[test]
    fn the_configuration_is_the_one_of_the_line() {
        let of = |line: &str| config(line.split(' ').map(str::to_owned));
        assert_eq!(of("dwh --config a.toml run"), PathBuf::from("a.toml"));
        assert_eq!(of("dwh run --config=b.toml"), PathBuf::from("b.toml"));
    }
}
