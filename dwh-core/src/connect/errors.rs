//! The driver's errors, sorted into ours. Row values, which servers put into many of them, are left out.

use bytes::Bytes;
use futures_util::stream;
use std::error::Error as StdError;
use std::io;
use tokio::io::sink;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::DbError;
use tokio_postgres::{Config, NoTls};
use tokio_util::io::StreamReader;

use crate::error::{Error, ErrorKind, SqlState};
use crate::schema::quote_ident;

/// The SQLSTATE of what the stream below the driver says in a server's place. No server has it.
pub(super) const SILENT: &str = "DWH01";

/// Sorts a driver's error into ours.
///
/// The message is the server's primary message with its SQLSTATE, and the place in a CSV if it has one. Details, hints,
/// contexts and quoted input values of the server are left out: they hold row values.
#[must_use]
pub fn sort(error: tokio_postgres::Error) -> Error {
    if let Some(error) = error.as_db_error() {
        return sort_db(error);
    }
    if let Some(text) = tls_cause(&error) {
        return Error::new(ErrorKind::Auth, text);
    }
    let error = match ours(error) {
        Ok(ours) => return ours,
        Err(error) => error,
    };
    let cause = error.source().map(ToString::to_string);
    // The driver hides its kinds; its fixed words are all that tells them apart.
    match error.to_string().as_str() {
        _ if cause.as_deref() == Some("password missing") => {
            Error::new(ErrorKind::Auth, "the server asks for a password, and none is configured")
        }
        "authentication error" => {
            Error::new(ErrorKind::Auth, format!("the login failed: {}", cause.unwrap_or_default()))
        }
        // Its cause may quote the connection string.
        "invalid connection string" | "invalid configuration" => {
            Error::new(ErrorKind::Config, "the connection's settings cannot be used")
        }
        "connection closed" => Error::new(ErrorKind::Unreachable, "the server closed the connection"),
        _ if has_io(&error) => Error::new(
            ErrorKind::Unreachable,
            format!("the connection broke: {}", cause.unwrap_or_else(|| error.to_string())),
        ),
        "timeout waiting for server" => Error::new(ErrorKind::Unreachable, "the server does not answer in time"),
        _ => {
            Error::new(ErrorKind::Internal, "the driver and the server do not understand each other").with_source(error)
        }
    }
}

/// The same with the object before it, such as ``source `fleet` ``.
#[must_use]
pub fn sort_named(name: &str, error: tokio_postgres::Error) -> Error {
    sort(error).context(name)
}

/// An error of ours inside one of the driver's, for those who take no other. [`sort`] takes it out again.
///
/// Only the driver makes its errors: it is given a connection that fails so at its first byte.
pub(crate) async fn in_the_drivers(error: Error) -> tokio_postgres::Error {
    let fails = StreamReader::new(stream::iter([Err::<Bytes, _>(io::Error::other(error))]));
    let mut config = Config::new();
    let attempt = config.user("nobody").ssl_mode(SslMode::Disable).connect_raw(tokio::io::join(fails, sink()), NoTls);
    attempt.await.err().expect("nothing but an error comes from there")
}

/// Takes an error of ours out of the driver's.
fn ours(error: tokio_postgres::Error) -> Result<Error, tokio_postgres::Error> {
    let wrapped = error.source().and_then(|cause| cause.downcast_ref::<io::Error>()?.get_ref());
    if !wrapped.is_some_and(|wrapped| wrapped.is::<Error>()) {
        return Err(error);
    }
    let cause = error.into_source().and_then(|cause| cause.downcast::<io::Error>().ok());
    Ok(cause.and_then(|cause| cause.downcast::<Error>().ok()).expect("it was seen there"))
}

/// What was tried when a connection failed.
pub(super) struct Attempt<'a> {
    pub(super) place: String,
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) user: &'a str,
    pub(super) database: &'a str,
    /// Where the password came from; empty if there is none.
    pub(super) password_from: &'a str,
}

