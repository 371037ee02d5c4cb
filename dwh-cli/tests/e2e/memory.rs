//! What a large row costs: its text once, and not once more for each hand that it passes through.

use crate::support::{Project, READABLE, number, table};
use dwh_core::testing::TestDb;
use std::fs;

/// The most memory that a process had so far, in bytes; `None` once it has ended.
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[tokio::test]
async fn a_large_row_takes_its_text_twice_at_most() {
    const ROW_BYTES: u64 = 100_000_000;
    let db = TestDb::new("large_row").await;
    db.src(&format!(
        "create schema app; {READABLE} create table app.t (id int primary key, v text);
         insert into app.t values (1, 'a'), (2, repeat('x', {ROW_BYTES})), (3, 'b');"
    ))
    .await;
    let project = Project::new(&db, &table("t", "app.t", "snapshot", ""));
    project.ok(&["migrate"]);
    let (ends_well, most) = watched(&project, &["run"]).await;
    assert!(ends_well);
    assert_eq!(number(&db, "select sum(length(v))::bigint from bronze.t").await, 100_000_002);
    assert!(most < 2 * ROW_BYTES + (64 << 20), "{} MB for a row of {} MB", most / 1_000_000, ROW_BYTES / 1_000_000);
    // One that a person made: looked at, loaded, and refused for what stands behind the large field.
    let folder = db.blobs().join("test/exports/t");
    let address = format!("{}/test/exports/t/by_hand.csv", db.blob_url());
    let load = ["load", "--table", "t", "--csv-path", &address, "--accept-unverified"];
    let write = |end: &str| {
        fs::create_dir_all(&folder).expect("folder");
        let text = format!("id,v\n1,a\n2,{}{end}\n", "x".repeat(ROW_BYTES as usize));
        fs::write(folder.join("by_hand.csv"), text).expect("written");
    };
    for (end, args, ends_as) in
        [(",", &load[..], false), ("", &[&load[..], &["--dry-run"]].concat(), true), ("", &load[..], true)]
    {
        write(end);
        let (ends_well, most) = watched(&project, args).await;
        assert_eq!(ends_well, ends_as, "{args:?}");
        assert!(most < 2 * ROW_BYTES + (64 << 20), "{args:?}: {} MB", most / 1_000_000);
    }
}

/// Each file is done with before the next one: what a thread or a row group needed is there for the next.
#[tokio::test]
async fn an_export_of_many_files_takes_as_much_as_of_one() {
    let db = TestDb::new("export_memory").await;
    db.src(&format!(
        "create schema app; {READABLE} create table app.t (id int primary key, at timestamptz not null, v text);
         insert into app.t select i, '2026-01-01'::timestamptz + i * interval '22 seconds', repeat(md5(i::text), 48)
             from generate_series(1, 64000) i; create index on app.t (at)"
    ))
    .await;
    let project = Project::new(&db, &table("t", "app.t", "incremental", "watermark = \"at\"\nkey = [\"id\"]"));
    project.ok(&["migrate"]);
    project.ok(&["run"]);
    let export = |to: &str, more: &[&str]| [&["export", "t", "--to", to][..], more].concat().join(" ");
    // What the allocator keeps depends on which thread is given what: one try of three must show that files cost nothing.
    let mut told = Vec::new();
    for attempt in 0..3 {
        let (one, all) = (format!("one{attempt}"), format!("all{attempt}"));
        let mut peaks = Vec::new();
        for (to, more, files) in [(&one, &["--to-time", "2026-01-01T01:00:00Z"][..], 1), (&all, &[], 17)] {
            let line = export(to, more);
            let (ends_well, most) = watched(&project, &line.split(' ').collect::<Vec<_>>()).await;
            let written = fs::read_dir(project.folder().join(to).join("t")).expect("a folder").count();
            // The manifest, and a file more where somebody's transaction held a run up in between.
            assert!(ends_well && written > files, "{line}: {written} files");
            peaks.push(most >> 20);
        }
        if peaks[1] < peaks[0] + 20 {
            return;
        }
        told.push(peaks);
    }
    panic!("{told:?} MiB");
}

/// Whether a command ends well, and the most memory that it had.
async fn watched(project: &Project, args: &[&str]) -> (bool, u64) {
    let mut child = project.spawn(args);
    let mut most = 0;
    loop {
        most = most.max(peak(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait().expect("its state") {
            return (status.success(), most);
        }
        tokio::task::yield_now().await;
    }
}
