//! The SQL that compares source and bronze: counts and hashes by bucket, and the rows of one bucket by key.
//!
//! Every expression is the same function of text at both ends, so that equal rows hash equally whatever the servers'
//! versions: the values as text under the pinned session settings (geometry is hex EWKB then). Rows go through MD5, as a
//! `record`, which tells NULL from the empty string, in UTF-8; buckets through the servers' own hash where both have the
//! same one, see [`Hash`].

use crate::config::{Mode, TableConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::extract::{bound, from_sql, instant, young};
use crate::plan::{DELETED_AT, Equality, Plan, UPLOADED_AT};
use crate::schema::{Column, TableRef, TableSchema, quote_ident};
use crate::watermark::{Micros, Timestamp, WatermarkKind};

/// Which rows are compared. Both sides are cut by the same bounds, whatever they hold beyond.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cut {
    /// Exclusive; `NEG_INFINITY`: from the first row on.
    pub low: Timestamp,
    /// The watermark, inclusive.
    pub high: Timestamp,
    /// Only so many of a hundred buckets.
    pub sample_percent: u8,
}

/// One of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Source,
    Bronze,
}

/// How the rows of a bucket are hashed before they are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    /// MD5 of the row: right between any two servers.
    Md5,
    /// PostgreSQL's own hash of 64 bits. It takes half the time, and a server can share the work among its processes.
    /// Of two rows that differ, one pair in 2⁶⁴ has the same. It is no part of what PostgreSQL promises to keep, so both
    /// servers are asked for [`Hash::PROBE`] first.
    Own,
}

impl Hash {
    /// One number, equal on two servers whose own hashes are: texts of all lengths that the algorithm tells apart, and a
    /// NULL. Nothing for a database that does not store UTF-8, where equal texts are other bytes.
    pub(crate) const PROBE: &str = "select pg_catalog.hashtextextended(pg_catalog.hash_array_extended(pg_catalog.array_agg(\
         case when n < 26 then pg_catalog.left('abcdefghijklmnopqrstuvwxyz', n) end order by n) collate \"C\", 0)::text \
         collate \"C\", 0) from pg_catalog.generate_series(0, 26) n where pg_catalog.getdatabaseencoding() = 'UTF8'";

    /// What two servers that answered the probe like this can use.
    pub(crate) fn of_both(source: Option<i64>, bronze: Option<i64>) -> Self {
        if source.is_some() && source == bronze { Self::Own } else { Self::Md5 }
    }
}

/// One table at one end.
pub(crate) struct Compared<'a> {
    end: End,
    plan: &'a Plan,
    bronze: &'a TableSchema,
    key: &'a [String],
    /// `None` for a table that is compared whole: it has one bucket.
    cut: Option<Cut>,
    /// `xmin` of the snapshot that was loaded last, where row versions can be compared with it.
    since_xmin: Option<u64>,
}

/// The bucket of a row whose watermark is `-infinity`, and of every row of a table that is compared whole.
pub(crate) const NO_BUCKET: i64 = i64::MIN;

impl<'a> Compared<'a> {
    /// # Errors
    /// `Config` if bronze does not get the watermark column.
    pub(crate) fn new(
        end: End,
        plan: &'a Plan,
        bronze: &'a TableSchema,
        key: &'a [String],
        cut: Option<Cut>,
        since_xmin: Option<u64>,
    ) -> Result<Self> {
        let this = Self { end, plan, bronze, key, cut, since_xmin };
        if cut.is_some() && this.watermark().is_none() {
            return Err(Error::new(
                ErrorKind::Config,
                format!("table `{}`: its watermark column is not copied, so bronze cannot be cut", plan.table.name),
            )
            .with_hint("take the watermark column out of `exclude`"));
        }
        Ok(this)
    }

    /// The length of a bucket: a window of the table, or a day if it has none.
    pub(crate) fn bucket_length(plan: &Plan) -> Micros {
        if plan.table.window.0 > 0 { plan.table.window } else { Micros::seconds(24 * 3600) }
    }

