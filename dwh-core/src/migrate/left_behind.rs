//! Views over tables that a rebuild puts aside: they are bound to the tables, and go with them.

use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::tables::is_there;
use super::{pinned, refused};
use crate::catalog;
use crate::config::{Environment, TargetConfig};
use crate::connect::{Connector, sort};
use crate::control::Control;
use crate::error::Result;
use crate::plan::{Isolation, LoadPlan};
use crate::record::LeftView;
use crate::schema::{TableRef, ViewDef};

/// Whether the view itself names the table.
const DIRECTLY: &str = "select exists (select from pg_catalog.pg_rewrite r join pg_catalog.pg_depend d \
         on d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and d.objid = r.oid \
         and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
     where r.ev_class = pg_catalog.to_regclass($1) and d.refobjid = pg_catalog.to_regclass($2)), \
     (select c.relkind::text from pg_catalog.pg_class c where c.oid = pg_catalog.to_regclass($1))";

/// The views and materialized views over these tables, and those over them, each with what makes it read the tables that
/// have their names afterwards.
///
/// # Errors
/// `Unreachable`, `Auth`; `Contract` if the catalog may not be read.
pub(crate) async fn left_behind(
    target: &TargetConfig,
    environment: &Environment,
    tables: &[LoadPlan],
) -> Result<Vec<LeftView>> {
    let mut client = Connector::to_target(target, environment)?.connect().await?;
    let tx = client.transaction().await.map_err(sort)?;
    tx.batch_execute(&pinned(Isolation::Look)).await.map_err(sort)?;
    let control = Control::new(&target.control_schema);
    let logged = is_there(&tx, &TableRef::new(&target.control_schema, "extract_runs")).await?;
    let mut found: Vec<LeftView> = Vec::new();
    for load in tables {
        for view in catalog::views(&tx, &load.target).await? {
            let name = view.view.to_string();
            if found.iter().any(|left| left.view == name) {
                continue;
            }
            let model = logged && control.model_made(&tx, &name).await?.is_some();
            found.push(left(&tx, &load.target, &view, model).await?);
        }
    }
    tx.commit().await.map_err(sort)?;
    Ok(found)
}

async fn left(tx: &Transaction<'_>, table: &TableRef, view: &ViewDef, model: bool) -> Result<LeftView> {
    let name = view.view.sql();
    let row =
        tx.query_typed_one(DIRECTLY, &[(&name, Type::TEXT), (&table.sql(), Type::TEXT)]).await.map_err(refused)?;
    let (directly, filled) = (row.get::<_, bool>(0), row.get::<_, Option<&str>>(1) == Some("m"));
    let sql = match (model, directly, filled) {
        (true, ..) | (false, false, false) => None,
        (false, false, true) => Some(format!("refresh materialized view {name};")),
        (false, true, false) => Some(view.replace_sql()),
        (false, true, true) => again(view, &catalog::views(tx, &view.view).await?),
    };
    let remedy = match (&sql, directly) {
        _ if model => format!("`dwh models run {}` makes it again", view.view),
        (Some(_), _) => "run its SQL as its owner, once the table is rebuilt".to_owned(),
        (None, false) => "comes right with the view that it reads".to_owned(),
        (None, true) => format!("make it again by hand, once `{table}` is rebuilt"),
    };
    let kind = if filled { "materialized view" } else { "view" };
    Ok(LeftView { view: view.view.to_string(), kind: kind.to_owned(), table: table.to_string(), model, remedy, sql })
}

/// Makes a materialized view again, and what is made of it; `None` if something would be lost by that.
fn again(view: &ViewDef, over: &[ViewDef]) -> Option<String> {
    let all: Vec<&ViewDef> = std::iter::once(view).chain(over).collect();
    if all.iter().any(|view| view.holds().is_some()) {
        return None;
    }
    let drops = all.iter().rev().map(|view| view.drop_sql());
    let makes = all.iter().flat_map(|view| view.make_sql());
    let lines: Vec<String> =
        drops.chain(makes).map(|sql| format!("{};", sql.trim_end().trim_end_matches(';'))).collect();
    Some(format!("begin;\n{}\ncommit;", lines.join("\n")))
}
