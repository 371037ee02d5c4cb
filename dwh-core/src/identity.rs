//! What a watermark belongs to: who read it, from where, and into which bronze table. Pure.

use serde::{Deserialize, Serialize};

/// What a watermark was read for. A watermark means nothing for another project, source, relation or column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `[project] name`.
    pub project: String,
    /// `system_identifier` of the source's cluster; empty where the server does not tell it.
    pub system_identifier: String,
    /// The source's database.
    pub database: String,
    /// The relation, as `schema.name`; for a configured query, its text.
    pub relation: String,
    /// The watermark column; `None` for a table that is read whole.
    pub watermark: Option<String>,
}

/// Which bronze table rows were loaded into: a table that was dropped and made again has another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BronzeId {
    /// The warehouse: `system_identifier` of its cluster and oid of its database, as `7412…/16384`.
    pub warehouse: String,
    /// Oid of the table of watermarks: another one says that the control schema was restored from a dump, and so that
    /// the oids in it are those of the database that was dumped.
    pub control: u32,
    /// Schema and name of the bronze table.
    pub table: String,
    /// Its oid.
    pub oid: u32,
    /// What its rows are stored in (`pg_relation_filenode` of it and its partitions): another one says that they were
    /// rewritten (`truncate`, `vacuum full`, a changed type).
    pub file: String,
}

/// One table of those that a relation is read from: itself, its partitions and children, or what a view shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// Its oid.
    pub oid: u32,
    /// `pg_relation_filenode`; 0 for what has no file.
    pub file: u32,
    /// Schema and name, for people.
    pub name: String,
    /// Whether its rows lie on another server.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
}

/// What keeps a watermark from being used: it was read for something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// Another project of this control schema loaded the table.
    Project {
        /// The project that did.
        other: String,
    },
    /// The source is another database.
    Database {
        /// The database that the rows came from.
        before: String,
        /// The one that is connected now.
        now: String,
    },
    /// The source is a database of the same name on another server.
    Server {
        /// The server that the rows came from.
        before: String,
        /// The one that is connected now.
        now: String,
    },
    /// The configuration reads another relation or query.
    Relation {
        /// The relation that the rows came from.
        before: String,
        /// The one that is configured now.
        now: String,
    },
    /// The configuration names another watermark column.
    Watermark {
        /// The column that the watermark was read from; `None`: the table was read whole.
        before: Option<String>,
        /// The one that is configured now.
        now: String,
    },
}

impl Origin {
    /// Why a watermark of this origin cannot be used for `now`; `None` if it can. What `now` does not know yet, or a
    /// server does not tell, is not compared.
    ///
    /// A table that is read whole has no use for the watermark: only who reads it, and from which database, matters.
    #[must_use]
    pub(crate) fn refuses(&self, now: &Self) -> Option<Stranger> {
        let differ = |a: &str, b: &str| !a.is_empty() && !b.is_empty() && a != b;
        if differ(&self.project, &now.project) {
            return Some(Stranger::Project { other: self.project.clone() });
        }
        if differ(&self.database, &now.database) {
            return Some(Stranger::Database { before: self.database.clone(), now: now.database.clone() });
        }
        if differ(&self.system_identifier, &now.system_identifier) {
            let (before, now) = (self.system_identifier.clone(), now.system_identifier.clone());
            return Some(Stranger::Server { before, now });
        }
        let column = now.watermark.as_ref()?;
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        if words(&self.relation) != words(&now.relation) {
            return Some(Stranger::Relation { before: self.relation.clone(), now: now.relation.clone() });
        }
        (self.watermark.as_ref() != Some(column))
            .then(|| Stranger::Watermark { before: self.watermark.clone(), now: column.clone() })
    }
}

/// What became of a bronze table since rows were last loaded into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is the same.
    Same,
    /// It is the same, and its rows lie in another file: somebody rewrote them.
    Rewritten,
    /// It is the same, and its rows are gone.
    Emptied,
    /// There is no table of its name any more.
    Dropped,
    /// A table of this name was dropped and made again.
    MadeAgain,
    /// The configuration names another table by now.
    Moved,
    /// The warehouse was restored from a dump, or is another one, and the table has rows.
    Restored,
    /// The same, and the table has none.
    RestoredEmpty,
}

