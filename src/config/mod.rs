//! Settings: defaults, then a TOML file, then `CHIMERA_…` environment variables, then the command line.
//!
//! Everything is checked before anything starts. A wrong setting is one line that names it, what was given (never a
//! secret) and what is accepted.

mod place;
mod table;

pub use place::Place;
pub use table::{Form, SETTINGS, Setting, find};

use crate::document::Limits;
use chimera_stores::{Address, Store, guard::GuardSettings};
use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};
use url::Url;

/// Environment variables of this program that are not settings.
const NOT_SETTINGS: &[&str] = &["CHIMERA_CONFIG", "CHIMERA_FRONTEND_BUILT", "CHIMERA_SKIP_FRONTEND"];

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing was said.
    Default,
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Environment,
    /// The command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Environment => f.write_str("environment"),
            Origin::CommandLine => f.write_str("command line"),
        }
    }
}

/// Why the settings were refused: one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// A value that never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

/// Values as they were given, by key, with their origin.
#[derive(Clone, Debug, Default)]
pub struct Raw(BTreeMap<&'static str, (String, Origin)>);

impl Raw {
    /// Gathers the values: `file` (with its text), the environment, the command line; later ones win.
    ///
    /// # Errors
    /// An unknown setting, or a file that is not TOML.
    pub fn gather(
        file: Option<(&Path, &str)>,
        environment: impl IntoIterator<Item = (String, String)>,
        command_line: &[(&str, String)],
    ) -> Result<Self, ConfigError> {
        let mut raw = Self::default();
        if let Some((path, text)) = file {
            raw.read_file(path, text)?;
        }
        for (name, value) in environment {
            let Some(rest) = name.strip_prefix("CHIMERA_").filter(|_| !NOT_SETTINGS.contains(&name.as_str())) else {
                continue;
            };
            let setting = SETTINGS.iter().find(|setting| setting.variable() == name).ok_or_else(|| {
                let near = nearest(&rest.to_ascii_lowercase(), |setting| setting.key.replace('.', "_"));
                ConfigError(format!("{name} is not a setting; did you mean {}?", near.variable()))
            })?;
            raw.0.insert(setting.key, (value, Origin::Environment));
        }
        for (key, value) in command_line {
            raw.0.insert(known(key)?.key, (value.clone(), Origin::CommandLine));
        }
        Ok(raw)
    }

    fn read_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            ConfigError(format!("{} is not TOML: {}", path.display(), error.message()))
        })?;
        for (section, value) in table {
            let toml::Value::Table(entries) = value else {
                return Err(ConfigError(format!(
                    "{}: `{section}` is outside a section; write `[section]` above it",
                    path.display()
                )));
            };
            for (name, value) in entries {
                let key = format!("{section}.{name}");
                let setting = known(&key).map_err(|error| ConfigError(format!("{}: {error}", path.display())))?;
                let text = scalar(&value)
                    .ok_or_else(|| ConfigError(format!("{}: {key} accepts {}", path.display(), setting.accepts())))?;
                self.0.insert(setting.key, (text, Origin::File(path.to_owned())));
            }
        }
        Ok(())
    }

    /// The value of a setting and where it came from.
    pub fn get(&self, setting: &Setting) -> (&str, Origin) {
        self.0.get(setting.key).map_or((setting.default, Origin::Default), |(value, origin)| (value, origin.clone()))
    }

    /// All settings with their values, secrets hidden, for `config show`.
    pub fn show(&self) -> Vec<(&'static str, String, Origin)> {
        SETTINGS
            .iter()
            .map(|setting| {
                let (value, origin) = self.get(setting);
                let secret = setting.is_secret() && !value.is_empty();
                let shown = if secret { "<hidden>".to_owned() } else { without_credentials(value) };
                (setting.key, shown, origin)
            })
            .collect()
    }

    fn refuse(&self, key: &str, why: &str) -> ConfigError {
        let Ok(setting) = known(key) else { return ConfigError(format!("{key}: {why}")) };
        let (value, origin) = self.get(setting);
        let given =
            if setting.is_secret() { "<hidden>".to_owned() } else { format!("{:?}", without_credentials(value)) };
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        ConfigError(format!("{key} is {given} (from {origin}){why}; accepted: {}", setting.accepts()))
    }

    fn text(&self, key: &str) -> Result<&str, ConfigError> {
        Ok(self.get(known(key)?).0)
    }

    fn optional(&self, key: &str) -> Result<Option<&str>, ConfigError> {
        Ok(Some(self.text(key)?).filter(|text| !text.is_empty()))
    }

    fn bool(&self, key: &str) -> Result<bool, ConfigError> {
        self.text(key)?.parse().map_err(|_| self.refuse(key, ""))
    }

    fn count(&self, key: &str) -> Result<u64, ConfigError> {
        let value: u64 = self.text(key)?.parse().map_err(|_| self.refuse(key, ""))?;
        match known(key)?.form {
            Form::Count(least, most) if !(least..=most).contains(&value) => Err(self.refuse(key, "")),
            _ => Ok(value),
        }
    }

    fn size(&self, key: &str) -> Result<usize, ConfigError> {
        usize::try_from(self.count(key)?).map_err(|_| self.refuse(key, ""))
    }

    fn duration(&self, key: &str) -> Result<Duration, ConfigError> {
        let millis = milliseconds(self.text(key)?).ok_or_else(|| self.refuse(key, ""))?;
        match known(key)?.form {
            Form::Duration(least, most) if !(least..=most).contains(&millis) => Err(self.refuse(key, "")),
            _ => Ok(Duration::from_millis(millis)),
        }
    }

    fn url(&self, key: &str) -> Result<Option<Url>, ConfigError> {
        let read = |text: &str| {
            let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            url.ok_or_else(|| self.refuse(key, ""))
        };
        self.optional(key)?.map(read).transpose()
    }

    fn place(&self, store: Store) -> Result<Place, ConfigError> {
        let key = format!("{store}.url");
        place::parse(store, self.text(&key)?).map_err(|why| self.refuse(&key, &why))
    }
}

