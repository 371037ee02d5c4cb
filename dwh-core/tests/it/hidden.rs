//! Sessions of which the reader is shown nothing, or too little: the bound waits for them.

use dwh_core::Timestamp;
use dwh_core::schema::TableRef;
use dwh_core::source::activity_function_sql;
use dwh_core::watermark::{BoundRule, Micros, Undrained};
use std::time::Duration;

use crate::safe_bound::{Lab, Run, count, go, plain_role, wait_for_lock};
use crate::source::{clock, pg};

#[tokio::test(flavor = "multi_thread")]
async fn hidden_sessions_are_drained() {
    let mut lab = Lab::blind("drained", Micros::seconds(20)).await;
    let writer = lab.writer().await;
    let (bound, ()) = tokio::join!(lab.bound(None), async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        go(&writer, "commit").await;
    });
    assert_eq!(bound.rule, BoundRule::Drained);
    assert!(bound.watermark > lab.stamp(1).await, "proved up to the first look, which came after the insert");
    let ids = lab.read(&bound).await;
    assert_eq!(ids, [1]);
    assert!(lab.run_after(&Run { bound, ids }).await.ids.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_drained_is_proved_by_a_later_run() {
    let mut lab = Lab::blind("undrained", Micros(300_000)).await;
    let writer = lab.writer().await;
    lab.db.src("insert into events values (2, 'flows on')").await;
    let first = lab.run(None).await;
    assert_eq!((first.bound.watermark, &first.ids[..]), (lab.low, &[2][..]));
    let BoundRule::NotDrained(open) = first.bound.rule.clone() else { panic!("{}", first.bound.rule) };
    assert_eq!(open.transactions.len(), 1);
    // Still open: the older proof is kept, though another transaction is open as well.
    let other = lab.db.another_source().await;
    go(&other, "begin; select 1").await;
    let second = lab.run_after(&first).await;
    assert_eq!(second.bound.rule, BoundRule::NotDrained(open.clone()));
    // It ends; the other is always there. The first proof is done.
    go(&writer, "commit").await;
    let third = lab.run_after(&second).await;
    assert_eq!(third.bound.watermark, open.at.minus(Micros(1)));
    assert_eq!(third.ids, [1, 2]);
    assert!(matches!(&third.bound.rule, BoundRule::NotDrained(next) if next.at > open.at));
    assert_eq!(lab.run_after(&third).await.ids, Vec::<i64>::new());
    // A server that was started again since has ended them all.
    let restarted = Undrained { server_started_at: Timestamp::SEED, at: clock(lab.db.source()).await, ..open };
    assert_eq!(lab.bound(Some(&restarted)).await.watermark, restarted.at.minus(Micros(1)));
    go(&other, "rollback").await;
    assert_eq!(lab.bound(None).await.rule, BoundRule::Drained);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_shows_what_the_role_may_not_see() {
    let mut lab = Lab::blind("activity_function", Micros(100_000)).await;
    let (role, function) = (plain_role(&lab.db), TableRef::new("dwh monitor", "activity"));
    lab.db.src("create schema \"dwh monitor\"").await;
    lab.db.src(&activity_function_sql(&function, &role)).await;
    lab.source = pg(&lab.db, &role, |config| config.activity_function = Some(function));
    lab.becomes_quiet().await;
    let writer = lab.writer().await;
    let held = lab.run(None).await;
    assert!(
        matches!(&held.bound.rule, BoundRule::OpenTransaction(holder) if holder.user.as_deref() == Some("postgres"))
    );
    go(&writer, "commit").await;
    assert_eq!(lab.run_after(&held).await.ids, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_tracks_nothing_is_unknown_not_idle() {
    let mut lab = Lab::of("untracked", |db| pg(db, "app_ro", |config| config.drain_timeout = Micros(300_000))).await;
    let writer = lab.db.another_source().await;
    go(&writer, "set track_activities = off").await;
    go(&writer, "begin; insert into events values (1, 'late')").await;
    let held = lab.run(None).await;
    assert_eq!(held.bound.watermark, lab.low);
    assert!(matches!(held.bound.rule, BoundRule::NotDrained(_)), "{}", held.bound.rule);
    go(&writer, "commit").await;
    assert_eq!(lab.run_after(&held).await.ids, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_tracked_from_its_middle_on_is_unknown() {
    let mut lab = Lab::of("tracked_late", |db| pg(db, "app_ro", |config| config.drain_timeout = Micros(300_000))).await;
    let writer = lab.db.another_source().await;
    for message in [
        "set track_activities = off",
        "begin; insert into events values (1, 'late')",
        "set track_activities = on",
        "select 1",
    ] {
        go(&writer, message).await;
    }
    let shown = "select count(*) from pg_stat_activity where datname = current_database() \
                 and state = 'idle in transaction' and xact_start is null";
    assert_eq!(count(lab.db.source(), shown).await, 1, "busy, and nobody is told since when");
    let held = lab.run(None).await;
    assert_eq!(held.bound.watermark, lab.low, "{}", held.bound.rule);
    assert!(matches!(held.bound.rule, BoundRule::NotDrained(_)), "{}", held.bound.rule);
    go(&writer, "commit").await;
    assert_eq!(lab.run_after(&held).await.ids, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_transaction_of_a_message_is_not_taken_for_a_new_one() {
    let mut lab = Lab::blind("same_message", Micros::seconds(1)).await;
    let (first, second, writer) =
        (lab.db.another_source().await, lab.db.another_source().await, lab.db.another_source().await);
    go(&first, "select pg_advisory_lock(7)").await;
    go(&second, "select pg_advisory_lock(8)").await;
    let message = "begin; select pg_advisory_lock(7); commit; \
                   begin; insert into events values (31, 'b'); select pg_advisory_lock(8); commit";
    let sent = tokio::spawn(async move { go(&writer, message).await });
    wait_for_lock(&lab).await;
    // The transaction that the drain waits for ends; the next one has the clock of the same message.
    let (bound, ()) = tokio::join!(lab.bound(None), async {
        tokio::time::sleep(Duration::from_millis(1300)).await;
        go(&first, "select pg_advisory_unlock(7)").await;
    });
    let ids = lab.read(&bound).await;
    assert!(ids.is_empty(), "not committed yet");
    go(&second, "select pg_advisory_unlock(8)").await;
    sent.await.expect("sent");
    assert!(bound.watermark < lab.stamp(31).await, "the row is lost: {}", bound.rule);
    assert!(matches!(bound.rule, BoundRule::NotDrained(_)), "{}", bound.rule);
    assert_eq!(lab.run_after(&Run { bound, ids }).await.ids, [31]);
}
