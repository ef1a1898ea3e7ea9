//! Where a store lives: the schemes this release knows, and plain words for those of later ones.

use chimera_stores::Store;
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
}

/// What is accepted for a store, in words.
pub fn accepts(store: Store) -> &'static str {
    match store {
        Store::Relational => "`embedded:` or `sqlite:PATH`",
        Store::Telemetry => "`embedded:`, `sqlite:PATH` or `off`",
        Store::Media => "`embedded:`, `file:PATH` or `off`",
        Store::Memory | Store::Episodic | Store::Ledger | Store::Search => "`embedded:` or `off`",
    }
}

/// Schemes that later releases accept.
const LATER: &[&str] = &[
    "postgres",
    "postgresql",
    "timescaledb",
    "redis",
    "rediss",
    "redis-cluster",
    "weaviate",
    "meilisearch",
    "elasticsearch",
    "s3",
    "r2",
    "http",
    "https",
];

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
        for (store, text, word) in [
            (Store::Relational, "off", "cannot be off"),
            (Store::Relational, "postgres://localhost/x", "later release"),
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
