//! The SQL of a model: built beside what is there, then put in its place.

use crate::config::ModelKind;
use crate::plan::anonymous;
use crate::schema::{TableRef, quote_ident, quote_literal};

/// What the name of a relation ends with that is built beside another one.
const BESIDE: &str = "__dwh_build";

/// And of the view that only asks what the SELECT means.
const PROBE: &str = "__dwh_probe";

/// What is built, and under which name.
#[derive(Debug, Clone)]
pub(crate) struct ModelPlan<'a> {
    /// Schema and name, with the prefix if there is one.
    pub(crate) name: TableRef,
    pub(crate) kind: ModelKind,
    pub(crate) key: &'a [String],
    pub(crate) indexes: &'a [String],
    /// The SELECT.
    pub(crate) query: String,
}

impl ModelPlan<'_> {
    /// What the transaction needs beside what every one has. Names without a schema are looked up in bronze, and where
    /// extensions live. One statement may run for hours: a server that can look whether anybody still waits for it does so
    /// (from PostgreSQL 14 on), and the model is free again after a killed command.
    pub(crate) fn settings(bronze: &str) -> String {
        let path = format!("set local search_path = {}, public, pg_temp", quote_ident(bronze));
        let looks = "select pg_catalog.set_config(name, '2s', true) from (values ('client_connection_check_interval')) t(name) \
                     where pg_catalog.current_setting(name, true) is not null";
        format!("{path}; {looks}")
    }

    /// The relation that is built beside the one that is there.
    pub(crate) fn beside(&self) -> TableRef {
        self.name.beside(BESIDE)
    }

    /// The view that asks what the SELECT means.
    pub(crate) fn probe(&self) -> TableRef {
        self.name.beside(PROBE)
    }

    pub(crate) fn create_probe(&self) -> String {
        format!("create view {} as {}", self.probe().sql(), self.query)
    }

    /// Everything that it is made of: another text makes another relation.
    pub(crate) fn portrait(&self) -> String {
        format!("{}\n{:?}\n{:?}\n{}", self.kind.as_str(), self.key, self.indexes, self.query)
    }

    pub(crate) fn create(&self, relation: &TableRef) -> String {
        format!("create {} {} as {}", self.kind.as_str(), relation.sql(), self.query)
    }

    /// A view in the place of one whose columns it has.
    pub(crate) fn replace_view(&self) -> String {
        format!("create or replace view {} as {}", self.name.sql(), self.query)
    }

    /// What makes the key sure; a materialized view has an index for it, which a refresh beside readers needs too.
    pub(crate) fn key(&self, relation: &TableRef) -> Option<String> {
        if self.key.is_empty() {
            return None;
        }
        let columns: Vec<String> = self.key.iter().map(|name| quote_ident(name)).collect();
        let (relation, columns) = (relation.sql(), columns.join(", "));
        Some(match self.kind {
            ModelKind::MaterializedView => format!("create unique index on {relation} ({columns})"),
            _ => format!("alter table {relation} add primary key ({columns})"),
        })
    }

    /// The other indexes: columns as they are, or what stands behind the table in `create index`.
    pub(crate) fn indexes(&self, relation: &TableRef) -> Vec<String> {
        let index = |text: &String| {
            let (unique, rest) = match text.split_once(char::is_whitespace) {
                Some((word, rest)) if word.eq_ignore_ascii_case("unique") => ("unique ", rest.trim()),
                _ => ("", text.as_str()),
            };
            let begins_using = rest.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("using"));
            let what = if begins_using || rest.starts_with('(') { rest.to_owned() } else { format!("({rest})") };
            format!("create {unique}index on {} {what}", relation.sql())
        };
        self.indexes.iter().map(index).collect()
    }

    /// Gives the relation beside the grants and comments of the one that is there, and takes those away that only default
    /// privileges gave it.
    pub(crate) fn carry_over(&self) -> String {
        let (old, new) = (quote_literal(&self.name.sql()), quote_literal(&self.beside().sql()));
        let word = self.kind.as_str();
        let grantee = "case when a.grantee = 0 then 'public' else pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) end";
        let option = "case when a.is_grantable then ' with grant option' else '' end";
        anonymous(&format!(
            "declare line text;\nbegin\n    for line in select l.line from (\n        \
             select 1 as place, pg_catalog.format('revoke all on %s from %s', {new}, {grantee}) as line \
             from pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a \
             where c.oid = {new}::pg_catalog.regclass and a.grantee <> c.relowner\n        \
             union all select 2, pg_catalog.format('grant %s on %s to %s%s', a.privilege_type, {new}, {grantee}, {option}) \
             from pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a \
             where c.oid = {old}::pg_catalog.regclass and a.grantee <> c.relowner\n        \
             union all select 2, pg_catalog.format('grant %s (%I) on %s to %s%s', a.privilege_type, t.attname, {new}, {grantee}, {option}) \
             from pg_catalog.pg_class c join pg_catalog.pg_attribute t on t.attrelid = c.oid and not t.attisdropped \
             join pg_catalog.pg_attribute n on n.attrelid = {new}::pg_catalog.regclass and n.attname = t.attname, \
             pg_catalog.aclexplode(t.attacl) a where c.oid = {old}::pg_catalog.regclass and a.grantee <> c.relowner\n        \
             union all select 2, pg_catalog.format('comment on {word} %s is %L', {new}, pg_catalog.obj_description(c.oid, 'pg_class')) \
             from pg_catalog.pg_class c where c.oid = {old}::pg_catalog.regclass and pg_catalog.obj_description(c.oid, 'pg_class') is not null\n        \
             union all select 2, pg_catalog.format('comment on column %s.%I is %L', {new}, t.attname, pg_catalog.col_description(t.attrelid, t.attnum)) \
             from pg_catalog.pg_attribute t join pg_catalog.pg_attribute n on n.attrelid = {new}::pg_catalog.regclass \
             and n.attname = t.attname and n.attnum > 0 and not n.attisdropped where t.attrelid = {old}::pg_catalog.regclass \
             and not t.attisdropped and pg_catalog.col_description(t.attrelid, t.attnum) is not null\n    \
             ) l order by l.place loop\n        execute line;\n    end loop;\nend"
        ))
    }

    /// Removes what is there, which is of this kind.
    pub(crate) fn drop_old(&self, kind: ModelKind) -> String {
        format!("drop {} {}", kind.as_str(), self.name.sql())
    }

    /// Gives the relation beside its name, and its indexes the names that they would have had.
    pub(crate) fn rename(&self) -> [String; 2] {
        let beside = self.beside();
        let (schema, old, new) =
            (quote_literal(&beside.schema), quote_literal(&beside.name), quote_literal(&self.name.name));
        let named = format!("{new} || pg_catalog.substr(i.relname::text, pg_catalog.length({old}) + 1)");
        let indexes = anonymous(&format!(
            "declare line text;\nbegin\n    for line in select pg_catalog.format('alter index %I.%I rename to %I', n.nspname, i.relname, {named}) \
             from pg_catalog.pg_index x join pg_catalog.pg_class i on i.oid = x.indexrelid \
             join pg_catalog.pg_class c on c.oid = x.indrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
             where n.nspname = {schema} and c.relname = {new} and pg_catalog.starts_with(i.relname::text, {old}) \
             and not exists (select from pg_catalog.pg_class o where o.relnamespace = c.relnamespace and o.relname = {named}) loop\n        \
             execute line;\n    end loop;\nend"
        ));
        [format!("alter {} {} rename to {}", self.kind.as_str(), beside.sql(), quote_ident(&self.name.name)), indexes]
    }

    /// Puts the rows of the table beside into the one that is there, which keeps everything else.
    pub(crate) fn refill(&self) -> [String; 3] {
        let (name, beside) = (self.name.sql(), self.beside().sql());
        [
            format!("delete from {name}"),
            format!("insert into {name} select * from {beside}"),
            format!("drop table {beside}"),
        ]
    }

    /// Whether row security is for the role that empties the table, too.
    pub(crate) fn hides_rows(&self) -> String {
        format!("select pg_catalog.row_security_active({}::pg_catalog.regclass)", quote_literal(&self.name.sql()))
    }

    /// Whether the table has a row.
    pub(crate) fn any_row(&self) -> String {
        format!("select exists (select from {})", self.name.sql())
    }

    pub(crate) fn refresh(&self, concurrently: bool) -> String {
        let how = if concurrently { "concurrently " } else { "" };
        format!("refresh materialized view {how}{}", self.name.sql())
    }

    pub(crate) fn count(&self) -> String {
        format!("select count(*) from {}", self.name.sql())
    }

    pub(crate) fn analyze(&self, relation: &TableRef) -> Option<String> {
        (self.kind != ModelKind::View).then(|| format!("analyze {}", relation.sql()))
    }

    /// Lets the reader role read it.
    pub(crate) fn readable(&self, reader: &str) -> String {
        format!("grant select on {} to {}", self.name.sql(), quote_ident(reader))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_written_as_briefly_as_it_goes() {
        let indexes: Vec<String> =
            ["a, b", "unique (a) where b", "using gin (c)", "(lower(a)) include (b)", "UNIQUE a"]
                .map(str::to_owned)
                .into();
        let plan = ModelPlan {
            name: TableRef::new("a", "x"),
            kind: ModelKind::Table,
            key: &["Id".to_owned()],
            indexes: &indexes,
            query: "select 1".to_owned(),
        };
        let wanted = [
            "index on \"a\".\"x\" (a, b)",
            "unique index on \"a\".\"x\" (a) where b",
            "index on \"a\".\"x\" using gin (c)",
            "index on \"a\".\"x\" (lower(a)) include (b)",
            "unique index on \"a\".\"x\" (a)",
        ];
        assert_eq!(plan.indexes(&plan.name), wanted.map(|rest| format!("create {rest}")));
        assert_eq!(plan.key(&plan.name).as_deref(), Some("alter table \"a\".\"x\" add primary key (\"Id\")"));
        assert_eq!(plan.beside().to_string(), "a.x__dwh_build");
    }
}