impl BronzeId {
    /// What became of this table, `now` being the one that is there, and `empty` whether it has no row.
    #[must_use]
    pub(crate) fn fate(&self, now: &Self, empty: bool) -> Fate {
        if (&self.warehouse, self.control) != (&now.warehouse, now.control) {
            // Its oids are those of another database.
            return if empty { Fate::RestoredEmpty } else { Fate::Restored };
        }
        match (self.oid == now.oid, self.table == now.table, self.file == now.file) {
            (true, ..) if empty => Fate::Emptied,
            // It may have been renamed.
            (true, _, true) => Fate::Same,
            (true, _, false) => Fate::Rewritten,
            (false, true, _) => Fate::MadeAgain,
            (false, false, _) => Fate::Moved,
        }
    }

    /// Whether what was loaded into this table is in that one, which may have been rewritten since, or restored.
    #[must_use]
    pub(crate) fn is_still(&self, now: &Self) -> bool {
        !self.fate(now, false).lost_rows()
    }
}

impl Fate {
    /// Whether rows that were loaded are gone.
    #[must_use]
    pub(crate) const fn lost_rows(self) -> bool {
        matches!(self, Self::Emptied | Self::Dropped | Self::MadeAgain | Self::Moved | Self::RestoredEmpty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin {
            project: "fleet".to_owned(),
            system_identifier: "741".to_owned(),
            database: "app".to_owned(),
            relation: "public.trips".to_owned(),
            watermark: Some("at".to_owned()),
        }
    }

    #[test]
    fn a_watermark_serves_only_what_it_was_read_for() {
        let same = |change: fn(&mut Origin)| {
            let mut now = origin();
            change(&mut now);
            origin().refuses(&now)
        };
        assert_eq!(same(|_| ()), None);
        assert!(matches!(same(|now| now.project = "b".into()), Some(Stranger::Project { other }) if other == "fleet"));
        assert!(matches!(same(|now| now.database = "b".into()), Some(Stranger::Database { .. })));
        assert!(matches!(same(|now| now.system_identifier = "9".into()), Some(Stranger::Server { .. })));
        assert!(matches!(same(|now| now.relation = "public.other".into()), Some(Stranger::Relation { .. })));
        assert!(matches!(same(|now| now.watermark = Some("b".into())), Some(Stranger::Watermark { .. })));
    }

    #[test]
    fn what_is_not_known_is_not_compared() {
        let now = Origin { system_identifier: String::new(), database: String::new(), ..origin() };
        assert_eq!(origin().refuses(&now), None);
        assert_eq!(now.refuses(&origin()), None);
        let spaced = Origin { relation: " public.trips\n".to_owned(), ..origin() };
        assert_eq!(origin().refuses(&spaced), None, "a query may be laid out anew");
    }

    #[test]
    fn a_table_that_is_read_whole_may_change_what_it_reads_but_not_its_database() {
        let whole = Origin { relation: "public.other".to_owned(), watermark: None, ..origin() };
        assert_eq!(origin().refuses(&whole), None);
        let elsewhere = Origin { database: "b".to_owned(), ..whole.clone() };
        assert!(matches!(origin().refuses(&elsewhere), Some(Stranger::Database { .. })));
        let before = Some(Stranger::Watermark { before: None, now: "at".to_owned() });
        assert_eq!(Origin { watermark: None, ..origin() }.refuses(&origin()), before, "it was read whole before");
    }

    #[test]
    fn a_bronze_table_has_one_fate() {
        let then = BronzeId {
            warehouse: "7/1".to_owned(),
            control: 10,
            table: "bronze.trips".to_owned(),
            oid: 100,
            file: "100".to_owned(),
        };
        let fate = |change: fn(&mut BronzeId), empty| {
            let mut now = then.clone();
            change(&mut now);
            then.fate(&now, empty)
        };
        /// What happened to the table, and its fate when it has rows and when it has none.
        type Case = (fn(&mut BronzeId), Fate, Fate);
        let cases: [Case; 7] = [
            (|_| (), Fate::Same, Fate::Emptied),
            (|now| now.file = "2".into(), Fate::Rewritten, Fate::Emptied),
            (|now| now.oid = 2, Fate::MadeAgain, Fate::MadeAgain),
            (|now| now.table = "bronze.renamed".into(), Fate::Same, Fate::Emptied),
            (|now| (now.table, now.oid) = ("bronze.other".into(), 2), Fate::Moved, Fate::Moved),
            (|now| (now.control, now.oid) = (11, 2), Fate::Restored, Fate::RestoredEmpty),
            (|now| (now.warehouse, now.oid) = ("8/1".into(), 2), Fate::Restored, Fate::RestoredEmpty),
        ];
        for (change, with_rows, without) in cases {
            assert_eq!((fate(change, false), fate(change, true)), (with_rows, without));
        }
    }
}
