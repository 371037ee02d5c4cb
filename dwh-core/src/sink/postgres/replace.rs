//! Rows that leave bronze, or never come there, because a CSV stands for its window alone.

use tokio::sync::OnceCell;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use crate::catalog::equality;
use crate::chain::Replaced;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{EXTRA, Equality, LoadPlan};
use crate::schema::RowKey;
use crate::sink::doubled;

/// What a driver's error is told as: with the names of table and bronze.
pub(super) type Named = fn(&LoadPlan, tokio_postgres::Error) -> Error;

/// Keys that are fetched at once.
const FETCH_KEYS: usize = 2_000;

/// Where the look at the keys that bronze alone has stands.
#[derive(Debug, Default)]
pub(super) enum Extra {
    #[default]
    NotBegun,
    Open,
    Ended,
}

impl Extra {
    /// The next keys; none at the end.
    pub(super) async fn next(
        &mut self,
        client: &Client,
        load: &LoadPlan,
        keyed: &Keyed,
        named: Named,
    ) -> Result<Vec<RowKey>> {
        let failed = |error| named(load, error);
        let Some(window) = load.removes() else { return Ok(Vec::new()) };
        if matches!(self, Self::NotBegun) {
            client.batch_execute(&load.analyze_stage()).await.map_err(failed)?;
            let key = keyed.of(client, load).await?;
            client.batch_execute(&load.declare_extra(window, key)?).await.map_err(failed)?;
            *self = Self::Open;
        }
        if matches!(self, Self::Ended) {
            return Ok(Vec::new());
        }
        let fetch = format!("fetch forward {FETCH_KEYS} from {EXTRA}");
        let rows = client.query_typed(&fetch, &[]).await.map_err(failed)?;
        if rows.is_empty() {
            client.batch_execute(&format!("close {EXTRA}")).await.map_err(failed)?;
            *self = Self::Ended;
        }
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

/// Spared keys as the parameters of a statement: an array for each column of the key; none where nothing is spared.
struct Spares<'a>(Vec<Vec<Option<&'a str>>>);

impl<'a> Spares<'a> {
    fn of(window: &'a Replaced) -> Self {
        let width = if window.spares.is_empty() { 0 } else { window.key.len() };
        Self((0..width).map(|at| window.spares.iter().map(|key| key[at].as_deref()).collect()).collect())
    }

