//! Every verb with its options, from the parser itself.

use clap::{Arg, Command, CommandFactory};

use super::cell;
use crate::args::Cli;

pub fn page() -> String {
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut page = format!("# Every verb and option\n\n{}\n", about(&command));
    page.push_str("\n## Options of every verb\n");
    options(&mut page, command.get_arguments());
    verbs(&mut page, &command, "dwh");
    page
}

/// A section for each verb; verbs that only hold others give way to those, and others are followed by them.
fn verbs(page: &mut String, command: &Command, path: &str) {
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let path = format!("{path} {}", verb.get_name());
        if verb.is_subcommand_required_set() {
            verbs(page, verb, &path);
            continue;
        }
        let usage = verb.clone().render_usage().to_string();
        page.push_str(&format!(
            "\n## `{path}`\n{}\n\n```text\n{}\n```\n",
            about(verb),
            usage.trim_start_matches("Usage: ")
        ));
        options(page, verb.get_arguments().filter(|arg| !arg.is_global_set()));
        if let Some(examples) = verb.get_after_help().map(ToString::to_string) {
            let examples = examples.trim_start_matches("Examples:\n").lines().map(|line| line.trim_start_matches("  "));
            page.push_str(&format!("\n```text\n{}\n```\n", examples.collect::<Vec<_>>().join("\n")));
        }
        verbs(page, verb, &path);
    }
}

fn about(command: &Command) -> String {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let (first, rest) = about.split_once("\n\n").unwrap_or((&about, ""));
    format!("**{}.** {rest}", first.trim_end_matches('.')).trim_end().to_owned()
}

fn options<'a>(page: &mut String, args: impl Iterator<Item = &'a Arg>) {
    let lines: String = args.filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version")).map(line).collect();
    if !lines.is_empty() {
        page.push_str(&format!("\n| option | default | |\n|---|---|---|\n{lines}"));
    }
}

fn line(arg: &Arg) -> String {
    let takes = arg.get_action().takes_values();
    let value =
        arg.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ");
    let name = match (arg.get_short(), arg.get_long()) {
        (None, None) => value.clone(),
        (short, long) => {
            let names = short.map(|short| format!("-{short}")).into_iter().chain(long.map(|long| format!("--{long}")));
            let value = if takes { format!(" {value}") } else { String::new() };
            names.collect::<Vec<_>>().join(", ") + &value
        }
    };
    let default = match arg.get_default_values() {
        _ if !takes => String::new(),
        [] if arg.is_required_set() => "required".to_owned(),
        [] => String::new(),
        values => values.iter().map(|value| format!("`{}`", value.to_string_lossy())).collect(),
    };
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let words: Vec<String> = match arg.get_possible_values() {
        _ if !takes => Vec::new(),
        words => words.iter().map(|word| format!("`{}`", word.get_name())).collect(),
    };
    if !words.is_empty() {
        help.push_str(&format!(": {}", words.join(", ")));
    }
    if let Some(variable) = arg.get_env() {
        help.push_str(&format!("; or the variable `{}`", variable.to_string_lossy()));
    }
    format!("| `{}` | {default} | {} |\n", name.replace('|', "\\|"), cell(&help))
}
