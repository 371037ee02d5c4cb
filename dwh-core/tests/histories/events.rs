//! What happens to source, target and store that is no call of the tool.

use std::collections::BTreeSet;

use dwh_core::Timestamp;
use dwh_core::blob::{BlobKey, BlobStore};
use dwh_core::schema::TableRef;
use dwh_core::source::MemoryTransaction;
use dwh_core::watermark::Micros;

use crate::steps::{By, KEYS, Step, Table};
use crate::world::{Backup, Codes, World, beside, bronze, code_of, key_of, relation, schema, unique};

impl World {
    /// Does what is no call of the tool; what cannot be done is left out.
    pub async fn happen(&mut self, step: Step) {
        self.disturbed |= step.disturbs();
        self.loses_the_key_of_then(step);
        match step {
            Step::Pass(seconds) => self.pass(seconds),
            Step::Put(table, key, by) => self.put(&relation(table), table, key, by),
            Step::Delete(table, key, by) => self.delete(table, key, by),
            Step::Spread(table) => {
                for key in 0..KEYS {
                    self.put(&relation(table), table, key, By::Now);
                    self.pass(35);
                }
            }
            Step::Begin(slot) if self.open[slot].is_none() => self.open[slot] = Some(self.source.begin()),
            Step::Begin(_) => {}
            Step::Commit(slot) => {
                if let Some(transaction) = self.end(slot) {
                    transaction.commit();
                }
            }
            Step::RollBack(slot) => drop(self.end(slot)),
            Step::Fill(table, key) => self.put(&beside(table), table, key + 100, By::Now),
            Step::Attach(table) => self.attach(table),
            Step::Swap(table) => {
                self.end_all();
                self.source.swap(&relation(table), &beside(table));
            }
            Step::Refill(table, key) => {
                self.end_all();
                self.source.truncate(&relation(table));
                self.put(&relation(table), table, key, By::Now);
            }
            Step::BackUpSource => self.dump = Some((self.source.backup(), self.codes.clone())),
            Step::RestoreSource => self.restore_source(),
            Step::BackUpTarget => {
                let (sink, target, codes) = (self.sink.backup(), self.model.target.clone(), self.codes.clone());
                let (other_key, own_rows) = (self.other_key, self.own_rows);
                self.backup = Some(Backup { sink, target, other_key, own_rows, codes });
            }
            Step::RestoreTarget => self.restore_target(),
            Step::MakeBronzeAnew(table) => {
                self.make_bronze(table);
                self.model.emptied(table);
            }
            Step::TruncateBronze(table) => {
                self.sink.truncate(&bronze(table));
                self.model.emptied(table);
            }
            Step::ChangeKey(table) if self.may_change_key(table) => {
                self.own_rows[table] |= self.disturbed && !self.codes[table].is_empty();
                self.disturbed |= self.codes != Codes::default();
                self.other_key[table] = !self.other_key[table];
                let key = if self.other_key[table] { "code" } else { "id" };
                self.sink.add_key(&bronze(table), unique(key));
            }
            Step::ChangeKey(_) => {}
            Step::Recode(table, key) => self.recode(table, key),
            Step::LoseCsv(table, at, both) => self.lose(table, at, both).await,
            Step::Call(..) => {}
        }
    }

    pub fn pass(&mut self, seconds: u8) {
        self.clock = self.clock.plus(Micros::seconds(seconds.into()));
        self.source.set_clock(self.clock);
        self.sink.set_clock(self.clock);
    }

    fn line(&mut self, table: Table, key: u8, at: Timestamp) -> String {
        self.versions += 1;
        format!("{key},{},v{},{at}", self.code(table, key), self.versions)
    }

    /// A person who makes another column the key looks whether it tells the rows of bronze apart as the source does.
    fn may_change_key(&self, table: Table) -> bool {
        let lines = self.bronze(table);
        let keys: BTreeSet<u8> = lines.iter().map(|line| key_of(line)).collect();
        keys.len() == lines.len() && lines.iter().all(|line| code_of(line) == self.code(table, key_of(line)))
    }

    /// Where codes changed and are the key now, what was taken away may have been all that told of two codes of one row.
    fn loses_the_key_of_then(&mut self, step: Step) {
        for table in 0..2 {
            let told_apart = self.other_key[table] && !self.codes[table].is_empty();
            self.own_rows[table] |= told_apart && step.disturbs();
        }
    }

