//! From the staging table into bronze, with an account of every row.

use tokio_postgres::Client;

use super::PgSink;
use super::deletes::{self, Deleted};
use super::errors::named;
use super::replace::{self, Keyed};
use crate::config::{Mode, OnConflict, Replace};
use crate::control::Brought;
use crate::control::Held;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::LoadPlan;
use crate::run::{Route, Routing, RunKind};
use crate::sink::{Accounting, Commit, Committed};

/// Rows as they lie before the commit.
pub(super) struct Arrived {
    /// How many.
    pub(super) rows: u64,
    /// The way that they took; `None` if there are none.
    pub(super) routing: Option<Routing>,
    /// The watermark row, if it is held already.
    pub(super) held: Option<Held>,
    /// Whether rows of bronze were removed for them.
    pub(super) had_rows: bool,
    /// What the source has deleted of them since.
    pub(super) deleted: Deleted,
}

impl Arrived {
    /// Whether they are in bronze already.
    pub(super) fn straight(&self) -> bool {
        self.routing.as_ref().is_some_and(|routing| routing.route != Route::Staged)
    }
}

/// Does everything of a load but the commit.
///
/// The watermark row is held before anything is merged: it holds off every other load of the table, so bronze needs no lock
/// of its own. Of rows that are in bronze already the server has counted those that it took: each of them is a new one.
pub(super) async fn merge(
    sink: &PgSink,
    load: &LoadPlan,
    keyed: &Keyed,
    client: &Client,
    arrived: Arrived,
    commit: &Commit,
) -> Result<Committed> {
    let (staged, straight) = (arrived.rows, arrived.straight());
    if let Some(promised) = commit.rows.filter(|promised| *promised != staged) {
        return Err(Error::new(
            ErrorKind::Data,
            format!("table `{}`: the CSV was counted as {promised} rows, and the target took {staged}", load.table),
        ));
    }
    let Arrived { held, routing, had_rows, deleted, .. } = arrived;
    let held = match held {
        Some(held) => held,
        None => sink.control.hold(client, load, commit.run_id, &commit.expected).await?,
    };
    let counts = if straight {
        if staged == 0 && had_rows && !load.allow_empty {
            return Err(refuse_empty(load));
        }
        Accounting { staged, inserted: staged, ..Accounting::default() }
    } else {
        merge_staged(load, keyed, client, staged, held.kind, &deleted).await?
    };
    let state = sink.control.settle(client, load, commit, held, Brought::Rows(&counts, routing.as_ref())).await?;
    Ok(Committed { counts, routing, state })
}

/// Moves rows from the staging table into bronze; without rows and a window to remove there is no such table.
async fn merge_staged(
    load: &LoadPlan,
    keyed: &Keyed,
    client: &Client,
    staged: u64,
    kind: RunKind,
    deleted: &Deleted,
) -> Result<Accounting> {
    if let Some(keys) = &load.keys {
        return deletes::take(client, load, keys, keyed, staged).await;
    }
    if is_nothing(load, staged) {
        return Ok(Accounting::default());
    }
    // Versions of rows stay, whatever a repair of another time removed.
    let overruled = if load.is_appended() { 0 } else { replace::drop_overruled(client, load, keyed, named).await? };
    let overruled = overruled + deleted.dropped;
    replace::refuse_known_formerly(client, load, keyed, named).await?;
    let merge = Merge { load, told: load, keyed, client, staged: staged - overruled, kind, keeps: true };
    let mut counts = merge.work().await?;
    counts.staged += overruled;
    counts.kept_newer += overruled;
    let gone = replace::remove(client, load, keyed, named).await?;
    (counts.marked, counts.removed) = if load.marks() { (gone, 0) } else { (0, gone) };
    counts.removed += replace::remove_of_file(client, load, keyed, named).await?;
    counts.marked += deleted.mark(client, load, keyed).await?;
    Ok(counts)
}

/// Adds the rows of the staging table to bronze as versions.
pub(super) async fn add_versions(load: &LoadPlan, keyed: &Keyed, client: &Client, staged: u64) -> Result<Accounting> {
    Merge { load, told: load, keyed, client, staged, kind: RunKind::Resync, keeps: true }.work().await
}

