//! Every kind of watermark column, read to the microsecond and over all of history.

use dwh_core::source::Sweep;
use dwh_core::testing::TestDb;
use dwh_core::watermark::Micros;
use dwh_core::{Plan, Source, Timestamp};

use crate::source::{events, pg, read, rows};

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_watermark_column_is_read_exactly() {
    let db = TestDb::new("watermark_kinds").await;
    db.src(
        "create table events (id bigint primary key, a timestamptz, b timestamptz(3), c timestamp, d date);
         create index on events (a); create index on events (c); create index on events (d);
         insert into events select n, t, t, t at time zone 'Europe/Berlin', (t at time zone 'Europe/Berlin')::date from (values
           (1, '2026-10-01T00:00:00.000001Z'::timestamptz), (2, '2026-10-01T00:00:00.000002Z'),
           (3, '2026-10-01T00:00:00.5Z'), (4, '2026-10-02T00:00:00Z'), (5, '-infinity'), (6, '0044-03-15 BC'),
           (7, '1970-01-01T00:00:00Z'), (8, '0001-01-01T00:00:00Z'), (9, '12000-01-01T00:00:00Z')) v(n, t)",
    )
    .await;
    let source = pg(&db, "app_ro", |_| {});
    let berlin = jiff_zone("Europe/Berlin");
    for column in ["a", "b", "c", "d"] {
        let mut table = events();
        table.watermark = Some(column.to_owned());
        table.watermark_zone = Some(berlin.clone());
        table.exclude = ["a", "b", "c", "d"].iter().filter(|c| **c != column).map(|c| (*c).to_owned()).collect();
        let ids = async |low: &str, high: &str, sweep: Sweep| {
            let (_, text, late) = read(&source, &table, low, high, sweep).await;
            let mut ids: Vec<i64> =
                rows(&text).iter().map(|r| r.split(',').next().expect("id").parse().expect("id")).collect();
            ids.sort_unstable();
            (ids, late)
        };
        let all = ids("-infinity", "infinity", Sweep::Off).await;
        assert_eq!(all.0, [1, 2, 3, 4, 5, 6, 7, 8, 9], "{column}");
        if column == "a" {
            let (low, high) = ("2026-10-01T00:00:00.000001Z", "2026-10-01T00:00:00.5Z");
            assert_eq!(
                ids(low, high, Sweep::Off).await.0,
                [2, 3],
                "exclusive below, inclusive above, to the microsecond"
            );
        }
        if column == "c" {
            assert_eq!(ids("2026-10-01T00:00:00.000002Z", "2026-10-02T00:00:00Z", Sweep::Off).await.0, [3, 4]);
        }
        let schema = source.describe(&table).await.expect("described");
        let plan = Plan::new(&table, schema).expect("a plan");
        assert_eq!(plan.watermark_indexed, column != "b");
        let first = source.earliest(&plan, Timestamp::NEG_INFINITY).await.expect("earliest").expect("a row");
        assert!(first.to_string().starts_with("-000043-03-1"), "{column}: {first}");
        // 44 BC and the year 1 as ends of a window.
        let ancient = ids(&first.to_string(), "0001-06-01T00:00:00Z", Sweep::Off).await.0;
        let expected = if column == "a" { vec![8] } else { vec![6, 8] };
        assert!(ancient.ends_with(&[8]) && (ancient == expected || ancient == [8]), "{column}: {ancient:?}");
        let far = source.earliest(&plan, "2027-01-01T00:00:00Z".parse().expect("time")).await.expect("e").expect("far");
        let sql = plan.select(far.minus(Micros(1)), far, Sweep::Off, far);
        let found = db.source().query(&sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        assert_eq!(found.len(), 1, "{column}: {sql}");
        let back_to = "2026-09-01T00:00:00Z".parse().expect("time");
        let late = ids("2026-10-03T00:00:00Z", "2026-10-04T00:00:00Z", Sweep::LookBack { back_to }).await;
        assert_eq!(late, (vec![1, 2, 3, 4, 5], 5), "{column}: -infinity is never left out");
        let late = ids("2026-10-03T00:00:00Z", "2026-10-04T00:00:00Z", Sweep::Xmin { since: 3, back_to }).await;
        assert_eq!(late.1, 5, "{column}");
    }
}

fn jiff_zone(name: &str) -> jiff::tz::TimeZone {
    jiff::tz::TimeZone::get(name).expect("a zone")
}
