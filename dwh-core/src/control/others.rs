//! Other warehouses in the same database: each has a control schema of its own.

use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use super::{Control, value};
use crate::error::Result;

/// The control schemas beside this one, and whether this role may read them.
const OTHERS: &str = "select n.nspname::text as schema, \
         pg_catalog.has_schema_privilege(n.oid, 'usage') and pg_catalog.has_table_privilege(r.oid, 'select') \
             and pg_catalog.has_table_privilege(w.oid, 'select') as readable \
     from pg_catalog.pg_namespace n \
     join pg_catalog.pg_class r on r.relnamespace = n.oid and r.relname = 'extract_runs' and r.relkind = 'r' \
     join pg_catalog.pg_class w on w.relnamespace = n.oid and w.relname = 'extract_watermarks' and w.relkind = 'r' \
     where n.nspname <> $1 and 2 = (select pg_catalog.count(*) from pg_catalog.pg_attribute a \
         where a.attrelid = r.oid and a.attname in ('kind', 'bronze') and not a.attisdropped) \
     order by 1";

/// A warehouse beside this one.
pub(crate) struct Other {
    /// Its control schema.
    pub(crate) schema: String,
    /// That schema, if it may be read.
    pub(crate) control: Option<Control>,
}

impl Control {
    /// The warehouses beside this one.
    pub(crate) async fn others(&self, client: &impl GenericClient) -> Result<Vec<Other>> {
        let rows = self.ask(client, OTHERS, &[(&self.schema, Type::TEXT)]).await?;
        let other = |row: &tokio_postgres::Row| {
            let (schema, readable): (String, bool) = (value(row, "schema")?, value(row, "readable")?);
            Ok(Other { control: readable.then(|| Self::new(&schema)), schema })
        };
        rows.iter().map(other).collect()
    }

    /// The project whose tables this schema keeps, by the watermarks; `None` if nothing tells it.
    pub(crate) async fn project(&self, client: &impl GenericClient) -> Result<Option<String>> {
        let sql = format!(
            "select min(origin ->> 'project') as project from {} having count(distinct origin ->> 'project') = 1",
            self.watermarks()
        );
        let rows = self.ask(client, &sql, &[]).await?;
        Ok(rows.first().map(|row| value(row, "project")).transpose()?.flatten())
    }
}
