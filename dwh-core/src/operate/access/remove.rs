//! What removing a user takes: what it owns is given to the owner role, or keeps it.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::admin::Admin;
use super::change::{Change, Changes};
use super::user::is_a_user;
use crate::config::Config;
use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::quote_ident;

/// How many things a message names.
const NAMED: usize = 20;

/// What a role owns here; default privileges are no things of their own, and go with it.
const OWNED: &str = "select pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) from pg_catalog.pg_shdepend d \
     where d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass and d.deptype = 'o' \
     and d.refobjid = (select oid from pg_catalog.pg_roles where rolname = $1) \
     and d.dbid = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()) \
     and d.classid <> 'pg_catalog.pg_default_acl'::pg_catalog.regclass order by 1";

/// What keeps a role that is not in this database: what it owns or may use in others, and databases themselves.
const ELSEWHERE: &str = "select distinct case d.dbid when 0 \
         then pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) else 'objects or rights in database ' || b.datname end \
     from pg_catalog.pg_shdepend d left join pg_catalog.pg_database b on b.oid = d.dbid \
     where d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass \
     and d.refobjid = (select oid from pg_catalog.pg_roles where rolname = $1) \
     and (d.dbid = 0 and d.deptype = 'o' or d.dbid <> 0 and b.datname <> pg_catalog.current_database()) order by 1";

/// Sessions of a role.
const SESSIONS: &str = "select count(*) from pg_catalog.pg_stat_activity where usename = $1";

/// A user that is to go.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct RemoveUserRequest {
    /// The login.
    pub name: String,
    /// Give what it owns to the owner role.
    pub reassign: bool,
    /// Only tell what would be done.
    pub dry_run: bool,
}

impl RemoveUserRequest {
    /// This user, unless it owns something.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

pub(super) async fn changes(config: &Config, admin: &Admin, request: &RemoveUserRequest) -> Result<Changes> {
    let (name, owner) = (request.name.as_str(), &config.target.owner_role);
    is_a_user(config, admin, name)?;
    is_ours(config, admin, name).await?;
    let elsewhere = named(admin, ELSEWHERE, name).await?;
    if !elsewhere.is_empty() {
        return Err(Error::new(
            ErrorKind::Contract,
            format!("user `{name}` has more on this server:{}", list(&elsewhere)),
        )
        .with_hint(format!(
            "in each of these databases, as a superuser: drop owned by {0}; or first: reassign owned by {0} to …;",
            quote_ident(name)
        )));
    }
    let owned = named(admin, OWNED, name).await?;
    if !owned.is_empty() && !request.reassign {
        let count = owned.len();
        let things = if count == 1 { "thing" } else { "things" };
        return Err(Error::new(ErrorKind::Contract, format!("user `{name}` owns {count} {things}:{}", list(&owned)))
            .with_hint(format!(
                "`dwh user remove {} --reassign` gives them to `{owner}`; or drop what nobody needs, and call it again",
                crate::operate::shell::quoted(name)
            )));
    }
    let (sql, owner_sql) = (quote_ident(name), quote_ident(owner));
    let mut changes = Changes { member_of: vec![owner.clone(), name.to_owned()], ..Changes::default() };
    for thing in owned {
        changes.notes.push(format!("`{owner}` gets {thing}"));
    }
    // Without anything too: what a session of the user makes meanwhile is given, and not dropped.
    let give = format!("reassign owned by {sql} to {owner_sql}");
    changes.rest.push(Change::unless(false, format!("what `{name}` owns goes to `{owner}`"), give));
    changes.rest.push(Change::unless(false, format!("rights of `{name}`"), format!("drop owned by {sql}")));
    changes.last.push(Change::unless(false, format!("login `{name}`"), format!("drop role {sql}")));
    let sessions = admin.client.query_typed_one(SESSIONS, &[(&name, Type::TEXT)]).await.map_err(sort)?;
    let sessions: i64 = sessions.get(0);
    if sessions > 0 {
        let (sessions, are) = if sessions == 1 {
            ("session".to_owned(), "is open, and goes on until it ends")
        } else {
            (format!("{sessions} sessions"), "are open, and go on until they end")
        };
        changes.notes.push(format!("{sessions} of `{name}` {are}"));
    }
    Ok(changes)
}

/// Refuses roles that are no users of this warehouse.
async fn is_ours(config: &Config, admin: &Admin, name: &str) -> Result<()> {
    let role = admin.a_role(name).await?;
    let (owner, reader) = (&config.target.owner_role, &config.target.reader_role);
    if !role.there {
        return Err(Error::new(ErrorKind::NotFound, format!("the target has no user `{name}`")).with_hint(format!(
            "`\\du` in psql lists the roles; those of the warehouse are in `{owner}` or `{reader}`"
        )));
    }
    let member = admin.is_member(name, owner).await? || admin.is_member(name, reader).await?;
    let why = match (role.mighty, role.logs_in && member) {
        (false, true) => return Ok(()),
        (true, _) => "may do more than a user of the warehouse: superuser, createrole, createdb or the like".to_owned(),
        (false, false) => format!("is no user of this warehouse: no login in `{owner}` or `{reader}`"),
    };
    Err(Error::new(ErrorKind::Contract, format!("role `{name}` {why}"))
        .with_hint("if it is to go all the same, a superuser drops it by hand"))
}

async fn named(admin: &Admin, sql: &str, role: &str) -> Result<Vec<String>> {
    let rows = admin.client.query_typed(sql, &[(&role, Type::TEXT)]).await.map_err(sort)?;
    Ok(rows.iter().map(|row: &Row| row.get(0)).collect())
}

fn list(things: &[String]) -> String {
    let first: String = things.iter().take(NAMED).map(|thing| format!("\n  - {thing}")).collect();
    match things.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first}\n  - and {more} more"),
    }
}
