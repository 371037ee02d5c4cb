//! The clock, the watermark rows and the holders of tables, read without taking any.

use tokio_postgres::types::Type;
use tokio_postgres::{GenericClient, Row};

use super::watermark::{STATE, table_state};
use super::{Control, value};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{LeaseHolder, Overview, TableOverview};
use crate::watermark::Timestamp;

/// Whether `l`, a row of `pg_locks`, is the advisory lock of `key`, held: `lease_holder` proves nothing, for a killed
/// process takes nothing back.
pub(crate) const IS_LEASE: &str = "l.locktype = 'advisory' and l.granted and l.objsubid = 1 \
     and l.classid::bigint = (key >> 32) & 4294967295 and l.objid::bigint = key & 4294967295 \
     and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())";

impl Control {
    /// The name whose advisory lock is the lease of a table.
    pub(crate) fn lease_name(&self, table: &str) -> String {
        format!("dwh {} {table}", self.schema)
    }

    /// The clock.
    pub(crate) async fn now(&self, client: &impl GenericClient) -> Result<Timestamp> {
        let clock = self.ask(client, "select pg_catalog.clock_timestamp() as now", &[]).await?;
        value(clock.first().ok_or_else(|| Error::new(ErrorKind::Internal, "target: no clock came back"))?, "now")
    }

    /// The clock, all watermark rows, and who holds which table.
    pub(crate) async fn overview(&self, client: &impl GenericClient) -> Result<Overview> {
        let now = self.now(client).await?;
        let sql = format!(
            "with l as materialized (select * from pg_catalog.pg_locks where locktype = 'advisory') \
             select table_name, {STATE}, case when held then coalesce(lease_holder, 'unknown') end as holder, \
             coalesce(lease_since, pg_catalog.clock_timestamp()) as since from {}, \
             lateral (select pg_catalog.hashtextextended($1 || table_name, 0) as key) k, \
             lateral (select exists (select from l where {IS_LEASE}) as held) h",
            self.watermarks()
        );
        let rows = self.ask(client, &sql, &[(&self.lease_name(""), Type::TEXT)]).await?;
        Ok(Overview { now, tables: rows.iter().map(table_overview).collect::<Result<_>>()? })
    }
}

fn table_overview(row: &Row) -> Result<(String, TableOverview)> {
    let since = value(row, "since")?;
    let holder = value::<Option<String>>(row, "holder")?.map(|host| LeaseHolder { host, since });
    Ok((value(row, "table_name")?, TableOverview { state: table_state(row)?, holder }))
}