    /// The value of a key never changes.
    fn recode(&mut self, table: Table, key: u8) {
        let there = self.present(&relation(table), key).is_some() && !self.locks.contains_key(&(table, key));
        if there && !self.other_key[table] {
            self.codes[table].insert(key, format!("c{}", self.versions));
            self.put(&relation(table), table, key, By::Now);
        }
    }

    /// The version of a row that whoever writes it now would see, unless another transaction has written it.
    fn present(&self, relation: &TableRef, key: u8) -> Option<String> {
        self.source.visible(relation).into_iter().map(|(line, _)| line).find(|line| key_of(line) == key)
    }

    fn put(&mut self, relation: &TableRef, table: Table, key: u8, by: By) {
        let old = self.present(relation, key);
        if self.locks.contains_key(&(table, key)) {
            return;
        }
        let at = match by {
            By::Now => self.clock,
            By::Earlier(seconds) => self.clock.minus(Micros::seconds(seconds.into())),
            By::Ever => Timestamp::NEG_INFINITY,
            By::Open(slot) => match &self.open[slot] {
                Some(transaction) => transaction.started_at(),
                None => return,
            },
        };
        let line = self.line(table, key, at);
        match (by, old) {
            (By::Open(slot), old) => {
                self.locks.insert((table, key), slot);
                let Some(transaction) = &self.open[slot] else { return };
                match old {
                    Some(old) => transaction.update(relation, &old, &line),
                    None => transaction.insert(relation, &line),
                }
            }
            (_, Some(old)) => self.source.update(relation, &old, &line, at),
            (_, None) => self.source.insert(relation, &line, at),
        }
    }

    fn delete(&mut self, table: Table, key: u8, by: By) {
        let relation = relation(table);
        let Some(old) = self.present(&relation, key).filter(|_| !self.locks.contains_key(&(table, key))) else {
            return;
        };
        match by {
            By::Open(slot) => {
                let Some(transaction) = &self.open[slot] else { return };
                transaction.delete(&relation, &old);
                self.locks.insert((table, key), slot);
            }
            By::Now | By::Earlier(_) | By::Ever => self.source.delete(&relation, &old),
        }
    }

    fn end(&mut self, slot: usize) -> Option<MemoryTransaction> {
        self.locks.retain(|_, holder| *holder != slot);
        self.open[slot].take()
    }

    pub fn end_all(&mut self) {
        for slot in 0..self.open.len() {
            drop(self.end(slot));
        }
    }

    /// Unless a key of it is there: a key of the parent holds in all its partitions.
    fn attach(&mut self, table: Table) {
        let keys = |relation: &TableRef| -> Vec<u8> {
            self.source.visible(relation).iter().map(|(line, _)| key_of(line)).collect()
        };
        let (there, coming) = (keys(&relation(table)), keys(&beside(table)));
        if coming.is_empty() || coming.iter().any(|key| there.contains(key)) {
            return;
        }
        self.end_all();
        self.source.attach(&relation(table), &beside(table));
        self.source.create(schema(beside(table)));
    }

    /// Where the code is the key, it is not brought back in another state.
    fn restore_source(&mut self) {
        let Some((dump, codes)) = self.dump.clone() else { return };
        if (0..2).all(|table| !self.other_key[table] || codes[table] == self.codes[table]) {
            self.end_all();
            self.source.restore(&dump);
            self.codes = codes;
        }
    }

    /// The configuration goes back with it; where the code was the key, codes must not have changed since.
    fn restore_target(&mut self) {
        let Some(backup) = &self.backup else { return };
        if (0..2).any(|table| backup.other_key[table] && backup.codes[table] != self.codes[table]) {
            return;
        }
        self.sink.restore(&backup.sink);
        self.model.target = backup.target.clone();
        (self.other_key, self.own_rows) = (backup.other_key, backup.own_rows);
        self.loses_the_key_of_then(Step::RestoreTarget);
        self.spoken_from = [self.words.len(); 2];
    }

    async fn lose(&mut self, table: Table, at: u8, both: bool) {
        let manifests = self.manifests("processed", table).await;
        let Some(manifest) = manifests.get(usize::from(at) % manifests.len().max(1)) else { return };
        let csv = BlobKey::parse(&manifest.csv.as_str().replace("/exports/", "/processed/")).expect("a name");
        if both {
            self.model.lost(table, manifest);
        }
        self.blobs.delete(&csv).await.expect("deleted");
        if both {
            self.blobs.delete(&csv.manifest()).await.expect("deleted");
        }
    }
}
