//! The URL of a store, whose password must never be shown.

use std::fmt;

/// A store's URL as it was configured. Shown without its credentials, by `Debug` as well.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(String);

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
}

/// Neither user nor password, and no query: some drivers take passwords there.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plain, rest) =
            self.0.split_at_checked(self.0.find(['?', '#']).unwrap_or(self.0.len())).unwrap_or_default();
        if rest.contains('@') {
            // Either may be the end of a password: that of the user, or one in the query.
            return write!(f, "{}:", self.scheme());
        }
        match plain.split_once("://") {
            // A password may hold an unescaped slash or at sign: what follows the last at sign is the host.
            Some((scheme, rest)) => {
                write!(f, "{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host))
            }
            None => f.write_str(plain),
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
        for (url, shown) in [
            ("postgres://app:pa/s@s@db:5432/chimera?password=x", "postgres://db:5432/chimera"),
            ("redis-cluster://:secret@a:1,b:2", "redis-cluster://a:1,b:2"),
            ("redis://localhost", "redis://localhost"),
            ("redis://:se?cret@localhost", "redis:"),
            ("rediss://localhost/1?sslrootcert=/etc/ca.pem", "rediss://localhost/1"),
            ("postgres://db/chimera?password=a@b", "postgres:"),
        ] {
            let address = Address::new(url);
            assert_eq!(address.to_string(), shown);
            assert_eq!(format!("{address:?}"), format!("Address({shown})"));
            assert_eq!(address.expose(), url);
        }
        assert_eq!(Address::new("redis-cluster://a").scheme(), "redis-cluster");
    }
}