/// An endpoint that makes vectors.
#[derive(Clone, Debug)]
pub struct EmbedderSettings {
    /// The endpoint.
    pub url: Url,
    /// The model.
    pub model: String,
    /// Its dimensions.
    pub dimensions: usize,
    /// Its key.
    pub key: Option<Secret>,
}

/// All settings, checked.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each field is the setting of the same name in the table")]
pub struct Settings {
    pub listen: SocketAddr,
    pub workers: usize,
    pub public_url: Url,
    pub shutdown_timeout: Duration,
    pub cors_origins: Vec<String>,
    pub introspection: bool,
    pub graphiql: bool,
    pub data_dir: PathBuf,
    pub secret: Option<Secret>,
    pub demo: bool,
    pub places: BTreeMap<Store, Place>,
    pub relational_pool: u32,
    pub relational_replica: Option<Address>,
    pub relational_replica_max_lag: Duration,
    pub embedder: Option<EmbedderSettings>,
    pub retain_raw: Option<Duration>,
    pub outbox_wait: Duration,
    pub limits: Limits,
    pub guard: GuardSettings,
    pub log_level: String,
    pub log_json: bool,
}

impl Settings {
    /// Checks all values.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn read(raw: &Raw) -> Result<Self, ConfigError> {
        for key in ["ledger.ethereum_url", "ledger.base_url", "ledger.solana_url"] {
            if raw.optional(key)?.is_some() {
                return Err(raw.refuse(key, "chains other than the embedded one come with a later release"));
            }
        }
        let listen: SocketAddr = raw
            .text("server.listen")?
            .replace("localhost", "127.0.0.1")
            .parse()
            .map_err(|_| raw.refuse("server.listen", ""))?;
        let public_url = match raw.url("server.public_url")? {
            Some(url) => url,
            None => own_url(listen).ok_or_else(|| raw.refuse("server.listen", ""))?,
        };
        let secret = raw.optional("data.secret")?.map(|text| Secret(text.to_owned()));
        if secret.as_ref().is_some_and(|secret| secret.expose().len() < 32) {
            return Err(raw.refuse("data.secret", "it is too short"));
        }
        let data_dir = PathBuf::from(raw.optional("data.dir")?.ok_or_else(|| raw.refuse("data.dir", ""))?);
        Ok(Self {
            listen,
            workers: raw.size("server.workers")?,
            public_url,
            shutdown_timeout: raw.duration("server.shutdown_timeout")?,
            cors_origins: origins(raw)?,
            introspection: raw.bool("server.introspection")?,
            graphiql: raw.bool("server.graphiql")?,
            data_dir,
            secret,
            demo: raw.bool("demo.enabled")?,
            places: Store::ALL.into_iter().map(|store| Ok((store, raw.place(store)?))).collect::<Result<_, _>>()?,
            relational_pool: small(raw, "relational.pool")?,
            relational_replica: replica(raw)?,
            relational_replica_max_lag: raw.duration("relational.replica_max_lag")?,
            embedder: embedder(raw)?,
            retain_raw: raw
                .optional("telemetry.retain_raw")?
                .map(|text| {
                    milliseconds(text).filter(|ms| *ms > 0).ok_or_else(|| raw.refuse("telemetry.retain_raw", ""))
                })
                .transpose()?
                .map(Duration::from_millis),
            outbox_wait: raw.duration("outbox.wait")?,
            limits: limits(raw)?,
            guard: guard(raw)?,
            log_level: one_of(raw, "log.level")?.to_owned(),
            log_json: one_of(raw, "log.format")? == "json",
        })
    }

    /// Where a store lives.
    pub fn place(&self, store: Store) -> Place {
        self.places.get(&store).cloned().unwrap_or(Place::Embedded)
    }
}

