//! A connection string, cut into its settings. Nothing of it is ever repeated in an error: any piece may be a password.

use percent_encoding::percent_decode_str;

/// What is wrong with a connection string, in words that hold nothing of it.
pub(super) struct Malformed(pub(super) String);

impl From<&str> for Malformed {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// A connection string as name and value, in its order.
#[derive(Default)]
pub(super) struct Pairs {
    pub(super) pairs: Vec<(String, String)>,
    /// Whether option names stand where a password cannot have slipped in, so that an unknown one may be shown.
    pub(super) names_are_safe: bool,
}

/// Cuts a `postgresql://` URL or a `key=value` string.
pub(super) fn parse(text: &str) -> Result<Pairs, Malformed> {
    let text = text.trim();
    let rest = ["postgresql://", "postgres://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let found = match rest {
        Some(rest) => url(rest)?,
        None if text.contains("://") => {
            return Err("is a URL of another kind; it must begin with `postgresql://`".into());
        }
        None => key_values(text)?,
    };
    if found.pairs.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
        return Err("holds a NUL character".into());
    }
    Ok(found)
}

fn url(rest: &str) -> Result<Pairs, Malformed> {
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    // The last `@` parts the user from the host: an `@` of the password that was not encoded does no harm then.
    let (user, hosts) = authority.rsplit_once('@').map_or((None, authority), |(user, hosts)| (Some(user), hosts));
    // A `/` of the password ends the authority early, and then its rest stands in the path.
    if user.is_none() && path.contains('@') {
        return Err("has an `@` after the first `/`".into());
    }
    let mut found = Pairs { pairs: Vec::new(), names_are_safe: user.is_some() };
    if let Some(user) = user {
        let (user, password) = user.split_once(':').map_or((user, None), |(user, password)| (user, Some(password)));
        found.push("user", user)?;
        if let Some(password) = password {
            found.push("password", password)?;
        }
    }
    found.hosts(hosts)?;
    found.push("dbname", path.trim_start_matches('/'))?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or("has an option without `=`")?;
        let name = decode(name)?;
        found.pairs.push(match (name.as_str(), value) {
            // As libpq does for URLs that were written for JDBC.
            ("ssl", "true") => ("sslmode".to_owned(), "require".to_owned()),
            _ => (name, decode(value)?),
        });
    }
    Ok(found)
}

impl Pairs {
    /// Adds a part of a URL unless it is empty.
    fn push(&mut self, name: &str, value: &str) -> Result<(), Malformed> {
        if !value.is_empty() {
            self.pairs.push((name.to_owned(), decode(value)?));
        }
        Ok(())
    }

    /// Adds `host:port,host:port`.
    fn hosts(&mut self, text: &str) -> Result<(), Malformed> {
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        for part in text.split(',') {
            let (host, port) = match part.strip_prefix('[') {
                Some(rest) => {
                    let (host, port) = rest.split_once(']').ok_or("has a `[` without `]`")?;
                    (host, port.strip_prefix(':').unwrap_or(port))
                }
                None => part.split_once(':').unwrap_or((part, "")),
            };
            hosts.push(decode(host)?);
            ports.push(port);
        }
        if hosts.iter().any(|host| !host.is_empty()) {
            self.pairs.push(("host".to_owned(), hosts.join(",")));
        }
        if ports.iter().any(|port| !port.is_empty()) {
            self.pairs.push(("port".to_owned(), ports.join(",")));
        }
        Ok(())
    }
}

fn decode(text: &str) -> Result<String, Malformed> {
    let bytes = text.as_bytes();
    let whole = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'%')
        .all(|(at, _)| bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)));
    if !whole {
        return Err("has a `%` that is not followed by two hexadecimal digits".into());
    }
    percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| "has percent-encoded bytes that are no UTF-8".into())
}

/// `name = value name = 'quoted value'`, with a backslash before a quote or a backslash.
fn key_values(text: &str) -> Result<Pairs, Malformed> {
    let mut found = Pairs::default();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Ok(found);
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| !c.is_whitespace() && *c != '=') {
            name.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.next() != Some('=') {
            return Err(after(&found, "has no `=` behind it: write `name=value`"));
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match chars.peek() {
                Some('\'') if quoted => break,
                Some(c) if !quoted && c.is_whitespace() => break,
                None if quoted => return Err(after(&found, "is a value whose quote is not closed")),
                None => break,
                Some(_) => {}
            }
            match chars.next() {
                Some('\\') => value.extend(chars.next()),
                other => value.extend(other),
            }
        }
        if quoted {
            chars.next();
        }
        found.pairs.push((name, value));
    }
}

/// Says where it is wrong by the last setting that was right: names that are known cannot be secrets.
fn after(found: &Pairs, what: &str) -> Malformed {
    let place = found.pairs.last().map(|(name, _)| name.as_str()).filter(|name| super::options::is_known(name));
    Malformed(match place {
        Some(name) => format!("has, after `{name}`, what {what}"),
        None => format!("has what {what}"),
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).ok().expect("well formed").pairs
    }

    fn own(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn urls_are_cut_as_libpq_cuts_them() {
        assert_eq!(
            pairs("postgresql://u%40x:p%20%25%27%2F@db.example:5433/d%20b?sslmode=verify-full&application_name=a%26b"),
            own(&[
                ("user", "u@x"),
                ("password", "p %'/"),
                ("host", "db.example"),
                ("port", "5433"),
                ("dbname", "d b"),
                ("sslmode", "verify-full"),
                ("application_name", "a&b"),
            ])
        );
        assert_eq!(
            pairs("postgres://u:p@ss@[::1]:1,b,c:3/x?ssl=true"),
            own(&[
                ("user", "u"),
                ("password", "p@ss"),
                ("host", "::1,b,c"),
                ("port", "1,,3"),
                ("dbname", "x"),
                ("sslmode", "require"),
            ])
        );
        assert_eq!(
            pairs("postgresql://%2Frun%2Fpg/x?user=u"),
            own(&[("host", "/run/pg"), ("dbname", "x"), ("user", "u")])
        );
        assert_eq!(pairs("postgresql:///x"), own(&[("dbname", "x")]));
        assert_eq!(pairs("postgresql://"), []);
    }

    #[test]
    fn key_value_strings_are_cut_as_libpq_cuts_them() {
        assert_eq!(
            pairs(r"host = a  password='it\'s \\ 50% @' user=b\ c dbname=''"),
            own(&[("host", "a"), ("password", r"it's \ 50% @"), ("user", "b c"), ("dbname", "")])
        );
    }

    #[test]
    fn malformed_strings_are_refused_without_repeating_them() {
        for text in [
            "postgresql://u:canary/x@host/db",
            "postgresql://u:can%zzary@host/db",
            "postgresql://u:canary%@host/db",
            "postgresql://u:p@host/db?canary",
            "postgresql://u:p@[canary/db",
            "jdbc:postgresql://canary/db",
            "host=a password=very canary",
            "host=a password='canary",
            "canary",
        ] {
            let error = parse(text).err().unwrap_or_else(|| panic!("{text} was accepted")).0;
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
