//! Each breach on and off, at its edge.

use super::breach;
use super::judge::{Facts, table_status};
use super::{Breach, BreachCheck, DiskStatus, DiskUse, StoreStatus, TableStatus};
use crate::config::{Mode, TableConfig, Thresholds};
use crate::error::{Error, ErrorKind};
use crate::run::{RunId, RunKind, RunState};
use crate::sink::{LeaseHolder, RunRecord, TableOverview, TableState};
use crate::watermark::{Micros, Timestamp};

const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);
const MOMENT: Micros = Micros(1);
const HOUR: Micros = Micros::seconds(3600);
const DAY: Micros = Micros::seconds(24 * 3600);

fn ago(span: Micros) -> Timestamp {
    NOW.minus(span)
}

/// A run that ended so long ago, after a second.
fn run(run_id: i64, status: RunState, ended: Micros) -> RunRecord {
    let began = ago(ended).minus(Micros::seconds(1));
    RunRecord {
        run_finished_at: status.is_final().then(|| ago(ended)),
        status,
        rows_loaded: (status == RunState::Loaded).then_some(10),
        error_message: (status == RunState::Failed).then(|| "it\nbroke".into()),
        ..RunRecord::begun(RunId(run_id), "trips", Mode::Incremental, RunKind::Run, began)
    }
}

fn loaded(run_id: i64, ended: Micros) -> RunRecord {
    run(run_id, RunState::Loaded, ended)
}

fn failed(run_id: i64, ended: Micros) -> RunRecord {
    run(run_id, RunState::Failed, ended)
}

fn table(thresholds: &Thresholds) -> TableConfig {
    let text = "[project]\nname = \"p\"\n[source.s]\nurl = \"x\"\n[target]\nurl = \"x\"\n[blob]\nurl = \"file:///x\"\n\
                [[table]]\nname = \"trips\"\nrelation = \"a.b\"\nmode = \"snapshot\"";
    let config = crate::Config::parse(text, "dwh.toml".as_ref(), crate::config::Environment::default());
    let mut config = config.expect("a configuration");
    TableConfig { thresholds: thresholds.clone(), ..config.tables.remove(0) }
}

fn limits() -> Thresholds {
    Thresholds::of_cadence(HOUR)
}

/// The status of a table with these runs (newest first), holder and waiting CSV files.
fn status(
    thresholds: &Thresholds,
    runs: &[RunRecord],
    overview: Option<&TableOverview>,
    waiting: &[Timestamp],
) -> TableStatus {
    table_status(&Facts { table: &table(thresholds), now: NOW, runs, overview, waiting: Some(waiting), conflict: None })
}

fn found(thresholds: &Thresholds, runs: &[RunRecord]) -> Vec<BreachCheck> {
    checks(&breach::of_table(&status(thresholds, runs, None, &[]), thresholds))
}

fn checks(breaches: &[Breach]) -> Vec<BreachCheck> {
    breaches.iter().map(|breach| breach.check).collect()
}

fn held(since: Micros) -> TableOverview {
    let holder = Some(LeaseHolder { host: "etl pid 7".into(), since: ago(since) });
    TableOverview { state: TableState::default(), holder }
}

#[test]
fn freshness_ends_at_max_lag() {
    let limits = limits();
    assert_eq!(found(&limits, &[]), [BreachCheck::NeverLoaded]);
    assert_eq!(found(&limits, &[loaded(1, Micros(2 * HOUR.0 - 1))]), []);
    assert_eq!(found(&limits, &[loaded(1, Micros(2 * HOUR.0))]), [BreachCheck::Stale]);
    // A stamp of the future tells no age, but for the seconds by which clocks differ.
    let minutes = |ahead: i64| loaded(1, Micros::seconds(-60 * ahead));
    assert_eq!(found(&limits, &[minutes(5)]), []);
    let ahead = status(&limits, &[minutes(120)], None, &[]);
    let breaches = breach::of_table(&ahead, &limits);
    assert_eq!((ahead.fresh, ahead.rows_last_24h, checks(&breaches)), (false, 0, vec![BreachCheck::Stale]));
    let told = "its last load is stamped 2 h 0 min ahead of the clock of the target, which was set back: how old it is cannot be told";
    assert_eq!((&*breaches[0].message, &*breaches[0].remedy), (told, "dwh run trips"));
    // The next load, of a higher number, has a stamp that tells.
    assert_eq!(found(&limits, &[loaded(2, HOUR), minutes(120)]), []);
    // A backfill makes no table fresh, nor does a run that is not over.
    let backfill = RunRecord { kind: RunKind::Backfill, ..loaded(1, HOUR) };
    assert_eq!(found(&limits, &[backfill]), [BreachCheck::NeverLoaded]);
    assert_eq!(found(&limits, &[run(1, RunState::Loading, HOUR)]), [BreachCheck::NeverLoaded]);
}

