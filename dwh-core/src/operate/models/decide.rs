//! How a model takes the place of what is there: one rule, for the build and for what a dry run tells.

use super::probe::Probe;
use super::there::There;
use crate::config::ModelKind;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::ModelStep;
use crate::plan::ModelPlan;
use crate::schema::ViewDef;

/// How it is built, and why in this way.
pub(super) struct Decided {
    pub(super) there: Option<There>,
    pub(super) step: ModelStep,
    pub(super) because: Option<String>,
}

impl Decided {
    pub(super) const fn new(there: Option<There>, step: ModelStep) -> Self {
        Self { there, step, because: None }
    }
}

/// The rule, of what is there and `unchanged` since the last run, or not.
///
/// # Errors
/// `Contract` if something holds on to what is there, and it must go.
pub(super) fn decide(plan: &ModelPlan<'_>, there: There, unchanged: bool, probe: &Probe) -> Result<Decided> {
    let of = |step, because, there| Ok(Decided { there: Some(there), step, because });
    let mut because = None;
    match (plan.kind, there.kind) {
        (ModelKind::View, ModelKind::View) if probe.replaces() => return of(ModelStep::Replace, None, there),
        (ModelKind::MaterializedView, ModelKind::MaterializedView) if unchanged && there.populated => {
            because = probe.left_behind().or_else(|| probe.reshaped());
            if because.is_none() {
                return of(ModelStep::Refresh, None, there);
            }
        }
        (ModelKind::Table, ModelKind::Table) if probe.same_columns() => {
            // Rows of materialized views are not computed anew where the table can stay.
            let stuck = probe.views.iter().filter_map(|view| view.stuck.clone());
            let held: Vec<String> = stuck.chain(there.held.iter().cloned()).collect();
            if !held.is_empty() {
                return of(ModelStep::Refill, Some(format!("{} holds on to it", held.join(", "))), there);
            }
        }
        _ => (),
    }
    refuse_held(plan, &there, &probe.views)?;
    because = because.or_else(|| made_again(&probe.views));
    of(ModelStep::Swap, because, there)
}

/// # Errors
/// `Contract` if something is there that nothing here makes again.
pub(super) fn refuse_held(plan: &ModelPlan<'_>, there: &There, views: &[ViewDef]) -> Result<()> {
    let stuck = views.iter().filter_map(ViewDef::holds).map(str::to_owned);
    let held: Vec<String> = stuck.chain(there.held.iter().cloned()).collect();
    if held.is_empty() {
        return Ok(());
    }
    let change = match (there.kind, plan.kind) {
        (old, new) if old != new => format!("it was a {} and becomes a {}", old.as_str(), new.as_str()),
        (ModelKind::MaterializedView, _) => "it must be made anew".to_owned(),
        _ => "its columns change".to_owned(),
    };
    Err(Error::new(ErrorKind::Contract, format!("{change}, and {} holds on to it", held.join(", "))).with_hint(
        "nothing was changed; drop that in the target, run it again, and make it again; what is a model too, \
         `dwh models run` makes again",
    ))
}

/// Which materialized views are computed anew with what they read.
fn made_again(views: &[ViewDef]) -> Option<String> {
    let names = views.iter().filter(|view| view.filled.is_some()).map(|view| format!("`{}`", view.view));
    let names: Vec<String> = names.collect();
    (!names.is_empty()).then(|| format!("materialized view {} reads it, and is made again behind it", names.join(", ")))
}
