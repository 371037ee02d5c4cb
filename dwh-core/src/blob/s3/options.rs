//! Settings of a bucket, resolved from the configuration and the environment.

use crate::config::{BlobConfig, Environment};
use crate::error::{Error, ErrorKind, Result};

/// Where a bucket is and how it is addressed. Holds no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Options {
    /// `s3://bucket[/prefix]`, without a trailing slash.
    pub url: String,
    /// The bucket.
    pub bucket: String,
    /// What every object's name begins with: empty, or ending in a slash.
    pub prefix: String,
    /// `http://` or `https://` and the server.
    pub endpoint: String,
    /// The region that requests are signed for.
    pub region: String,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`.
    pub path_style: bool,
    /// Section of the profile file.
    pub profile: Option<String>,
}

impl S3Options {
    pub(crate) fn resolve(config: &BlobConfig, environment: &Environment) -> Result<Self> {
        let url = config.url.trim_end_matches('/');
        let (bucket, prefix) = parse(url)?;
        let variable = |names: [&str; 2]| names.iter().find_map(|name| environment.get(name)).map(str::to_owned);
        let region = config.region.clone().or_else(|| variable(["AWS_REGION", "AWS_DEFAULT_REGION"]));
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        let named = config.endpoint.clone().or_else(|| variable(["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
        let path_style = match (&config.endpoint, &named) {
            // The server comes from the environment, which has no word for the style: what works with all of them.
            (None, Some(_)) => true,
            // A dot in the name does not fit Amazon's certificate.
            (None, None) => config.path_style || bucket.contains('.'),
            (Some(_), _) => config.path_style,
        };
        let endpoint = match named {
            Some(endpoint) => server(&endpoint)?,
            None => amazon(&region),
        };
        let profile = config.profile.clone();
        Ok(Self { url: url.to_owned(), bucket, prefix, endpoint, region, path_style, profile })
    }

    /// An object as the user would write it.
    pub(super) fn address(&self, object: &str) -> String {
        format!("s3://{}/{object}", self.bucket)
    }
}

fn parse(url: &str) -> Result<(String, String)> {
    let fine = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-/".contains(&b));
    let segments = |text: &str| text.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    match url.strip_prefix("s3://").filter(|rest| fine(rest) && segments(rest)) {
        Some(rest) => {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let slash = if prefix.is_empty() { "" } else { "/" };
            Ok((bucket.to_owned(), format!("{prefix}{slash}")))
        }
        None => Err(Error::new(ErrorKind::Config, format!("blob store `{url}` is not `s3://bucket/prefix`"))
            .with_hint("use letters, digits, `_`, `.` and `-`; keys and endpoint do not belong into the address")),
    }
}

/// The endpoint as it is used. What was written is not repeated in the error: it may hold a password.
fn server(text: &str) -> Result<String> {
    let text = text.trim_end_matches('/');
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    if host.is_some_and(|host| !host.is_empty() && !host.contains(['@', '?', '#', ' '])) {
        return Ok(text.to_owned());
    }
    Err(Error::new(ErrorKind::Config, "S3 endpoint is not `http://host:port` or `https://host:port`")
        .with_hint("correct `[blob] endpoint` or AWS_ENDPOINT_URL; access keys do not belong into it"))
}

fn amazon(region: &str) -> String {
    let end = if region.starts_with("cn-") { "com.cn" } else { "com" };
    format!("https://s3.{region}.amazonaws.{end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Compression, IDLE_TIMEOUT};

    fn resolve(url: &str, endpoint: Option<&str>, variables: &[(&str, &str)]) -> Result<S3Options> {
        let config = BlobConfig {
            url: url.into(),
            compression: Compression::None,
            endpoint: endpoint.map(str::to_owned),
            region: None,
            path_style: endpoint.is_some(),
            profile: None,
            idle_timeout: IDLE_TIMEOUT,
        };
        S3Options::resolve(&config, &variables.iter().copied().collect())
    }

    #[test]
    fn the_configuration_comes_before_the_environment() {
        let set = [("AWS_ENDPOINT_URL", "http://b:2/"), ("AWS_DEFAULT_REGION", "eu-north-1")];
        let both = resolve("s3://bronze/wip/", Some("http://a:1"), &set).expect("both");
        assert_eq!((both.endpoint.as_str(), both.prefix.as_str()), ("http://a:1", "wip/"));
        let variable = resolve("s3://bronze", None, &set).expect("variable");
        assert_eq!((variable.endpoint.as_str(), variable.region.as_str()), ("http://b:2", "eu-north-1"));
        assert!(variable.path_style && variable.prefix.is_empty());
        let amazon = resolve("s3://bronze", None, &[("AWS_REGION", "eu-west-1")]).expect("amazon");
        assert_eq!(amazon.endpoint, "https://s3.eu-west-1.amazonaws.com");
        assert!(!amazon.path_style);
    }

    #[test]
    fn other_addresses_are_refused() {
        for url in ["s3://", "s3:///a", "s3://b//c", "s3://b/../c", "s3://key:secret@b", "http://b", "s3://b/a b"] {
            assert_eq!(resolve(url, None, &[]).expect_err(url).kind(), ErrorKind::Config);
        }
        for endpoint in ["localhost:9000", "http://", "http://user:hunter2@host"] {
            let error = resolve("s3://b", Some(endpoint), &[]).expect_err(endpoint);
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }
}
