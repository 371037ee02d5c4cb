//! The command itself, started in a folder of its own.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs `dwh ARGS` in `dir`, with nothing of this process's environment that could change what it does.
pub fn dwh(dir: &Path, args: &[&str]) -> Output {
    command(dir, args).output().expect("dwh starts")
}

/// The same, not yet started.
pub fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dwh"));
    command.current_dir(dir).args(args).stdin(Stdio::null()).env_clear();
    for name in ["PATH", "HOME", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// Command line, exit code and both streams, with the folder's name taken out.
pub fn transcript(dir: &Path, args: &[&str]) -> String {
    let output = dwh(dir, args);
    let code = output.status.code().map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    let text = format!(
        "$ dwh {}\nexit code {code}\n--- stdout\n{}--- stderr\n{}",
        args.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    text.replace(&*dir.to_string_lossy(), "[DIR]")
}
