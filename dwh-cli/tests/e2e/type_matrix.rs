//! Every type that PostgreSQL, its extensions and PostGIS know, found in the catalog: as a column, in an array, a domain, a
//! composite and arrays of these, NULL and two values, and as a key where it can be one; in every mode.

use crate::support::{Project, files, number, table};
use dwh_core::testing::{TestBlobs, TestDb, assert_equal_tables};

const MATRIX: &str = include_str!("../data/type_matrix.sql");

/// Each mode of a table with `id` and `at`.
const MODES: [(&str, &str, &str); 4] = [
    ("nothing", "incremental", "watermark = \"at\"\nkey = [\"id\"]\n"),
    ("update", "incremental", "watermark = \"at\"\nkey = [\"id\"]\non_conflict = \"update\"\n"),
    ("whole", "snapshot", ""),
    ("dated", "scd", ""),
];

/// Every extension that the server has, at the target in another schema wherever it can be.
const EXTENSIONS: &str =
    "create schema if not exists :at; grant usage on schema :at to public; do $$ declare x record; begin
    for x in select name from pg_available_extensions where installed_version is null
            -- This one finds its functions in `public` alone.
            order by name <> 'postgis_tiger_geocoder', name loop
        begin execute format('create extension if not exists %I schema :at cascade', x.name);
        exception when others then
            begin execute format('create extension if not exists %I cascade', x.name);
            -- Some have no script of their own, or need a program that is not installed.
            exception when others then raise notice '% %', x.name, sqlerrm; end;
        end;
    end loop;
    for x in select nspname from pg_namespace where nspname !~ '^pg_' loop
        execute format('grant usage on schema %I to public', x.nspname);
    end loop; end $$";

async fn names(db: &TestDb, list: &str) -> Vec<String> {
    let rows = db.source().query(&format!("select name from matrix.{list} order by name"), &[]).await.expect("names");
    rows.iter().map(|row| row.get(0)).collect()
}

/// The columns of a key table's primary key, as `key = […]`.
async fn key_of(db: &TestDb, name: &str) -> String {
    let sql = format!(
        "select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_index i join pg_attribute a
         on a.attrelid = i.indrelid and a.attnum = any (i.indkey) where i.indrelid = 'matrix.{name}'::regclass"
    );
    let columns: String = db.source().query_one(&sql, &[]).await.expect("key").get(0);
    let columns: Vec<String> = columns.split(", ").map(|column| format!("\"{column}\"")).collect();
    format!("key = [{}]\nwatermark = \"at\"\non_conflict = \"update\"\n", columns.join(", "))
}

async fn matrix(test: &str) -> (TestDb, Vec<String>, Vec<String>, String) {
    let db = TestDb::new(test).await;
    db.src(&EXTENSIONS.replace(":at", "public")).await;
    db.tgt(&EXTENSIONS.replace(":at", "extensions")).await;
    db.src(MATRIX).await;
    let (wide, keys) = (names(&db, "wide").await, names(&db, "keys").await);
    let mut config = String::new();
    for name in &wide {
        for (suffix, mode, more) in MODES {
            config += &table(&format!("{name}_{suffix}"), &format!("matrix.{name}"), mode, more);
        }
    }
    for name in &keys {
        config += &table(name, &format!("matrix.{name}"), "incremental", &key_of(&db, name).await);
    }
    (db, wide, keys, config)
}

async fn equal(db: &TestDb, wide: &[String], keys: &[String], copies: i64) {
    for name in wide {
        let source = format!("select * from matrix.{name}");
        for suffix in ["update", "whole"] {
            assert_equal_tables(db, &source, &format!("select * from bronze.{name}_{suffix}")).await;
        }
        let newest = format!("(select max(_uploaded_at) from bronze.{name}_dated)");
        let columns: String = db
            .target()
            .query_one(
                &format!(
                    "select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute \
                     where attrelid = 'bronze.{name}_whole'::regclass and attnum > 0"
                ),
                &[],
            )
            .await
            .expect("columns")
            .get(0);
        let dated = format!("select {columns} from bronze.{name}_dated where _uploaded_at = {newest}");
        assert_equal_tables(db, &source, &dated).await;
        let all = number(db, &format!("select count(distinct _uploaded_at) from bronze.{name}_dated")).await;
        assert_eq!(all, copies, "{name}");
    }
    for name in keys {
        assert_equal_tables(db, &format!("select * from matrix.{name}"), &format!("select * from bronze.{name}")).await;
    }
}

/// Every column of the second row gets the values of the third, and the other way round.
async fn swap(db: &TestDb, wide: &[String], keys: &[String]) {
    for name in wide {
        db.src(&format!(
            "create temporary table other as table matrix.{name}; delete from matrix.{name} where id > 0;
             update other set id = 3 - id, at = clock_timestamp() where id > 0;
             insert into matrix.{name} select * from other where id > 0; drop table other"
        ))
        .await;
    }
    for name in keys {
        db.src(&format!("update matrix.{name} set n = n + 10, at = clock_timestamp()")).await;
    }
}

#[tokio::test]
async fn every_type_arrives_in_every_mode() {
    let (db, wide, keys, config) = matrix("matrix").await;
    let project = Project::new(&db, &config);
    project.ok(&["migrate"]);
    project.ok(&["check"]);
    project.ok(&["run"]);
    for name in &wide {
        let copy = format!("select * from bronze.{name}_nothing");
        assert_equal_tables(&db, &format!("select * from matrix.{name}"), &copy).await;
    }
    equal(&db, &wide, &keys, 1).await;
    project.ok(&["verify"]);
    swap(&db, &wide, &keys).await;
    project.ok(&["run"]);
    equal(&db, &wide, &keys, 2).await;
    project.ok(&["verify", "keys*", "*_update", "*_whole"]);
    assert!(wide.len() > 9 && keys.len() > 50, "{} and {}", wide.len(), keys.len());
}

#[tokio::test]
async fn every_type_goes_through_a_bucket_and_comes_back_from_it() {
    let (db, wide, keys, config) = matrix("matrix_bucket").await;
    let blobs = TestBlobs::seaweedfs(&db).await;
    let project = Project::over(&db, &config, &blobs);
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    equal(&db, &wide, &keys, 1).await;
    // The files alone make everything again, types included.
    db.tgt("drop schema bronze cascade; drop schema dwh_control cascade; drop schema if exists matrix cascade").await;
    project.ok(&["rebuild"]);
    equal(&db, &wide, &keys, 1).await;
}

/// What has no text, or another meaning at the other end, is refused by its name before anything is read.
#[tokio::test]
async fn a_type_that_cannot_be_carried_is_refused_by_name() {
    let (db, ..) = matrix("matrix_mute").await;
    let rows = db.source().query("select name, type from matrix.mute order by name", &[]).await.expect("mute types");
    let mute: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let config: String = mute.iter().map(|(name, _)| table(name, &format!("matrix.{name}"), "snapshot", "")).collect();
    let project = Project::new(&db, &config);
    let migrated = project.fails(4, &["migrate"]);
    let checked = project.fails(4, &["check"]);
    for (name, type_name) in &mute {
        let bare = type_name.rsplit('.').next().expect("a name");
        assert!(migrated.all().contains(bare), "{type_name} is not named by migrate: {}", migrated.all());
        assert!(checked.all().contains(bare), "{type_name} is not named by check");
        project.fails(4, &["run", name]);
    }
    assert!(mute.len() > 15, "{mute:?}");
    assert!(files(db.blobs()).is_empty(), "something was read");
}
