//! The administrator's connection, and how what is missing is done there.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::change::{Change, Changes};
use crate::config::{Config, Secret};
use crate::connect::{Connector, look, sort};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::quote_ident;

/// What the server says of whoever logged in.
const WHO: &str = "select r.rolname::text, r.rolsuper or r.rolcreaterole, pg_catalog.current_database()::text \
     from pg_catalog.pg_roles r where r.rolname = current_user";

/// What roles of these names are, by their place in the list: whether they are there, can log in, and may do more than a
/// role of a warehouse needs.
const ROLES: &str = "select r.oid is not null, coalesce(r.rolcanlogin, false), \
     coalesce(r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls, false) \
     from pg_catalog.unnest($1) with ordinality w(name, place) left join pg_catalog.pg_roles r on r.rolname = w.name \
     order by w.place";

/// Whether one role has the rights of another one, and whether it may take them; not if one of them is not there. From
/// PostgreSQL 16 on whoever makes a role is a member who may give it to others, and may neither use nor take it himself.
const MEMBER: &str = "select coalesce(bool_or(m.uses), false), coalesce(bool_or(m.takes and (m.uses or not v.apart)), false), \
         bool_or(v.apart) \
     from (select pg_catalog.current_setting('server_version_num')::int4 >= 160000 as apart) v left join lateral ( \
         select pg_catalog.pg_has_role(m.oid, g.oid, 'usage') as uses, \
             pg_catalog.pg_has_role(m.oid, g.oid, case when v.apart then 'set' else 'member' end) as takes \
         from pg_catalog.pg_roles m, pg_catalog.pg_roles g where m.rolname = $1 and g.rolname = $2) m on true";

/// A role of the target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Role {
    pub(super) there: bool,
    pub(super) logs_in: bool,
    /// Superuser, or another right that no role of a warehouse needs.
    pub(super) mighty: bool,
}

/// A connection that may make roles.
pub(super) struct Admin {
    pub(super) client: Client,
    /// Who it is.
    pub(super) role: String,
    pub(super) database: String,
    /// The login of `[target] url`.
    pub(super) loader: String,
    /// The password of that one, if it is known.
    pub(super) loader_password: Option<Secret>,
}

impl Admin {
    /// Logs in by `admin_url`.
    ///
    /// # Errors
    /// As [`setup`](crate::Pipeline::setup).
    pub(super) async fn log_in(config: &Config) -> Result<Self> {
        let (target, environment) = (&config.target, &config.environment);
        let wrong = |text: String, hint: &str| Err(Error::new(ErrorKind::Config, text).with_hint(hint));
        let Some(url) = &target.admin_url else {
            return wrong(
                "`[target] admin_url` is missing or empty: only an administrator of the target makes roles".to_owned(),
                "write `admin_url = \"${DWH_ADMIN_URL:-}\"` into `[target]`, and set DWH_ADMIN_URL to the connection string \
                 of a role that may create roles",
            );
        };
        let connector = Connector::patient("target as administrator", url, environment, target.idle_timeout)?;
        let loader = Connector::to_target(target, environment)?;
        if connector.user() == loader.user() {
            return wrong(
                format!("`url` and `admin_url` of `[target]` log in as the same role `{}`", loader.user()),
                "name in `url` the login that dwh is to load with, such as `dwh_loader`; `dwh setup` makes it",
            );
        }
        if connector.database() != loader.database() {
            let (one, other) = (connector.database(), loader.database());
            return wrong(
                format!("`admin_url` of `[target]` leads to database `{one}`, and `url` to `{other}`"),
                "name the same database in both; schemas and rights are made in the one that is connected to",
            );
        }
        let client = connector.connect().await?;
        let row = look(&client, async { client.query_typed_one(WHO, &[]).await.map_err(sort) }).await?;
        let (role, may, database): (String, bool, String) = (row.get(0), row.get(1), row.get(2));
        if !may {
            return Err(Error::new(
                ErrorKind::Permission,
                format!("`{role}` of `[target] admin_url` may not create roles"),
            )
            .with_hint(format!("a superuser of the target runs: alter role {} createrole;", quote_ident(&role))));
        }
        let (loader, loader_password) = (loader.user().to_owned(), loader.password().cloned());
        Ok(Self { client, role, database, loader, loader_password })
    }

    /// What these roles are, in their order.
    pub(super) async fn roles(&self, names: &[&str]) -> Result<Vec<Role>> {
        let rows = self.client.query_typed(ROLES, &[(&names, Type::TEXT_ARRAY)]).await.map_err(sort)?;
        let role = |row: &Row| Role { there: row.get(0), logs_in: row.get(1), mighty: row.get(2) };
        Ok(rows.iter().map(role).collect())
    }

    /// What a role is.
    pub(super) async fn a_role(&self, name: &str) -> Result<Role> {
        let found = self.roles(&[name]).await?;
        found.first().copied().ok_or_else(|| Error::new(ErrorKind::Internal, "the catalog gave no answer"))
    }

    /// Whether `member` has the rights of `group`.
    pub(super) async fn is_member(&self, member: &str, group: &str) -> Result<bool> {
        Ok(self.membership(member, group).await?.get(0))
    }

    async fn membership(&self, member: &str, group: &str) -> Result<Row> {
        let names = [(&member as _, Type::TEXT), (&group as _, Type::TEXT)];
        self.client.query_typed_one(MEMBER, &names).await.map_err(sort)
    }

    /// Does what is missing, inside a transaction that is open.
    pub(super) async fn apply(&self, changes: &Changes) -> Result<()> {
        self.run(&changes.roles).await?;
        let mut borrowed = Vec::new();
        for role in &changes.member_of {
            // One who was a member before, if without its rights, stays one; where he is told apart from one who takes
            // them, his membership is another one than the one that is borrowed.
            let row = self.membership(&self.role, role).await?;
            let (takes, apart): (bool, bool) = (row.get(1), row.get(2));
            if !takes {
                let with = if apart { " with inherit true, set true" } else { "" };
                self.execute(&format!("grant {} to {}{with}", quote_ident(role), quote_ident(&self.role))).await?;
                borrowed.push(role);
            }
        }
        self.run(&changes.rest).await?;
        for role in borrowed {
            self.execute(&format!("revoke {} from {}", quote_ident(role), quote_ident(&self.role))).await?;
        }
        self.run(&changes.last).await
    }

    async fn run(&self, changes: &[Change]) -> Result<()> {
        for change in changes {
            let Some(sql) = &change.sql else { continue };
            let statement = change.hidden.as_ref().map_or(sql.as_str(), Secret::expose);
            self.execute(statement).await.map_err(|error| error.context(&change.what))?;
        }
        Ok(())
    }

    async fn execute(&self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).await.map_err(sort)
    }
}
