//! Who holds the lock that was not granted: told with the error, so that nobody has to look for it.

use std::fmt;
use tokio_postgres::GenericClient;
use tokio_postgres::types::{ToSql, Type};

use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};

/// What was wanted, and so which locks stand in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockWanted {
    /// To read: only what keeps readers out.
    Read,
    /// To change rows: whatever others hold but to read.
    Rows,
    /// The table for oneself: any lock.
    Alone,
}

/// A session that holds a lock, or waits for it before us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// `None`: a prepared transaction, which has no session.
    pid: Option<i32>,
    user: Option<String>,
    application: Option<String>,
    state: Option<String>,
    since: Option<String>,
    statement: Option<String>,
}

/// Partitions and children count as the table itself; without tables, locks on any table of the database. Those that
/// wait in the queue before us hold us up as well, and come after those that hold a lock.
const HOLDERS: &str = "with recursive family (oid) as (select pg_catalog.to_regclass(t.name)::oid from pg_catalog.unnest($1) t(name) union \
         select i.inhrelid from pg_catalog.pg_inherits i join family f on i.inhparent = f.oid), \
     found as (select l.pid, pg_catalog.bool_or(l.granted) as granted from pg_catalog.pg_locks l \
         where l.locktype = 'relation' and l.pid is distinct from pg_catalog.pg_backend_pid() \
         and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()) \
         and case when $1 is null then l.relation >= 16384 else l.relation in (select oid from family) end \
         and case $2 when 'read' then l.mode = 'AccessExclusiveLock' when 'rows' then l.mode <> 'AccessShareLock' \
             else true end \
         group by l.pid) \
     select f.pid, a.usename::text, nullif(a.application_name, ''), a.state, \
         pg_catalog.to_char(a.xact_start at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), a.query \
     from found f left join pg_catalog.pg_stat_activity a on a.pid = f.pid \
     order by not f.granted, a.xact_start limit 3";

/// Who holds a lock on one of the tables that stands in the way of what is wanted; the longest transaction first.
pub(crate) async fn holders(
    client: &impl GenericClient,
    tables: Option<&[String]>,
    wanted: LockWanted,
) -> Result<Vec<Holder>> {
    let wanted = match wanted {
        LockWanted::Read => "read",
        LockWanted::Rows => "rows",
        LockWanted::Alone => "alone",
    };
    let params: [(&(dyn ToSql + Sync), Type); 2] = [(&tables, Type::TEXT_ARRAY), (&wanted, Type::TEXT)];
    let rows = client.query_typed(HOLDERS, &params).await.map_err(sort)?;
    let holder = |row: &tokio_postgres::Row| Holder {
        pid: row.get(0),
        user: row.get(1),
        application: row.get(2),
        state: row.get(3),
        since: row.get(4),
        statement: row.get::<_, Option<String>>(5).and_then(|sql| without_literals(&sql)),
    };
    Ok(rows.iter().map(holder).collect())
}

/// Whether the error says that a lock was not granted in time.
pub(crate) fn is_lock_timeout(error: &Error) -> bool {
    error.kind() == ErrorKind::Busy && error.chain().contains("(SQLSTATE 55P03)")
}

/// The error, with those who hold the lock and how to end them; as it was if they are gone meanwhile.
pub(crate) fn held_by(error: Error, holders: &[Holder], server: &str) -> Error {
    if holders.is_empty() {
        return error;
    }
    let (kind, hint) = (error.kind(), error.hint().to_owned());
    let list: Vec<String> = holders.iter().map(ToString::to_string).collect();
    let ends: Vec<String> =
        holders.iter().filter_map(|holder| Some(format!("select pg_terminate_backend({});", holder.pid?))).collect();
    let way_out = if ends.is_empty() { String::new() } else { format!("\nto end it, {server}: {}", ends.join(" ")) };
    Error::new(kind, format!("{error}; the lock is held by {}", list.join("; and by "))).with_hint(hint + &way_out)
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(pid) = self.pid else {
            return f.write_str("a prepared transaction (`pg_prepared_xacts` has its name)");
        };
        write!(f, "session {pid}")?;
        if let Some(user) = &self.user {
            write!(f, " of `{user}`")?;
        }
        if let Some(application) = &self.application {
            write!(f, " (application `{}`)", application.escape_debug())?;
        }
        if let Some(state) = &self.state {
            write!(f, ", {state}")?;
        }
        if let Some(since) = &self.since {
            write!(f, ", its transaction began at {since}")?;
        }
        match &self.statement {
            Some(statement) => write!(f, ", statement `{statement}`"),
            None => Ok(()),
        }
    }
}

/// The beginning of a statement in one line, with `…` in place of what may be a value; `None` where it is not shown.
fn without_literals(sql: &str) -> Option<String> {
    const LONGEST: usize = 80;
    if sql.is_empty() || sql.starts_with("<insufficient") {
        return None;
    }
    let mut text = String::new();
    let mut rest = sql.chars().peekable();
    while let Some(char) = rest.next() {
        let in_a_name = text.chars().next_back().is_some_and(|last| last.is_alphanumeric() || last == '_');
        match char {
            '\'' => {
                while rest.next().is_some_and(|char| char != '\'') {}
                text.push('…');
            }
            // Between dollars: where it ends cannot be told.
            '$' if !in_a_name => {
                text.push('…');
                break;
            }
            digit if digit.is_ascii_digit() && !in_a_name => {
                while rest.next_if(|char| char.is_alphanumeric() || *char == '.').is_some() {}
                text.push('…');
            }
            space if space.is_whitespace() || space.is_control() => {
                if !text.ends_with(' ') {
                    text.push(' ');
                }
            }
            '`' => text.push('\u{2019}'),
            other => text.push(other),
        }
    }
    let mut short: String = text.trim().chars().take(LONGEST).collect();
    if short.len() < text.trim().len() {
        short.push('…');
    }
    (!short.is_empty()).then_some(short)
}

#[cfg(test)]
mod tests {
    use super::without_literals;

    #[test]
    fn no_value_of_a_statement_is_told() {
        for (sql, told) in [
            ("truncate app.t", Some("truncate app.t")),
            ("alter role x password 'geheim'", Some("alter role x password …")),
            ("select *\n from t2 where a = 4711.5 and b = 'it''s' ", Some("select * from t2 where a = … and b = ……")),
            ("select 'cut off in the mid", Some("select …")),
            ("do $$ begin secret; end $$", Some("do …")),
            ("<insufficient privilege>", None),
            ("", None),
        ] {
            assert_eq!(without_literals(sql).as_deref(), told, "{sql}");
        }
    }
}
