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

/// The same of one table, and whether it may have partitions or children: without them the server has much less to plan.
const ALONE: &str = "select c.oid, $2::pg_catalog.regclass::oid, \
     (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()), \
     coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::text";

/// What one short question tells of a bronze table.
pub(crate) enum Alone {
    /// There is none.
    Missing,
    /// Which table it is.
    Known(BronzeId),
    /// It has partitions or children, and they are not looked at.
    HasParts,
}

impl Control {
    /// Which table it is; `None` if there is none.
    pub(crate) async fn bronze_id(&self, client: &impl GenericClient, target: &TableRef) -> Result<Option<BronzeId>> {
        match self.bronze_alone(client, target).await? {
            Alone::Missing => Ok(None),
            Alone::Known(id) => Ok(Some(id)),
            Alone::HasParts => Ok(self.bronze_ids(client, &[target]).await?.pop().flatten()),
        }
    }

    /// The same by one statement, once [`Self::may_identify`] was asked.
    pub(crate) async fn bronze_alone(&self, client: &impl GenericClient, target: &TableRef) -> Result<Alone> {
        let cluster = self.cluster(client).await?;
        let sql = format!(
            "{ALONE}, {cluster}, c.relhassubclass from pg_catalog.pg_class c where c.oid = pg_catalog.to_regclass($1)"
        );
        let params: Params<'_> = &[(&target.sql(), Type::TEXT), (&self.watermarks(), Type::TEXT)];
        let rows = self.ask(client, &sql, params).await?;
        let Some(row) = rows.first() else { return Ok(Alone::Missing) };
        if row.get(5) {
            return Ok(Alone::HasParts);
        }
        Ok(Alone::Known(BronzeId {
            warehouse: format!("{}/{}", row.get::<_, &str>(4), row.get::<_, u32>(2)),
            control: row.get(1),
            table: target.to_string(),
            oid: row.get(0),
            file: row.get(3),
        }))
    }

    /// What asks for the cluster's own number, which is not to be had on every managed service.
    async fn cluster(&self, client: &impl GenericClient) -> Result<&'static str> {
        Ok(match self.may_identify(client).await? {
            true => "(select system_identifier::text from pg_catalog.pg_control_system())",
            false => "''",
        })
    }

    /// The same of many, in their order. One statement, once [`Self::may_identify`] was asked.
    pub(crate) async fn bronze_ids(
        &self,
        client: &impl GenericClient,
        targets: &[&TableRef],
    ) -> Result<Vec<Option<BronzeId>>> {
        let cluster = self.cluster(client).await?;
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
