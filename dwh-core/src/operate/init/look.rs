//! The part of `init` that asks both servers.

use std::collections::{BTreeMap, BTreeSet};

use super::choose::{Known, choose, needs_a_look, worth_a_look};
use super::{InitRequest, LOADER, LeftOut, READER, Taken, grants, names};
use crate::config::{Environment, TargetConfig};
use crate::connect::Connector;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::why_uncarried;
use crate::schema::{RelationKind, TableRef, TableSchema, TypeDef, TypeKind, quote_ident};
use crate::source::survey::{Reach, Relation, ServerFacts, Survey, TableFacts};

/// What a second look finds.
pub(super) struct Seen {
    /// All that the source has.
    pub(super) relations: Vec<TableRef>,
    /// The relations that are configured, as they are now.
    pub(super) schemas: Vec<TableSchema>,
    /// Those that are not, and can be copied.
    pub(super) taken: Vec<Taken>,
    /// Those that are not, and cannot be copied yet.
    pub(super) left_out: Vec<LeftOut>,
}

/// What is known while `init` looks.
pub(super) struct Look<'a> {
    request: &'a InitRequest,
    survey: Survey,
    /// What the target has; `None` if it did not answer.
    target_extensions: Option<Vec<String>>,
    pub server: ServerFacts,
    pub warnings: Vec<String>,
    /// Whether the source's role may do more than read.
    pub source_too_strong: bool,
    /// Whether the target's login may do more than write its own.
    pub target_too_strong: bool,
}

impl<'a> Look<'a> {
    pub(super) fn new(request: &'a InitRequest, survey: Survey, server: ServerFacts) -> Self {
        let mut look = Self {
            request,
            survey,
            target_extensions: None,
            source_too_strong: server.superuser,
            target_too_strong: false,
            warnings: Vec::new(),
            server,
        };
        if look.server.superuser {
            look.warn(&format!(
                "the source's role `{}` is a superuser: take the one of grants.sql instead",
                look.server.role
            ));
        }
        if look.server.standby {
            let name = look.request.add.as_deref().unwrap_or("main");
            look.warn(&format!(
                "the source is a standby, which does not see who is writing: name the primary as `primary_url` of \
                 `[source.{name}]`"
            ));
        }
        look
    }

    /// `grants.sql`: where a login may do too much, the role that it should be stands there.
    pub(super) fn grants(&self, login: &Connector, target: &TargetConfig, tables: &[Taken]) -> String {
        let roles = grants::Roles {
            source: if self.source_too_strong { READER } else { &self.server.role },
            source_database: &self.server.database,
            target: if self.target_too_strong { LOADER } else { login.user() },
            target_database: login.database(),
            owner: &target.owner_role,
            reader: &target.reader_role,
        };
        grants::sql(&roles, tables)
    }

    fn warn(&mut self, text: &str) {
        self.warnings.push(text.to_owned());
    }

    /// Asks the target for what it has; one that does not answer is asked no further.
    pub(super) async fn at_target(&mut self, environment: &Environment) {
        let asked = async {
            let survey = Survey::open("target", &self.request.target, environment).await?;
            Ok::<_, Error>((survey.server().await?, survey.extensions().await?))
        };
        match asked.await {
            Ok((server, extensions)) => {
                self.target_extensions = Some(extensions);
                self.target_too_strong = server.superuser;
                if server.superuser {
                    self.warn(&format!(
                        "the target's login `{}` is a superuser: take the one of grants.sql instead",
                        server.role
                    ));
                }
            }
            Err(error) => self.warn(&format!("{error}: nothing is known of the target's types and roles")),
        }
    }

