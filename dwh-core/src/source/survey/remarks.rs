//! What a source says of a relation beyond its columns and keys, for the design of its bronze table.

use tokio_postgres::types::{ToSql, Type};

use super::Survey;
use crate::error::Result;
use crate::plan::Remarks;
use crate::schema::TableRef;

/// Comments: of the relation itself, and of its columns.
const COMMENTS: &str = "select a.attname::text, d.description from pg_catalog.pg_class c \
     join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
     join pg_catalog.pg_description d on d.objoid = c.oid and d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass \
     left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = d.objsubid and d.objsubid > 0 \
     where n.nspname = $1 and c.relname = $2 order by d.objsubid";

/// Indexes that serve no key.
const INDEXES: &str = "select i.indisunique, pg_catalog.substr(f.text, pg_catalog.strpos(f.text, ' USING ') + 1) \
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
     join pg_catalog.pg_index i on i.indrelid = c.oid join pg_catalog.pg_class x on x.oid = i.indexrelid \
     cross join lateral (select pg_catalog.pg_get_indexdef(i.indexrelid) as text) f \
     where n.nspname = $1 and c.relname = $2 and not i.indisprimary and not i.indisexclusion order by x.relname";

impl Survey {
    /// Comments and indexes of a relation.
    pub(crate) async fn remarks(&self, table: &TableRef) -> Result<Remarks> {
        let names: [(&(dyn ToSql + Sync), Type); 2] = [(&table.schema, Type::TEXT), (&table.name, Type::TEXT)];
        let mut remarks = Remarks::default();
        for row in self.rows(COMMENTS, &names).await? {
            let (column, text): (Option<String>, String) = (row.get(0), row.get(1));
            match column {
                Some(column) => remarks.columns.push((column, text)),
                None => remarks.comment = Some(text),
            }
        }
        let indexes = self.rows(INDEXES, &names).await?;
        remarks.indexes = indexes.iter().map(|row| (row.get(0), row.get(1))).collect();
        Ok(remarks)
    }
}
