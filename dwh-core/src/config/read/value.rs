//! Texts and what they mean. Each function's error completes the sentence that begins with the value.

use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo};

use crate::schema::TableRef;
use crate::watermark::Micros;

type Checked<T> = Result<T, String>;

/// A length of time, not negative.
pub(super) fn duration(text: &str) -> Checked<Micros> {
    let fail = || "is no length of time; write one such as `90s`, `30m`, `6h`, `1d`, `2w` or `0`".to_owned();
    if text.trim() == "0" {
        return Ok(Micros::ZERO);
    }
    // A day is 24 hours: a length of time has no place in a calendar. Months and years have no length at all.
    let span: Span = text.trim().parse().map_err(|_| fail())?;
    let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| fail())?;
    let micros = i64::try_from(length.as_micros()).map_err(|_| fail())?;
    if length.is_negative() { Err("is negative".to_owned()) } else { Ok(Micros(micros)) }
}

/// A length of time above zero.
pub(super) fn positive_duration(text: &str) -> Checked<Micros> {
    match duration(text)? {
        Micros::ZERO => Err("must be longer than nothing".to_owned()),
        length => Ok(length),
    }
}

/// How long a server may be silent: never for ever, and long enough for an answer.
pub(super) fn patience(text: &str) -> Checked<Micros> {
    let length = duration(text)?;
    if length < Micros::seconds(1) { Err("must be one second at least".to_owned()) } else { Ok(length) }
}

/// A percentage, `10%`.
pub(super) fn percent(text: &str) -> Checked<f64> {
    let number = text.trim().strip_suffix('%').and_then(|number| number.trim_end().parse::<f64>().ok());
    number
        .filter(|number| (0.0..=100.0).contains(number))
        .ok_or_else(|| "is no percentage; write one from `0%` to `100%`, such as `10%`".to_owned())
}

/// A time zone by its IANA name.
pub(super) fn zone(text: &str) -> Checked<TimeZone> {
    TimeZone::get(text).map_err(|_| "is no time zone; write an IANA name such as `Africa/Nairobi` or `UTC`".to_owned())
}

