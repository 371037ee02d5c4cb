//! After each call: bronze is what the model says, the archive holds what was loaded, and no number was given twice.

use std::collections::BTreeMap;

use dwh_core::sink::RunRecord;
use dwh_core::{RunState, Timestamp};

use crate::calls::{Request, Told, Word, request};
use crate::model::Floors;
use crate::steps::{Kind, Step, Table};
use crate::world::{World, key_of};

pub type Verdict = Result<(), String>;

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

    pub async fn call(&mut self, request: &Request, death: Option<crate::steps::Death>) -> Result<Told, String> {
        self.model.calls.push(self.seen());
        let (before, words_before) = (self.records().await, self.words.len());
        let told = self.perform(request, death).await;
        let records = self.records().await;
        let apart = |word: &&Word| word.text.contains("a row of its own by");
        for table in told.words.iter().filter(apart).filter_map(|word| word.table) {
            self.own_rows[table] = true;
        }
        if let Request::Rebuild(asked, ..) = request {
            // One without any CSV, or with a gap that nobody accepted, is left as it is.
            let touched = |table: &Table| of(&before, *table).ne(of(&records, *table));
            for table in (0..2).filter(|table| asked.is_none_or(|asked| asked == *table)).filter(touched) {
                let waits = of(&records, table).any(|record| record.status == RunState::Uploaded);
                let short = told.died || waits || told.speaks_of(table);
                self.model.rebuilt(table, short, self.watermark(table).await);
                self.spoken_from[table] = words_before;
            }
            self.disturbed |= told.died;
        }
        self.model.learn(&records, matches!(request, Request::Rebuild(..)));
        // A replay takes what is in `processed/`.
        let waits = match request {
            Request::Replay(table, ..) => {
                self.manifests("exports", *table).await.iter().any(|manifest| self.model.was_loaded(manifest))
            }
            _ => false,
        };
        let watermark = match request {
            Request::Reseed(table, _) | Request::Replace(table, _) => self.watermark(*table).await,
            _ => Timestamp::NEG_INFINITY,
        };
        self.learn_from(request, &told, waits, watermark);
        if let Request::Replace(table, true) = request
            && !told.died
            && !told.fails(*table)
        {
            self.is_the_source(*table, watermark).map_err(|wrong| format!("t{table}: after a repair {wrong}"))?;
        }
        for table in 0..2 {
            self.bronze_is_right(table).map_err(|wrong| format!("t{table}: {wrong}; it said {}", said(&told.words)))?;
            self.archive_is_right(table).await.map_err(|wrong| format!("t{table}: {wrong}"))?;
        }
        self.numbers_are_unique().await?;
        Ok(told)
    }

    /// What the model learns from the tool's own words.
    fn learn_from(&mut self, request: &Request, told: &Told, waits: bool, watermark: Timestamp) {
        for table in told.up_to_date.iter().copied().filter(|table| !told.fails(*table)) {
            self.model.up_to_date(table);
        }
        match *request {
            // Of snapshots only the last one is loaded, and it may not have come to that.
            Request::Rebuild(..) if told.died => self.model.target.whole = [None; 2],
            Request::Rebuild(asked, _, accept_gaps) => {
                for table in (0..2).filter(|table| asked.is_none_or(|asked| asked == *table)) {
                    let pruned =
                        told.words.iter().any(|word| word.table == Some(table) && word.text.contains("pruned"));
                    self.model.target.gap[table] |= (accept_gaps && told.speaks_of(table)) || pruned;
                    if self.model.target.gap[table] {
                        self.model.told_short(table);
                    }
                }
            }
            Request::Replay(table, ..) if told.died => self.model.target.gap[table] = true,
            Request::Replay(table, None, None, _) if !told.admits(table) && !waits => self.model.replayed(table),
            Request::Replay(table, .., accept_gaps) => self.model.target.gap[table] |= accept_gaps,
            Request::Reseed(table, _) | Request::Replace(table, _) if !told.died && !told.fails(table) => {
                self.model.target.gap[table] = false;
                self.model.reseeded(table, watermark);
            }
            _ => {}
        }
    }

    /// Up to the watermark, bronze holds the rows of the source and no other, but for those that lie above it by now.
    fn is_the_source(&self, table: Table, watermark: Timestamp) -> Verdict {
        if !matches!(self.model.kinds[table], Kind::Update | Kind::Nothing) {
            return Ok(());
        }
        let seen = &self.model.calls[self.model.calls.len() - 1][table];
        let lines = self.bronze(table);
        let lost = seen.values().find(|(line, at)| *at <= watermark && !lines.contains(line));
        if let Some((line, _)) = lost {
            return Err(format!("bronze lacks `{line}`"));
        }
        // What lies above the watermark is not judged.
        let judged = |line: &str| {
            line.rsplit(',').next().and_then(|at| at.parse().ok()).is_some_and(|at: Timestamp| at <= watermark)
        };
        let extra = lines.iter().find(|line| judged(line) && !seen.contains_key(&key_of(line)));
        extra.map_or(Ok(()), |line| Err(format!("bronze has `{line}`, which the source has no more")))
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
            let key = key_of(line);
            let shown = self.model.last_shown(table, key, line);
            if shown.is_none() {
                return Err(format!("bronze has `{line}`, which the source never showed"));
            }
            match rows.get(&key) {
                Some(_) if !self.own_rows[table] => return Err(format!("bronze has key {key} twice")),
                Some(other) if self.model.last_shown(table, key, other) > shown => {}
                _ => drop(rows.insert(key, line)),
            }
        }
        self.reaches(table, &rows, &self.model.target.floors[table], newest)
    }

    /// Whether bronze has every key of the floors, in that version or a later one.
    pub fn reaches(&self, table: Table, rows: &BTreeMap<u8, &String>, floors: &Floors, newest: bool) -> Verdict {
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
        if self.own_rows[table] {
            return Ok(());
        }
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

    pub fn shown(&self, table: Table, call: usize) -> Vec<String> {
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
}

/// Words, a line each.
pub fn said(words: &[Word]) -> String {
    let all: Vec<String> = words.iter().map(|word| format!("\n      {} [{}]", word.text, word.hint)).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.concat() }
}

fn of(records: &[(Table, RunRecord)], table: Table) -> impl Iterator<Item = &RunRecord> {
    records.iter().filter(move |(of, _)| *of == table).map(|(_, record)| record)
}