#[test]
fn what_is_gone_from_the_log_is_remembered_by_the_watermark_row() {
    let state = TableState {
        last_extracted_at: Some(ago(HOUR)),
        last_loaded_at: Some(ago(Micros::seconds(60))),
        ..TableState::default()
    };
    let overview = TableOverview { state, holder: None };
    let status = status(&limits(), &[], Some(&overview), &[]);
    assert!(status.fresh && breach::of_table(&status, &limits()).is_empty(), "{status:?}");
    assert_eq!((status.lag_seconds, status.extract_lag_seconds), (Some(60.0), Some(3600.0)));
    // The seed of a new row is no watermark.
    let seeded = TableState { last_extracted_at: Some(Timestamp::SEED), ..TableState::default() };
    let overview = TableOverview { state: seeded, holder: None };
    assert_eq!(super::tests::status(&limits(), &[], Some(&overview), &[]).watermark, None);
}

#[test]
fn a_resync_that_nobody_goes_on_with_comes_first() {
    let resync = |status| RunRecord { kind: RunKind::Resync, ..run(1, status, HOUR) };
    let chunk = RunRecord { kind: RunKind::Chunk, ..loaded(2, HOUR) };
    let now = loaded(0, MOMENT);
    for stopped in [RunState::Extracting, RunState::Uploaded, RunState::Loading] {
        assert_eq!(found(&limits(), &[resync(stopped), now.clone()]), [BreachCheck::CutOff]);
    }
    let runs = [failed(3, HOUR), chunk, resync(RunState::Uploaded), now.clone()];
    assert_eq!(found(&limits(), &runs), [BreachCheck::CutOff, BreachCheck::Failure]);
    let status = status(&limits(), &runs[1..], Some(&held(HOUR)), &[]);
    assert!(breach::of_table(&status, &limits()).is_empty(), "somebody is at it");
    assert_eq!(found(&limits(), &[resync(RunState::Loaded), now.clone()]), []);
    // The chunk that died has a higher number than the resync, which was gone on with.
    let ended = RunRecord { run_finished_at: Some(ago(MOMENT)), ..resync(RunState::Loaded) };
    assert_eq!(found(&limits(), &[failed(3, HOUR), ended, now]), []);
}

#[test]
fn a_failure_counts_for_a_day_or_until_the_next_load() {
    let limits = Thresholds { max_lag: Micros(30 * DAY.0), ..limits() };
    let fresh = loaded(1, Micros(2 * DAY.0));
    let day = Micros(DAY.0 - 1);
    assert_eq!(found(&limits, &[failed(2, day), fresh.clone()]), [BreachCheck::Failure]);
    assert_eq!(found(&limits, &[failed(2, DAY), fresh.clone()]), []);
    assert_eq!(found(&limits, &[loaded(3, HOUR), failed(2, HOUR), fresh.clone()]), []);
    // Only an ordinary run shows that the table works again.
    let backfill = RunRecord { kind: RunKind::Backfill, ..loaded(3, HOUR) };
    assert_eq!(found(&limits, &[backfill, failed(2, HOUR), fresh.clone()]), [BreachCheck::Failure]);
    // One that is tried again at this moment is not mended yet.
    assert_eq!(
        found(&limits, &[run(3, RunState::Loading, HOUR), failed(2, HOUR), fresh.clone()]),
        [BreachCheck::Failure]
    );
    let status = status(&limits, &[failed(2, HOUR), fresh], None, &[]);
    let breach = &breach::of_table(&status, &limits)[0];
    assert_eq!(breach.message, "run 2 failed, and none was loaded since: it broke");
    assert_eq!(breach.remedy, "dwh runs show 2");
}

