//! The command as people and programs meet it: exit code, stdout and stderr.

/// The command, started in a folder.
mod command;
/// `--help` of every command, completions, man page.
mod help;
/// Pages and the links between them.
mod links;
/// Command lines and configurations that cannot work.
mod mistakes;
/// What crates.io would get.
mod packages;
/// What a release refuses.
mod release;
/// The page for users of Rust.
mod rust_page;
/// What a scheduler is told.
mod schedule;
/// What installs the tools of the project.
mod setup;
/// Texts compared with files.
mod snapshot;
