//! Which columns say when a row was written, and how far they can be believed. Pure.

use crate::schema::Column;
use crate::source::survey::{TableFacts, Trigger};

/// Calls that give the time of the transaction, or a later one.
pub(crate) const NOW: [&str; 7] = [
    "now()",
    "current_timestamp",
    "clock_timestamp()",
    "statement_timestamp()",
    "transaction_timestamp()",
    "localtimestamp",
    "current_date",
];

/// Words of a column that a database fills when it takes a row.
const TAKEN: [&str; 11] = [
    "created",
    "inserted",
    "recorded",
    "ingested",
    "received",
    "loaded",
    "stored",
    "added",
    "saved",
    "registered",
    "imported",
];

/// Words of a column that moves when its row changes.
const CHANGED: [&str; 5] = ["updated", "modified", "changed", "update", "mtime"];

/// Words of a column that a device or a person fills: such a time says nothing of when the row came.
const REPORTED: [&str; 16] = [
    "gps",
    "event",
    "device",
    "timestamp",
    "time",
    "ts",
    "date",
    "reported",
    "occurred",
    "observed",
    "measured",
    "start",
    "end",
    "happened",
    "sensor",
    "datetime",
];

/// How far a column can be believed to be the time of insertion, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trust {
    /// Only its name says so.
    Name,
    /// The database stamps it, but its name speaks of another time.
    StampedReported,
    /// The database stamps it by default.
    Default,
    /// A trigger stamps it, whatever the writer says.
    Trigger,
}

/// A column that could be the watermark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Its name.
    pub column: String,
    /// How far it can be believed.
    pub trust: Trust,
    /// Whether it moves when its row changes, by its name or by a trigger.
    pub moves: bool,
    /// Whether a trigger sees to that.
    pub kept: bool,
    /// 0 `timestamptz`, 1 `timestamp`, 2 `date`.
    pub form: u8,
    /// Whether the default says in SQL that it is UTC.
    pub utc: bool,
    /// Whether it refuses NULL.
    pub not_null: bool,
    /// Whether an index leads with it.
    pub indexed: bool,
    /// The default, or the trigger's function.
    pub stamped_by: String,
}

/// The candidates of a table, the best first. `changing`: rows were seen to change, so a column that moves comes first.
pub(super) fn candidates(facts: &TableFacts, changing: bool) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = facts.schema.columns.iter().filter_map(|column| candidate(facts, column)).collect();
    // A stable sort, so that the table's own order decides last.
    found
        .sort_by_key(|c| std::cmp::Reverse((changing && c.moves, c.trust, 2 - c.form, c.not_null, c.moves, c.indexed)));
    found
}

fn candidate(facts: &TableFacts, column: &Column) -> Option<Candidate> {
    let form = match column.bare_type() {
        t if t.starts_with("timestamp") && t.ends_with("with time zone") => 0,
        t if t.starts_with("timestamp") => 1,
        "date" => 2,
        _ => return None,
    };
    if column.generated {
        return None;
    }
    let default = column.default.as_deref().map(str::to_lowercase).unwrap_or_default();
    let stamps =
        |on: fn(&Trigger) -> bool| facts.triggers.iter().find(|trigger| on(trigger) && sets_now(trigger, &column.name));
    let (inserts, updates) = (stamps(|trigger| trigger.insert), stamps(|trigger| trigger.update));
    let by_default = NOW.iter().any(|call| default.contains(call));
    let words = words(&column.name);
    let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    let changed = has(&CHANGED);
    let trust = match (inserts, by_default) {
        (Some(_), _) => Trust::Trigger,
        (None, true) if has(&REPORTED) && !changed && !has(&TAKEN) => Trust::StampedReported,
        (None, true) => Trust::Default,
        // `timestamp`, `gps_time`, `received_by_device_at`: without a default, one wrong word is enough.
        (None, false) if (changed || has(&TAKEN)) && !has(&["gps", "event", "device", "sensor"]) => Trust::Name,
        (None, false) => return None,
    };
    Some(Candidate {
        column: column.name.clone(),
        trust,
        moves: changed || updates.is_some(),
        kept: updates.is_some(),
        form,
        utc: default.contains("'utc'"),
        not_null: column.not_null,
        indexed: facts.schema.indexed.contains(&column.name),
        stamped_by: match inserts {
            Some(trigger) => format!("trigger function `{}`", trigger.function),
            None if by_default => format!("default `{default}`"),
            None => String::new(),
        },
    })
}

/// Whether the trigger puts the time into the column: `new.column := now()`, or the extension `moddatetime`.
pub(crate) fn sets_now(trigger: &Trigger, column: &str) -> bool {
    if trigger.function == "moddatetime" {
        return trigger.arguments.iter().any(|argument| argument == column);
    }
    let body: String = trigger.body.to_lowercase().split_whitespace().collect();
    let column: String = column.to_lowercase().split_whitespace().collect();
    [format!("new.{column}"), format!("new.\"{column}\"")].iter().any(|target| {
        body.match_indices(target.as_str()).any(|(at, _)| {
            let rest = &body[at + target.len()..];
            let value = rest.strip_prefix(":=").or_else(|| rest.strip_prefix('='));
            let statement = value.and_then(|value| value.split(';').next()).unwrap_or_default();
            NOW.iter().any(|call| statement.contains(call))
        })
    })
}

/// `lastUpdatedAt` and `last_updated_at` are the same three words, and `at` says nothing.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower = false;
    for letter in name.chars() {
        if !letter.is_alphanumeric() || (lower && letter.is_uppercase()) {
            words.push(String::new());
        }
        lower = letter.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| letter.is_alphanumeric()) {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::{Trigger, sets_now, words};

    #[test]
    fn names_are_cut_into_words() {
        for (name, cut) in [
            ("recorded_at", "recorded at"),
            ("lastUpdatedAt", "last updated at"),
            ("GPS_Time", "gps time"),
            ("__ts", "ts"),
            ("", ""),
        ] {
            assert_eq!(words(name).join(" "), cut, "{name}");
        }
    }

    #[test]
    fn triggers_that_stamp_are_told_from_those_that_do_not() {
        let stamps = |body: &str| sets_now(&Trigger { body: body.into(), ..Trigger::default() }, "updated_at");
        assert!(stamps("begin new.updated_at := now(); return new; end"));
        assert!(stamps("BEGIN\n NEW.updated_at =\n CURRENT_TIMESTAMP;\n RETURN NEW; END"));
        assert!(stamps("begin new.\"updated_at\" := clock_timestamp(); return new; end"));
        assert!(!stamps("begin new.updated_at_utc := now(); return new; end"));
        assert!(!stamps("begin new.updated_at := old.updated_at; new.seen := now(); return new; end"));
        assert!(!stamps("begin if new.updated_at > now() then raise 'future'; end if; return new; end"));
        let moddatetime = |column: &str| Trigger {
            function: "moddatetime".into(),
            arguments: vec![column.into()],
            ..Trigger::default()
        };
        assert!(sets_now(&moddatetime("updated_at"), "updated_at"));
        assert!(!sets_now(&moddatetime("seen"), "updated_at"));
    }
}