/// Why there is no connection, in a sentence, with a hint that helps.
pub(super) fn at_connect(error: tokio_postgres::Error, attempt: &Attempt<'_>) -> Error {
    let Attempt { place, host, port, user, database, password_from } = attempt;
    let code = error.as_db_error().map(|error| error.code().code().to_owned());
    match code.as_deref() {
        Some("28P01") => {
            let hint = match *password_from {
                "" => "no password is configured: put one into the URL, `PGPASSWORD` or a passfile".to_owned(),
                from => format!("the password came from {from}: correct it there, or see whether the role has expired"),
            };
            return Error::new(ErrorKind::Auth, format!("{place} refuses the password of user `{user}`"))
                .with_hint(hint);
        }
        Some("3D000") => {
            return Error::new(ErrorKind::NotFound, format!("{place} has no database `{database}`"))
                .with_hint(format!("`psql -h {host} -p {port} -U {user} -l` lists its databases"));
        }
        // Whatever language the server speaks: it knows who may come from where, and not this role.
        Some("28000") if error.as_db_error().and_then(DbError::routine) == Some("InitializeSessionUserId") => {
            let role = quote_ident(user);
            return sort(error).with_hint(format!(
                "correct the user of the connection string, or as a superuser of that server: create role {role} login \
                 password '…'; (if it is there and may not log in: alter role {role} login;)"
            ));
        }
        Some("28000") => {
            return sort(error).with_hint(
                "the server's pg_hba.conf decides who may come from where, and whether without TLS; \
                 ask its administrator for a line, or set `sslmode`",
            );
        }
        Some(_) => return sort(error),
        None => {}
    }
    let why = causes(&error).last().map(ToString::to_string).unwrap_or_default();
    let io_kind = causes(&error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    if let Some(error) = io_kind.and_then(|kind| not_there(kind, &why, attempt)) {
        return error;
    }
    let sorted = sort(error);
    let hint = tls_hint(&sorted.to_string());
    let sorted = sorted.context(place);
    match hint {
        Some(hint) => sorted.with_hint(hint),
        None => sorted,
    }
}

/// What the system says of a place that it cannot connect to.
pub(super) fn not_there(kind: io::ErrorKind, why: &str, attempt: &Attempt<'_>) -> Option<Error> {
    let Attempt { place, host, port, .. } = attempt;
    let unreachable = |message: String| Error::new(ErrorKind::Unreachable, message);
    Some(match kind {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => unreachable(format!(
            "nothing answers at {place}"
        ))
        .with_hint(format!("`pg_isready -h {host} -p {port}` tells whether PostgreSQL is up; check host and port")),
        io::ErrorKind::TimedOut => unreachable(format!("{place} does not answer in time"))
            .with_hint("check host and port, and that no firewall is in between"),
        io::ErrorKind::PermissionDenied => unreachable(format!("{place}: {why}"))
            .with_hint("another host may serve: list several, or leave `target_session_attrs` out"),
        _ => return None,
    })
}

fn tls_hint(message: &str) -> Option<&'static str> {
    [
        (NO_TLS, "switch it on with `ssl = on` in its postgresql.conf; on a network that you trust, `sslmode=disable` goes without"),
        ("a CA that is not trusted", "name the CA's certificate with `sslrootcert=/path/ca.pem`; if you did, someone else may be answering"),
        ("names no host", "have it made again with the host as subjectAltName, or say `sslmode=verify-ca`"),
        ("is for ", "connect by a name that the certificate has, or have it made again with this one"),
        ("has expired", "have the server's certificate renewed"),
        ("not valid yet", "compare this machine's clock with the server's"),
        ("asks for a password", "put it into the URL, `PGPASSWORD` or a passfile"),
    ]
    .into_iter()
    .find_map(|(words, hint)| message.contains(words).then_some(hint))
}

fn sort_db(error: &DbError) -> Error {
    let code = error.code().code();
    if code == SILENT {
        // Put in by the stream below the driver, with all that there is to say.
        return Error::new(ErrorKind::Unreachable, error.message()).with_hint(error.hint().unwrap_or_default());
    }
    let place = csv_place(error.where_());
    let in_column = place.as_ref().is_some_and(|place| place.contains(", column "));
    let row = SqlState::of(code, error.message(), in_column);
    let place = place.map(|place| format!(" at {place}")).unwrap_or_default();
    let message = format!("{}{place} (SQLSTATE {code})", without_values(code, in_column, error.message()));
    Error::new(row.kind, message).with_hint(row.advice())
}

/// The message without the input values that the server quotes in it.
fn without_values(code: &str, in_column: bool, message: &str) -> String {
    // In what a type says of a value it is the value; a constraint is named.
    if !(in_column && !code.starts_with("23")
        || matches!(code, "22003" | "22007" | "22008" | "22023" | "22P02" | "22P03"))
    {
        return message.to_owned();
    }
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => format!("{}\"…\"{}", &message[..first], &message[last + 1..]),
        _ => message.to_owned(),
    }
}

