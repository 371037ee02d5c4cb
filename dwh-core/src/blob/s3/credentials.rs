//! Where the access key comes from.

use s3::creds::Credentials;
use std::path::{Path, PathBuf};

use crate::config::Environment;
use crate::error::{Error, ErrorKind, Result};

/// Looks in the environment, the profile file, web identity (EKS), the container (ECS, EKS) and the instance (EC2), in
/// this order, and takes the first that is there. A profile that was named must be there.
///
/// Reads files and may ask services of the cloud: blocking. What these answer is not repeated in errors, as it may hold
/// tokens.
pub(super) fn find(environment: &Environment, profile: Option<&str>) -> Result<Credentials> {
    if let (Some(key), Some(secret)) = (environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY"))
    {
        return given(key, secret, environment.get("AWS_SESSION_TOKEN"));
    }
    if let Some(found) = of_profile(environment, profile)? {
        return Ok(found);
    }
    if let Some(found) = of_web_identity(environment)? {
        return Ok(found);
    }
    Credentials::from_container_credentials_provider()
        .or_else(|_| Credentials::from_instance_metadata_v2(false))
        .or_else(|_| Credentials::from_instance_metadata(false))
        .map_err(|_| {
            Error::new(ErrorKind::Auth, "no access key for S3 was found").with_hint(
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `[blob] profile`; looked in the environment, \
                 the profile file, web identity, container and instance",
            )
        })
}

fn given(key: &str, secret: &str, token: Option<&str>) -> Result<Credentials> {
    Credentials::new(Some(key), Some(secret), None, token, None)
        .map_err(|_| Error::new(ErrorKind::Auth, "access key for S3 cannot be used"))
}

fn of_profile(environment: &Environment, profile: Option<&str>) -> Result<Option<Credentials>> {
    let named = profile.or_else(|| environment.get("AWS_PROFILE"));
    let home = || environment.get("HOME").map(|home| Path::new(home).join(".aws/credentials"));
    let Some(path) = environment.get("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or_else(home) else {
        return Ok(None);
    };
    match (Credentials::from_credentials_file(&path, named), named) {
        (Ok(found), _) => Ok(Some(found)),
        (Err(_), None) => Ok(None),
        (Err(_), Some(named)) => {
            Err(Error::new(ErrorKind::Auth, format!("profile `{named}` has no access key in `{}`", path.display()))
                .with_hint(format!("write a section `[{named}]` with aws_access_key_id and aws_secret_access_key")))
        }
    }
}

fn of_web_identity(environment: &Environment) -> Result<Option<Credentials>> {
    let (Some(role), Some(path)) = (environment.get("AWS_ROLE_ARN"), environment.get("AWS_WEB_IDENTITY_TOKEN_FILE"))
    else {
        return Ok(None);
    };
    let session = environment.get("AWS_ROLE_SESSION_NAME").unwrap_or("dwh");
    let token = std::fs::read_to_string(path).map_err(|error| {
        Error::new(ErrorKind::Auth, format!("token file `{path}` cannot be read"))
            .with_hint("AWS_WEB_IDENTITY_TOKEN_FILE names it")
            .with_source(error)
    })?;
    Credentials::from_sts(role, session, &token).map(Some).map_err(|_| {
        Error::new(ErrorKind::Auth, format!("role `{role}` was not given to this workload"))
            .with_hint("check the role's trust policy, and that sts.amazonaws.com can be reached")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_comes_before_the_profile() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("credentials");
        std::fs::write(&file, "[night]\naws_access_key_id = k2\naws_secret_access_key = s2\n").expect("write");
        let file = file.display().to_string();
        let profile = [("AWS_SHARED_CREDENTIALS_FILE", file.as_str()), ("AWS_PROFILE", "night")];
        let keys = [("AWS_ACCESS_KEY_ID", "k1"), ("AWS_SECRET_ACCESS_KEY", "s1"), ("AWS_SESSION_TOKEN", "t1")];

        let found = find(&profile.into_iter().collect(), None).expect("profile");
        assert_eq!(found.access_key.as_deref(), Some("k2"));
        let found = find(&profile.into_iter().chain(keys).collect(), None).expect("environment");
        assert_eq!((found.access_key.as_deref(), found.session_token.as_deref()), (Some("k1"), Some("t1")));

        let error = find(&profile.into_iter().collect(), Some("day")).expect_err("no such section");
        assert_eq!(error.kind(), ErrorKind::Auth);
        assert!(error.to_string().contains("`day`"), "{error}");
    }
}
