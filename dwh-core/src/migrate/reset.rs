//! What stands in the way of a rebuild, and how it is put aside: nothing is dropped.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use super::design::{design_of, try_design};
use super::tables::is_there;
use super::{begin, owner, pinned, refused};
use crate::config::{Environment, TargetConfig};
use crate::connect::{Connector, sort};
use crate::control::Control;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Isolation, LoadPlan};
use crate::schema::{TableRef, quote_ident, quote_literal};

/// Tables of the control schema that hold rows of a table, with the column that names it.
const CONTROL: [&str; 3] = ["extract_watermarks", "extract_runs", "table_contracts"];

async fn connect(target: &TargetConfig, environment: &Environment) -> Result<Client> {
    Connector::to_target(target, environment)?.connect().await
}

/// What there is of these tables already, a sentence each; empty when nothing is in the way.
///
/// # Errors
/// `Unreachable`, `Auth`; `Contract` if a table may not be read.
pub(crate) async fn occupied(
    target: &TargetConfig,
    environment: &Environment,
    tables: &[LoadPlan],
) -> Result<Vec<String>> {
    let mut client = connect(target, environment).await?;
    let tx = client.transaction().await.map_err(sort)?;
    tx.batch_execute(&pinned(Isolation::Look)).await.map_err(sort)?;
    let log = TableRef::new(&target.control_schema, "extract_runs");
    let logged = is_there(&tx, &log).await?;
    let mut found = Vec::new();
    for load in tables {
        if is_there(&tx, &load.target).await? {
            let sql = format!("select exists (select from {})", load.target.sql());
            if tx.query_typed_one(&sql, &[]).await.map_err(refused)?.get(0) {
                found.push(format!("{} holds rows", load.target));
            }
        }
        if logged {
            let sql = format!("select count(*) from {} where table_name = $1", log.sql());
            let runs: i64 = tx.query_typed_one(&sql, &[(&load.table, Type::TEXT)]).await.map_err(refused)?.get(0);
            if runs > 0 {
                found.push(format!("the run log has {runs} runs of `{}`", load.table));
            }
        }
    }
    tx.commit().await.map_err(sort)?;
    Ok(found)
}

/// What was put aside.
pub(crate) struct Aside {
    /// The schema.
    pub(crate) schema: String,
    /// The tables in it.
    pub(crate) tables: Vec<String>,
    /// SQL that brings everything back.
    pub(crate) restore: String,
}

/// Moves the bronze tables, and the rows of the control schema about them, into a schema of their own. One transaction:
/// all of it or nothing. Views on a moved table go on reading it where it is then.
///
/// # Errors
/// `Locked` while a run holds one of the tables; `Contract` if the connection may not make a schema or does not own the
/// tables, or a design cannot make one of them again; `Config` for a design that is none.
pub(crate) async fn set_aside(target: &TargetConfig, environment: &Environment, tables: &[LoadPlan]) -> Result<Aside> {
    let mut client = connect(target, environment).await?;
    // A table that could not be made again stays where it is.
    for load in tables {
        if let Some(design) = design_of(&target.designs, &load.target)? {
            try_design(&client, target, load, &design).await?;
        }
    }
    let done = move_all(&mut client, target, tables).await;
    owner::explained(&client, target, tables, done).await
}

async fn move_all(client: &mut Client, target: &TargetConfig, tables: &[LoadPlan]) -> Result<Aside> {
    let tx = begin(client, target).await?;
    hold(&tx, target, tables).await?;
    let stamp =
        "select 'dwh_backup_' || pg_catalog.to_char(pg_catalog.now() at time zone 'UTC', 'YYYYMMDD_HH24MISS_MS')";
    let schema: String = tx.query_typed_one(stamp, &[]).await.map_err(sort)?.get(0);
    let (backup, owner) = (quote_ident(&schema), quote_ident(&target.owner_role));
    let undone = quote_ident(&format!("{schema}_undone"));
    let mut aside = Aside {
        restore: format!("begin;\ncreate schema {undone} authorization {owner};\nset local role {owner};\n"),
        schema: schema.clone(),
        tables: Vec::new(),
    };
    let mut sql = format!("create schema {backup} authorization {owner};\nset local role {owner};\n");
    for load in tables {
        let (table, copy) = (&load.target, TableRef::new(&schema, &load.target.name));
        let original = quote_ident(&table.schema);
        if is_there(&tx, table).await? {
            sql.push_str(&format!("alter table {} set schema {backup};\n", table.sql()));
            aside.restore.push_str(&format!(
                "alter table {} set schema {undone};\nalter table {} set schema {original};\n",
                table.sql(),
                copy.sql()
            ));
            aside.tables.push(copy.to_string());
        }
    }
    let names: Vec<String> = tables.iter().map(|load| quote_literal(&load.table)).collect();
    for name in CONTROL {
        let table = TableRef::new(&target.control_schema, name);
        if is_there(&tx, &table).await? {
            let copy = TableRef::new(&schema, format!("dwh_{name}"));
            let (from, these) = (table.sql(), format!("table_name in ({})", names.join(", ")));
            let delete = format!("delete from {from} where {these};\n");
            sql.push_str(&format!("create table {} as select * from {from} where {these};\n{delete}", copy.sql()));
            let restore = format!("insert into {from} overriding system value select * from {};\n", copy.sql());
            aside.restore.push_str(&(delete + &restore));
            aside.tables.push(copy.to_string());
        }
    }
    let log = TableRef::new(&target.control_schema, "extract_runs").sql();
    aside.restore.push_str(&format!(
        "select pg_catalog.setval(s, greatest((select max(run_id) from {log}), pg_catalog.pg_sequence_last_value(s)))\n    \
         from (select pg_catalog.pg_get_serial_sequence({}, 'run_id')::pg_catalog.regclass as s) x;\ncommit;\n",
        quote_literal(&log)
    ));
    // Whoever finds the schema later finds the way back too.
    sql.push_str(&format!("comment on schema {backup} is {};\n", quote_literal(&aside.restore)));
    tx.batch_execute(&sql).await.map_err(refused)?;
    tx.commit().await.map_err(sort)?;
    Ok(aside)
}

/// Takes the leases of the tables until the transaction ends: a run in progress would lose what it reads and writes.
async fn hold(tx: &Transaction<'_>, target: &TargetConfig, tables: &[LoadPlan]) -> Result<()> {
    let lock = "select pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))";
    for load in tables {
        let name = Control::new(&target.control_schema).lease_name(&load.table);
        if !tx.query_typed_one(lock, &[(&name, Type::TEXT)]).await.map_err(sort)?.get::<_, bool>(0) {
            return Err(Error::new(ErrorKind::Locked, format!("table `{}`: a run holds it", load.table))
                .with_hint("nothing was changed; stop the schedules, wait for the run, then call it again"));
        }
    }
    Ok(())
}