fn replica(raw: &Raw) -> Result<Option<Address>, ConfigError> {
    let key = "relational.replica_url";
    let Some(text) = raw.optional(key)? else { return Ok(None) };
    match place::parse(Store::Relational, text) {
        Ok(Place::Server(address)) if matches!(raw.place(Store::Relational)?, Place::Server(_)) => Ok(Some(address)),
        Ok(Place::Server(_)) => Err(raw.refuse(key, "it means nothing without a server in `relational.url`")),
        _ => Err(raw.refuse(key, "it is not the URL of a PostgreSQL server")),
    }
}

fn own_url(listen: SocketAddr) -> Option<Url> {
    let host = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    Url::parse(&format!("http://{host}:{}/", listen.port())).ok()
}

fn origins(raw: &Raw) -> Result<Vec<String>, ConfigError> {
    let key = "server.cors_origins";
    let texts = raw.text(key)?.split(',').map(str::trim).filter(|text| !text.is_empty());
    texts
        .map(|text| {
            let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            let origin = url.map(|url| url.origin().ascii_serialization());
            origin
                .filter(|origin| origin == text)
                .ok_or_else(|| raw.refuse(key, &format!("{text:?} is not an exact origin")))
        })
        .collect()
}

fn one_of<'a>(raw: &'a Raw, key: &str) -> Result<&'a str, ConfigError> {
    let value = raw.text(key)?;
    match known(key)?.form {
        Form::OneOf(words) if !words.contains(&value) => Err(raw.refuse(key, "")),
        _ => Ok(value),
    }
}

fn embedder(raw: &Raw) -> Result<Option<EmbedderSettings>, ConfigError> {
    let Some(url) = raw.url("embedder.url")? else {
        for key in ["embedder.model", "embedder.key"] {
            if raw.optional(key)?.is_some() {
                return Err(raw.refuse(key, "it means nothing without `embedder.url`"));
            }
        }
        return Ok(None);
    };
    let model =
        raw.optional("embedder.model")?.ok_or_else(|| raw.refuse("embedder.model", "`embedder.url` needs a model"))?;
    let dimensions = raw.size("embedder.dimensions")?;
    if dimensions == 0 {
        return Err(raw.refuse("embedder.dimensions", "`embedder.url` needs the dimensions of its model"));
    }
    let key = raw.optional("embedder.key")?.map(|text| Secret(text.to_owned()));
    Ok(Some(EmbedderSettings { url, model: model.to_owned(), dimensions, key }))
}

