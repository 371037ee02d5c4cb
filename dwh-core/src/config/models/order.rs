//! What a model comes after, and an order in which that is so.

use std::collections::BTreeSet;

use super::{Model, Models, near};
use crate::config::problems::Problems;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::TableRef;

/// The models, each with all that come before it: those that it reads, and those that it names. One that is named and not
/// there is reported.
pub(super) fn linked(models: Vec<Model>, problems: &Problems<'_>) -> Vec<Model> {
    let names: BTreeSet<TableRef> = models.iter().map(|model| model.name.clone()).collect();
    for model in &models {
        for missing in model.after.iter().filter(|name| !names.contains(*name)) {
            let near = near(missing, &models);
            problems.add(1, &format!("{}: after", model.path.display()), &format!("`{missing}` is no model{near}"));
        }
    }
    let link = |mut model: Model| {
        model.after.extend(model.reads.intersection(&names).cloned());
        model
    };
    models.into_iter().map(link).collect()
}

/// The same in an order in which each comes behind those before it; of several such orders that of their names.
///
/// # Errors
/// `Config`, with the models that read each other in a circle.
pub(super) fn ordered(mut left: Vec<Model>) -> Result<Models> {
    left.sort_by(|a, b| a.name.cmp(&b.name));
    let mut done: BTreeSet<TableRef> = BTreeSet::new();
    let mut order = Vec::with_capacity(left.len());
    while let Some(at) = left.iter().position(|model| model.after.is_subset(&done)) {
        let model = left.remove(at);
        done.insert(model.name.clone());
        order.push(model);
    }
    if left.is_empty() { Ok(Models(order)) } else { Err(circle(&left)) }
}

/// Each of these comes after another one of them.
fn circle(left: &[Model]) -> Error {
    let mut way: Vec<&TableRef> = Vec::new();
    let mut at = left.first();
    while let Some(model) = at {
        if let Some(start) = way.iter().position(|name| **name == model.name) {
            way.drain(..start);
            break;
        }
        way.push(&model.name);
        at = left.iter().find(|other| model.after.contains(&other.name));
    }
    let names: Vec<String> = way.iter().chain(way.first()).map(|name| format!("`{name}`")).collect();
    Error::new(ErrorKind::Config, format!("models come after each other in a circle: {}", names.join(" after ")))
        .with_hint("take one of these references out of its SELECT, or out of its `-- after:`")
}