    /// Counts and hash sums of every bucket: `bucket, rows, sum`.
    ///
    /// Sums do not depend on the order, and unlike XOR they see a row that is there twice.
    pub(crate) fn buckets(&self, hash: Hash) -> String {
        let (inner, sum, whole) = match hash {
            Hash::Own => (self.own_hash(), "pg_catalog.sum(q.h)::text".to_owned(), ""),
            // Both halves are added up. `offset 0` keeps the server from taking the inner query apart: it would compute
            // each hash once for either half, and sort by an estimate of as many buckets as rows.
            Hash::Md5 => {
                let half = |from: u8| {
                    format!("pg_catalog.sum(('x' || pg_catalog.substr(q.h, {from}, 16))::bit(64)::bigint)::text")
                };
                (self.row_hash(), format!("{} || ' ' || {}", half(1), half(17)), " offset 0")
            }
        };
        format!(
            "select q.k, pg_catalog.count(*), {sum} from (select {} as k, {inner} as h from {}{}{whole}) q group by q.k",
            self.bucket(),
            self.from(),
            self.cut_condition(&[])
        )
    }

    /// A cursor over the rows of a bucket in the order of their keys' hashes: `key hash, row hash, key, young`.
    pub(crate) fn declare(&self, cursor: &str, bucket: i64) -> String {
        let key: Vec<String> = self.key.iter().map(|name| format!("{}::text", self.value(name))).collect();
        format!(
            "declare {cursor} no scroll cursor for select q.* from (select {} as kh, {} as rh, array[{}]::text[], {} \
             from {}{}) q order by q.kh collate \"C\", q.rh collate \"C\"",
            self.key_hash(),
            self.row_hash(),
            key.join(", "),
            self.young(),
            self.from(),
            self.cut_condition(&self.in_bucket(bucket))
        )
    }

    /// The relation that has the rows, and the columns of the key as it has them.
    pub(crate) fn keyed(&self) -> (Option<&TableRef>, Vec<&Column>) {
        let relation = match self.end {
            End::Source => (!self.plan.is_query()).then_some(&self.plan.source.table),
            End::Bronze => Some(&self.bronze.table),
        };
        (relation, self.key.iter().filter_map(|name| self.own(name)).collect())
    }

    /// Looks up keys, wherever their rows are: `place` in the arrays, whether it lies above the cut, whether it is among
    /// the rows that are compared, and the key as it is written there. `$1`, `$2`, … are the key's columns, as arrays of
    /// text.
    pub(crate) fn find(&self, equality: &[Equality]) -> String {
        let arrays: Vec<String> = (1..=self.key.len()).map(|at| format!("${at}")).collect();
        let names: Vec<String> = (1..=self.key.len()).map(|at| format!("dwh_key_{at}")).collect();
        let on: Vec<String> = equality.iter().zip(&names).map(|(part, given)| self.key_equals(part, given)).collect();
        let own: Vec<String> = self.key.iter().map(|name| format!("{}::text", self.value(name))).collect();
        let (above, within) = match (self.cut, self.watermark()) {
            (Some(cut), Some(watermark)) => (
                format!("coalesce({watermark} > {}, false)", self.literal(cut.high)),
                self.condition(cut).join(" and "),
            ),
            _ => ("false".to_owned(), "true".to_owned()),
        };
        format!(
            "select dwh_given.dwh_place, {above}, coalesce({within}, false), array[{}]::text[] \
             from rows from (pg_catalog.unnest({})) with ordinality as dwh_given({}, dwh_place) join {} on {}",
            own.join(", "),
            arrays.join("), pg_catalog.unnest("),
            names.join(", "),
            self.from(),
            on.join(" and ")
        )
    }

    /// What is locked before the snapshot, so that no rewrite shows an empty table.
    pub(crate) fn lock(&self) -> Option<String> {
        let (kind, table) = match self.end {
            End::Source => (self.plan.source.kind, &self.plan.source.table),
            End::Bronze => (self.bronze.kind, &self.bronze.table),
        };
        kind.can_lock().then(|| format!("lock table {} in access share mode", table.sql()))
    }