    /// Looks at every table that is meant.
    pub(super) async fn at_tables(&mut self) -> Result<(Vec<Taken>, Vec<LeftOut>)> {
        let relations = self.survey.relations().await?;
        let all: Vec<TableRef> = relations.iter().map(|relation| relation.table.clone()).collect();
        let chosen = names::select(&all, &self.request.tables, &self.request.exclude)?;
        // One that matches nothing is an error here, too.
        names::select(&all, &self.request.snapshot, &[])?;
        let (mut copied, mut left_out): (Vec<&Relation>, Vec<LeftOut>) = Default::default();
        for relation in relations.iter().zip(chosen).filter_map(|(relation, chosen)| chosen.then_some(relation)) {
            match why_not(relation, &self.server.role) {
                Some(reason) => left_out.push(reason),
                None => copied.push(relation),
            }
        }
        if copied.is_empty() {
            return Err(nothing_readable(&self.server, &left_out));
        }
        if let Some(relation) = copied.iter().find(|relation| relation.writable).filter(|_| !self.source_too_strong) {
            self.source_too_strong = true;
            let text = format!(
                "the source's role `{}` may write {}: take the one of grants.sql instead",
                self.server.role, relation.table
            );
            self.warn(&text);
        }
        let tables: Vec<TableRef> = copied.iter().map(|relation| relation.table.clone()).collect();
        let facts = self.survey.facts(&tables.iter().collect::<Vec<_>>()).await?;
        Ok((self.take_all(facts, names::names(&tables)).await?, left_out))
    }

    /// Looks at the tables that are meant and not `known` yet, and at the columns of those that are.
    pub(super) async fn at_new(&self, known: &BTreeSet<&TableRef>) -> Result<Seen> {
        let all = self.survey.relations().await?;
        let relations: Vec<TableRef> = all.iter().map(|relation| relation.table.clone()).collect();
        let chosen = names::select(&relations, &self.request.tables, &self.request.exclude)?;
        let new = all.iter().zip(chosen).filter(|(relation, chosen)| *chosen && !known.contains(&relation.table));
        let (mut copied, mut left_out): (Vec<TableRef>, Vec<LeftOut>) = Default::default();
        for (relation, _) in new {
            match why_not(relation, &self.server.role) {
                // A view was left out before, and is no news.
                Some(reason) if is_table(relation) => left_out.push(reason),
                Some(_) => {}
                None => copied.push(relation.table.clone()),
            }
        }
        let there: Vec<TableRef> = relations.iter().filter(|table| known.contains(table)).cloned().collect();
        // Named beside those that have their names already, so that none is given twice.
        let names = names::names(&there.iter().chain(&copied).cloned().collect::<Vec<_>>()).split_off(there.len());
        let facts = self.survey.facts(&there.iter().chain(&copied).collect::<Vec<_>>()).await?;
        let is_new = |facts: &TableFacts| !known.contains(&facts.schema.table);
        let (new, old): (Vec<TableFacts>, Vec<TableFacts>) = facts.into_iter().partition(is_new);
        let taken = self.take_all(new, names).await?;
        Ok(Seen { relations, schemas: old.into_iter().map(|facts| facts.schema).collect(), taken, left_out })
    }

    async fn take_all(&self, all: Vec<TableFacts>, names: Vec<String>) -> Result<Vec<Taken>> {
        let mut taken = Vec::new();
        for (mut facts, name) in all.into_iter().zip(names) {
            if needs_a_look(&facts) {
                facts.bulk = self.survey.is_bulk(&facts.schema, facts.rows).await?;
                if let Some(column) = worth_a_look(&facts).first().filter(|_| facts.counted_days.is_some()) {
                    facts.newest_days = self.survey.newest_days(&facts.schema, column).await?;
                }
            }
            taken.push(self.take(name, &facts).await?);
        }
        Ok(taken)
    }

