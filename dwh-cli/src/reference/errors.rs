//! The table of errors.

use dwh_core::{ErrorKind, SqlState, When};

use super::cell;
use crate::exit;

pub fn page() -> String {
    let mut page = String::from(
        "# Errors and exit codes\n\n\
         Every error has a stable `code`, a message and a hint: on stderr for people, under `error` in the JSON of \
         `--output json`, as the attributes of the exception in Python.\n\n\
         | code | exit code | try again as it is? | meaning | hint, where the place of failure has no better one |\n|---|---|---|---|---|\n",
    );
    for kind in ErrorKind::ALL {
        let row = kind.row();
        let again = if row.retryable { "yes" } else { "no" };
        page.push_str(&format!(
            "| `{}` | {} | {again} | {} | {} |\n",
            row.code,
            row.exit_code,
            kind.meaning(),
            cell(row.hint)
        ));
    }
    let codes = exit::HELP.lines().skip(1).take_while(|line| !line.is_empty());
    page.push_str("\n## Exit codes\n| code | meaning |\n|---|---|\n");
    codes.filter_map(|line| line.trim().split_once(' ')).for_each(|(code, meaning)| {
        page.push_str(&format!("| {code} | {} |\n", cell(meaning)));
    });
    page.push_str("\nIf the tables of one `dwh run` fail for different reasons, the exit code is 1 and the `code` in Python `several`. What to do at night: the [runbook](../runbook.md).\n");
    page + &sqlstates()
}

/// What PostgreSQL says, and what dwh makes of it.
fn sqlstates() -> String {
    let mut text = String::from(
        "\n## Errors of PostgreSQL\n\
         The message of such an error ends with its SQLSTATE. The row of the whole code counts before the one of its class, \
         which is its first two characters.\n\n\
         | SQLSTATE | meaning | code | exit code | try again as it is? | hint, where the place of failure has no better one |\n\
         |---|---|---|---|---|---|\n",
    );
    for state in SqlState::ALL {
        let row = state.kind.row();
        let again = if row.retryable { "yes" } else { "no" };
        let when = match state.when {
            When::Says(words) => format!(", with the words \u{201c}{words}\u{201d}"),
            When::InColumn => ", of a column that COPY names".to_owned(),
            _ => String::new(),
        };
        let code = if state.code.contains(' ') { state.code.to_owned() } else { format!("`{}`", state.code) };
        text.push_str(&format!(
            "| {code}{when} | {} | `{}` | {} | {again} | {} |\n",
            state.meaning,
            row.code,
            row.exit_code,
            cell(state.advice())
        ));
    }
    text
}
