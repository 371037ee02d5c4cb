//! The one place where an answer of a server, or none, becomes an error of ours.

use s3::error::S3Error;
use std::error::Error as StdError;
use std::fmt;

use crate::blob::s3::S3Options;
use crate::connect::of_tls;
use crate::error::{Error, ErrorKind};

/// What a server said no with. Kept below the error, so that callers can ask for it; the body itself never is, since
/// it may repeat the access key and the text that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {} {}", self.status, self.code)
    }
}

impl StdError for Refusal {}

/// The refusal below an error, if a server answered at all.
pub(super) fn refusal(error: &Error) -> Option<&Refusal> {
    StdError::source(error)?.downcast_ref()
}

/// Sorts an error of rust-s3. `object` is the key within the bucket, for the message.
pub(super) fn sorted(options: &S3Options, object: &str, error: S3Error) -> Error {
    match error {
        S3Error::HttpFailWithBody(status, body) => refused(options, object, status, &body),
        S3Error::Reqwest(error) => unanswered(options, error),
        other => Error::new(ErrorKind::Internal, format!("{}: the answer cannot be read", options.address(object)))
            .with_source(other),
    }
}

fn refused(options: &S3Options, object: &str, status: u16, body: &str) -> Error {
    let code = element(body, "Code");
    let (bucket, address) = (&options.bucket, options.address(object));
    let error = match (status, code.as_str()) {
        (_, "NoSuchBucket") => Error::new(ErrorKind::NotFound, format!("bucket `{bucket}` does not exist"))
            .with_hint(format!("create the bucket at `{}`, or correct `[blob] url`", options.endpoint)),
        (
            _,
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken" | "InvalidClientTokenId",
        )
        | (401, _) => Error::new(ErrorKind::Auth, format!("bucket `{bucket}`: the access key is not accepted"))
            .with_hint("check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN or the profile"),
        (_, "RequestTimeTooSkewed" | "RequestExpired") => clock(bucket, body),
        (
            _,
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException",
        )
        | (301 | 307, _) => region(options, body),
        (403, _) | (_, "AccessDenied") => {
            Error::new(ErrorKind::Permission, format!("blob `{address}`: access is denied")).with_hint(format!(
                "allow s3:GetObject, s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucket on `{}`",
                options.url
            ))
        }
        (404, _) => Error::new(ErrorKind::NotFound, format!("blob `{address}` does not exist")),
        (412, _) => Error::new(ErrorKind::Exists, format!("blob `{address}` exists already")),
        (507, _) | (_, "QuotaExceeded" | "StorageFull" | "XMinioStorageFull") => {
            Error::new(ErrorKind::Disk, format!("bucket `{bucket}` is full")).with_hint("give the bucket more room")
        }
        // 409: another change to the object is under way. 200: an error document under a good status. The last three:
        // the transfer was damaged or stalled.
        (200..=299 | 408 | 409 | 429 | 500 | 502 | 503 | 504, _)
        | (_, "SlowDown" | "InternalError" | "BadDigest" | "IncompleteBody" | "RequestTimeout") => {
            Error::new(ErrorKind::Busy, format!("bucket `{bucket}` did not take the request for `{address}`"))
        }
        _ => Error::new(ErrorKind::Internal, format!("bucket `{bucket}` refused the request for `{address}`")),
    };
    error.with_source(Refusal { status, code })
}

fn clock(bucket: &str, body: &str) -> Error {
    let theirs: Option<jiff::Timestamp> = element(body, "ServerTime").parse().ok();
    let off = theirs.map_or_else(String::new, |theirs| {
        let minutes = (jiff::Timestamp::now().as_second() - theirs.as_second()) / 60;
        format!(" by {minutes} min")
    });
    Error::new(ErrorKind::Auth, format!("bucket `{bucket}`: this machine's clock is off{off}"))
        .with_hint("set the clock (NTP); requests are signed with the time")
}

fn region(options: &S3Options, body: &str) -> Error {
    let hint = match element(body, "Region") {
        named if named.is_empty() => "set `[blob] region` to the bucket's".to_owned(),
        named => format!("set `[blob] region = \"{named}\"`"),
    };
    let (bucket, region) = (&options.bucket, &options.region);
    Error::new(ErrorKind::Config, format!("bucket `{bucket}` is not in region `{region}`")).with_hint(hint)
}

