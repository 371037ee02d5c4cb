//! The end of a history: one clean run and `recover`; what they ask for, done to the letter; then everything is there, or
//! what is missing is said.

use dwh_core::watermark::Micros;
use std::collections::{BTreeMap, BTreeSet};

use crate::calls::{Request, Weight, Word};
use crate::check::{Verdict, said};
use crate::steps::{Kind, Table};
use crate::world::{World, key_of, table_of};

/// How often hints are followed before a person would give up.
const ROUNDS: usize = 6;

/// As the configuration of [`World`] says.
const RETENTION: Micros = Micros::seconds(60);

impl World {
    /// One clean run and `recover`, and what they ask for; then everything is there.
    pub async fn ends_well(&mut self) -> Verdict {
        self.end_all();
        let mut tried: Vec<Request> = Vec::new();
        for round in 0.. {
            self.pass(2);
            let mut words = self.call(&Request::Run(None, false), None).await?.words;
            words.extend(self.call(&Request::Recover, None).await?.words);
            let errors: Vec<Word> = words.into_iter().filter(|word| word.weight == Weight::Error).collect();
            if !errors.is_empty() && !self.disturbed {
                return Err(format!("nothing was taken away, and a person is called: {}", said(&errors)));
            }
            let mut asked: Vec<Request> = errors.iter().filter_map(asked_for).collect();
            asked.dedup();
            asked.retain(|request| !tried.contains(request));
            if asked.is_empty() || round == ROUNDS {
                return self.is_equal(&errors).await;
            }
            for request in asked {
                let told = self.call(&request, None).await?;
                // A hint of a hint: `rebuild` asks for `--reset`.
                let next: Vec<Request> = told.words.iter().filter_map(asked_for).collect();
                tried.push(request);
                for request in next.into_iter().filter(|request| !tried.contains(request)).collect::<Vec<_>>() {
                    self.call(&request, None).await?;
                }
            }
        }
        Ok(())
    }

    /// What the source shows is in bronze, and what was delivered is there or was spoken of.
    async fn is_equal(&self, errors: &[Word]) -> Verdict {
        for (table, seen) in self.seen().iter().enumerate() {
            if self.model.target.gap[table] || errors.iter().any(|word| excuses(word, table)) {
                continue;
            }
            let lines: BTreeSet<String> = self.bronze(table).into_iter().collect();
            let rows: BTreeMap<u8, &String> = lines.iter().map(|line| (key_of(line), line)).collect();
            let wrong = match self.model.kinds[table] {
                Kind::Update => seen.values().find(|(line, _)| !lines.contains(line)),
                Kind::Nothing => seen.iter().find(|(key, _)| !rows.contains_key(key)).map(|(_, row)| row),
                // What bronze holds was compared after the last run.
                Kind::Snapshot | Kind::Scd => None,
            };
            if let Some((line, _)) = wrong {
                let has = rows.get(&key_of(line));
                return Err(format!(
                    "t{table}: all is quiet, and the source shows `{line}`, bronze has {has:?}; it said {}",
                    said(errors)
                ));
            }
            self.nothing_went_in_silence(table, &rows, &lines).map_err(|wrong| format!("t{table}: {wrong}"))?;
            self.no_copy_went_unnamed(table, &lines).await.map_err(|wrong| format!("t{table}: {wrong}"))?;
        }
        Ok(())
    }

    /// What was delivered and is not in bronze any more: the tool has said so since the target went back.
    fn nothing_went_in_silence(&self, table: Table, rows: &BTreeMap<u8, &String>, lines: &BTreeSet<String>) -> Verdict {
        let since = self.spoken_from[table];
        if self.words[since..].iter().any(|word| word.table.is_none_or(|of| of == table)) {
            return Ok(());
        }
        match self.model.kinds[table] {
            Kind::Update => self.reaches(table, rows, &self.model.ever[table], true),
            Kind::Nothing => self.reaches(table, rows, &self.model.ever[table], false),
            Kind::Snapshot => Ok(()),
            Kind::Scd => {
                let there = |at: &String| lines.iter().any(|line| line.ends_with(at.as_str()));
                let gone = self.model.ever_copies[table]
                    .iter()
                    .find(|(at, call)| !self.shown(table, **call).is_empty() && !there(&at.to_string()));
                gone.map_or(Ok(()), |(at, _)| Err(format!("the copy of {at} is gone without a word")))
            }
        }
    }
}

impl World {
    /// A copy that was delivered once, is not in bronze any more, and of which `processed/` still has a manifest: the tool
    /// has named its run since the target went back, unless it is so old that retention may have taken the CSV.
    async fn no_copy_went_unnamed(&self, table: Table, lines: &BTreeSet<String>) -> Verdict {
        if self.model.kinds[table] != Kind::Scd {
            return Ok(());
        }
        let words = &self.words[self.spoken_from[table]..];
        for manifest in self.manifests("processed", table).await {
            let (run_id, at) = (manifest.run_id, manifest.run_started_at);
            let there = manifest.rows == 0 || lines.iter().any(|line| line.ends_with(&at.to_string()));
            let named = |word: &Word| word.table == Some(table) && word.text.contains(&format!("run {run_id}"));
            if self.clock.since(at) <= RETENTION && !there && !words.iter().any(named) {
                return Err(format!("the copy of run {run_id} is gone, and no word names it"));
            }
        }
        Ok(())
    }
}

/// Whether a word that is left says that rows of this table may be missing.
fn excuses(word: &Word, table: Table) -> bool {
    // These say that bronze has the rows.
    let harmless = ["csv_missing"].iter().any(|state| word.text.starts_with(state));
    word.table.is_none_or(|of| of == table) && !harmless
}

/// The first call that a hint names, if it is one that can be made as it stands.
fn asked_for(word: &Word) -> Option<Request> {
    // A note has no hint of its own.
    let hint = if word.hint.is_empty() { &word.text } else { &word.hint };
    if hint.contains("MemorySink::add_table") || hint.contains("`dwh migrate`") {
        return word.table.map(Request::Migrate);
    }
    // What does not help is named too.
    if hint.contains("cannot bring") {
        return None;
    }
    hint.split('`').skip(1).step_by(2).find_map(|text| {
        let words: Vec<&str> = text.split_whitespace().map(|word| word.trim_matches('\'')).collect();
        let after = |flag: &str| words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1));
        let moment = |flag: &str| after(flag).and_then(|at| at.parse().ok());
        let gaps = words.contains(&"--accept-gaps");
        let table = words.get(2).and_then(|word| table_of(word));
        match (words.get(..2)?, table) {
            (["dwh", "run"], table) if words.contains(&"--accept-source") => Some(Request::Run(table, true)),
            (["dwh", "reseed"], Some(table)) => Some(Request::Reseed(table, words.contains(&"--restart"))),
            (["dwh", "backfill"], Some(table)) => Some(Request::Backfill(table, moment("--from")?, moment("--to"))),
            (["dwh", "replay"], Some(table)) => Some(Request::Replay(table, moment("--from"), moment("--to"), gaps)),
            (["dwh", "rebuild"], Some(table)) => Some(Request::Rebuild(Some(table), words.contains(&"--reset"), gaps)),
            (["dwh", "recover"], _) if words.contains(&"--set-aside") => {
                after("--set-aside").map(|what| Request::SetAside((*what).to_owned()))
            }
            _ => None,
        }
    })
}
