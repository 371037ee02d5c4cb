//! What a new user needs: a login in one of the two groups, and perhaps a schema of its own.

use tokio_postgres::types::Type;

use super::admin::Admin;
use super::change::{Change, Changes};
use super::setup::{Login, in_group, schemas_of};
use crate::config::{Config, Secret};
use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::quote_ident;

/// To whom a schema belongs.
const OWNER_OF: &str =
    "select pg_catalog.pg_get_userbyid(nspowner)::text from pg_catalog.pg_namespace where nspname = $1";

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum UserGroup {
    /// Reads bronze and control: a member of the reader role.
    #[default]
    Reader,
    /// Writes them as well: a member of the owner role.
    Etl,
}

impl UserGroup {
    /// Every group.
    pub const ALL: [Self; 2] = [Self::Etl, Self::Reader];

    /// The word on a command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Etl => "etl",
        }
    }
}

/// A user that is wanted.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct AddUserRequest {
    /// The login.
    pub name: String,
    /// What it may do.
    pub group: UserGroup,
    /// A schema of its own, in which it makes tables.
    pub schema: Option<String>,
    /// Its password; `None`: one is made up. A login that is there gets another one only if it is given here.
    pub password: Option<Secret>,
    /// Only tell what would be made.
    pub dry_run: bool,
}

impl AddUserRequest {
    /// A user who reads.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

pub(super) async fn changes(config: &Config, admin: &Admin, request: &AddUserRequest) -> Result<Changes> {
    let name = request.name.as_str();
    is_a_user(config, admin, name)?;
    let (owner, reader) = (&config.target.owner_role, &config.target.reader_role);
    let (group, other) = match request.group {
        UserGroup::Etl => (owner, reader),
        UserGroup::Reader => (reader, owner),
    };
    if !admin.a_role(group).await?.there {
        return Err(Error::new(ErrorKind::Contract, format!("role `{group}`, the group of this user, is not there"))
            .with_hint("run `dwh setup` first; it makes the groups"));
    }
    let role = admin.a_role(name).await?;
    let mut changes = Changes::default();
    if role.there && !role.logs_in {
        return Err(Error::new(ErrorKind::Contract, format!("role `{name}` is there, and is no login"))
            .with_hint("take another name: it may be the group of somebody else"));
    }
    let others = admin.is_member(name, other).await?;
    if role.there && (role.mighty || !others && !admin.is_member(name, group).await?) {
        let why = match role.mighty {
            true => "may do more than a user of the warehouse: superuser, createrole, createdb or the like".to_owned(),
            false => format!("is in neither `{owner}` nor `{reader}`: it is somebody else's"),
        };
        let (group, sql) = (quote_ident(group), quote_ident(name));
        return Err(Error::new(ErrorKind::Contract, format!("login `{name}` is there, and {why}"))
            .with_hint(format!("take another name; or, if it is to be a user of the warehouse, an administrator runs: grant {group} to {sql};")));
    }
    if others {
        let (other, sql) = (quote_ident(other), quote_ident(name));
        changes
            .notes
            .push(format!("`{name}` has the rights of the other group, too; to take them: revoke {other} from {sql};"));
    }
    let login = Login { name, there: role.there, logs_in: role.logs_in };
    login.wanted(request.password.as_ref(), request.dry_run, &mut changes)?;
    changes.roles.push(in_group(name, group, admin.is_member(name, group).await?));
    if let Some(schema) = &request.schema {
        changes.member_of.push(name.to_owned());
        changes.rest.push(own_schema(config, admin, name, schema).await?);
    }
    Ok(changes)
}

/// Refuses names that are no user's.
pub(super) fn is_a_user(config: &Config, admin: &Admin, name: &str) -> Result<()> {
    let target = &config.target;
    let own = [&target.owner_role, &target.reader_role, &admin.loader, &admin.role];
    let why = match name {
        "public" | "none" => "is a word of SQL",
        _ if own.iter().any(|role| *role == name) => "is a role of the warehouse itself",
        _ => match no_name(name) {
            Some(why) => why,
            None => return Ok(()),
        },
    };
    Err(Error::new(ErrorKind::Config, format!("user `{}` {why}", name.escape_debug()))
        .with_hint("name a person or a program that logs in to the warehouse"))
}

/// Why this is no name that PostgreSQL would keep as it is.
fn no_name(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("is empty"),
        _ if name.len() > 63 => Some("is longer than the 63 bytes that PostgreSQL keeps of a name"),
        _ if name.contains('\0') => Some("holds a NUL character"),
        _ if name.starts_with("pg_") => Some("begins with `pg_`, which PostgreSQL keeps for itself"),
        _ => None,
    }
}

async fn own_schema(config: &Config, admin: &Admin, user: &str, schema: &str) -> Result<Change> {
    let own = schemas_of(config).contains(&schema).then_some("is the warehouse's own");
    if let Some(why) = own.or_else(|| no_name(schema)) {
        return Err(Error::new(ErrorKind::Config, format!("schema `{}` {why}", schema.escape_debug()))
            .with_hint("name another one, or none: `--schema` alone takes the name of the user"));
    }
    let row = admin.client.query_typed_opt(OWNER_OF, &[(&schema, Type::TEXT)]).await.map_err(sort)?;
    let belongs_to: Option<String> = row.map(|row| row.get(0));
    if let Some(other) = belongs_to.as_ref().filter(|other| *other != user) {
        return Err(Error::new(ErrorKind::Contract, format!("schema `{schema}` belongs to `{other}`"))
            .with_hint("name another one with `--schema=NAME`"));
    }
    let sql = format!("create schema {} authorization {}", quote_ident(schema), quote_ident(user));
    Ok(Change::unless(belongs_to.is_some(), format!("schema `{schema}` of `{user}`"), sql))
}
