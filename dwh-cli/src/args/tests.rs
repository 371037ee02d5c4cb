//! What holds for all verbs.

use super::Cli;
use clap::CommandFactory;

/// Verbs that change nothing. Every other one acts, and says beforehand what it would do.
const LOOK_ONLY: [&str; 10] =
    ["check", "plan", "status", "report", "runs", "schedule", "config", "completions", "man", "help"];
/// The same among verbs that have verbs of their own.
const GROUPS: [(&str, &[&str]); 4] = [
    ("files", &["list", "validate", "help"]),
    ("user", &["help"]),
    ("design", &["diff", "help"]),
    ("models", &["list", "dbt-sources", "help"]),
];

#[test]
fn every_verb_that_acts_has_a_dry_run() {
    let mut cli = Cli::command();
    cli.build();
    let names = |command: &clap::Command| command.get_name().to_owned();
    for look in LOOK_ONLY {
        assert!(cli.get_subcommands().any(|verb| names(verb) == look), "`{look}` is no verb any more");
    }
    let groups = GROUPS.map(|(group, look)| (cli.find_subcommand(group).expect(group).get_subcommands(), look));
    let inner = groups.into_iter().flat_map(|(verbs, look)| verbs.map(move |verb| (verb, look)));
    let is_group = |verb: &&clap::Command| GROUPS.iter().any(|(group, _)| *group == verb.get_name());
    let others = cli.get_subcommands().filter(|verb| !is_group(verb)).map(|verb| (verb, &LOOK_ONLY[..]));
    for (verb, look_only) in others.chain(inner) {
        let acts = !look_only.contains(&verb.get_name());
        let dry_run = verb.get_arguments().any(|argument| argument.get_long() == Some("dry-run"));
        assert_eq!(dry_run, acts, "{}", names(verb));
    }
}
