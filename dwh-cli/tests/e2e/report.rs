//! `dwh report`: one page that needs nothing else, with the numbers of the run log.

use std::fs;

use crate::support::{Project, events, table};
use dwh_core::config::Environment;
use dwh_core::testing::TestDb;
use dwh_core::{Config, Pipeline};

/// What a browser would fetch from elsewhere, or run.
const FOREIGN: [&str; 5] = ["<script", "<link", "src=", "@import", "url("];

#[tokio::test]
async fn the_page_tells_what_status_tells() {
    let (db, project) = events("report_page").await;
    let report = project.fails(4, &["status", "--check"]).json();
    assert_eq!(report["healthy"], false);
    let written = project.json(&["report"]);
    assert_eq!(
        (&written["path"], &written["healthy"], &written["breaches"]),
        (&"report.html".into(), &false.into(), &2.into())
    );
    let page = fs::read_to_string(project.folder().join("report.html")).expect("the page");
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"), "{page}");
    for part in ["2 things need attention", "never loaded", "dwh run events"] {
        assert!(page.contains(part), "{part} is not in {page}");
    }

    project.ok(&["run"]);
    let page = project.ok(&["report", "-o", "-", "--days", "7"]).stdout;
    assert!(page.contains("All is well") && !page.contains("needs attention"), "{page}");
    for foreign in FOREIGN {
        assert!(!page.contains(foreign), "{foreign} is in {page}");
    }
    assert_eq!(page.matches("<svg").count(), 5, "a picture is missing: {page}");
    assert!(page.contains("All tables are fresh"), "{page}");
    assert!(page.contains(">100<"), "the rows of the last day are missing");
    db.tgt("delete from dwh_control.extract_runs").await;
    project.ok(&["report"]);
}

#[tokio::test]
async fn texts_from_outside_are_no_html() {
    let db = TestDb::new("report_escape").await;
    db.src("create schema app; create table app.t (id int primary key); grant usage on schema app to app_ro; grant select on app.t to app_ro").await;
    let project = Project::new(&db, &table("a<b>&c", "app.t", "snapshot", "target = \"bronze.t\""));
    project.ok(&["migrate"]);
    db.tgt("create function public.no() returns trigger language plpgsql as $$ begin raise '<script>alert(1)</script>'; end $$;
            create trigger no before insert on bronze.t execute function public.no()").await;
    db.src("insert into app.t values (1)").await;
    project.fails(4, &["run"]);
    let page = project.ok(&["report", "-o", "-"]).stdout;
    assert!(page.contains("a&lt;b&gt;&amp;c") && page.contains("&lt;script&gt;"), "{page}");
    assert!(!page.contains("<script") && !page.contains("a<b>"), "{page}");
}

#[tokio::test]
async fn a_page_that_cannot_be_written_leaves_the_old_one() {
    let (_db, project) = events("report_file").await;
    let failed = project.fails(1, &["report", "-o", "no/such/folder/report.html"]);
    let error = &failed.json()["error"];
    let told = format!("{} {}", error["message"], error["hint"]);
    assert!(told.contains("no/such/folder/report.html") && told.contains("--output-file"), "{told}");
    fs::write(project.folder().join("report.html"), "old").expect("the old page");
    fs::create_dir(project.folder().join("report.html.part")).expect("in the way");
    project.fails(1, &["report"]);
    assert_eq!(fs::read_to_string(project.folder().join("report.html")).expect("the old page"), "old");
}

#[tokio::test]
async fn runs_are_summed_by_the_days_of_the_project() {
    let (db, project) = events("report_days").await;
    project.ok(&["run"]);
    project.ok(&["run", "events"]);
    db.src("drop table app.other").await;
    project.fails(4, &["run", "other"]);
    // Nairobi is three hours ahead: 20:59 UTC is of the day, 21:00 is of the next one.
    db.tgt(
        "update dwh_control.extract_runs set run_started_at = '2026-01-10T20:00:00Z',
            run_finished_at = date_trunc('day', now() at time zone 'Africa/Nairobi') at time zone 'Africa/Nairobi'
                - interval '1 day' - case when table_name = 'other' then interval '1 second' else interval '0' end
         where status = 'loaded' and rows_loaded > 0 or table_name = 'other' and status = 'loaded'",
    )
    .await;
    let text = fs::read_to_string(project.folder().join("dwh.toml")).expect("dwh.toml");
    let config = Config::parse(&text, "dwh.toml".as_ref(), Environment::default()).expect("a configuration");
    let report = Pipeline::from_config(config).expect("a pipeline").report(4).await.expect("a report");
    let days: Vec<_> =
        report.history.days.iter().map(|day| (day.runs.loaded, day.runs.failed, day.runs.rows)).collect();
    assert_eq!(days, [(0, 0, 0), (1, 0, 0), (1, 0, 100), (1, 1, 0)]);
    let [events, other] = report.history.tables.as_slice() else { panic!("{:?}", report.history.tables) };
    assert_eq!((events.table.as_str(), events.runs.loaded, events.runs.rows), ("events", 2, 100));
    assert_eq!((other.table.as_str(), other.runs.loaded, other.runs.failed), ("other", 1, 1));
    assert!(events.runs.bytes > 0 && events.runs.longest_seconds.is_some(), "{events:?}");
    assert!(events.bronze_bytes.is_some_and(|bytes| bytes >= 8192), "{events:?}");

    // What a resync brings is told once, and not by its chunks as well.
    project.ok(&["resync", "events"]);
    let config = Config::parse(&text, "dwh.toml".as_ref(), Environment::default()).expect("a configuration");
    let report = Pipeline::from_config(config).expect("a pipeline").report(1).await.expect("a report");
    assert_eq!((report.history.days[0].runs.rows, report.history.tables[0].runs.rows), (100, 100));
}
