//! The options of a connection that libpq knows, and what becomes of each here.

use crate::error::{Error, ErrorKind, Result};

/// What becomes of an option that libpq knows.
enum Use {
    /// It is used, and this variable sets it too.
    Taken(&'static str),
    /// It changes nothing here: what it says is so, or cannot matter.
    Idle,
    /// Leaving it out would promise more than is kept.
    Refused(&'static str),
}

static KNOWN: [(&str, Use); 41] = [
    ("application_name", Use::Taken("PGAPPNAME")),
    ("channel_binding", Use::Taken("PGCHANNELBINDING")),
    ("client_encoding", Use::Idle),
    ("connect_timeout", Use::Taken("PGCONNECT_TIMEOUT")),
    ("dbname", Use::Taken("PGDATABASE")),
    ("fallback_application_name", Use::Taken("")),
    ("gssdelegation", Use::Idle),
    ("gssencmode", Use::Idle),
    ("gsslib", Use::Idle),
    ("host", Use::Taken("PGHOST")),
    ("hostaddr", Use::Taken("")),
    ("keepalives", Use::Taken("")),
    ("keepalives_count", Use::Taken("")),
    ("keepalives_idle", Use::Taken("")),
    ("keepalives_interval", Use::Taken("")),
    ("krbsrvname", Use::Idle),
    ("load_balance_hosts", Use::Idle),
    ("options", Use::Taken("PGOPTIONS")),
    ("passfile", Use::Taken("PGPASSFILE")),
    ("password", Use::Taken("PGPASSWORD")),
    ("port", Use::Taken("PGPORT")),
    ("replication", Use::Refused("a replication connection cannot run queries")),
    ("require_auth", Use::Refused("use `channel_binding=require` with SCRAM instead")),
    ("requirepeer", Use::Refused("use TLS with `sslmode=verify-full` instead")),
    ("service", Use::Taken("PGSERVICE")),
    ("ssl_max_protocol_version", Use::Idle),
    ("ssl_min_protocol_version", Use::Taken("PGSSLMINPROTOCOLVERSION")),
    ("sslcert", Use::Taken("PGSSLCERT")),
    ("sslcertmode", Use::Idle),
    ("sslcompression", Use::Idle),
    ("sslcrl", Use::Refused("revocation lists are not supported")),
    ("sslcrldir", Use::Refused("revocation lists are not supported")),
    ("sslkey", Use::Taken("PGSSLKEY")),
    ("sslmode", Use::Taken("PGSSLMODE")),
    ("sslnegotiation", Use::Taken("PGSSLNEGOTIATION")),
    ("sslpassword", Use::Refused("keep the key unencrypted, in a file that only its owner may read")),
    ("sslrootcert", Use::Taken("PGSSLROOTCERT")),
    ("sslsni", Use::Idle),
    ("target_session_attrs", Use::Taken("PGTARGETSESSIONATTRS")),
    ("tcp_user_timeout", Use::Taken("")),
    ("user", Use::Taken("PGUSER")),
];

/// Whether libpq has an option of that name.
pub(super) fn is_known(name: &str) -> bool {
    KNOWN.iter().any(|(known, _)| *known == name)
}

/// The options that a variable of the environment sets too, each with its variable.
pub(super) fn variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    KNOWN.iter().filter_map(|(name, place)| match place {
        Use::Taken(variable) => Some((*name, *variable)),
        Use::Idle | Use::Refused(_) => None,
    })
}

/// Refuses options that are unknown, or that would promise what is not kept.
pub(super) fn check(name: &str, value: &str, previous: Option<&str>, name_is_safe: bool) -> Result<()> {
    let refuse = |what: String| Error::new(ErrorKind::Config, what);
    match KNOWN.iter().find(|(known, _)| *known == name) {
        Some((_, Use::Refused(why))) => Err(refuse(format!("`{name}` of the connection is not supported: {why}"))),
        Some((_, Use::Idle)) => idle(name, value),
        Some((_, Use::Taken(_))) => Ok(()),
        None => {
            let plausible = name.len() <= 40 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let which = match previous {
                _ if name_is_safe && plausible => format!("`{name}` is no option of a connection"),
                // An unquoted blank in a password makes its rest look like an option: it must not be shown.
                Some(previous) => format!("what follows `{previous}` in the connection string is no option"),
                None => "the connection string begins with what is no option".to_owned(),
            };
            Err(refuse(which).with_hint(
                "in `key=value` strings, put values with blanks or quotes in single quotes; \
                 the options are those of libpq",
            ))
        }
    }
}

/// Refuses the values of an unused option that ask for something.
fn idle(name: &str, value: &str) -> Result<()> {
    let asks = match name {
        "gssencmode" | "sslcertmode" => value == "require",
        "load_balance_hosts" => value == "random",
        "sslsni" => value == "0",
        "ssl_max_protocol_version" => value != "TLSv1.3",
        "client_encoding" => !["auto", "utf8", "utf-8", "unicode"].contains(&value.to_lowercase().as_str()),
        _ => false,
    };
    if !asks || value.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Config, format!("`{name}` of the connection asks for what is not supported"))
        .with_hint(format!("leave `{name}` out")))
}