/// The text of the first `<name>`, of harmless letters only.
fn element(body: &str, name: &str) -> String {
    let start = body.split_once(&format!("<{name}>")).map_or("", |(_, rest)| rest);
    let text = start.split_once('<').map_or("", |(text, _)| text);
    text.chars().filter(|c| c.is_ascii_alphanumeric() || "-:.".contains(*c)).take(64).collect()
}

fn unanswered(options: &S3Options, error: reqwest::Error) -> Error {
    let endpoint = &options.endpoint;
    let error = error.without_url();
    if of_tls(&error).is_some() {
        return Error::new(ErrorKind::Auth, format!("`{endpoint}` could not prove who it is (TLS)"))
            .with_hint("point SSL_CERT_FILE at the certificate of its authority, or correct the endpoint")
            .with_source(error);
    }
    let what = if error.is_connect() { "cannot be reached" } else { "broke off" };
    unreachable(options, what).with_source(error)
}

/// The error for a server that does not answer.
pub(super) fn unreachable(options: &S3Options, what: &str) -> Error {
    Error::new(ErrorKind::Unreachable, format!("S3 server `{}` {what}", options.endpoint))
        .with_hint("check that it runs, and the endpoint: `[blob] endpoint` or AWS_ENDPOINT_URL")
}

/// Whether the system gave the connection up because nothing came from its other end.
pub(super) fn was_given_up(error: &(dyn StdError + 'static)) -> bool {
    let timed_out = |error: &std::io::Error| error.kind() == std::io::ErrorKind::TimedOut;
    error.downcast_ref().is_some_and(timed_out) || error.source().is_some_and(was_given_up)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> S3Options {
        S3Options {
            url: "s3://bronze/wip".into(),
            bucket: "bronze".into(),
            prefix: "wip/".into(),
            endpoint: "http://127.0.0.1:1".into(),
            region: "us-east-1".into(),
            path_style: true,
            profile: None,
        }
    }

    fn sort(status: u16, code: &str) -> Error {
        let body = format!("<Error><Code>{code}</Code><AWSAccessKeyId>AKIACANARY</AWSAccessKeyId></Error>");
        sorted(&options(), "wip/a.csv", S3Error::HttpFailWithBody(status, body))
    }

    #[test]
    fn every_answer_has_its_kind() {
        for (status, code, kind) in [
            (404, "NoSuchKey", ErrorKind::NotFound),
            (404, "NoSuchBucket", ErrorKind::NotFound),
            (404, "", ErrorKind::NotFound),
            (403, "InvalidAccessKeyId", ErrorKind::Auth),
            (403, "SignatureDoesNotMatch", ErrorKind::Auth),
            (403, "RequestTimeTooSkewed", ErrorKind::Auth),
            (403, "AccessDenied", ErrorKind::Permission),
            (301, "PermanentRedirect", ErrorKind::Config),
            (400, "AuthorizationHeaderMalformed", ErrorKind::Config),
            (409, "ConditionalRequestConflict", ErrorKind::Busy),
            (412, "PreconditionFailed", ErrorKind::Exists),
            (429, "", ErrorKind::Busy),
            (500, "InternalError", ErrorKind::Busy),
            (503, "SlowDown", ErrorKind::Busy),
            (200, "InternalError", ErrorKind::Busy),
            (400, "BadDigest", ErrorKind::Busy),
            (400, "EntityTooSmall", ErrorKind::Internal),
            (507, "", ErrorKind::Disk),
        ] {
            assert_eq!(sort(status, code).kind(), kind, "{status} {code}");
        }
        assert!(sort(404, "NoSuchBucket").hint().contains("create the bucket"));
    }

    #[test]
    fn the_access_key_is_not_repeated() {
        for code in ["InvalidAccessKeyId", "SlowDown", "Odd"] {
            assert!(!format!("{:?}", sort(403, code)).contains("CANARY"), "{code}");
        }
    }

    #[test]
    fn a_wrong_clock_is_called_that() {
        let server = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(30);
        let body = format!("<Error><Code>RequestTimeTooSkewed</Code><ServerTime>{server}</ServerTime></Error>");
        let error = sorted(&options(), "", S3Error::HttpFailWithBody(403, body));
        assert!(error.to_string().ends_with("this machine's clock is off by 30 min"), "{error}");
    }
}
