//! Which table a bronze table is: its oid, and the files that its rows are stored in.

use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use super::{Control, Params};
use crate::error::Result;
use crate::identity::BronzeId;
use crate::schema::TableRef;

/// The tables `$1`, in their order, and the control schema's `$2`: their numbers, that of the database, and the files.
/// Partitions and children count as the table itself; of many the files are told by their hash.
const BRONZE: &str = "with recursive root (place, oid) as ( \
     select w.place, pg_catalog.to_regclass(w.name)::oid from pg_catalog.unnest($1) with ordinality w(name, place)), \
     member (root, oid) as (select oid, oid from root where oid is not null union \
     select m.root, i.inhrelid from pg_catalog.pg_inherits i join member m on i.inhparent = m.oid), \
     file (root, oid, node) as (select root, oid, coalesce(pg_catalog.pg_relation_filenode(oid), 0)::text from member) \
     select r.place, r.oid, $2::pg_catalog.regclass::oid, \
     (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()), \
     case when pg_catalog.count(*) = 1 then pg_catalog.min(f.node) else pg_catalog.encode(pg_catalog.sha256( \
     pg_catalog.convert_to(pg_catalog.string_agg(f.oid::text || ':' || f.node, ',' order by f.oid), 'UTF8')), 'hex') end";

impl Control {
    /// Which table it is; `None` if there is none.
    pub(crate) async fn bronze_id(&self, client: &impl GenericClient, target: &TableRef) -> Result<Option<BronzeId>> {
        Ok(self.bronze_ids(client, &[target]).await?.pop().flatten())
    }

    /// The same of many, in their order. One statement, once [`Self::may_identify`] was asked.
    pub(crate) async fn bronze_ids(
        &self,
        client: &impl GenericClient,
        targets: &[&TableRef],
    ) -> Result<Vec<Option<BronzeId>>> {
        // Not on every managed service.
        let cluster = match self.may_identify(client).await? {
            true => "(select system_identifier::text from pg_catalog.pg_control_system())",
            false => "''",
        };
        let sql = format!("{BRONZE}, {cluster} from root r join file f on f.root = r.oid group by r.place, r.oid");
        let names: Vec<String> = targets.iter().map(|target| target.sql()).collect();
        let params: Params<'_> = &[(&names, Type::TEXT_ARRAY), (&self.watermarks(), Type::TEXT)];
        let mut ids = vec![None; targets.len()];
        for row in self.ask(client, &sql, params).await? {
            let place = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
            let Some((slot, target)) = ids.get_mut(place).zip(targets.get(place)) else { continue };
            *slot = Some(BronzeId {
                warehouse: format!("{}/{}", row.get::<_, &str>(5), row.get::<_, u32>(3)),
                control: row.get(2),
                table: target.to_string(),
                oid: row.get(1),
                file: row.get(4),
            });
        }
        Ok(ids)
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
        Ok(self.are_empty(client, &[target]).await?.first() == Some(&true))
    }

    /// The same of a few tables, all of which are there: each is locked until the transaction ends.
    pub(crate) async fn are_empty(&self, client: &impl GenericClient, targets: &[&TableRef]) -> Result<Vec<bool>> {
        let list: Vec<String> =
            targets.iter().map(|target| format!("not exists (select from {})", target.sql())).collect();
        let rows = self.ask(client, &format!("select array[{}]", list.join(", ")), &[]).await?;
        Ok(rows.first().map(|row| row.get(0)).unwrap_or_default())
    }
}
