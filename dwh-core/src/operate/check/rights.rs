//! Rights that a run needs beside those on its tables: on schemas, on the control schema's tables, on functions and types.
//! One question for each server, however many tables there are.

use std::collections::BTreeSet;
use tokio_postgres::types::{ToSql, Type};

use super::about::About;
use super::server::{Server, place};
use super::words::Word;
use crate::config::{Config, TargetConfig};
use crate::error::{ErrorKind, Result};
use crate::schema::quote_literal;

/// What a run does with the tables of the control schema; `check` reads the last one.
const CONTROL: [(&str, &str); 3] = [
    ("extract_runs", "select, insert, update"),
    ("extract_watermarks", "select, update"),
    ("schema_migrations", "select"),
];

/// Functions of the server that every role may call, unless somebody took that away.
const AT_TARGET: [&str; 3] = [
    "pg_catalog.hashtextextended(text, bigint)",
    "pg_catalog.pg_try_advisory_xact_lock(bigint)",
    "pg_catalog.clock_timestamp()",
];
/// The same at a source.
const AT_SOURCE: [&str; 6] = [
    "pg_catalog.pg_current_snapshot()",
    "pg_catalog.pg_snapshot_xmin(pg_snapshot)",
    "pg_catalog.pg_snapshot_xmax(pg_snapshot)",
    "pg_catalog.pg_is_in_recovery()",
    "pg_catalog.pg_postmaster_start_time()",
    "pg_catalog.clock_timestamp()",
];

/// The functions `$1` that the role may not call, with the grant to `$2`.
const FUNCTIONS: &str = "select pg_catalog.format('call `%s`', f.name), \
     pg_catalog.format('grant execute on function %s to %I;', f.name, $2) \
     from pg_catalog.unnest($1) f(name) \
     where not pg_catalog.has_function_privilege(f.name::pg_catalog.regprocedure, 'execute')";

/// Schemas `$3` that the role may not use.
const SCHEMAS: &str = "select pg_catalog.format('use schema `%s`', n.nspname), \
     pg_catalog.format('grant usage on schema %I to %I;', n.nspname, $2), n.nspname::text \
     from pg_catalog.pg_namespace n \
     where n.nspname = any ($3) and not pg_catalog.has_schema_privilege(n.oid, 'usage')";

/// Types of the columns of bronze tables (`$4` schemas, `$5` names) that the role may not use; of an array, its element's.
const TYPES: &str = "select distinct pg_catalog.format('use type `%s.%s`', n.nspname, e.typname), \
     pg_catalog.format('grant usage on type %I.%I to %I;', n.nspname, e.typname, $2), null::text \
     from rows from (pg_catalog.unnest($4), pg_catalog.unnest($5)) as b(schema_name, name) \
     join pg_catalog.pg_namespace s on s.nspname = b.schema_name \
     join pg_catalog.pg_class c on c.relnamespace = s.oid and c.relname = b.name \
     join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
     join pg_catalog.pg_type t on t.oid = a.atttypid \
     join pg_catalog.pg_type e on e.oid = case when t.typcategory = 'A' and t.typelem <> 0 then t.typelem else t.oid end \
     join pg_catalog.pg_namespace n on n.oid = e.typnamespace \
     where not pg_catalog.has_type_privilege(e.oid, 'usage')";

