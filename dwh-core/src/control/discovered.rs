//! Relations that patterns have made tables.

use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use super::{Control, value};
use crate::config::Discovered;
use crate::error::Result;
use crate::schema::{TableRef, quote_ident, quote_literal};

impl Control {
    fn discoveries(&self) -> String {
        format!("{}.discovered_relations", quote_ident(&self.schema))
    }

    /// Those of a project, in the order of their names. None where `migrate` has not made a place for them yet.
    pub(crate) async fn discovered(&self, client: &impl GenericClient, project: &str) -> Result<Vec<Discovered>> {
        // Asked of the catalog by name: without the right to use the schema, `to_regclass` would raise.
        let there = "select exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n \
                     on n.oid = c.relnamespace where n.nspname = $1 and c.relname = 'discovered_relations') as there";
        let there = self.ask(client, there, &[(&self.schema, Type::TEXT)]).await?;
        if !there.first().is_some_and(|row| row.get("there")) {
            return Ok(Vec::new());
        }
        let sql = format!(
            "select source, relation_schema, relation_name, table_name, key_columns from {} where project = $1 \
             order by table_name",
            self.discoveries()
        );
        let rows = self.ask(client, &sql, &[(&project, Type::TEXT)]).await?;
        let each = rows.iter().map(|row| {
            Ok(Discovered {
                source: value(row, "source")?,
                relation: TableRef::new(
                    value::<String>(row, "relation_schema")?,
                    value::<String>(row, "relation_name")?,
                ),
                table: value(row, "table_name")?,
                key: value(row, "key_columns")?,
            })
        });
        each.collect()
    }

    /// The statements that keep them: a name that was given stays, and so does a key that is known.
    pub(crate) fn remember(&self, project: &str, found: &[Discovered]) -> String {
        let table = self.discoveries();
        let each = found.iter().map(|one| {
            let key: Vec<String> = one.key.iter().map(|column| quote_literal(column)).collect();
            let names = [project, &one.source, &one.relation.schema, &one.relation.name, &one.table].map(quote_literal);
            format!(
                "insert into {table} as known (project, source, relation_schema, relation_name, table_name, key_columns)\n    \
                 values ({}, array[{}]::text[])\n    \
                 on conflict (project, source, relation_schema, relation_name) do update\n    \
                 set key_columns = excluded.key_columns where known.key_columns = '{{}}';\n",
                names.join(", "),
                key.join(", ")
            )
        });
        each.collect()
    }
}