    fn from(&self) -> String {
        let table = &self.plan.table;
        let bronze = table.target.sql();
        match (self.end, table.mode) {
            (End::Source, _) => from_sql(table),
            (End::Bronze, Mode::Scd) => {
                let at = quote_ident(UPLOADED_AT);
                format!("(select * from {bronze} where {at} = (select pg_catalog.max({at}) from {bronze})) as t")
            }
            (End::Bronze, _) if table.is_appended() => {
                let key: Vec<String> = table.key.iter().map(|name| quote_ident(name)).collect();
                let (key, at) = (key.join(", "), quote_ident(UPLOADED_AT));
                format!(
                    "(select distinct on ({key}) * from {bronze}{} order by {key}, {at} desc) as t",
                    unmarked(table)
                )
            }
            (End::Bronze, _) if table.marks_deleted() => format!("(select * from {bronze}{}) as t", unmarked(table)),
            (End::Bronze, _) => format!("{bronze} as t"),
        }
    }

    /// The value that bronze holds, or should hold.
    fn value(&self, name: &str) -> String {
        match (self.end, self.plan.table.select.get(name)) {
            (End::Source, Some(expression)) => format!("({expression}\n)"),
            _ => format!("t.{}", quote_ident(name)),
        }
    }

    /// The values of a row that both ends have.
    fn values(&self) -> impl Iterator<Item = String> {
        let added = self.plan.table.added();
        let copied = self.plan.columns.iter().map(|column| column.column.name.as_str());
        copied.filter(move |name| !added.contains(name)).map(|name| self.value(name))
    }

    fn row_hash(&self) -> String {
        hash(self.values())
    }

    /// The hash of an array adds up what its parts hash to, each with a factor: as it is, two rows that swapped a value
    /// would have the same sum as before. Hashed once more, as text since the hash of a number has 32 bits, they have not.
    /// Each value under one collation: some have none, and others would hash as their letters compare.
    fn own_hash(&self) -> String {
        let texts: Vec<String> = self.values().map(|value| format!("{value}::text collate \"C\"")).collect();
        format!(
            "pg_catalog.hashtextextended(pg_catalog.hash_array_extended(array[{}]::text[], 0)::text collate \"C\", 0)",
            texts.join(", ")
        )
    }

    fn key_hash(&self) -> String {
        if self.key.is_empty() { self.row_hash() } else { hash(self.key.iter().map(|name| self.value(name))) }
    }

    fn watermark(&self) -> Option<String> {
        let name = self.plan.table.watermark.as_ref()?;
        self.plan.columns.iter().any(|column| column.column.name == *name).then(|| self.value(name))
    }

    /// Computed in the column's own clock and in the same floating-point steps at both ends.
    fn bucket(&self) -> String {
        let (Some(_), Some(watermark)) = (self.cut, self.watermark()) else { return format!("({NO_BUCKET})::bigint") };
        if self.plan.watermark == Some(WatermarkKind::Number) {
            let length = Self::bucket_length(self.plan).0;
            return format!("pg_catalog.floor({watermark}::numeric / {length})::bigint");
        }
        let length = Self::bucket_length(self.plan).as_seconds();
        format!(
            "case when pg_catalog.isfinite({watermark}) then \
             pg_catalog.floor(pg_catalog.date_part('epoch', {watermark}) / '{length}'::float8)::bigint \
             else ({NO_BUCKET})::bigint end"
        )
    }

    fn in_bucket(&self, bucket: i64) -> Vec<String> {
        let (Some(_), Some(watermark)) = (self.cut, self.watermark()) else { return Vec::new() };
        let mut parts = vec![format!("{} = {bucket}", self.bucket())];
        if self.plan.watermark == Some(WatermarkKind::Number) {
            // A window of numbers is wide: the bucket's own expression is all that is asked.
        } else if bucket == NO_BUCKET {
            parts.push(format!("{watermark} = '-infinity'"));
        } else {
            // A second more at each end, for an index: what decides is the bucket's own expression.
            let (from, to) = bucket_span(self.plan, bucket);
            let local = |at: Timestamp| match self.plan.watermark.as_ref().and_then(|kind| kind.zone()) {
                None => instant(at),
                Some(_) => format!("({} at time zone 'UTC')", instant(at)),
            };
            parts.push(format!("{watermark} >= {}", local(from.minus(Micros::seconds(1)))));
            parts.push(format!("{watermark} <= {}", local(to.plus(Micros::seconds(1)))));
        }
        parts
    }

