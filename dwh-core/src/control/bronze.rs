//! Which table a bronze table is: its oid, and the files that its rows are stored in.

use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use super::Control;
use crate::error::Result;
use crate::identity::BronzeId;
use crate::schema::TableRef;

/// Partitions and children count as the table itself; of many the files are told by their hash.
const FILES: &str = "with recursive member (oid) as (select $1::oid union \
     select i.inhrelid from pg_catalog.pg_inherits i join member m on i.inhparent = m.oid), \
     file (oid, node) as (select oid, coalesce(pg_catalog.pg_relation_filenode(oid), 0)::text from member) \
     select case when pg_catalog.count(*) = 1 then pg_catalog.min(node) else pg_catalog.encode(pg_catalog.sha256( \
     pg_catalog.convert_to(pg_catalog.string_agg(oid::text || ':' || node, ',' order by oid), 'UTF8')), 'hex') end from file";

impl Control {
    /// Which table it is; `None` if there is none.
    pub(crate) async fn bronze_id(&self, client: &impl GenericClient, target: &TableRef) -> Result<Option<BronzeId>> {
        let sql = "select pg_catalog.to_regclass($1)::oid, $2::pg_catalog.regclass::oid, \
             (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()), \
             pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'execute')";
        let rows = self.ask(client, sql, &[(&target.sql(), Type::TEXT), (&self.watermarks(), Type::TEXT)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let Some(oid) = row.get::<_, Option<u32>>(0) else { return Ok(None) };
        // Not on every managed service.
        let cluster = if row.get(3) { self.system_identifier(client).await? } else { String::new() };
        let files = self.ask(client, FILES, &[(&oid, Type::OID)]).await?;
        Ok(Some(BronzeId {
            warehouse: format!("{cluster}/{}", row.get::<_, u32>(2)),
            control: row.get(1),
            table: target.to_string(),
            oid,
            file: files.first().map(|file| file.get(0)).unwrap_or_default(),
        }))
    }

    async fn system_identifier(&self, client: &impl GenericClient) -> Result<String> {
        let sql = "select system_identifier::text from pg_catalog.pg_control_system()";
        Ok(self.ask(client, sql, &[]).await?.first().map(|row| row.get(0)).unwrap_or_default())
    }

    /// Whether it holds no row.
    pub(crate) async fn is_empty(&self, client: &impl GenericClient, target: &TableRef) -> Result<bool> {
        let sql = format!("select not exists (select from {})", target.sql());
        Ok(self.ask(client, &sql, &[]).await?.first().is_some_and(|row| row.get(0)))
    }
}