#[test]
fn a_file_that_failed_is_mended_by_none_that_was_loaded_after_it() {
    let of = |run: RunRecord, path: Option<&str>| RunRecord {
        kind: RunKind::File,
        file: path.map(|path| crate::raw_file::RawFile::listed(path, 1, NOW, None)),
        ..run
    };
    let bad = || of(failed(2, HOUR), Some("a.json"));
    let after = |path: Option<&str>| found(&limits(), &[of(loaded(3, Micros::ZERO), path), bad(), loaded(1, HOUR)]);
    assert_eq!(after(Some("b.json")), [BreachCheck::Failure]);
    assert_eq!(after(Some("a.json")), []);
    assert_eq!(after(None), [], "there was no file left that had to be read");
    let told = status(&limits(), &[of(loaded(3, Micros::ZERO), Some("b.json")), bad()], None, &[]);
    assert_eq!(
        breach::of_table(&told, &limits())[0].message,
        "run 2 failed, and its file was not loaded since: it broke"
    );
    // One that failed before a file was chosen is mended by any.
    let early = of(failed(2, HOUR), None);
    assert_eq!(found(&limits(), &[of(loaded(3, Micros::ZERO), Some("b.json")), early, loaded(1, HOUR)]), []);
}

/// So many failures and then loads a week ago, and a failure now.
fn week(failures: i64, loads: i64) -> Vec<RunRecord> {
    let at = |run_id: i64| Micros(7 * DAY.0 - 1 - run_id);
    let failures = (1..=failures).map(|id| failed(id, at(id)));
    let mut runs: Vec<RunRecord> = failures.chain((51..51 + loads).map(|id| loaded(id, at(id)))).collect();
    runs.push(failed(100, Micros::ZERO));
    runs.reverse();
    runs
}

#[test]
fn the_success_rate_is_that_of_a_week_and_neither_one_failure_nor_few_runs_are_a_rate() {
    let limits = Thresholds { max_lag: Micros(30 * DAY.0), ..limits() };
    let one = [BreachCheck::Failure];
    let both = [BreachCheck::Failure, BreachCheck::SuccessRate];
    assert_eq!(found(&limits, &week(1, 18)), one, "2 of 20 are 90 percent");
    assert_eq!(found(&limits, &week(1, 17)), both);
    assert_eq!(found(&limits, &week(0, 4)), one, "1 of 5 is one failure");
    assert_eq!(found(&limits, &week(1, 2)), one, "4 runs are no rate");
    assert_eq!(found(&limits, &week(1, 3)), both);
    let strict = Thresholds { success_rate: 99.0, ..limits.clone() };
    assert_eq!(found(&strict, &week(1, 18)), both);
    let lax = Thresholds { success_rate: 0.0, ..limits.clone() };
    assert_eq!(found(&lax, &week(9, 1)), one);
    // What is older, not over, or a backfill does not count.
    let mut runs = week(1, 17);
    runs.iter_mut()
        .filter(|run| run.run_id == RunId(1))
        .for_each(|run| run.run_finished_at = Some(ago(Micros(7 * DAY.0))));
    assert_eq!(found(&limits, &runs), one);
    let mut runs = week(1, 17);
    runs.iter_mut().filter(|run| run.run_id == RunId(1)).for_each(|run| run.kind = RunKind::Backfill);
    assert_eq!(found(&limits, &runs), one);
}

