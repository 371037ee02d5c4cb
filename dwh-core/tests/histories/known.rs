//! Histories that failed once.

use crate::steps::{By, Death, History, Kind, Step, Table, Verb};
use crate::told;

fn call(verb: Verb) -> Step {
    Step::Call(verb, None)
}

fn run() -> Step {
    call(Verb::Run(None))
}

/// Tells it, and panics if bronze is wrong without a word.
fn holds(kinds: [Kind; 2], steps: &[Step]) {
    if let Err(wrong) = told(&History { kinds, steps: steps.to_vec() }) {
        panic!("{wrong}");
    }
}

const T: Table = 0;

#[test]
fn the_version_that_was_read_later_wins_though_its_transaction_began_earlier() {
    let steps = [
        Step::Put(T, 0, By::Now),
        Step::Begin(0),
        Step::Pass(1),
        Step::Put(T, 0, By::Now),
        run(),
        Step::Put(T, 0, By::Open(0)),
        Step::Commit(0),
    ];
    holds([Kind::Update, Kind::Snapshot], &steps);
}

#[test]
fn a_reseed_that_was_cut_off_skips_no_window_of_a_table_that_was_truncated_since() {
    for call in 20..90 {
        let cut_off = Step::Call(Verb::Reseed(T, false), Some(Death { call, done: true }));
        let again = Step::Call(Verb::Reseed(T, false), None);
        holds([Kind::Update, Kind::Snapshot], &[Step::Spread(T), run(), cut_off, Step::TruncateBronze(T), again]);
    }
}

#[test]
fn a_waiting_csv_does_not_stand_for_a_run_that_the_target_lost() {
    let steps = [
        Step::Spread(T),
        run(),
        Step::BackUpTarget,
        Step::Put(T, 0, By::Now),
        run(),
        call(Verb::Extract(T)),
        Step::RestoreTarget,
        run(),
    ];
    holds([Kind::Update, Kind::Snapshot], &steps);
}

#[test]
fn a_rebuild_does_not_hide_that_another_table_is_behind_its_files() {
    let steps = [
        run(),
        Step::BackUpTarget,
        Step::Spread(1),
        run(),
        Step::Delete(1, 0, By::Now),
        Step::Put(T, 0, By::Now),
        run(),
        Step::RestoreTarget,
        call(Verb::Rebuild(Some(T), false)),
    ];
    holds([Kind::Update, Kind::Update], &steps);
}

#[test]
fn a_replay_of_rows_with_one_stamp_ends_with_the_newest() {
    let steps = [
        Step::Put(T, 0, By::Now),
        run(),
        Step::Put(T, 0, By::Now),
        run(),
        Step::TruncateBronze(T),
        call(Verb::Replay(T, false)),
    ];
    holds([Kind::Update, Kind::Snapshot], &steps);
}

#[test]
fn a_lost_csv_is_no_empty_run() {
    for lost in 0..4 {
        for both in [false, true] {
            let lose = Step::LoseCsv(T, lost, both);
            for verb in [Verb::Rebuild(Some(T), false), Verb::Rebuild(Some(T), true), Verb::Replay(T, false)] {
                holds([Kind::Update, Kind::Snapshot], &[Step::Spread(T), run(), lose, call(verb), run()]);
            }
        }
    }
}

#[test]
fn a_table_that_never_got_a_row_is_not_called_emptied_after_its_log_was_pruned() {
    let steps = [run(), run(), Step::Pass(39), Step::Pass(39), call(Verb::Prune)];
    holds([Kind::Update, Kind::Nothing], &steps);
}

#[test]
fn rows_that_a_repair_removed_come_again_with_their_table() {
    let replace = call(Verb::Replace(T, true));
    holds([Kind::Update, Kind::Update], &[Step::Spread(T), run(), Step::Swap(T), replace, Step::Attach(T)]);
}

#[test]
fn a_repair_spares_rows_by_the_key_of_its_day() {
    let steps = [
        Step::Spread(T),
        run(),
        Step::Spread(T),
        Step::Delete(T, 0, By::Now),
        call(Verb::Replace(T, true)),
        Step::ChangeKey(T),
        call(Verb::Rebuild(Some(T), false)),
    ];
    holds([Kind::Update, Kind::Update], &steps);
}

#[test]
fn a_table_whose_last_row_was_removed_is_not_called_emptied() {
    holds([Kind::Update, Kind::Update], &[Step::Spread(T), run(), Step::Swap(T), call(Verb::Replace(T, true)), run()]);
}

#[test]
fn a_replay_misses_a_csv_of_which_only_the_manifest_is_left() {
    for lost in 0..4 {
        let steps = [
            Step::Spread(T),
            Step::BackUpTarget,
            run(),
            Step::LoseCsv(T, lost, false),
            Step::RestoreTarget,
            call(Verb::Replay(T, false)),
        ];
        holds([Kind::Update, Kind::Snapshot], &steps);
    }
}

#[test]
fn a_dated_copy_of_which_only_the_manifest_is_left_is_named() {
    for loaded in [false, true] {
        let mut steps = vec![Step::Put(T, 0, By::Now)];
        steps.extend(loaded.then(run));
        steps.extend([Step::BackUpTarget, run(), Step::LoseCsv(T, u8::from(loaded), false), Step::RestoreTarget]);
        holds([Kind::Scd, Kind::Update], &steps);
    }
}

#[test]
fn an_older_csv_of_another_key_puts_no_old_version_beside_the_newer_one() {
    let steps = [
        Step::Put(T, 0, By::Now),
        call(Verb::Extract(T)),
        Step::Recode(T, 0),
        call(Verb::Extract(T)),
        call(Verb::Load(T, 1)),
        Step::ChangeKey(T),
        call(Verb::Recover),
    ];
    holds([Kind::Update, Kind::Update], &steps);
}

#[test]
fn a_rebuild_after_a_killed_run_calls_nobody() {
    for call in 8..30 {
        let killed = Step::Call(Verb::Run(Some(T)), Some(Death { call, done: true }));
        let steps =
            [Step::Spread(T), run(), Step::Put(T, 0, By::Now), killed, self::call(Verb::Rebuild(Some(T), false))];
        holds([Kind::Update, Kind::Update], &steps);
    }
}

#[test]
fn a_table_of_a_reseed_or_a_repair_alone_goes_on_after_a_rebuild() {
    for again in [Verb::Reseed(T, true), Verb::Replace(T, true)] {
        let late = Step::Put(T, 0, By::Earlier(20));
        let steps = [run(), Step::Pass(30), late, call(again), call(Verb::Rebuild(Some(T), false))];
        holds([Kind::Update, Kind::Update], &steps);
    }
}
