//! What check says of a blob store over HTTP.

use dwh_core::operate::{CheckReport, Severity};
use dwh_core::testing::{S3Effect, S3Fault, S3Server, TestDb};
use dwh_core::{Config, Pipeline};
use futures_util::TryStreamExt;

use super::{TABLE, sound};

async fn check(db: &TestDb, server: &S3Server) -> CheckReport {
    let blob = format!("url = \"s3://{}/{}\"\nendpoint = \"{}\"", server.bucket, db.name(), server.endpoint);
    let text = db.config(TABLE).replace(&format!("url = \"{}\"", db.blob_url()), &blob);
    let environment = [
        ("HOME", "/nowhere"),
        ("AWS_ACCESS_KEY_ID", server.access_key.as_str()),
        ("AWS_SECRET_ACCESS_KEY", server.secret_key.as_str()),
    ];
    let config = Config::parse(&text, "dwh.toml".as_ref(), environment.into_iter().collect()).expect("configuration");
    Pipeline::from_config(config).expect("pipeline").check(&[]).await.expect("tables")
}

fn of_blob(report: &CheckReport) -> Vec<(&str, Severity)> {
    let own = report.findings.iter().filter(|finding| finding.subject == "blob");
    own.map(|finding| (finding.check.as_str(), finding.severity)).collect()
}

#[tokio::test]
async fn abilities_of_seaweedfs_are_each_tried_out() {
    let (db, server) = (sound("check_seaweedfs").await, S3Server::start_seaweedfs().await);
    let report = check(&db, &server).await;
    let words: Vec<&str> = of_blob(&report).iter().map(|(word, _)| *word).collect();
    assert_eq!(words, ["tls", "write", "conditional_put", "server_copy", "paging", "multipart", "uploads"]);
    let bad: Vec<_> = of_blob(&report)
        .into_iter()
        .filter(|(word, severity)| *severity != Severity::Ok && *word != "uploads")
        .collect();
    assert!(bad.is_empty(), "{report:#?}");
    let store = server.store(db.name());
    let left: Vec<_> = dwh_core::BlobStore::list(&store, "").try_collect().await.expect("list");
    assert!(left.is_empty(), "check left {left:?}");
}

#[tokio::test]
async fn a_store_without_an_ability_is_told_what_is_done_instead() {
    let (db, server) = (sound("check_s3s").await, S3Server::start_in_process().await);
    // The contract's own copy falls back as well, and is asked first.
    let refuse = |method, matching, times, status, code| {
        server.inject(S3Fault { method, matching, times, effect: S3Effect::Answer(status, code) });
    };
    refuse("PUT", "copy", 2, 501, "NotImplemented");
    refuse("POST", "uploads", 1, 403, "AccessDenied");
    let report = check(&db, &server).await;
    let found = of_blob(&report);
    assert!(found.contains(&("server_copy", Severity::Warning)), "{report:#?}");
    assert!(found.contains(&("multipart", Severity::Failure)), "{report:#?}");
    assert!(found.contains(&("uploads", Severity::Warning)), "{report:#?}");
    assert!(found.contains(&("conditional_put", Severity::Ok)), "{report:#?}");
    assert_eq!(report.exit_code(), 4);

    server.inject(S3Fault {
        method: "GET",
        matching: "list-type",
        times: 100,
        effect: S3Effect::Answer(403, "AccessDenied"),
    });
    let report = check(&db, &server).await;
    assert!(of_blob(&report).contains(&("write", Severity::Failure)), "{report:#?}");
}