/// `line 3, column note` of a context such as `COPY t, line 3, column note: "value"`.
fn csv_place(context: Option<&str>) -> Option<String> {
    let line = context?.lines().find(|line| line.starts_with("COPY "))?;
    let place = line.split(": \"").next()?;
    place.find("line ").map(|at| place[at..].to_owned())
}

fn has_io(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<io::Error>())
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

/// What TLS says among the causes of an error. Looks into I/O errors too: some wrap it in one or two of them, whose `source()`
/// skips it.
pub(crate) fn of_tls<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.downcast_ref().or_else(|| of_tls(within?)).or_else(|| of_tls(error.source()?))
}

/// Why TLS failed, if that is what failed.
fn tls_cause(error: &tokio_postgres::Error) -> Option<String> {
    if let Some(found) = of_tls(error) {
        return Some(tls_text(found));
    }
    (error.to_string() == "error performing TLS handshake").then(|| {
        match causes(error).nth(1).map(ToString::to_string).as_deref() {
            Some("server does not support TLS") => NO_TLS.to_owned(),
            Some(cause) => format!("the TLS handshake failed: {cause}"),
            None => "the TLS handshake failed".to_owned(),
        }
    })
}

/// What is said of a server without TLS.
pub(super) const NO_TLS: &str = "the server does not offer TLS";

fn tls_text(error: &rustls::Error) -> String {
    use rustls::CertificateError as Bad;
    let rustls::Error::InvalidCertificate(bad) = error else {
        return match error {
            rustls::Error::AlertReceived(alert) => format!("the server broke off the TLS handshake: {alert:?}"),
            rustls::Error::PeerIncompatible(_) => {
                "the server offers no TLS version and cipher that are safe".to_owned()
            }
            other => format!("the TLS handshake failed: {other}"),
        };
    };
    match bad {
        Bad::Expired | Bad::ExpiredContext { .. } => "the server's certificate has expired".to_owned(),
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => "the server's certificate is not valid yet".to_owned(),
        Bad::UnknownIssuer => "the server's certificate is from a CA that is not trusted".to_owned(),
        Bad::NotValidForNameContext { expected, presented } if presented.is_empty() => {
            format!("the server's certificate names no host, and so not `{}`", expected.to_str())
        }
        Bad::NotValidForNameContext { expected, presented } => {
            format!("the server's certificate is for {}, not for `{}`", presented.join(", "), expected.to_str())
        }
        Bad::NotValidForName => "the server's certificate is for another host".to_owned(),
        Bad::Revoked => "the server's certificate was revoked".to_owned(),
        other => format!("the server's certificate cannot be accepted: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{csv_place, in_the_drivers, sort, without_values};
    use crate::error::{Error, ErrorKind};

    #[tokio::test]
    async fn an_error_of_ours_comes_back_from_the_drivers_as_it_was() {
        let ours = Error::new(ErrorKind::Unreachable, "target: 127.0.0.1:1 does not answer").with_hint("look there");
        let back = sort(in_the_drivers(ours).await);
        assert_eq!(back.kind(), ErrorKind::Unreachable);
        assert_eq!(back.to_string(), "target: 127.0.0.1:1 does not answer");
        assert_eq!(back.hint(), "look there");
    }

    #[test]
    fn values_are_cut_out_of_messages_and_contexts() {
        assert_eq!(
            without_values("22P02", false, r#"invalid input syntax for type integer: "can"ary""#),
            r#"invalid input syntax for type integer: "…""#
        );
        assert_eq!(
            without_values("22003", false, r#"value "77" is out of range for type integer"#),
            r#"value "…" is out of range for type integer"#
        );
        assert_eq!(without_values("42P01", false, r#"relation "a" does not exist"#), r#"relation "a" does not exist"#);
        assert_eq!(csv_place(Some("COPY t, line 3, column note: \"canary\"")).as_deref(), Some("line 3, column note"));
        assert_eq!(csv_place(Some("COPY t, line 3: \"canary,1\"")).as_deref(), Some("line 3"));
        assert_eq!(
            csv_place(Some("JSON data, line 1: canary\nCOPY t, line 2, column j: \"canary\"")).as_deref(),
            Some("line 2, column j")
        );
        assert_eq!(csv_place(Some("SQL function \"f\" statement 1")), None);
    }
}
