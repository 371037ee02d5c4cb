//! The text of `grants.sql`: what a DBA gives the two roles, and nothing more. Pure; no password ever stands in it.

use std::collections::BTreeSet;

use super::Taken;
use crate::schema::{quote_ident, quote_literal};

/// Who asks, and for what.
pub(super) struct Roles<'a> {
    /// Role of the source.
    pub source: &'a str,
    /// Database of the source.
    pub source_database: &'a str,
    /// Login of the target.
    pub target: &'a str,
    /// Database of the target.
    pub target_database: &'a str,
    /// Owns and writes.
    pub owner: &'a str,
    /// Reads.
    pub reader: &'a str,
}

/// Made once by a superuser on each side; may be applied again.
pub(super) fn sql(roles: &Roles<'_>, tables: &[Taken]) -> String {
    format!(
        "-- Written by `dwh init`: the rights of the two roles, each part for a DBA of its own server to read and apply\n\
         -- with psql. No password stands here: a login is made by hand first, and \\password writes it nowhere. Without\n\
         -- it, a part fails and changes nothing. Both parts may be applied again.\n\
         \\set ON_ERROR_STOP on\n\n\
         {}\n{}",
        source(roles, tables),
        target(roles, tables)
    )
}

fn source(roles: &Roles<'_>, tables: &[Taken]) -> String {
    let role = quote_ident(roles.source);
    let database = quote_ident(roles.source_database);
    let mut text = format!(
        "-- 1. In the source, database {}: a role that reads these tables and can do nothing else.\nbegin;\n{}\
         alter role {role} set default_transaction_read_only = on;\n\
         grant connect on database {database} to {role};\n",
        in_comment(&database),
        login(roles.source)
    );
    let schemas: BTreeSet<&str> = tables.iter().map(|taken| taken.table.schema.as_str()).collect();
    for schema in schemas {
        text.push_str(&format!("grant usage on schema {} to {role};\n", quote_ident(schema)));
    }
    for taken in tables {
        text.push_str(&format!("grant select on {} to {role};\n", taken.table.sql()));
    }
    text.push_str(&format!(
        "-- Who is writing right now decides how far a run may read. This also shows everybody's query texts; if that is\n\
         -- too much, install the function of docs/security.md instead and name it as `activity_function`.\n\
         grant pg_read_all_stats to {role};\n\
         commit;\n"
    ));
    text
}

fn target(roles: &Roles<'_>, tables: &[Taken]) -> String {
    let (owner, reader) = (quote_ident(roles.owner), quote_ident(roles.reader));
    let database = quote_ident(roles.target_database);
    let mut text = format!(
        "-- 2. In the target, database {}: an owner that writes, a reader for dashboards, and a login for dwh.\n\
         begin;\n{}{}{}\
         grant {owner} to {};\n\
         grant connect on database {database} to {owner}, {reader};\n\
         grant create on database {database} to {owner};  -- for `dwh migrate`; may be revoked afterwards\n",
        in_comment(&database),
        login(roles.target),
        group(roles.owner),
        group(roles.reader),
        quote_ident(roles.target),
    );
    let extensions: BTreeSet<&str> = tables.iter().flat_map(|taken| &taken.extensions).map(String::as_str).collect();
    for name in extensions {
        text.push_str(&format!(
            "create extension if not exists {};  -- the copied columns need its types\n",
            quote_ident(name)
        ));
    }
    if tables.iter().any(|taken| taken.public_types) {
        text.push_str(&format!(
            "grant usage, create on schema public to {owner};  -- for the types that the source has there\n"
        ));
    }
    text.push_str(
        "commit;\n-- `dwh migrate` makes the rest: both schemas, the tables, and what the reader may read.\n",
    );
    text
}

/// A role that nobody can log in with.
fn group(role: &str) -> String {
    let create = format!("create role {} nologin {NO_MORE};", quote_ident(role));
    unless_there(role, &create)
}

/// Stops where the login is not there: whoever makes it gives it a password, and this file must not know one.
fn login(role: &str) -> String {
    let name = quote_ident(role);
    let create = format!("create role {name} login {NO_MORE};");
    let message = quote_literal(&format!("role {name} is not there, and nothing was changed"));
    let hint = quote_literal(&format!("make it first, in psql: {create} then: \\password {name}"));
    let raise = format!("raise exception using message = {message}, hint = {hint};");
    format!("-- first, by hand:  {0}  \\password {1}\n", in_comment(&create), in_comment(&name))
        + &unless_there(role, &raise)
}

/// What no role of dwh needs.
const NO_MORE: &str = "nosuperuser nocreaterole nocreatedb noreplication";

fn unless_there(role: &str, then: &str) -> String {
    // The body is a string of the DO statement: nothing in a role's name can end this tag.
    let mut tag = "$dwh$".to_owned();
    while role.contains(&tag) {
        tag.insert(1, '_');
    }
    format!(
        "do {tag} begin\n  if not exists (select from pg_catalog.pg_roles where rolname = {}) then\n    \
         {then}\n  end if;\nend {tag};\n",
        quote_literal(role)
    )
}

/// A name in a comment: a line break in it would end the comment.
fn in_comment(name: &str) -> String {
    name.replace(['\n', '\r'], " ")
}