    fn literal(&self, at: Timestamp) -> String {
        self.plan.watermark.as_ref().map_or_else(|| instant(at), |kind| bound(kind, at))
    }

    fn condition(&self, cut: Cut) -> Vec<String> {
        let Some(watermark) = self.watermark() else { return Vec::new() };
        let mut parts = vec![format!("{watermark} <= {}", self.literal(cut.high))];
        if cut.low.is_finite() {
            parts.push(format!("{watermark} > {}", self.literal(cut.low)));
        }
        if cut.sample_percent < 100 {
            // 61 has no common divisor with 100: every hundred buckets give exactly that many, spread evenly.
            let place =
                format!("pg_catalog.mod(pg_catalog.mod(pg_catalog.mod({}, 100) + 100, 100) * 61, 100)", self.bucket());
            parts.push(format!("{place} < {}", cut.sample_percent));
        }
        parts
    }

    fn cut_condition(&self, more: &[String]) -> String {
        let mut parts = self.cut.map(|cut| self.condition(cut)).unwrap_or_default();
        parts.extend_from_slice(more);
        if parts.is_empty() { String::new() } else { format!(" where {}", parts.join(" and ")) }
    }

    /// Whether the row version is younger than what was loaded last, and a later run delivers it.
    fn young(&self) -> String {
        let Some(since) = self.since_xmin.filter(|_| self.end == End::Source) else { return "false".to_owned() };
        let table = &self.plan.table;
        match (self.cut, self.watermark()) {
            (Some(_), _) if !self.plan.can_sweep() => "false".to_owned(),
            (Some(_), Some(_)) if self.plan.watermark == Some(WatermarkKind::Number) => young(since),
            (Some(cut), Some(watermark)) => {
                let back_to = cut.high.minus(table.late_window);
                format!("({} and {watermark} > {})", young(since), self.literal(back_to))
            }
            _ => young(since),
        }
    }

    /// What this end says of a column.
    fn own(&self, name: &str) -> Option<&Column> {
        match self.end {
            End::Source => self.plan.columns.iter().map(|column| &column.column).find(|column| column.name == name),
            End::Bronze => self.bronze.column(name),
        }
    }

    /// In the column's own type, so that the key's index serves.
    fn key_equals(&self, part: &Equality, given: &str) -> String {
        let own = self.own(&part.column);
        let type_name = own.map_or("text", |column| column.type_name.as_str());
        let (value, given) = (self.value(&part.column), format!("dwh_given.{given}"));
        let equal = part.of(&value, &format!("{given}::{type_name}"));
        if own.is_some_and(|column| column.not_null) {
            equal
        } else {
            format!("({equal} or ({value} is null and {given} is null))")
        }
    }
}

/// The condition of rows that are not known to be gone at the source.
fn unmarked(table: &TableConfig) -> String {
    if table.marks_deleted() { format!(" where {} is null", quote_ident(DELETED_AT)) } else { String::new() }
}

/// From where to where a bucket goes, in the watermark column's own clock; the end is exclusive.
pub(crate) fn bucket_span(plan: &Plan, bucket: i64) -> (Timestamp, Timestamp) {
    let length = Compared::bucket_length(plan);
    let from = bucket.saturating_mul(length.0);
    let of_number = plan.watermark == Some(WatermarkKind::Number);
    let from = if of_number { Timestamp::of_number(from) } else { Timestamp::from_micros(from) };
    (from, from.plus(length))
}

fn hash(values: impl Iterator<Item = String>) -> String {
    let texts: Vec<String> = values.map(|value| format!("{value}::text")).collect();
    format!("pg_catalog.md5(pg_catalog.convert_to(row({})::text, 'UTF8'))", texts.join(", "))
}