/// Whether there is no row to be merged or removed: then there is no staging table either.
fn is_nothing(load: &LoadPlan, staged: u64) -> bool {
    staged == 0 && load.adds_rows_alone()
}

/// What a load of the newest run would do; the transaction must be rolled back.
pub(super) async fn preview(load: &LoadPlan, keyed: &Keyed, client: &Client, staged: u64) -> Result<Accounting> {
    if is_nothing(load, staged) {
        return Ok(Accounting::default());
    }
    let removed = replace::count_of_file(client, load, keyed, named).await?;
    let merge = Merge { load, told: load, keyed, client, staged, kind: RunKind::Run, keeps: false };
    Ok(Accounting { removed, ..merge.tried().await? })
}

/// A snapshot of no rows does not take the place of rows.
pub(super) fn refuse_empty(load: &LoadPlan) -> Error {
    let (table, target) = (&load.table, &load.target);
    Error::new(ErrorKind::Data, format!("table `{table}`: a snapshot of no rows would replace the rows of {target}"))
        .with_hint("if the source is meant to be empty, call with `--allow-empty` or set `allow_empty = true`")
}

struct Merge<'a> {
    load: &'a LoadPlan,
    /// The one that errors name.
    told: &'a LoadPlan,
    keyed: &'a Keyed,
    client: &'a Client,
    staged: u64,
    kind: RunKind,
    /// Whether it is meant to be committed.
    keeps: bool,
}

/// Staged rows whose key is in bronze.
struct Known {
    same: u64,
    differ: u64,
}