/// A name of a schema, role or column, exactly as the catalog spells it.
pub(super) fn identifier(text: &str) -> Checked<String> {
    match text {
        "" => Err("is empty".to_owned()),
        _ if text.len() > 63 => Err("is longer than the 63 bytes that PostgreSQL keeps of a name".to_owned()),
        _ if text.contains('\0') => Err("holds a NUL character".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// A name of a project, source or table: it becomes a folder, so it must fit one.
pub(super) fn label(text: &str) -> Checked<String> {
    match text {
        "" => Err("is empty".to_owned()),
        "." | ".." => Err("cannot be the name of a folder".to_owned()),
        _ if text.len() > 200 => Err("is longer than 200 bytes".to_owned()),
        _ if text.chars().any(char::is_control) => Err("holds a control character".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// A text that is not blank.
pub(super) fn filled(text: &str) -> Checked<String> {
    if text.trim().is_empty() { Err("is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// `schema.name`, parts quoted as in SQL where they hold dots or quotes; no case folding.
pub(super) fn relation(text: &str) -> Checked<TableRef> {
    match parts(text)?.as_slice() {
        [schema, name] => Ok(TableRef::new(schema, name)),
        _ => Err("must be `schema.name`; a part with a dot in it stands in double quotes".to_owned()),
    }
}

/// `schema.name`, or `name` in the schema given.
pub(super) fn relation_in(schema: &str, text: &str) -> Checked<TableRef> {
    match parts(text)?.as_slice() {
        [name] => Ok(TableRef::new(schema, name)),
        [schema, name] => Ok(TableRef::new(schema, name)),
        _ => Err("must be `schema.table` or `table`; a part with a dot in it stands in double quotes".to_owned()),
    }
}

fn parts(text: &str) -> Checked<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let part;
        (part, rest) = if let Some(inner) = rest.strip_prefix('"') { quoted(inner)? } else { plain(rest)? };
        found.push(identifier(&part).map_err(|message| format!("has a part that {message}"))?);
        match rest.strip_prefix('.') {
            Some(more) => rest = more,
            None if rest.is_empty() => return Ok(found),
            None => return Err("has characters after a closing quote".to_owned()),
        }
    }
}

fn plain(text: &str) -> Checked<(String, &str)> {
    let (part, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    if part.contains('"') { Err("has a quote inside an unquoted part".to_owned()) } else { Ok((part.to_owned(), rest)) }
}

fn quoted(mut rest: &str) -> Checked<(String, &str)> {
    let mut part = String::new();
    loop {
        let (before, after) = rest.split_once('"').ok_or("has a quote that is not closed")?;
        part.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                part.push('"');
                rest = more;
            }
            None => return Ok((part, after)),
        }
    }
}

/// A query without its last `;`. Any other is refused, even in a string: a second statement must never pass.
pub(super) fn query(text: &str) -> Checked<String> {
    let text = text.trim();
    let text = text.strip_suffix(';').unwrap_or(text).trim_end();
    match text {
        "" => Err("is empty".to_owned()),
        _ if text.contains(';') => Err("holds a `;`; write one statement, and `chr(59)` for the character".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// Address of an object store, without a trailing slash.
pub(super) fn blob_url(text: &str) -> Checked<String> {
    let fail = |why: &str| Err(format!("{why}; write `file:///folder` or `s3://bucket[/prefix]`"));
    let url = text.trim_end_matches('/');
    if let Some(path) = url.strip_prefix("file://") {
        let fine = path.starts_with('/') && !path.contains('\0') && !path.split('/').any(|part| part == "..");
        return if fine { Ok(url.to_owned()) } else { fail("is no absolute folder") };
    }
    let Some(place) = url.strip_prefix("s3://") else { return fail("is no address of a store") };
    let (bucket, prefix) = place.split_once('/').map_or((place, None), |(bucket, prefix)| (bucket, Some(prefix)));
    if !plain_segment(bucket) {
        return fail("has no name of a bucket (access keys belong into the environment)");
    }
    if prefix.is_some_and(|prefix| !prefix.split('/').all(plain_segment)) {
        return fail("has a prefix with other characters than letters, digits, `_`, `-`, `.` and `/`");
    }
    Ok(url.to_owned())
}

fn plain_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// Address of an S3 server.
pub(super) fn endpoint(text: &str) -> Checked<String> {
    let url = text.trim_end_matches('/');
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    if host.is_empty() || host.contains(['@', '?', '#', ' ']) {
        return Err(
            "is no address of a server; write `https://host:port` (access keys belong into the environment)".to_owned()
        );
    }
    Ok(url.to_owned())
}

/// Address of something that takes messages by HTTP.
pub(super) fn web_address(text: &str) -> Checked<String> {
    let known = reqwest::Url::parse(text).is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    if known { Ok(text.to_owned()) } else { Err("is no web address; write `https://host/path`".to_owned()) }
}

/// Address of a mail server.
pub(super) fn smtp_address(text: &str) -> Checked<String> {
    let fail = || "is no address of a mail server; write `smtps://user:password@host` or `smtp://host`".to_owned();
    let url = reqwest::Url::parse(text).map_err(|_| fail())?;
    if !["smtp", "smtps"].contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
        return Err(fail());
    }
    match url.query() {
        None => {}
        Some("tls=none") if url.scheme() == "smtp" => {}
        Some(_) => return Err("may end in `?tls=none` after `smtp://`, and in nothing else".to_owned()),
    }
    match (url.username(), url.password()) {
        ("", None) | (_, Some(_)) => Ok(text.to_owned()),
        (_, None) => Err("has a user without a password; write `user:password@`".to_owned()),
    }
}

/// `name@host`, or `Name <name@host>`.
pub(super) fn mail_address(text: &str) -> Checked<String> {
    let inner = text.rsplit_once('<').map_or(text, |(_, inner)| inner.trim_end().trim_end_matches('>'));
    let fine = inner.split_once('@').is_some_and(|(name, host)| !name.trim().is_empty() && !host.trim().is_empty());
    if fine && !text.contains(char::is_control) {
        return Ok(text.to_owned());
    }
    Err("is no mail address; write `name@host` or `Name <name@host>`".to_owned())
}
