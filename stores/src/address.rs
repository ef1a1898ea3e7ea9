//! The URL of a store, whose password must never be shown.

use std::fmt;

/// A store's URL as it was configured. Shown without its credentials, by `Debug` as well.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(String);

/// What of a URL may be shown.
struct Parts<'a> {
    /// With its slashes.
    scheme: &'a str,
    /// Whether a user or a password stood before the host.
    credentials: bool,
    host_and_path: &'a str,
    /// What begins the part that is never shown: some drivers take passwords there.
    query: Option<char>,
}

impl Address {
    /// Takes a URL as it is.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole URL, for a driver only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The part before the first colon.
    pub fn scheme(&self) -> &str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// The URL with a mark where something is left out, for whoever wrote it:
    /// `scheme://<hidden>@host/path?<hidden>`.
    pub fn marked(&self) -> String {
        let Some(Parts { scheme, credentials, host_and_path, query }) = self.parts() else {
            return format!("{}:<hidden>", self.scheme());
        };
        let credentials = if credentials { "<hidden>@" } else { "" };
        let query = query.map_or_else(String::new, |sign| format!("{sign}<hidden>"));
        format!("{scheme}{credentials}{host_and_path}{query}")
    }

    /// `None` where it cannot be told what is secret.
    fn parts(&self) -> Option<Parts<'_>> {
        let end = self.0.find(['?', '#']).unwrap_or(self.0.len());
        let (plain, rest) = self.0.split_at_checked(end)?;
        if rest.contains('@') {
            // Either may be the end of a password: that of the user, or one in the query.
            return None;
        }
        let query = rest.chars().next();
        let Some(host) = plain.find("://").map(|at| at + "://".len()) else {
            // Perhaps a URL with a slash too few.
            let secret = plain.split_once(':').is_some_and(|(_, rest)| rest.contains('@'));
            return (!secret).then_some(Parts { scheme: "", credentials: false, host_and_path: plain, query });
        };
        let (scheme, rest) = plain.split_at_checked(host)?;
        // A password may hold an unescaped slash or at sign: what follows the last at sign is the host.
        let (credentials, host_and_path) = rest.rsplit_once('@').map_or((false, rest), |(_, host)| (true, host));
        Some(Parts { scheme, credentials, host_and_path, query })
    }
}

/// Neither user nor password, and no query: some drivers take passwords there.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            Some(parts) => write!(f, "{}{}", parts.scheme, parts.host_and_path),
            None => write!(f, "{}:", self.scheme()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        for (url, shown, marked) in [
            (
                "postgres://app:pa/s@s@db:5432/chimera?password=x",
                "postgres://db:5432/chimera",
                "postgres://<hidden>@db:5432/chimera?<hidden>",
            ),
            ("redis-cluster://:secret@a:1,b:2", "redis-cluster://a:1,b:2", "redis-cluster://<hidden>@a:1,b:2"),
            ("redis://localhost", "redis://localhost", "redis://localhost"),
            ("redis://:se?cret@localhost", "redis:", "redis:<hidden>"),
            ("redis://:se#cret@localhost", "redis:", "redis:<hidden>"),
            ("rediss://localhost/1?sslrootcert=/etc/ca.pem", "rediss://localhost/1", "rediss://localhost/1?<hidden>"),
            ("rediss://localhost/1#secret", "rediss://localhost/1", "rediss://localhost/1#<hidden>"),
            ("postgres://db/chimera?password=a@b", "postgres:", "postgres:<hidden>"),
            ("postgres:/app:secret@db/chimera", "postgres:", "postgres:<hidden>"),
            ("sqlite:/var/chimera.db", "sqlite:/var/chimera.db", "sqlite:/var/chimera.db"),
        ] {
            let address = Address::new(url);
            assert_eq!(address.to_string(), shown);
            assert_eq!(format!("{address:?}"), format!("Address({shown})"));
            assert_eq!(address.marked(), marked);
            assert_eq!(address.expose(), url);
        }
        assert_eq!(Address::new("redis-cluster://a").scheme(), "redis-cluster");
    }
}
