//! Command lines that cannot be read, and those that ask for help.

use clap::error::ErrorKind as Kind;
use dwh_core::{Error, ErrorKind};
use std::env;

use crate::exit::Exit;
use crate::output;

/// Prints help, version or the error of the parser; programs that asked for JSON get their document too.
pub fn explain(error: &clap::Error) -> Exit {
    // A reader that has gone away has seen enough.
    let _ = error.print();
    if !error.use_stderr() {
        return Exit::DONE;
    }
    if wants_json(env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned())) {
        output::usage_json(&as_error(error));
    }
    Exit::USAGE
}

fn as_error(error: &clap::Error) -> Error {
    let text = error.render().to_string();
    let line = match error.kind() {
        Kind::DisplayHelpOnMissingArgumentOrSubcommand => "no command was given".to_owned(),
        // The first paragraph on one line; below it stand tips and usage.
        _ => text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" "),
    };
    let line = line.trim_start_matches("error: ");
    Error::new(ErrorKind::Config, line).with_hint("`dwh --help` and `dwh COMMAND --help` show what there is")
}

/// Whether the line asks for JSON, as far as a line that cannot be parsed tells.
fn wants_json(args: impl Iterator<Item = String>) -> bool {
    let args: Vec<String> = args.collect();
    let pair = args.windows(2).any(|pair| pair[0] == "--output" && pair[1] == "json");
    pair || args.iter().any(|arg| arg == "--output=json")
}

#[cfg(test)]
mod tests {
    use super::wants_json;

    #[test]
    fn json_is_seen_in_both_spellings() {
        let json = |line: &str| wants_json(line.split(' ').map(str::to_owned));
        assert!(json("run --output json --x") && json("--output=json run --x"));
        assert!(!json("run --x") && !json("--output text json"));
    }
}
