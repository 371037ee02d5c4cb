//! After each call: bronze is what the model says. At the end: everything is quiet and equal, or the tool says what is wrong,
//! and its hints, followed to the letter, lead there.

use std::collections::{BTreeMap, BTreeSet};

use dwh_core::RunState;
use dwh_core::sink::RunRecord;

use crate::calls::{Request, Told, Weight, Word, request};
use crate::model::Floors;
use crate::steps::{Kind, Step, Table};
use crate::world::{World, key_of, table_of};

type Verdict = Result<(), String>;

/// How often hints are followed before a person would give up.
const ROUNDS: usize = 6;

impl World {
    pub async fn step(&mut self, step: Step) -> Verdict {
        let Step::Call(verb, death) = step else {
            self.happen(step).await;
            return Ok(());
        };
        match request(self, verb).await {
            Some(request) => self.call(&request, death).await.map(drop),
            None => Ok(()),
        }
    }

    async fn call(&mut self, request: &Request, death: Option<crate::steps::Death>) -> Result<Told, String> {
        self.model.calls.push(self.seen());
        let (before, words_before) = (self.records().await, self.words.len());
        let told = self.perform(request, death).await;
        let records = self.records().await;
        if let Request::Rebuild(asked, ..) = request {
            let of = |records: &[(Table, RunRecord)], table| -> Vec<RunRecord> {
                records.iter().filter(|(of, _)| *of == table).map(|(_, record)| record.clone()).collect()
            };
            // One without any CSV is left as it is.
            let touched = |table: &Table| of(&before, *table) != of(&records, *table);
            for table in (0..2).filter(|table| asked.is_none_or(|asked| asked == *table)).filter(touched) {
                let waits = records.iter().any(|(of, record)| *of == table && record.status == RunState::Uploaded);
                let short = told.died || waits || told.speaks_of(table);
                self.model.rebuilt(table, short, self.watermark(table).await);
                self.spoken_from[table] = words_before;
            }
            self.disturbed |= told.died;
        }
        self.model.learn(&records, matches!(request, Request::Rebuild(..)));
        if told.died && matches!(request, Request::Rebuild(..)) {
            // Of snapshots only the last one is loaded, and it may not have come to that.
            self.model.target.whole = [None; 2];
        }
        for table in told.up_to_date.clone() {
            self.model.up_to_date(table);
        }
        if let Request::Replay(table, None, None, _) = request
            && !told.died
            && !told.speaks_of(*table)
        {
            self.model.replayed(*table);
        }
        for table in 0..2 {
            self.bronze_is_right(table).map_err(|wrong| format!("t{table}: {wrong}; it said {}", said(&told.words)))?;
            self.archive_is_right(table).await.map_err(|wrong| format!("t{table}: {wrong}"))?;
        }
        self.numbers_are_unique().await?;
        Ok(told)
    }

    fn bronze_is_right(&mut self, table: Table) -> Verdict {
        let lines = self.bronze(table);
        match self.model.kinds[table] {
            Kind::Update => self.by_key(table, &lines, true),
            Kind::Nothing => {
                self.by_key(table, &lines, false)?;
                self.first_stays(table, &lines)
            }
            Kind::Snapshot => self.one_copy(table, lines),
            Kind::Scd => self.all_copies(table, &lines),
        }
    }

    fn by_key(&self, table: Table, lines: &[String], newest: bool) -> Verdict {
        let mut rows: BTreeMap<u8, &String> = BTreeMap::new();
        for line in lines {
            if rows.insert(key_of(line), line).is_some() {
                return Err(format!("bronze has key {} twice", key_of(line)));
            }
            if self.model.last_shown(table, key_of(line), line).is_none() {
                return Err(format!("bronze has `{line}`, which the source never showed"));
            }
        }
        self.reaches(table, &rows, &self.model.target.floors[table], newest)
    }

    /// Whether bronze has every key of the floors, in that version or a later one.
    fn reaches(&self, table: Table, rows: &BTreeMap<u8, &String>, floors: &Floors, newest: bool) -> Verdict {
        for (key, floor) in floors {
            let (wanted, _) = &self.model.calls[*floor][table][key];
            let Some(line) = rows.get(key) else { return Err(format!("bronze lost `{wanted}`, which was loaded")) };
            if newest && self.model.last_shown(table, *key, line) < Some(*floor) {
                return Err(format!("bronze has `{line}`, though a newer snapshot with `{wanted}` was loaded"));
            }
        }
        Ok(())
    }

