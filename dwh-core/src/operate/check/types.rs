//! The types that a bronze table needs: what `dwh migrate` cannot make, and what it has to make before a run.

use super::about::About;
use super::server::Server;
use super::words::Word;
use crate::config::TargetConfig;
use crate::connect::look;
use crate::error::{ErrorKind, Result};
use crate::migrate;
use crate::plan::Plan;

/// Returns whether the types let the bronze table be made.
pub(super) async fn check(
    plan: &Plan,
    target: &TargetConfig,
    present: bool,
    server: &Server,
    about: &mut About<'_>,
) -> Result<bool> {
    let (load, client) = (plan.load(false), &server.survey.client);
    let found = look(client, migrate::look_at(client, target, &load, present)).await?;
    for cause in &found.causes {
        about.fail(Word::Type, ErrorKind::Contract, cause.cause.clone(), cause.hint.clone());
    }
    // What a table needs that is only about to be made, is made with it.
    if present {
        for name in &found.made {
            let missing = format!("the target has no type `{name}`");
            about.fail(Word::Type, ErrorKind::Contract, missing, "dwh migrate");
        }
        for (name, labels) in &found.labels {
            let missing = format!("enum `{name}` of the target lacks `{}`, which the source has", labels.join("`, `"));
            about.fail(Word::Type, ErrorKind::Contract, missing, "dwh migrate");
        }
    }
    Ok(found.causes.is_empty())
}
