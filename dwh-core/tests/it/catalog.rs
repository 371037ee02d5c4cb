//! What the catalog says of a table, asked through the sink: the source asks the same.

use dwh_core::PgSink;
use dwh_core::config::Environment;
use dwh_core::schema::{RelationKind, TableRef, TableSchema, TypeName};
use dwh_core::sink::Sink;
use dwh_core::testing::TestDb;

async fn seen(db: &TestDb, name: &str) -> Option<TableSchema> {
    let target = crate::migrations::target(&db.source_url());
    let sink = PgSink::new(&target, &Environment::default()).expect("a sink");
    sink.describe(&TableRef::new("public", name)).await.expect("described")
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_told_exactly() {
    let db = TestDb::new("catalog_columns").await;
    db.src(
        "create domain place as geometry(Point, 4326) not null; create domain place2 as place;
         create table t (id bigint generated always as identity, gone int, n numeric(6,2) not null default 1,
             twice numeric generated always as (n * 2) stored, g geometry(PointZ, 4326), d place2,
             ts timestamp(3) without time zone, c \"char\", v varchar(20)[])",
    )
    .await;
    db.src("alter table t drop column gone").await;
    let table = seen(&db, "t").await.expect("is there");
    let told: Vec<String> = table
        .columns
        .iter()
        .map(|c| {
            let flags = [(c.not_null, "!"), (c.generated, "="), (c.identity, "#"), (c.geometry, "@")];
            let flags: String = flags.iter().filter(|(on, _)| *on).map(|(_, flag)| *flag).collect();
            format!("{} {}{flags}{}", c.name, c.type_name, c.default.clone().unwrap_or_default())
        })
        .collect();
    assert_eq!(
        told,
        [
            "id bigint!#",
            "n numeric(6,2)!1",
            "twice numeric=",
            "g public.geometry(PointZ,4326)@",
            "d public.place2!@",
            "ts timestamp(3) without time zone",
            "c \"char\"",
            "v character varying(20)[]",
        ]
    );
    assert_eq!((table.kind, table.row_estimate), (RelationKind::Table, -1));
    assert!(seen(&db, "nothing").await.is_none());
}

/// The server is the oracle: whatever it prints is read, and comes back byte by byte.
#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_named_as_the_server_names_it() {
    let db = TestDb::new("catalog_types").await;
    let typed = |name: String| assert_eq!(name.parse::<TypeName>().expect(&name).as_str(), name);
    // Every word of the grammar as a type's name, and every type of the server with its modifiers.
    let words = "select 'app.' || quote_ident(word) from pg_get_keywords() where word not like '%serial'";
    let types = "select format_type(t.oid, m) from pg_type t, unnest(array[-1, 4, 655366]) m \
                 where t.typtype in ('b', 'r', 'm', 'd', 'e') and (m = -1 or t.typmodout <> 0) \
                   and t.typname !~ 'interval|geo' \
                 union all select format_type(t.oid, m) from pg_type t, unnest(array[-1, 4]) m \
                 where t.typname ~ 'geo' and t.typtype = 'b'";
    let spans = "select format('%s%s', format_type('interval'::regtype, (mask << 16) | p), '[]') \
                 from unnest(array[4, 2, 8, 1024, 2048, 4096, 6, 1032, 3080, 7176, 3072, 7168, 6144, 32767]) mask, \
                   unnest(array[65535, 0, 3]) p where p = 65535 or mask in (4096, 7176, 7168, 6144, 32767)";
    for sql in [words, types, spans] {
        db.src("set search_path = ''").await;
        let rows = db.source().query(sql, &[]).await.expect("names");
        let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(names.len() > 20, "{sql}");
        names.into_iter().for_each(typed);
    }
}

/// PostGIS is the oracle: its modifiers are spelled out without it, since that would load it into the session.
#[tokio::test(flavor = "multi_thread")]
async fn places_are_named_as_postgis_names_them() {
    let db = TestDb::new("catalog_places").await;
    db.src(
        "create table places (bare geometry, several geometry(Point, 4326)[]);
         do $$ declare kind text; dims text; srid text; type text; begin
           foreach kind in array array['Geometry', 'Point', 'LineString', 'Polygon', 'MultiPoint', 'MultiLineString', 'MultiPolygon',
             'GeometryCollection', 'CircularString', 'CompoundCurve', 'CurvePolygon', 'MultiCurve', 'MultiSurface',
             'PolyhedralSurface', 'Triangle', 'Tin'] loop
             foreach dims in array array['', 'Z', 'M', 'ZM'] loop
               foreach srid in array array['', ',4326', ',2056', ',998999'] loop
                 type := format('geometry(%s%s%s)', kind, dims, srid);
                 execute format('alter table places add column %I %s', type, type);
                 if srid = ',4326' and kind !~ 'C|Surface|T' then
                   type := format('geography(%s%s%s)', kind, dims, srid);
                   execute format('alter table places add column %I %s', type, type);
                 end if;
               end loop;
             end loop;
           end loop; end $$",
    )
    .await;
    let table = seen(&db, "places").await.expect("is there");
    let told: Vec<String> = table.columns.iter().map(|column| column.type_name.to_string()).collect();
    db.src("set search_path = ''").await;
    let sql = "select format_type(atttypid, atttypmod) from pg_attribute \
               where attrelid = 'public.places'::regclass and attnum > 0 order by attnum";
    let rows = db.source().query(sql, &[]).await.expect("types");
    let named: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(told, named);
    assert!(named.len() > 280, "{}", named.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_say_why_they_cannot_serve() {
    let db = TestDb::new("catalog_keys").await;
    db.src(
        "create table t (a int not null, b int not null, c int, d text not null, primary key (b, a));
         create unique index t_null on t (c); create unique index t_null_ok on t (c) nulls not distinct;
         create unique index t_part on t (a) where b > 0; create unique index t_expr on t (lower(d));
         create unique index t_incl on t (d) include (c);
         alter table t add constraint t_defer unique (a, d) deferrable;
         create index on t using brin (a)",
    )
    .await;
    let table = seen(&db, "t").await.expect("is there");
    let told: Vec<String> = table
        .keys
        .iter()
        .map(|k| format!("{}({}): {}", k.name, k.columns.join(","), k.unusable.as_deref().unwrap_or("ok")))
        .collect();
    assert_eq!(
        told,
        [
            "t_pkey(b,a): ok",
            "t_defer(a,d): it is deferrable",
            "t_expr(): it is over an expression",
            "t_incl(d): ok",
            "t_null(c): column `c` may be NULL, and NULLs never conflict",
            "t_null_ok(c): ok",
            "t_part(a): it is partial",
        ]
    );
    assert_eq!(table.indexed, ["a", "b", "c", "d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_partitions_are_counted_once() {
    let db = TestDb::new("catalog_parts").await;
    db.src(
        "create table p (a int) partition by range (a); create table p1 partition of p for values from (0) to (9);
         insert into p select 1 from generate_series(1, 100); analyze p; create view v as select * from p",
    )
    .await;
    let table = seen(&db, "p").await.expect("is there");
    assert_eq!((table.kind, table.row_estimate), (RelationKind::Partitioned, 100));
    assert_eq!(seen(&db, "v").await.expect("is there").kind, RelationKind::View);
}