#[test]
fn what_is_mended_is_over_however_much_failed_before() {
    let mended: Vec<RunRecord> = [loaded(101, Micros::ZERO)].into_iter().chain(week(40, 1)).collect();
    assert_eq!(found(&limits(), &mended), []);
    let told = status(&limits(), &mended, None, &[]);
    assert_eq!((told.failures_last_24h, told.failures_last_7d, told.runs_last_7d), (1, 41, 43));
}

#[test]
fn a_run_that_somebody_stopped_is_no_failure() {
    let stopped = |run_id| RunRecord { error_code: Some("interrupted".into()), ..failed(run_id, HOUR) };
    let runs = [stopped(4), stopped(3), loaded(1, Micros(HOUR.0 + 1))];
    assert_eq!(found(&limits(), &runs), []);
    let told = status(&limits(), &runs, None, &[]);
    assert_eq!((told.failures_last_24h, told.interruptions_last_24h, told.success_rate_7d), (0, 2, Some(100.0)));
    assert!(told.unresolved_failure.is_none() && told.last_run.is_some_and(|run| run.was_interrupted()));
    // A look for deletes that was refused is mended by none that loads rows.
    let keys = |run: RunRecord| RunRecord { kind: crate::RunKind::Keys, ..run };
    let runs = [loaded(4, Micros(HOUR.0 - 1)), keys(failed(2, HOUR)), loaded(1, Micros(HOUR.0 + 1))];
    assert_eq!(found(&limits(), &runs), [BreachCheck::Failure]);
    let runs = [keys(loaded(5, Micros(HOUR.0 - 2))), loaded(4, Micros(HOUR.0 - 1)), keys(failed(2, HOUR))];
    assert_eq!(found(&limits(), &runs), []);
    // Nor does it mend one.
    let runs = [stopped(4), failed(2, HOUR), loaded(1, Micros(HOUR.0 + 1))];
    assert_eq!(found(&limits(), &runs), [BreachCheck::Failure]);
    // A process that was killed is one.
    let runs = [failed(2, HOUR), loaded(1, Micros(HOUR.0 + 1))];
    assert_eq!(found(&limits(), &runs), [BreachCheck::Failure]);
}

#[test]
fn a_run_may_take_max_duration() {
    let limits = Thresholds { max_duration: Some(Micros::seconds(60)), ..limits() };
    let took = |span: Micros| RunRecord { run_started_at: ago(HOUR).minus(span), ..loaded(1, HOUR) };
    assert_eq!(found(&limits, &[took(Micros::seconds(60))]), []);
    assert_eq!(found(&limits, &[took(Micros(60_000_001))]), [BreachCheck::Duration]);
    // The last one counts, the longest of the day is only told.
    let quick = loaded(2, Micros::ZERO);
    assert_eq!(found(&limits, &[quick.clone(), took(HOUR)]), []);
    let told = status(&limits, &[quick.clone(), took(HOUR)], None, &[]);
    assert_eq!((told.last_run_seconds, told.longest_run_seconds_24h), (Some(1.0), Some(3600.0)));
    // One that goes on.
    for (span, expected) in [(60_000_000, vec![]), (60_000_001, vec![BreachCheck::Duration])] {
        let runs = [run(3, RunState::Loading, Micros::ZERO), quick.clone()];
        let status = status(&limits, &runs, Some(&held(Micros(span))), &[]);
        assert_eq!(checks(&breach::of_table(&status, &limits)), expected);
        let running = status.running.expect("it runs");
        assert_eq!((running.run_id, running.status), (Some(RunId(3)), Some(RunState::Loading)));
    }
}

#[test]
fn rows_of_a_day_are_neither_too_few_nor_too_many() {
    let runs = [loaded(3, Micros::ZERO), loaded(2, Micros(DAY.0 - 1)), loaded(1, DAY)];
    let with = |min, max| Thresholds { min_rows_per_day: min, max_rows_per_day: max, ..limits() };
    assert_eq!(found(&with(Some(20), Some(20)), &runs), []);
    assert_eq!(found(&with(Some(21), None), &runs), [BreachCheck::TooFewRows]);
    assert_eq!(found(&with(None, Some(19)), &runs), [BreachCheck::TooManyRows]);
    assert_eq!(found(&with(Some(1), None), &[]), [BreachCheck::NeverLoaded], "nothing to count yet");
    let backfill = RunRecord { kind: RunKind::Backfill, ..loaded(4, Micros::ZERO) };
    assert_eq!(found(&with(None, Some(20)), &[&[backfill], &runs[..]].concat()), [], "a backfill is no growth");
}