impl Merge<'_> {
    /// The work where nothing of it is kept.
    async fn tried(self) -> Result<Accounting> {
        let load = self.load;
        if load.waiting.is_empty() || load.mode == Mode::Snapshot {
            return self.work().await;
        }
        // Nobody's bronze is changed for a preview: a copy of the rows that matter gets the columns.
        let known = match load.mode {
            Mode::Incremental | Mode::Files => Some(self.keyed.of(self.client, load).await?),
            Mode::Snapshot | Mode::Scd => None,
        };
        self.execute_all(&load.create_beside(known)).await?;
        Merge { load: &load.beside(), ..self }.work().await
    }

    async fn work(&self) -> Result<Accounting> {
        if self.staged == 0 && self.load.mode == Mode::Incremental {
            return Ok(self.account(0));
        }
        match (self.load.mode, self.load.replaces()) {
            (Mode::Incremental, _) if self.load.is_appended() => self.add_versions().await,
            (Mode::Incremental | Mode::Files, false) => self.append().await,
            (Mode::Incremental | Mode::Files, true) => self.upsert().await,
            (Mode::Snapshot, _) => self.replace().await,
            (Mode::Scd, _) => self.date().await,
        }
    }

    async fn execute(&self, sql: &str) -> Result<u64> {
        self.client.execute_typed(sql, &[]).await.map_err(|error| named(self.told, error))
    }

    async fn execute_all(&self, statements: &[String]) -> Result<()> {
        for sql in statements {
            self.execute(sql).await?;
        }
        Ok(())
    }

    async fn counts(&self, sql: &str) -> Result<Vec<u64>> {
        let row = self.client.query_typed_one(sql, &[]).await.map_err(|error| named(self.told, error))?;
        Ok((0..row.len()).map(|at| row.get::<_, i64>(at).cast_unsigned()).collect())
    }

    async fn holds(&self, sql: &str) -> Result<bool> {
        let row = self.client.query_typed_one(sql, &[]).await.map_err(|error| named(self.told, error))?;
        Ok(row.get(0))
    }

    /// New rows are inserted; only if some were not new is it worth a look at what the others are. A replay looks first: of a
    /// file that is in bronze already it has no row to insert, and need not try each of them.
    async fn append(&self) -> Result<Accounting> {
        let before = if self.kind == RunKind::Replay { Some(self.classify().await?) } else { None };
        let inserted = match &before {
            Some(known) if known.same + known.differ == self.staged => 0,
            _ => self.execute(&self.load.merge()).await?,
        };
        let mut counts = self.account(inserted);
        if inserted < self.staged {
            let known = match before {
                Some(known) => known,
                None => {
                    let Known { same, differ } = self.classify().await?;
                    // The join finds the rows that were just inserted as well.
                    Known { same: same.checked_sub(inserted).ok_or_else(|| self.unbalanced(&counts))?, differ }
                }
            };
            counts.unmarked = self.unmark().await?;
            counts.identical = known.same;
            match self.load.on_conflict {
                OnConflict::Update => counts.kept_newer = known.differ,
                OnConflict::Nothing | OnConflict::Append => counts.different = known.differ,
            }
        }
        self.balanced(counts)
    }

    /// Versions that bronze has are taken out before the others are inserted: all of those that are left.
    async fn add_versions(&self) -> Result<Accounting> {
        self.execute(&self.load.analyze_stage()).await?;
        let key = self.keyed.of(self.client, self.load).await?;
        let unmarked = self.unmark().await?;
        let identical = self.execute(&self.load.drop_known(key)).await?;
        let inserted = self.execute(&self.load.merge()).await?;
        self.balanced(Accounting { identical, unmarked, ..self.account(inserted) })
    }

    /// Takes the mark of rows that are at the source again. A preview, which is rolled back, keeps no row locked for it.
    async fn unmark(&self) -> Result<u64> {
        if !self.keeps || !self.load.unmarks() {
            return Ok(0);
        }
        let key = self.keyed.of(self.client, self.load).await?;
        self.execute(&self.load.unmark(key)).await
    }

    /// Bronze is compared before it changes; the update must then touch exactly the rows that were announced.
    async fn upsert(&self) -> Result<Accounting> {
        let known = self.classify().await?;
        let new = self.staged.checked_sub(known.same + known.differ);
        let new = new.ok_or_else(|| self.unbalanced(&self.account(0)))?;
        let unmarked = self.unmark().await?;
        let touched = if new + known.differ == 0 { 0 } else { self.execute(&self.load.merge()).await? };
        let counts = Accounting {
            unmarked,
            inserted: touched.saturating_sub(known.differ),
            updated: known.differ,
            identical: known.same,
            ..self.account(0)
        };
        if touched == new + known.differ { self.balanced(counts) } else { Err(self.unbalanced(&counts)) }
    }

    /// Replaced in place: views and grants stay, and readers see the old rows until the commit. A copy that is older than
    /// what bronze holds replaces nothing.
    async fn replace(&self) -> Result<Accounting> {
        if (self.load.older || self.kind == RunKind::Replay) && self.holds(&self.load.is_staged()).await? {
            return Ok(Accounting { identical: self.staged, ..self.account(0) });
        }
        if self.load.older {
            return Ok(Accounting { kept_newer: self.staged, ..self.account(0) });
        }
        if self.staged == 0 && !self.load.allow_empty && self.holds(&self.load.any_row()).await? {
            return Err(refuse_empty(self.load));
        }
        if self.load.carries_over() {
            self.set_values_aside().await?;
        }
        if !self.keeps {
            // Into a table beside it, which refuses what bronze would refuse: nobody waits for a preview.
            self.execute_all(&self.load.create_beside(None)).await?;
            let inserted = self.execute(&self.load.beside().merge()).await?;
            return self.balanced(self.account(inserted));
        }
        for sql in self.load.empty() {
            self.client.execute_typed(&sql, &[]).await.map_err(|error| self.not_emptied(error))?;
        }
        if self.load.replace == Replace::Delete && self.holds(&self.load.any_row()).await? {
            return Err(self.not_empty());
        }
        let inserted = self.execute(&self.load.merge()).await?;
        self.balanced(self.account(inserted))
    }

    /// A trigger or a rule can make a `delete` end well that deletes nothing.
    fn not_empty(&self) -> Error {
        let (table, target) = (&self.load.table, &self.load.target);
        let told =
            format!("table `{table}`: {target} keeps rows that were deleted, which would stand beside the new ones");
        Error::new(ErrorKind::Data, told).with_hint(format!(
            "nothing was changed; take the trigger or the rule off {target} that lets no row be deleted (`dwh check` names \
             them), or write `replace = \"truncate\"` under the table in `dwh.toml`"
        ))
    }

    /// A driver's error, with what to do about a foreign key that points at the table.
    fn not_emptied(&self, error: tokio_postgres::Error) -> Error {
        let code = error.code().map(|code| code.code().to_owned());
        let error = named(self.load, error);
        match (code.as_deref(), self.load.replace) {
            (Some("55P03"), Replace::Truncate) => error.with_hint(
                "somebody uses the bronze table, and `truncate` waits for readers too: run it again, raise `lock_timeout` in \
                 `[target]`, or write `replace = \"delete\"` under the table in `dwh.toml`",
            ),
            (Some("0A000"), Replace::Truncate) => error.with_hint(
                "a foreign key of another table points at it: write `replace = \"delete\"` under the table in `dwh.toml`, and \
                 make the foreign key `deferrable`",
            ),
            (Some("23503"), Replace::Delete) => error.with_hint(
                "a foreign key of another table points at its rows, and cannot wait for the new ones: in the target, \
                 alter table … alter constraint … deferrable;",
            ),
            _ => error,
        }
    }

    /// What bronze has in columns that the source lost, by key.
    async fn set_values_aside(&self) -> Result<()> {
        self.execute(&self.load.set_values_aside()).await?;
        match self.counts(&self.load.count_kept_twice()).await?[..] {
            [0, ..] => Ok(()),
            _ => Err(Error::new(
                ErrorKind::Data,
                format!(
                    "table `{}`: {} has keys more than once, so the values that it keeps belong to no row",
                    self.load.table, self.load.target
                ),
            )
            .with_hint(format!(
                "nothing was changed: ({}) must tell the rows apart, so correct `key`",
                self.load.key.join(", ")
            ))),
        }
    }

    /// Appended, unless this very copy is there already.
    async fn date(&self) -> Result<Accounting> {
        let there = self.counts(&self.load.count_copy()).await?;
        match there.first().copied().unwrap_or_default() {
            0 => {
                let inserted = self.execute(&self.load.merge()).await?;
                self.balanced(self.account(inserted))
            }
            count if count == self.staged => Ok(Accounting { identical: count, ..self.account(0) }),
            count => Err(Error::new(
                ErrorKind::Data,
                format!(
                    "table `{}`: {count} rows of this copy are in {}, the CSV has {}",
                    self.load.table, self.load.target, self.staged
                ),
            )
            .with_hint("delete the rows with this `_uploaded_at` from bronze, then load it again")),
        }
    }

    async fn classify(&self) -> Result<Known> {
        self.execute(&self.load.analyze_stage()).await?;
        let key = self.keyed.of(self.client, self.load).await?;
        let known = match self.counts(&self.load.classify(key)).await?[..] {
            [same, differ] => Known { same, differ },
            _ => return Err(Error::new(ErrorKind::Internal, "the comparison with bronze gave no two counts")),
        };
        // Nothing is to be loaded of a replayed file all of which is there, so that its keys do not matter.
        if self.kind == RunKind::Replay && known.same == self.staged {
            return Ok(known);
        }
        match self.counts(&self.load.count_doubled(key)).await?[..] {
            [doubled, ..] if doubled > 0 => Err(Error::new(
                ErrorKind::Data,
                format!("table `{}`: the CSV has {doubled} keys more than once", self.load.table),
            )
            .with_hint(format!(
                "({}) does not tell the rows of the source apart: correct `key`, or mend the source",
                self.load.key.join(", ")
            ))),
            _ => Ok(known),
        }
    }

    fn account(&self, inserted: u64) -> Accounting {
        Accounting { staged: self.staged, inserted, ..Accounting::default() }
    }

    fn balanced(&self, counts: Accounting) -> Result<Accounting> {
        if counts.balances() { Ok(counts) } else { Err(self.unbalanced(&counts)) }
    }

    fn unbalanced(&self, counts: &Accounting) -> Error {
        Error::new(
            ErrorKind::Data,
            format!(
                "table `{}`: row accounting: {} rows staged, but {} inserted, {} updated, {} identical, {} different and {} \
                 kept in a newer version in {}",
                self.load.table,
                counts.staged,
                counts.inserted,
                counts.updated,
                counts.identical,
                counts.different,
                counts.kept_newer,
                self.load.target
            ),
        )
        .with_hint(format!(
            "nothing was changed; look for a trigger, a rule or row level security on {} that drops rows",
            self.load.target
        ))
    }
}