fn limits(raw: &Raw) -> Result<Limits, ConfigError> {
    Ok(Limits {
        max_body_bytes: raw.size("limits.max_body_bytes")?,
        max_variables_bytes: raw.size("limits.max_variables_bytes")?,
        max_tokens: raw.count("limits.max_tokens")?,
        max_depth: raw.count("limits.max_depth")?,
        max_selections: raw.count("limits.max_selections")?,
        max_aliases: raw.count("limits.max_aliases")?,
        max_root_fields: raw.count("limits.max_root_fields")?,
        max_directives: raw.count("limits.max_directives")?,
        max_complexity: raw.count("limits.max_complexity")?,
        max_page_size: crate::graphql::page::MAX_PAGE_SIZE,
        default_page_size: crate::graphql::page::DEFAULT_PAGE_SIZE,
        max_batch: raw.size("limits.max_batch")?,
        document_cache_bytes: raw.count("limits.document_cache_bytes")?,
        request_timeout: raw.duration("limits.request_timeout")?,
    })
}

fn guard(raw: &Raw) -> Result<GuardSettings, ConfigError> {
    Ok(GuardSettings {
        deadline: raw.duration("guard.deadline")?,
        max_in_flight: raw.size("guard.max_in_flight")?,
        max_waiting: raw.size("guard.max_waiting")?,
        breaker_failures: small(raw, "guard.breaker_failures")?,
        breaker_open: raw.duration("guard.breaker_open")?,
        max_retries: small(raw, "guard.max_retries")?,
    })
}

fn small(raw: &Raw, key: &str) -> Result<u32, ConfigError> {
    u32::try_from(raw.count(key)?).map_err(|_| raw.refuse(key, ""))
}

fn known(key: &str) -> Result<&'static Setting, ConfigError> {
    find(key).ok_or_else(|| {
        let near = nearest(key, |setting| setting.key.to_owned());
        ConfigError(format!("{key} is not a setting; did you mean {}?", near.key))
    })
}

/// The setting whose name is the fewest edits away.
fn nearest(text: &str, name: impl Fn(&Setting) -> String) -> &'static Setting {
    static FIRST: Setting = Setting { key: "server.listen", default: "", form: Form::Text, doc: "" };
    SETTINGS.iter().min_by_key(|setting| distance(text, &name(setting))).unwrap_or(&FIRST)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut before = i;
        let mut last = i + 1;
        for (slot, right) in row.iter_mut().skip(1).zip(b.chars()) {
            let next = (last + 1).min(*slot + 1).min(before + usize::from(left != right));
            before = *slot;
            *slot = next;
            last = next;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

/// A URL without its user and password, which belong in no message, nor its query, where some drivers take them.
fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let plain = rest.split(['?', '#']).next().unwrap_or_default();
    // A password may hold an unescaped slash or at sign: what follows the last at sign is the host.
    match plain.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://<hidden>@{host}"),
        None => format!("{scheme}://{plain}"),
    }
}

/// A number and a unit: `ms`, `s`, `m`, `h` or `d`.
fn milliseconds(text: &str) -> Option<u64> {
    let end = text.find(|char: char| !char.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A TOML value as the text of a setting; lists of texts are joined by commas.
fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(bool) => Some(bool.to_string()),
        toml::Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map(|items| items.join(",")),
        _ => None,
    }
}

