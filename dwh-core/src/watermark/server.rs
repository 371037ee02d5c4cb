//! The server that answered. A bound says nothing of another server than the one whose sessions were looked at.

use serde::{Deserialize, Serialize};
use std::fmt;

use super::timestamp::Timestamp;
use crate::error::{Error, ErrorKind, Result};

/// One server process: who answers under an address may change from one statement to the next, behind a load balancer
/// or a pooler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// `system_identifier` of the cluster; empty where the server does not tell it.
    pub system_identifier: String,
    /// Timeline of the cluster; 0 where the server does not tell it.
    pub timeline: i64,
    /// The database.
    pub database: String,
    /// Whether it is a standby.
    pub in_recovery: bool,
    /// When its process started, which tells a server from its copies.
    pub started_at: Timestamp,
}

impl Server {
    /// Refuses a snapshot of another server than the one that the bound was taken on.
    ///
    /// # Errors
    /// `Contract`, with what differs.
    pub fn must_be(&self, other: &Self) -> Result<()> {
        let pairs = [
            ("system identifier", self.system_identifier == other.system_identifier),
            ("timeline", self.timeline == other.timeline),
            ("database", self.database == other.database),
            ("role as primary or standby", self.in_recovery == other.in_recovery),
            ("start time", self.started_at == other.started_at),
        ];
        let differ: Vec<&str> = pairs.iter().filter(|(_, same)| !same).map(|(what, _)| *what).collect();
        if differ.is_empty() {
            return Ok(());
        }
        let text = format!(
            "the safe bound was taken on {self}, and another server answers now, {other}: {} differ",
            differ.join(" and ")
        );
        Err(Error::new(ErrorKind::Contract, text).with_hint(
            "nothing was read. Was the server started again, or did it change its role, at this moment? Then run it again. \
             Otherwise a load balancer or a pooler with several servers stands in between: name one server in `url`, and \
             give the primary of a standby in `primary_url`",
        ))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = if self.in_recovery { "standby" } else { "primary" };
        let id = if self.system_identifier.is_empty() { "unknown" } else { &self.system_identifier };
        write!(f, "{role} {id}/{} started at {} (timeline {})", self.database, self.started_at, self.timeline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watermark::Micros;

    #[test]
    fn a_bound_holds_for_the_server_that_it_was_taken_on_alone() {
        let server = || Server {
            system_identifier: "71".into(),
            timeline: 1,
            database: "app".into(),
            in_recovery: false,
            started_at: Timestamp::SEED,
        };
        assert!(server().must_be(&server()).is_ok());
        for (other, what) in [
            (Server { system_identifier: "72".into(), ..server() }, "system identifier"),
            (Server { timeline: 2, ..server() }, "timeline"),
            (Server { database: "other".into(), ..server() }, "database"),
            (Server { in_recovery: true, ..server() }, "standby"),
            (Server { started_at: Timestamp::SEED.plus(Micros::seconds(1)), ..server() }, "start time"),
        ] {
            let error = server().must_be(&other).expect_err(what);
            assert_eq!(error.kind(), ErrorKind::Contract);
            assert!(error.to_string().contains(what), "{error}");
            assert!(error.hint().contains("load balancer"), "{}", error.hint());
        }
    }
}
