//! Random histories: whatever happens to source, store, target and configuration, and wherever the process is killed, bronze
//! is what the model says, or the tool says what is wrong.
//!
//! A history is a list of steps ([`steps`]) in a world in memory ([`world`]). The source stands still during a call, so the
//! [`model`] knows what each run saw. After each call bronze must be right ([`check`]); at the end one clean run and `recover`
//! are made, and what they ask for is done to the letter, until all is quiet and equal ([`ending`]). Where nothing was taken
//! away behind the tool's back, nobody may be called at all.
//!
//! `DWH_HISTORIES=100000` tells more of them, `DWH_HISTORY_FIRST=4000` others; `DWH_HISTORY_SEED=17` tells one again.
//!
//! Each of these rules was taken out once, to see that a history fails without it:
//!
//! | rule | what a history without it shows |
//! |---|---|
//! | what was read in a newer snapshot replaces what is there, whatever its stamp | a key is put again with an older stamp; bronze keeps the first version |
//! | a reseed goes on where it stood only in the bronze table that it filled | cut off, then truncated, then called again: the first windows are skipped |
//! | a table whose bronze was emptied or made again is refused | truncated: the next run is content, and the rows are gone |
//! | the archive tells a run that found nothing from a CSV that is gone | a CSV is lost, then `rebuild`: its rows are gone without a word |
//! | a run is its number, its beginning and its hash | two extracts wait, the target is restored: one of them is archived unloaded |
//! | new runs get numbers above all files | a run after the target was restored: two CSV files bear one number |
//! | a replay of a table that keeps the newest version begins with the newest CSV | emptied, then replayed: the first version stays |
//! | a gap stops a replay | emptied, a CSV lost, then replayed: exit code 0 with a part of the rows |
//! | a partition that was attached is read from its beginning | its rows are below the watermark, and never come |
//! | a waiting CSV continues the watermark only where it saw the run before it | the target is restored: what the lost run delivered is never swept again |
//! | a manifest without its CSV tells of what was loaded | a CSV is lost and the target restored, then replayed: exit code 0 with a part of the rows |
//! | `recover` names what a manifest alone tells of | the same with a table of dated copies: one is gone, and nothing names it |
//! | a row that is known by the key of then, and not by that of today, is refused | two extracts, the newer one loaded, the key changed: an older version comes beside the newer one |
//! | a rebuild removes what killed runs left unfinished | a run is killed in its upload, then `rebuild`: a person is called, though nothing was taken away |
#![allow(clippy::print_stderr, clippy::unwrap_used)] // a failing history is told to whoever ran it

mod calls;
mod check;
mod ending;
mod events;
mod known;
mod model;
mod mortal;
mod steps;
mod world;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use steps::{History, history};
use world::World;

const HISTORIES: u64 = 3_000;

/// How often a failing history is told anew to find a shorter one.
const SHRINKS: usize = 600;

#[test]
fn bronze_is_what_the_model_says_or_the_tool_speaks() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let (first, count) = match number("DWH_HISTORY_SEED") {
        Some(seed) => (seed, 1),
        None => (number("DWH_HISTORY_FIRST").unwrap_or(0), number("DWH_HISTORIES").unwrap_or(HISTORIES)),
    };
    let (next, failed) = (AtomicU64::new(first), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from).min(8) {
            scope.spawn(|| {
                while failed.lock().unwrap().is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    if let Some(story) = fails(seed) {
                        failed.lock().unwrap().get_or_insert(story);
                    }
                }
            });
        }
    });
    if let Some(story) = failed.into_inner().unwrap() {
        panic!("{story}");
    }
}

/// The shortest failing history that this seed leads to, in words.
fn fails(seed: u64) -> Option<String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut tree = history().new_tree(&mut runner).expect("a history");
    let mut shortest = (tree.current(), told(&tree.current()).err()?);
    let mut tries = 0;
    let mut more = tree.simplify();
    while more && tries < SHRINKS {
        tries += 1;
        more = match told(&tree.current()) {
            Err(wrong) => {
                shortest = (tree.current(), wrong);
                tree.simplify()
            }
            Ok(()) => tree.complicate(),
        };
    }
    Some(story(seed, &shortest.0, &shortest.1))
}

fn story(seed: u64, history: &History, wrong: &str) -> String {
    let mut text = format!("history {seed} fails; DWH_HISTORY_SEED={seed} tells it again\n");
    for (table, kind) in history.kinds.iter().enumerate() {
        let _ = writeln!(text, "  t{table}: {kind:?}");
    }
    for (at, step) in history.steps.iter().enumerate() {
        let _ = writeln!(text, "  {:2}. {step}", at + 1);
    }
    let _ = writeln!(text, "  then a clean run and `recover`, and what they ask for\n  => {wrong}");
    text
}

/// What is wrong at the end of this history, or on the way.
fn told(history: &History) -> Result<(), String> {
    let told = catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = World::new(history.kinds);
            for (at, step) in history.steps.iter().enumerate() {
                world.step(*step).await.map_err(|wrong| format!("after step {}: {wrong}", at + 1))?;
            }
            world.ends_well().await
        })
    }));
    told.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
    })
}
