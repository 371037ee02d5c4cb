//! Alerts by a program of the user's.

use std::io::ErrorKind as IoKind;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::message::Message;
use crate::config::Secret;

/// Runs the program, without a shell, with the message as JSON on stdin; dropped, it is killed.
pub(super) async fn run(words: &[Secret], message: &Message<'_>) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else { return Err("no program is named".to_owned()) };
    let mut child = Command::new(program.expose())
        .args(arguments.iter().map(Secret::expose))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("the program cannot be started: {}", error.kind()))?;
    if let Some(mut stdin) = child.stdin.take() {
        let told = async {
            stdin.write_all(message.json().to_string().as_bytes()).await?;
            stdin.shutdown().await
        };
        // A program need not read what it is told.
        if let Err(error) =
            told.await.or_else(|error| if error.kind() == IoKind::BrokenPipe { Ok(()) } else { Err(error) })
        {
            return Err(format!("the program took nothing: {}", error.kind()));
        }
    }
    let ended = child.wait().await.map_err(|error| format!("the program got lost: {}", error.kind()))?;
    if ended.success() { Ok(()) } else { Err(format!("the program ended with {ended}")) }
}
