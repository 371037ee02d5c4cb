//! Whether two queries on two servers give the same rows.

use crate::schema::quote_ident;
use crate::testing::TestDb;
use tokio_postgres::Client;

type Row = Vec<Option<String>>;

/// Asserts that a query at the source and one at the target give the same rows, counted, in any order.
///
/// Values are compared as text, geometry as EWKB.
///
/// # Panics
/// If they differ, with the first rows that only one side has.
pub async fn assert_equal_tables(db: &TestDb, source_sql: &str, target_sql: &str) {
    let (mut source, mut target) = (rows(db.source(), source_sql).await, rows(db.target(), target_sql).await);
    source.sort_unstable();
    target.sort_unstable();
    if source == target {
        return;
    }
    let (only_source, only_target) = (surplus(&source, &target), surplus(&target, &source));
    panic!(
        "source has {} rows, target {}\n{} only in the source, such as {:?}\n{} only in the target, such as {:?}",
        source.len(),
        target.len(),
        only_source.len(),
        &only_source[..only_source.len().min(3)],
        only_target.len(),
        &only_target[..only_target.len().min(3)],
    );
}

async fn rows(client: &Client, sql: &str) -> Vec<Row> {
    let statement = client.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let columns: Vec<String> = statement
        .columns()
        .iter()
        .map(|column| {
            let name = quote_ident(column.name());
            match column.type_().name() {
                "geometry" | "geography" => format!("encode(public.st_asewkb({name}::public.geometry), 'hex')"),
                _ => format!("{name}::text"),
            }
        })
        .collect();
    let sql = format!("select {} from ({sql}) q", columns.join(", "));
    let rows = client.query(&sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| (0..row.len()).map(|at| row.get(at)).collect()).collect()
}

/// The rows of `all`, sorted, that `others`, sorted, has not, or not as often.
fn surplus<'a>(all: &'a [Row], others: &[Row]) -> Vec<&'a Row> {
    let mut others = others.iter().peekable();
    all.iter()
        .filter(|row| {
            while others.next_if(|other| other < row).is_some() {}
            others.next_if(|other| other == row).is_none()
        })
        .collect()
}