/// What the role lacks at the target. Schemas in which nothing can be done are noted down as closed, so that no table says so
/// once more: without a function of the lock it is the control schema.
pub(super) async fn at_target(server: &mut Server, config: &Config, about: &mut About<'_>) -> Result<()> {
    let target = &config.target;
    let grantee = server.grantee(target).await?;
    let bronze: Vec<(&str, &str)> =
        config.tables.iter().map(|table| (table.target.schema.as_str(), table.target.name.as_str())).collect();
    let (schemas, names): (Vec<&str>, Vec<&str>) = bronze.into_iter().unzip();
    let wanted: BTreeSet<&str> = schemas.iter().copied().chain([target.control_schema.as_str()]).collect();
    let wanted: Vec<&str> = wanted.into_iter().collect();
    let functions: Vec<&str> = AT_TARGET.to_vec();
    let sql = format!(
        "{SCHEMAS} union all {} union all select f.*, {} from ({FUNCTIONS}) f union all {TYPES}",
        control(target),
        quote_literal(&target.control_schema)
    );
    let values: [(&(dyn ToSql + Sync), Type); 5] = [
        (&functions, Type::TEXT_ARRAY),
        (&grantee, Type::TEXT),
        (&wanted, Type::TEXT_ARRAY),
        (&schemas, Type::TEXT_ARRAY),
        (&names, Type::TEXT_ARRAY),
    ];
    let missing = server.ask(&sql, &values).await?;
    server.closed = missing.iter().filter_map(|row| row.get::<_, Option<String>>(2)).collect();
    tell(&missing, server, about);
    Ok(())
}

/// What the role lacks at a source.
pub(super) async fn at_source(server: &Server, about: &mut About<'_>) -> Result<()> {
    let functions: Vec<&str> = AT_SOURCE.to_vec();
    let values: [(&(dyn ToSql + Sync), Type); 2] =
        [(&functions, Type::TEXT_ARRAY), (&server.role.as_str(), Type::TEXT)];
    let missing = server.ask(FUNCTIONS, &values).await?;
    tell(&missing, server, about);
    Ok(())
}

/// Tables of the control schema, each with the rights on it that the role lacks.
fn control(target: &TargetConfig) -> String {
    let schema = quote_literal(&target.control_schema);
    let wanted: Vec<String> = CONTROL
        .iter()
        .map(|(table, rights)| format!("({}, {})", quote_literal(table), quote_literal(rights)))
        .collect();
    format!(
        "select pg_catalog.format('%s on `%s.%s`', pg_catalog.string_agg(r.one, ', '), n.nspname, c.relname), \
         pg_catalog.format('grant %s on %I.%I to %I;', pg_catalog.string_agg(r.one, ', '), n.nspname, c.relname, $2), \
         n.nspname::text \
         from (values {}) as w(name, rights) \
         join pg_catalog.pg_namespace n on n.nspname = {schema} \
         join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name \
         cross join lateral pg_catalog.unnest(pg_catalog.string_to_array(w.rights, ', ')) as r(one) \
         where not pg_catalog.has_table_privilege(c.oid, r.one) group by n.nspname, c.relname",
        wanted.join(", ")
    )
}

/// The grants on functions that the role may not call and that a server's message names, in whatever language it speaks.
pub(super) async fn of_functions(server: &Server, message: &str, about: &About<'_>) -> Result<String> {
    let sql = "select pg_catalog.format('grant execute on function %I.%I(%s) to %I;', n.nspname, p.proname, \
               pg_catalog.pg_get_function_identity_arguments(p.oid), $2) \
               from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace \
               where not pg_catalog.has_function_privilege(p.oid, 'execute') \
               and pg_catalog.strpos($1, ' ' || p.proname || ' ') > 0 order by 1";
    let values: [(&(dyn ToSql + Sync), Type); 2] = [(&message, Type::TEXT), (&server.role.as_str(), Type::TEXT)];
    let grants: Vec<String> = server.ask(sql, &values).await?.iter().map(|row| row.get(0)).collect();
    let place = place(about);
    Ok(if grants.is_empty() { String::new() } else { format!("in the {place}: {}", grants.join(" ")) })
}

fn tell(missing: &[tokio_postgres::Row], server: &Server, about: &mut About<'_>) {
    let place = place(about);
    for row in missing {
        let (what, grant): (&str, &str) = (row.get(0), row.get(1));
        let message = format!("`{}` may not {what}", server.role);
        about.fail(Word::Rights, ErrorKind::Permission, message, format!("in the {place}: {grant}"));
    }
    if missing.is_empty() {
        about.ok(Word::Rights, format!("`{}` has every right there that does not belong to one table", server.role));
    }
}
