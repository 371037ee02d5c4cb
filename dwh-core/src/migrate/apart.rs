//! The table beside bronze in which a resync gathers its chunks.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Transaction};

use super::{begin, owner, refused, tables, types};
use crate::chain::RunIdentity;
use crate::config::{Environment, TargetConfig};
use crate::connect::{Connector, sort};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{LoadPlan, bronze_ddl};
use crate::schema::quote_literal;

/// Makes it, unless this resync made it before and it is to be `kept`; what else a resync left there is dropped first.
///
/// # Errors
/// `Contract` if a table of that name is there which no resync made, or the role may not make it.
pub(crate) async fn make_apart(
    target: &TargetConfig,
    environment: &Environment,
    load: &LoadPlan,
    resync: &RunIdentity,
    kept: bool,
) -> Result<()> {
    let mut client = Connector::to_target(target, environment)?.connect().await?;
    let done = make(&mut client, target, load, resync, kept).await;
    owner::explained(&client, target, std::slice::from_ref(load), done).await
}

async fn make(
    client: &mut Client,
    target: &TargetConfig,
    load: &LoadPlan,
    resync: &RunIdentity,
    kept: bool,
) -> Result<()> {
    let named = |error| refused(error).context(format!("table `{}`", load.table));
    // Its comment says whose it is.
    let ours = format!("chunks of `{}`, gathered by dwh resync", load.table);
    let comment = format!("{ours}, run {} of {}", resync.run_id, resync.run_started_at);
    let tx = begin(client, target).await?;
    let mut first = String::new();
    if tables::is_there(&tx, &load.target).await? {
        match comment_of(&tx, load).await? {
            Some(there) if kept && there == comment => return tx.commit().await.map_err(sort),
            Some(there) if there.starts_with(&ours) => first = format!("drop table {};", load.target.sql()),
            _ => return Err(taken(load)),
        }
    }
    let prepared = types::look_at(&tx, target, load, false).await?;
    let Some(resolved) = prepared.load.as_ref().filter(|_| prepared.causes.is_empty()) else {
        let cause = prepared.causes.first();
        let (text, hint) = cause.map_or(("", ""), |cause| (cause.cause.as_str(), cause.hint.as_str()));
        return Err(Error::new(ErrorKind::Contract, format!("table `{}`: {text}", load.table)).with_hint(hint));
    };
    let sql = format!(
        "{}{first}{}\ncomment on table {} is {};",
        tables::types_sql(target, &prepared),
        bronze_ddl(resolved),
        load.target.sql(),
        quote_literal(&comment)
    );
    tx.batch_execute(&sql).await.map_err(named)?;
    tx.commit().await.map_err(sort)
}

async fn comment_of(tx: &Transaction<'_>, load: &LoadPlan) -> Result<Option<String>> {
    let sql = "select pg_catalog.obj_description(pg_catalog.to_regclass($1)::oid, 'pg_class')";
    let name: [(&(dyn ToSql + Sync), Type); 1] = [(&load.target.sql(), Type::TEXT)];
    Ok(tx.query_typed_one(sql, &name).await.map_err(sort)?.get(0))
}

fn taken(load: &LoadPlan) -> Error {
    let (table, target) = (&load.table, &load.target);
    let text = format!("table `{table}`: {target} is there already, and a resync would gather its chunks there");
    Error::new(ErrorKind::Contract, text)
        .with_hint(format!("give it another name, in the target: alter table {} rename to …;", target.sql()))
}