    async fn take(&self, name: String, facts: &TableFacts) -> Result<Taken> {
        let types = &facts.schema.types;
        let casts: Vec<(String, String)> = facts
            .schema
            .columns
            .iter()
            .filter_map(|column| Some((column.name.clone(), why_uncarried(column, types)?)))
            .collect();
        let mut reach: BTreeMap<String, Reach> = BTreeMap::new();
        if needs_a_look(facts) {
            for column in worth_a_look(facts) {
                let found = self.survey.reach(&facts.schema, &column).await?;
                reach.insert(column, found);
                if found.unreachable != Some(true) {
                    break;
                }
            }
        }
        let cast: BTreeSet<String> = casts.iter().map(|(column, _)| column.clone()).collect();
        let mut choice = choose(&Known { facts, server: &self.server, reach: &reach, cast: &cast });
        if names::hit(&self.request.snapshot, &facts.schema.table)? {
            choice = choice.copied_whole();
        }
        let extensions: BTreeSet<String> = types
            .iter()
            .filter_map(|def| match &def.kind {
                TypeKind::Extension { extension } => Some(extension.clone()),
                _ => None,
            })
            .collect();
        if let Some(known) = &self.target_extensions {
            choice.doubts.extend(extensions.iter().filter(|name| !known.contains(name)).map(|name| {
                format!(
                    "the target has no extension `{name}`, whose types `dwh migrate` needs: in the target, as a superuser: \
                     create extension if not exists {};",
                    quote_ident(name)
                )
            }));
        }
        let made = |def: &TypeDef| !matches!(def.kind, TypeKind::Extension { .. });
        Ok(Taken {
            name,
            table: facts.schema.table.clone(),
            choice,
            casts,
            public_types: types.iter().any(|def| made(def) && def.name.schema == "public"),
            extensions: extensions.into_iter().collect(),
        })
    }
}

fn is_table(relation: &Relation) -> bool {
    matches!(relation.kind, RelationKind::Table | RelationKind::Partitioned)
}

/// The relations that a second look would take, if none of them is known.
pub(in crate::operate) async fn copyable(survey: &Survey, role: &str) -> Result<Vec<TableRef>> {
    let relations = survey.relations().await?.into_iter().filter(|relation| why_not(relation, role).is_none());
    Ok(relations.map(|relation| relation.table).collect())
}

/// What keeps a relation from being copied.
fn why_not(relation: &Relation, role: &str) -> Option<LeftOut> {
    let table = &relation.table;
    let left_out =
        |reason: String, remedy: Option<String>| Some(LeftOut { relation: table.to_string(), reason, remedy });
    let other = match relation.kind {
        RelationKind::View => "a view",
        RelationKind::MaterializedView => "a materialized view",
        RelationKind::Foreign => "a foreign table",
        _ => "",
    };
    if !other.is_empty() {
        let remedy = "to copy it all the same, write a `[[table]]` for it with mode \"snapshot\"";
        return left_out(format!("it is {other}"), Some(remedy.to_owned()));
    }
    if relation.columns == 0 {
        return left_out("it has no columns".to_owned(), None);
    }
    let to = quote_ident(role);
    let mut grants = Vec::new();
    if !relation.usage {
        grants.push(format!("grant usage on schema {} to {to};", quote_ident(&table.schema)));
    }
    if i64::try_from(relation.unreadable.len()) == Ok(relation.columns) {
        grants.push(format!("grant select on {} to {to};", table.sql()));
    } else if !relation.unreadable.is_empty() {
        let columns: Vec<String> = relation.unreadable.iter().map(|column| quote_ident(column)).collect();
        grants.push(format!("grant select ({}) on {} to {to};", columns.join(", "), table.sql()));
    }
    if !grants.is_empty() {
        return left_out(format!("role `{role}` may not read it"), Some(grants.join(" ")));
    }
    if relation.row_security {
        let reason = format!("row security hides rows of it from role `{role}`");
        return left_out(reason, Some(format!("alter role {to} bypassrls;")));
    }
    None
}

fn nothing_readable(server: &ServerFacts, left_out: &[LeftOut]) -> Error {
    let first: Vec<&str> = left_out.iter().filter_map(|table| table.remedy.as_deref()).take(5).collect();
    let hint = if first.is_empty() {
        "check that this is the right database".to_owned()
    } else {
        format!("in the source: {}", first.join(" "))
    };
    let message = format!("source: role `{}` can copy no table of database `{}`", server.role, server.database);
    Error::new(ErrorKind::Permission, message).with_hint(hint)
}
