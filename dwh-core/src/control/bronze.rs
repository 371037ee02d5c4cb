//! Which table a bronze table is: its oid, and the files that its rows are stored in.

use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use super::Control;
use crate::error::Result;
use crate::identity::BronzeId;
use crate::schema::TableRef;

/// The table `$1` and the control schema's `$2`: their numbers, that of the database, and the files. Partitions and children
/// count as the table itself; of many the files are told by their hash.
const BRONZE: &str = "with recursive root (oid) as (select pg_catalog.to_regclass($1)::oid), \
     member (oid) as (select oid from root union \
     select i.inhrelid from pg_catalog.pg_inherits i join member m on i.inhparent = m.oid), \
     file (oid, node) as (select oid, coalesce(pg_catalog.pg_relation_filenode(oid), 0)::text from member) \
     select (select oid from root), $2::pg_catalog.regclass::oid, \
     (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()), \
     case when pg_catalog.count(*) = 1 then pg_catalog.min(node) else pg_catalog.encode(pg_catalog.sha256( \
     pg_catalog.convert_to(pg_catalog.string_agg(oid::text || ':' || node, ',' order by oid), 'UTF8')), 'hex') end";

impl Control {
    /// Which table it is; `None` if there is none. One statement, once [`Self::may_identify`] was asked.
    pub(crate) async fn bronze_id(&self, client: &impl GenericClient, target: &TableRef) -> Result<Option<BronzeId>> {
        // Not on every managed service.
        let cluster = match self.may_identify(client).await? {
            true => "(select system_identifier::text from pg_catalog.pg_control_system())",
            false => "''",
        };
        let sql = format!("{BRONZE}, {cluster} from file");
        let rows = self.ask(client, &sql, &[(&target.sql(), Type::TEXT), (&self.watermarks(), Type::TEXT)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let Some(oid) = row.get::<_, Option<u32>>(0) else { return Ok(None) };
        Ok(Some(BronzeId {
            warehouse: format!("{}/{}", row.get::<_, &str>(4), row.get::<_, u32>(2)),
            control: row.get(1),
            table: target.to_string(),
            oid,
            file: row.get(3),
        }))
    }

    /// Whether the role may ask for the cluster's own number, which is asked once.
    pub(crate) async fn may_identify(&self, client: &impl GenericClient) -> Result<bool> {
        if let Some(known) = self.may_identify.get() {
            return Ok(*known);
        }
        let sql = "select pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'execute')";
        let may = self.ask(client, sql, &[]).await?.first().is_some_and(|row| row.get(0));
        Ok(*self.may_identify.get_or_init(|| may))
    }

    /// Whether that is known.
    pub(crate) fn knows_itself(&self) -> bool {
        self.may_identify.get().is_some()
    }

    /// Whether it holds no row.
    pub(crate) async fn is_empty(&self, client: &impl GenericClient, target: &TableRef) -> Result<bool> {
        let sql = format!("select not exists (select from {})", target.sql());
        Ok(self.ask(client, &sql, &[]).await?.first().is_some_and(|row| row.get(0)))
    }
}