/// The table of settings as Markdown, for the README.
pub fn markdown() -> String {
    let mut text = String::from("| setting | default | accepted | meaning |\n|---|---|---|---|\n");
    for setting in SETTINGS {
        let default = if setting.default.is_empty() { "—".to_owned() } else { format!("`{}`", setting.default) };
        text.push_str(&format!("| `{}` | {default} | {} | {} |\n", setting.key, setting.accepts(), setting.doc));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(file: &str, environment: &[(&str, &str)], line: &[(&str, &str)]) -> Result<Settings, String> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let line: Vec<_> = line.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let raw =
            Raw::gather(Some((Path::new("chimera.toml"), file)), environment, &line).map_err(|e| e.to_string())?;
        Settings::read(&raw).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_valid_and_equal_the_code() {
        let settings = read("", &[], &[]).unwrap();
        assert_eq!(settings.limits, Limits::default());
        assert_eq!(settings.guard, GuardSettings::default());
        assert!(settings.listen.ip().is_loopback());
    }

    #[test]
    fn later_origins_win() {
        let file = "[server]\nlisten = \"127.0.0.1:1\"\nworkers = 3\n[limits]\nmax_depth = 9\n";
        let environment = [("CHIMERA_SERVER_LISTEN", "127.0.0.1:2"), ("CHIMERA_LIMITS_MAX_DEPTH", "10"), ("HOME", "/")];
        let settings = read(file, &environment, &[("server.listen", "127.0.0.1:3")]).unwrap();
        assert_eq!((settings.listen.port(), settings.workers, settings.limits.max_depth), (3, 3, 10));
    }

    #[test]
    fn each_mistake_is_one_line_that_names_the_setting() {
        for (file, environment, words) in [
            ("[server]\nlisen = 1", None, vec!["server.lisen", "server.listen"]),
            ("listen = 1", None, vec!["`listen`", "section"]),
            ("[server", None, vec!["not TOML"]),
            ("[server]\nworkers = 1.5", None, vec!["server.workers", "whole number"]),
            ("", Some(("CHIMERA_SERVER_LISTN", "x")), vec!["CHIMERA_SERVER_LISTN", "CHIMERA_SERVER_LISTEN"]),
            ("", Some(("CHIMERA_SERVER_LISTEN", "8080")), vec!["server.listen", "\"8080\"", "127.0.0.1:8080"]),
            ("", Some(("CHIMERA_LIMITS_MAX_DEPTH", "0")), vec!["limits.max_depth", "from 1 to 64"]),
            ("", Some(("CHIMERA_OUTBOX_WAIT", "1y")), vec!["outbox.wait", "500ms"]),
            (
                "",
                Some(("CHIMERA_RELATIONAL_URL", "mysql://a:pw@h/d")),
                vec!["relational.url", "not a place", "sqlite:PATH", "postgres://"],
            ),
            (
                "",
                Some(("CHIMERA_SERVER_CORS_ORIGINS", "https://a.example/")),
                vec!["server.cors_origins", "exact origin"],
            ),
            (
                "",
                Some(("CHIMERA_RELATIONAL_REPLICA_URL", "postgres://a:p/w@h/d?password=pw@")),
                vec!["relational.replica_url", "<hidden>@h/d", "without a server in `relational.url`"],
            ),
            (
                "[relational]\nurl = \"postgres://h/d\"",
                Some(("CHIMERA_RELATIONAL_REPLICA_URL", "sqlite:/x")),
                vec!["PostgreSQL"],
            ),
            ("", Some(("CHIMERA_EMBEDDER_MODEL", "x")), vec!["embedder.model", "embedder.url"]),
            ("", Some(("CHIMERA_EMBEDDER_URL", "http://h/v1")), vec!["embedder.model"]),
            ("", Some(("CHIMERA_LEDGER_BASE_URL", "https://h")), vec!["ledger.base_url", "later release"]),
            ("", Some(("CHIMERA_DATA_SECRET", "short-and-sweet")), vec!["data.secret", "32 bytes"]),
            ("", Some(("CHIMERA_LOG_LEVEL", "loud")), vec!["log.level", "`debug`"]),
        ] {
            let environment: Vec<_> = environment.into_iter().collect();
            let error = read(file, &environment, &[]).unwrap_err();
            assert!(!error.contains('\n'), "{error}");
            for word in words {
                assert!(error.contains(word), "{error} lacks {word}");
            }
            assert!(!error.contains("short-and-sweet") && !error.contains("pw@"), "a secret was shown");
        }
    }

    #[test]
    fn secrets_are_hidden() {
        let secret = "a".repeat(40);
        let environment = [("CHIMERA_DATA_SECRET".to_owned(), secret.clone())];
        let raw = Raw::gather(None, environment, &[]).unwrap();
        let shown = format!("{:?} {:?}", raw.show(), Settings::read(&raw).unwrap());
        assert!(!shown.contains(&secret));
        let urls = ["relational.url", "relational.replica_url"]
            .map(|key| (key, format!("postgres://a:{secret}/@h/d?password={secret}")));
        let raw = Raw::gather(None, [], &urls).unwrap();
        let shown = format!("{:?} {:?}", raw.show(), Settings::read(&raw).unwrap());
        assert!(!shown.contains(&secret) && shown.contains("h/d"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_value_panics(index in 0..SETTINGS.len(), value in ".{0,40}") {
            let name = SETTINGS[index].variable();
            let _ = read("", &[(&name, &value)], &[]);
        }
    }
}
