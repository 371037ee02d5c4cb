//! The programs of `examples/` that need servers, on real ones.

#[path = "../../../examples/embed.rs"]
#[allow(dead_code, reason = "its main is for the command line")]
mod embedded;
#[path = "../../../examples/first_run.rs"]
#[allow(dead_code, reason = "the same")]
mod first_run;

use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

use crate::support::{events, number};
use dwh_core::ErrorKind;

#[tokio::test]
async fn programs_run_tables_and_explain_what_failed() {
    let (db, project) = events("embed").await;
    let path = project.folder().join("dwh.toml");
    let report = first_run::run(&path).await.expect("a report");
    assert_eq!((report.exit_code(), report.runs.len()), (0, 2), "{report:?}");
    assert_eq!(number(&db, "select count(*) from bronze.events").await, 100);

    let path = path.to_str().expect("UTF-8");
    let stop = CancellationToken::new();
    db.src("alter table app.events add column more text").await;
    let report = embedded::run(path, vec!["ev*".to_owned()], &stop).await.expect("a report");
    assert_eq!(report.exit_code(), 4, "the column is new: {report:?}");
    assert_eq!(embedded::outcome(&report), ExitCode::from(4));

    let error = embedded::run(path, vec!["nobody".to_owned()], &stop).await.expect_err("no such table");
    assert_eq!(embedded::explain(&error), ExitCode::from(error.exit_code()));
    let error = embedded::run("nowhere.toml", Vec::new(), &stop).await.expect_err("no file");
    assert_eq!(error.exit_code(), 2, "{error:?}");

    stop.cancel();
    let report = embedded::run(path, vec!["other".to_owned()], &stop).await;
    let stopped = match &report {
        Err(error) => error.kind() == ErrorKind::Interrupted,
        Ok(report) => report.runs.iter().all(|run| run.error.as_ref().is_some_and(|error| error.code == "interrupted")),
    };
    assert!(stopped, "{report:?}");
}
