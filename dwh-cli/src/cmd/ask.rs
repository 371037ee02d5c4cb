//! Questions on a terminal: asked only where somebody sits at both ends, and what nobody could know from outside.

use dwh_core::config::Mode;
use dwh_core::operate::InitTable;
use dwh_core::{Error, ErrorKind, Result};
use std::io::{self, IsTerminal};

use super::Context;
use crate::args::Format;

/// What becomes of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// As it was proposed.
    Take,
    /// Copied whole.
    Snapshot,
    /// Not copied.
    LeaveOut,
    /// As it was proposed, and all that follow.
    TakeAll,
}

/// Whether somebody sits there who reads questions and can answer them.
pub fn can_ask(context: &Context) -> bool {
    let settings = &context.settings;
    let both = io::stdin().is_terminal() && io::stdout().is_terminal() && io::stderr().is_terminal();
    settings.format == Format::Text && both && !settings.is_quiet()
}

/// One line that is typed, without its end; asked again as long as it is empty.
pub async fn line(prompt: &str, context: &Context) -> Result<String> {
    loop {
        let typed = read(prompt, context).await?;
        if !typed.is_empty() {
            return Ok(typed);
        }
    }
}

/// Asks what becomes of a table; `place`: the how manyth of how many.
pub async fn about(table: &InitTable, place: (usize, usize), context: &Context) -> Result<Answer> {
    question(table, place).iter().for_each(|line| context.printer.note(line));
    loop {
        if let Some(answer) = understood(&read(choices(table), context).await?, table) {
            return Ok(answer);
        }
    }
}

fn question(table: &InitTable, (at, of): (usize, usize)) -> Vec<String> {
    let by = table.watermark.as_ref().map_or_else(String::new, |column| format!(" by `{column}`"));
    let key = if table.key.is_empty() { String::new() } else { format!(", key ({})", table.key.join(", ")) };
    let mut lines = vec![format!("\n{at}/{of}  {}: {}{by}{key}", table.relation, table.mode.as_str())];
    lines.extend(table.doubts.iter().map(|doubt| format!("  doubtful: {doubt}")));
    lines
}

const fn choices(table: &InitTable) -> &'static str {
    match table.mode {
        Mode::Incremental => "Enter: take it, s: copy it whole, l: leave it out, a: take all that follow > ",
        _ => "Enter: take it, l: leave it out, a: take all that follow > ",
    }
}

fn understood(typed: &str, table: &InitTable) -> Option<Answer> {
    match typed.to_lowercase().as_str() {
        "" | "y" | "yes" => Some(Answer::Take),
        "s" if table.mode == Mode::Incremental => Some(Answer::Snapshot),
        "l" => Some(Answer::LeaveOut),
        "a" => Some(Answer::TakeAll),
        _ => None,
    }
}

/// A line of stdin without its end; an end of all input gives the command up.
async fn read(prompt: &str, context: &Context) -> Result<String> {
    context.printer.prompt(prompt);
    let unread = |error: io::Error| {
        Error::new(ErrorKind::Config, "the terminal cannot be read")
            .with_hint("`--yes` takes every proposal")
            .with_source(error)
    };
    // Aside, so that Ctrl-C still works.
    let read = async {
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map(|length| (length, line))
        });
        read.await.map_err(io::Error::other).and_then(|read| read).map_err(unread)
    };
    match context.unless_cancelled(read).await? {
        (0, _) => Err(Error::new(ErrorKind::Config, "the questions were not answered")
            .with_hint("nothing was written; `--yes` takes every proposal")),
        (_, line) => Ok(line.trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, understood};
    use dwh_core::config::{Mode, OnConflict};
    use dwh_core::operate::InitTable;

    #[test]
    fn a_word_that_is_none_is_asked_again() {
        let table = |mode| InitTable {
            name: "a".into(),
            relation: "s.a".into(),
            mode,
            watermark: None,
            key: Vec::new(),
            on_conflict: OnConflict::Nothing,
            reasons: Vec::new(),
            doubts: vec!["who knows".into()],
        };
        let (incremental, snapshot) = (table(Mode::Incremental), table(Mode::Snapshot));
        assert_eq!(understood("", &incremental), Some(Answer::Take));
        assert_eq!(understood("S", &incremental), Some(Answer::Snapshot));
        assert_eq!(understood("s", &snapshot), None);
        assert_eq!(understood("l", &snapshot), Some(Answer::LeaveOut));
        assert_eq!(understood("what?", &snapshot), None);
    }
}