#[test]
fn a_csv_may_wait_for_max_lag() {
    let limits = limits();
    let fresh = [loaded(1, Micros::ZERO)];
    let waits = |began: &[Timestamp]| checks(&breach::of_table(&status(&limits, &fresh, None, began), &limits));
    assert_eq!(waits(&[]), []);
    assert_eq!(waits(&[ago(Micros(2 * HOUR.0))]), []);
    assert_eq!(waits(&[ago(HOUR), ago(Micros(2 * HOUR.0 + 1))]), [BreachCheck::Waiting]);
    let told = status(&limits, &fresh, None, &[ago(HOUR), ago(MOMENT)]).waiting.expect("the store says");
    assert_eq!((told.files, told.oldest, told.oldest_seconds), (2, Some(ago(HOUR)), Some(3600.0)));
}

#[test]
fn a_disk_may_be_as_full_as_said_and_one_disk_is_told_of_once() {
    let disk = |used_for, used_percent| DiskStatus {
        used_for,
        folder: "/x".into(),
        used_percent,
        free_bytes: None,
        total_bytes: None,
        error: None,
    };
    let store = StoreStatus { url: "file:///x".into(), error: None };
    let both = |used| [disk(DiskUse::Spool, Some(used)), disk(DiskUse::Store, Some(used))];
    let of = |disks: &[DiskStatus], same| checks(&breach::of_project(disks, same, &store, 85.0));
    assert_eq!(of(&both(85.0), false), []);
    assert_eq!(of(&both(85.1), false), [BreachCheck::Disk; 2]);
    assert_eq!(of(&both(85.1), true), [BreachCheck::Disk]);
    let error = Error::new(ErrorKind::Disk, "it does not say");
    let mute = DiskStatus { error: Some((&error).into()), ..disk(DiskUse::Store, None) };
    assert_eq!(of(&[mute], false), [BreachCheck::Disk]);
}

#[test]
fn a_store_that_does_not_answer_is_told_of_and_nothing_else_is_swallowed() {
    let error = Error::new(ErrorKind::Unreachable, "it is away");
    let store = StoreStatus { url: "s3://b".into(), error: Some((&error).into()) };
    let breaches = breach::of_project(&[], false, &store, 85.0);
    assert_eq!(checks(&breaches), [BreachCheck::Store]);
    assert!(breaches[0].message.contains("it is away") && !breaches[0].remedy.is_empty(), "{breaches:?}");
}

#[test]
fn every_remedy_is_a_command_that_a_shell_takes() {
    let limits = Thresholds { min_rows_per_day: Some(1), ..limits() };
    let loads = (0..3).map(|id| loaded(id, Micros(3 * DAY.0)));
    let mut runs: Vec<RunRecord> = [failed(5, HOUR), failed(4, HOUR)].into_iter().chain(loads).collect();
    runs.iter_mut().for_each(|run| run.table_name = "it's".into());
    let table = TableConfig { name: "it's".into(), ..table(&limits) };
    let waiting = [ago(DAY)];
    let facts = Facts { table: &table, now: NOW, runs: &runs, overview: None, waiting: Some(&waiting), conflict: None };
    let breaches = breach::of_table(&table_status(&facts), &limits);
    let remedies: Vec<&str> = breaches.iter().map(|breach| breach.remedy.as_str()).collect();
    assert_eq!(
        remedies,
        [
            r"dwh run 'it'\''s'",
            "dwh runs show 5",
            r"dwh runs --table 'it'\''s' --failed",
            r"dwh runs --table 'it'\''s'",
            r"dwh recover 'it'\''s'",
        ]
    );
}