    fn values(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.0.iter().map(|column| (column as &(dyn ToSql + Sync), Type::TEXT_ARRAY)).collect()
    }
}

/// How the columns of the key are compared in bronze: asked once a load.
#[derive(Debug, Default)]
pub(super) struct Keyed(OnceCell<Vec<Equality>>);

impl Keyed {
    pub(super) async fn of(&self, client: &Client, load: &LoadPlan) -> Result<&[Equality]> {
        let asked =
            self.0.get_or_try_init(|| async { equality(client, Some(&load.target), &load.key_columns()).await });
        asked.await.map(Vec::as_slice)
    }
}

async fn execute(client: &Client, load: &LoadPlan, named: Named, window: &Replaced, sql: &str) -> Result<u64> {
    let spares = Spares::of(window);
    client.execute_typed(sql, &spares.values()).await.map_err(|error| named(load, error))
}

/// Takes rows out of the staging table that newer CSV files have removed; returns how many.
pub(super) async fn drop_overruled(client: &Client, load: &LoadPlan, keyed: &Keyed, named: Named) -> Result<u64> {
    let mut dropped = 0;
    if load.overruled.is_empty() {
        return Ok(dropped);
    }
    let key = keyed.of(client, load).await?;
    for window in &load.overruled {
        dropped += execute(client, load, named, window, &load.drop_overruled(window, key)?).await?;
    }
    Ok(dropped)
}

/// Refuses staged rows that are new by the key of today, and versions of rows that bronze has by one that held once.
pub(super) async fn refuse_known_formerly(client: &Client, load: &LoadPlan, keyed: &Keyed, named: Named) -> Result<()> {
    for (former, columns) in load.usable_former_keys() {
        let today = keyed.of(client, load).await?;
        let by = equality(client, Some(&load.target), &columns).await?;
        let count = client.query_typed_one(&load.count_known_formerly(today, &by), &[]).await;
        let rows = count.map_err(|error| named(load, error))?.get::<_, i64>(0).cast_unsigned();
        if rows > 0 {
            return Err(load.known_formerly(former, rows));
        }
    }
    Ok(())
}

/// Rows of bronze are looked for among the staged ones, which have no index: statistics of bronze from before it had marks,
/// or the rows of a window, would say that there is one such row, and each of many be compared with all staged ones.
const BY_HASH: &str = "set local enable_nestloop = off";
const AS_USUAL: &str = "set local enable_nestloop to default";

/// The same statements, planned without nested loops.
pub(super) async fn by_hash<T>(
    client: &Client,
    load: &LoadPlan,
    named: Named,
    done: impl Future<Output = Result<T>>,
) -> Result<T> {
    let set = async |sql| client.batch_execute(sql).await.map_err(|error| named(load, error));
    set(BY_HASH).await?;
    let done = done.await?;
    set(AS_USUAL).await?;
    Ok(done)
}

/// Removes what bronze has in the window and the CSV has not; returns how many rows.
pub(super) async fn remove(client: &Client, load: &LoadPlan, keyed: &Keyed, named: Named) -> Result<u64> {
    let Some(window) = load.removes() else { return Ok(0) };
    let key = keyed.of(client, load).await?;
    let (count, remove) = (load.count_removed(window, key)?, load.remove(window, key)?);
    let spares = Spares::of(window);
    let done = async {
        let row = client.query_typed_one(&count, &spares.values()).await.map_err(|error| named(load, error))?;
        let announced = row.get::<_, i64>(0).cast_unsigned();
        if announced == 0 {
            return Ok(0);
        }
        let removed = execute(client, load, named, window, &remove).await?;
        as_announced(load, announced, removed)
    };
    by_hash(client, load, named, done).await
}

pub(super) fn as_announced(load: &LoadPlan, announced: u64, removed: u64) -> Result<u64> {
    if removed == announced {
        return Ok(removed);
    }
    Err(Error::new(
        ErrorKind::Data,
        format!(
            "table `{}`: row accounting: {announced} rows of {} are not at the source any more, but {removed} were removed",
            load.table, load.target
        ),
    )
    .with_hint(format!(
        "nothing was changed; look for a trigger, a rule or row level security on {} that keeps rows",
        load.target
    )))
}

/// Removes what bronze has of the file that the CSV stands for, and the CSV has not; returns how many rows.
pub(super) async fn remove_of_file(client: &Client, load: &LoadPlan, keyed: &Keyed, named: Named) -> Result<u64> {
    let announced = count_of_file(client, load, keyed, named).await?;
    let Some(path) = load.removes_of_file().filter(|_| announced > 0) else { return Ok(0) };
    let remove = load.remove_of_file(path, keyed.of(client, load).await?);
    let removed = client.execute_typed(&remove, &[]).await.map_err(|error| named(load, error))?;
    as_announced(load, announced, removed)
}

/// How many rows [`remove_of_file`] removes.
pub(super) async fn count_of_file(client: &Client, load: &LoadPlan, keyed: &Keyed, named: Named) -> Result<u64> {
    let Some(path) = load.removes_of_file() else { return Ok(0) };
    let count = load.count_of_file(path, keyed.of(client, load).await?);
    let row = client.query_typed_one(&count, &[]).await.map_err(|error| named(load, error))?;
    Ok(row.get::<_, i64>(0).cast_unsigned())
}

/// Refuses staged records of a file that share a key.
pub(super) async fn told_apart(client: &Client, load: &LoadPlan, keyed: &Keyed, named: Named) -> Result<()> {
    let failed = |error| named(load, error);
    client.batch_execute(&load.analyze_stage()).await.map_err(failed)?;
    let key = keyed.of(client, load).await?;
    let rows = client.query_typed(&load.doubled_records(key), &[]).await.map_err(failed)?;
    let pairs: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    if pairs.is_empty() { Ok(()) } else { Err(doubled(load, &pairs)) }
}
