//! Where a store lives: the schemes this release knows, and plain words for those of later ones.

use chimera_stores::{Address, Store};
use std::path::PathBuf;

/// Where a store lives. It cannot be half-configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This installation runs without it.
    Off,
    /// Embedded, in the data folder.
    Embedded,
    /// Embedded, at this path.
    Path(PathBuf),
    /// A server.
    Server(Address),
}

/// What is accepted for a store, in words.
pub fn accepts(store: Store) -> &'static str {
    match store {
        Store::Relational => "`embedded:`, `sqlite:PATH` or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`",
        Store::Telemetry => {
            "`embedded:`, `sqlite:PATH`, `timescaledb://USER:PASSWORD@HOST:PORT/DATABASE`, `postgres://…` or `off`"
        }
        Store::Episodic => {
            "`embedded:`, `redis://USER:PASSWORD@HOST:PORT`, `redis-cluster://HOST:PORT,HOST:PORT` (`rediss://` and \
             `rediss-cluster://` with TLS) or `off`"
        }
        Store::Media => "`embedded:`, `file:PATH` or `off`",
        Store::Memory | Store::Ledger | Store::Search => "`embedded:` or `off`",
    }
}

/// Schemes that later releases accept.
const LATER: &[&str] = &["weaviate", "meilisearch", "elasticsearch", "s3", "r2", "http", "https"];

/// Reads a place.
///
/// # Errors
/// Why it is refused.
pub fn parse(store: Store, text: &str) -> Result<Place, String> {
    let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
    let path = || {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path.is_empty() { Err("it names no path".to_owned()) } else { Ok(Place::Path(PathBuf::from(path))) }
    };
    match (scheme, store) {
        ("off", Store::Relational) => Err("the relational store cannot be off".to_owned()),
        ("off", _) if !text.contains(':') => Ok(Place::Off),
        ("embedded", _) if rest.is_empty() && text.ends_with(':') => Ok(Place::Embedded),
        ("sqlite", Store::Relational | Store::Telemetry) | ("file", Store::Media) => path(),
        ("postgres" | "postgresql", Store::Relational | Store::Telemetry)
        | ("timescaledb", Store::Telemetry)
        | ("redis" | "rediss" | "redis-cluster" | "rediss-cluster", Store::Episodic) => match rest.strip_prefix("//") {
            Some(server) if !server.is_empty() => Ok(Place::Server(Address::new(text))),
            _ => Err("it names no server".to_owned()),
        },
        (scheme, _) if LATER.contains(&scheme) => Err(format!("`{scheme}:` comes with a later release")),
        _ => Err("this is not a place of this store".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_or_refused_in_words() {
        assert_eq!(parse(Store::Relational, "embedded:"), Ok(Place::Embedded));
        assert_eq!(parse(Store::Search, "off"), Ok(Place::Off));
        assert_eq!(parse(Store::Relational, "sqlite:///var/c.db"), Ok(Place::Path("/var/c.db".into())));
        assert_eq!(parse(Store::Media, "file:/var/media"), Ok(Place::Path("/var/media".into())));
        for (store, text) in [
            (Store::Relational, "postgres://app:secret@localhost/x"),
            (Store::Telemetry, "timescaledb://localhost"),
            (Store::Episodic, "redis-cluster://a:1,b:2"),
        ] {
            assert_eq!(parse(store, text), Ok(Place::Server(Address::new(text))));
        }
        for (store, text, word) in [
            (Store::Relational, "off", "cannot be off"),
            (Store::Relational, "postgres:", "no server"),
            (Store::Episodic, "postgres://localhost/x", "not a place"),
            (Store::Memory, "weaviate://localhost", "later release"),
            (Store::Media, "file:", "no path"),
            (Store::Search, "sqlite:/x", "not a place"),
            (Store::Search, "", "not a place"),
            (Store::Search, "embedded:/x", "not a place"),
        ] {
            let refusal = parse(store, text).unwrap_err();
            assert!(refusal.contains(word), "{text}: {refusal}");
        }
    }
}
