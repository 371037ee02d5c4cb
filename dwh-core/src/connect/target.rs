//! The places where a server may be.

use std::net::IpAddr;
use std::path::Path;

use super::passfile::{self, Login};
use super::settings::Settings;
use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};

/// One place where the server may be.
#[derive(Clone)]
pub(super) struct Target {
    /// A host name, an address, or the folder of a Unix socket.
    pub(super) host: String,
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) password: Option<Secret>,
}

impl Target {
    pub(super) fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    pub(super) fn is_local(&self) -> bool {
        let address = self.address.or_else(|| self.host.parse().ok());
        self.is_socket() || address.map_or(self.host == "localhost", |address| address.is_loopback())
    }

    pub(super) fn place(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// The places of `host`, `hostaddr` and `port`, each of which may be a list.
pub(super) fn targets(settings: &Settings) -> Result<Vec<Target>> {
    let list = |name: &str| -> Vec<String> {
        settings.get(name).map(|text| text.split(',').map(|part| part.trim().to_owned()).collect()).unwrap_or_default()
    };
    let wrong = |what: &str| Error::new(ErrorKind::Config, what.to_owned());
    let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = hosts.len().max(addresses.len()).max(1);
    let fits = |length: usize| length == 0 || length == count;
    if !fits(hosts.len()) || !fits(addresses.len()) || !(fits(ports.len()) || ports.len() == 1) {
        return Err(wrong("`host`, `hostaddr` and `port` of the connection are lists of different lengths"));
    }
    (0..count)
        .map(|at| {
            let port = match ports.get(at).or_else(|| ports.first()).map(String::as_str) {
                None | Some("") => 5432,
                Some(text) => text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
                    wrong("the port of the connection is no number from 1 to 65535")
                        .with_hint("percent-encode `:` as %3A, `/` as %2F and `@` as %40 in the password of a URL")
                })?,
            };
            let address: Option<IpAddr> = match addresses.get(at).map(String::as_str) {
                None | Some("") => None,
                Some(text) => Some(text.parse().map_err(|_| wrong("`hostaddr` of the connection is no IP address"))?),
            };
            let host = match (hosts.get(at).map(String::as_str), address) {
                (None | Some(""), Some(address)) => address.to_string(),
                (None | Some(""), None) => default_host(port),
                (Some(host), _) => host.to_owned(),
            };
            Ok(Target { host, address, port, password: None })
        })
        .collect()
}

/// The folder with the machine's own server's socket, if there is one.
fn default_host(port: u16) -> String {
    let socket = format!(".s.PGSQL.{port}");
    let folder = ["/var/run/postgresql", "/tmp"].into_iter().find(|folder| Path::new(folder).join(&socket).exists());
    folder.unwrap_or("localhost").to_owned()
}

/// Gives each place its password from the passfile.
pub(super) fn from_passfile(path: &Path, targets: &mut [Target], user: &str, database: &str) -> Result<()> {
    for target in targets {
        // As in libpq, the passfile knows a socket in its usual place as `localhost`.
        let usual = ["/var/run/postgresql", "/tmp"].contains(&target.host.as_str());
        let host = if usual { "localhost" } else { &target.host };
        target.password = passfile::password(path, &Login { host, port: target.port, database, user })?;
    }
    Ok(())
}