    fn first_stays(&mut self, table: Table, lines: &[String]) -> Verdict {
        for line in lines {
            let first = self.model.target.firsts[table].entry(key_of(line)).or_insert_with(|| line.clone());
            if first != line {
                return Err(format!("bronze has `{line}` in place of `{first}`, which came first"));
            }
        }
        Ok(())
    }

    fn one_copy(&self, table: Table, mut lines: Vec<String>) -> Verdict {
        lines.sort();
        let from = self.model.target.whole[table];
        if lines.is_empty() && from.is_none() {
            return Ok(());
        }
        let is_copy = |call: usize| self.shown(table, call) == lines;
        if (from.unwrap_or(0)..self.model.calls.len()).any(is_copy) {
            return Ok(());
        }
        Err(format!("bronze holds {lines:?}, which is no copy of the source since the one that was loaded last"))
    }

    fn shown(&self, table: Table, call: usize) -> Vec<String> {
        let mut lines: Vec<String> = self.model.calls[call][table].values().map(|(line, _)| line.clone()).collect();
        lines.sort();
        lines
    }

    fn all_copies(&self, table: Table, lines: &[String]) -> Verdict {
        let mut copies: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for line in lines {
            let (row, at) = line.rsplit_once(',').ok_or("a row without a moment")?;
            copies.entry(at).or_default().push(row.to_owned());
        }
        for (at, rows) in &mut copies {
            rows.sort();
            let call = at.parse().ok().and_then(|at| self.model.copy_of(at));
            let call = call.ok_or_else(|| format!("bronze has a copy of {at}, which no run made"))?;
            if *rows != self.shown(table, call) {
                return Err(format!("the copy of {at} is {rows:?}, the source showed {:?}", self.shown(table, call)));
            }
        }
        let gone = self.model.target.copies[table]
            .iter()
            .find(|(at, call)| !self.shown(table, **call).is_empty() && !copies.contains_key(at.to_string().as_str()));
        gone.map_or(Ok(()), |(at, _)| Err(format!("the copy of {at}, which was loaded, is gone")))
    }

    /// Only what was loaded is in `processed/`.
    async fn archive_is_right(&self, table: Table) -> Verdict {
        let archived = self.manifests("processed", table).await;
        match archived.iter().find(|manifest| !self.model.was_loaded(manifest)) {
            Some(manifest) => Err(format!("`{}` is in processed/ and was never loaded", manifest.csv)),
            None => Ok(()),
        }
    }

    /// No two CSV files bear one number: such files cannot both be rebuilt.
    async fn numbers_are_unique(&self) -> Verdict {
        let mut names = BTreeMap::new();
        for (folder, table) in [("exports", 0), ("exports", 1), ("processed", 0), ("processed", 1)] {
            for manifest in self.manifests(folder, table).await {
                let csv = manifest.csv.to_string();
                if let Some(other) = names.insert(manifest.run_id, csv.clone()).filter(|other| *other != csv) {
                    return Err(format!("`{csv}` and `{other}` bear one number"));
                }
            }
        }
        Ok(())
    }

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
                return self.is_equal(&errors);
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
    fn is_equal(&self, errors: &[Word]) -> Verdict {
        let seen = self.seen();
        for table in 0..2 {
            if errors.iter().any(|word| excuses(word, table)) {
                continue;
            }
            let lines: BTreeSet<String> = self.bronze(table).into_iter().collect();
            let rows: BTreeMap<u8, &String> = lines.iter().map(|line| (key_of(line), line)).collect();
            let wrong = match self.model.kinds[table] {
                Kind::Update => seen[table].values().find(|(line, _)| !lines.contains(line)),
                Kind::Nothing => seen[table].iter().find(|(key, _)| !rows.contains_key(key)).map(|(_, row)| row),
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

/// Whether a word that is left says that rows of this table may be missing.
fn excuses(word: &Word, table: Table) -> bool {
    // These say that bronze has the rows.
    let harmless = ["csv_missing", "csv_without_manifest"].iter().any(|state| word.text.starts_with(state));
    word.table.is_none_or(|of| of == table) && !harmless
}

fn said(words: &[Word]) -> String {
    let all: Vec<String> = words.iter().map(|word| format!("\n      {} [{}]", word.text, word.hint)).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.concat() }
}

/// The first call that a hint names, if it is one that can be made as it stands.
fn asked_for(word: &Word) -> Option<Request> {
    let hint = &word.hint;
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
