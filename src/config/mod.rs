//! Settings: defaults, then a TOML file, then `CHIMERA_…` environment variables, then the command line.
//!
//! Everything is checked before anything starts. A wrong setting is one line that names it, what was given (never a
//! secret) and what is accepted.

mod place;
mod raw;
mod table;

pub use place::Place;
pub use raw::Raw;
pub use table::{Form, SETTINGS, Setting, find};

use crate::document::Limits;
use chimera_stores::{Address, Store, episodic::RedisEpisodic, guard::GuardSettings, telemetry::Policies};
use chrono::TimeDelta;
use raw::{known, milliseconds, shown};
use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};
use url::Url;

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
    pub episodic_prefix: String,
    pub relational_replica: Option<Address>,
    pub relational_replica_max_lag: Duration,
    pub embedder: Option<EmbedderSettings>,
    pub telemetry: Policies,
    pub telemetry_pool: u32,
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
            episodic_prefix: prefix(raw)?,
            relational_replica: replica(raw)?,
            relational_replica_max_lag: raw.duration("relational.replica_max_lag")?,
            embedder: embedder(raw)?,
            telemetry: policies(raw)?,
            telemetry_pool: small(raw, "telemetry.pool")?,
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

/// Where a server that listens on `listen` can be asked from the same machine.
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn own_url(listen: SocketAddr) -> Option<Url> {
    Url::parse(&format!("http://{}/", reachable(listen))).ok()
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
                .ok_or_else(|| raw.refuse(key, &format!("{:?} is not an exact origin", shown(text))))
        })
        .collect()
}

fn prefix(raw: &Raw) -> Result<String, ConfigError> {
    let key = "episodic.prefix";
    let prefix = raw.text(key)?;
    if RedisEpisodic::is_prefix(prefix) {
        return Ok(prefix.to_owned());
    }
    Err(raw.refuse(key, ""))
}

fn one_of<'a>(raw: &'a Raw, key: &str) -> Result<&'a str, ConfigError> {
    let value = raw.text(key)?;
    match known(key)?.form {
        Form::OneOf(words) if !words.contains(&value) => Err(raw.refuse(key, "")),
        _ => Ok(value),
    }
}

fn policies(raw: &Raw) -> Result<Policies, ConfigError> {
    let age = |key| {
        let read = |text: &str| {
            let ms = milliseconds(text).and_then(|ms| i64::try_from(ms).ok()).filter(|ms| *ms > 0);
            ms.and_then(TimeDelta::try_milliseconds).ok_or_else(|| raw.refuse(key, ""))
        };
        raw.optional(key)?.map(read).transpose()
    };
    Ok(Policies {
        compress_after: age("telemetry.compress_after")?,
        retain_raw: age("telemetry.retain_raw")?,
        retain_minutes: age("telemetry.retain_minutes")?,
        retain_hours: age("telemetry.retain_hours")?,
    })
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
    use std::path::Path;

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
    fn a_server_is_asked_on_the_machine_it_runs_on() {
        for (listen, url) in [
            ("0.0.0.0:81", "http://127.0.0.1:81/"),
            ("[::]:81", "http://[::1]:81/"),
            ("10.0.0.7:81", "http://10.0.0.7:81/"),
            ("[fe80::1%2]:81", "http://[fe80::1]:81/"),
        ] {
            assert_eq!(own_url(listen.parse().unwrap()).unwrap().as_str(), url);
        }
    }

    #[test]
    fn policies_are_ages_or_never() {
        let of = |environment: &[(&str, &str)]| read("", environment, &[]).map(|settings| settings.telemetry);
        let default = Policies { compress_after: Some(TimeDelta::days(7)), ..Policies::default() };
        assert_eq!(of(&[]).unwrap(), default);
        let set = of(&[
            ("CHIMERA_TELEMETRY_COMPRESS_AFTER", ""),
            ("CHIMERA_TELEMETRY_RETAIN_RAW", "36h"),
            ("CHIMERA_TELEMETRY_RETAIN_MINUTES", "90d"),
            ("CHIMERA_TELEMETRY_RETAIN_HOURS", "1000d"),
        ]);
        let days = |days| Some(TimeDelta::days(days));
        let expected = Policies {
            compress_after: None,
            retain_raw: Some(TimeDelta::hours(36)),
            retain_minutes: days(90),
            retain_hours: days(1000),
        };
        assert_eq!(set.unwrap(), expected);
        for bad in ["0d", "7", "1y", "-1d", "99999999999999999d", "18446744073709551615ms"] {
            let error = of(&[("CHIMERA_TELEMETRY_COMPRESS_AFTER", bad)]).unwrap_err().to_string();
            assert!(error.contains("telemetry.compress_after") && error.contains("nothing for never"), "{error}");
        }
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
            ("", Some(("CHIMERA_MEMORY_URL", "weaviate://a:pw@h/d")), vec!["memory.url", "later release", "embedded:"]),
            (
                "",
                Some(("CHIMERA_SERVER_CORS_ORIGINS", "https://a.example/")),
                vec!["server.cors_origins", "exact origin"],
            ),
            (
                "",
                Some(("CHIMERA_SERVER_CORS_ORIGINS", "https://a:p/w@b.example")),
                vec!["server.cors_origins", "https://<hidden>@b.example"],
            ),
            (
                "",
                Some(("CHIMERA_RELATIONAL_REPLICA_URL", "postgres://a:p/w@h/d?password=pw%40")),
                vec!["relational.replica_url", "<hidden>@h/d?<hidden>", "without a server in `relational.url`"],
            ),
            (
                "",
                Some(("CHIMERA_RELATIONAL_REPLICA_URL", "postgres://a:p?w@h/d")),
                vec!["relational.replica_url", "\"postgres:<hidden>\"", "without a server in `relational.url`"],
            ),
            ("", Some(("CHIMERA_RELATIONAL_URL", "postgres:/a:p/w@h/d")), vec!["\"postgres:<hidden>\"", "no server"]),
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
            for secret in ["short-and-sweet", "a:p", "p/w", "p?w", "pw%40"] {
                assert!(!error.contains(secret), "a secret was shown: {error}");
            }
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
        let raw = Raw::gather(None, [], &[("relational.url", format!("postgres://a:{secret}?{secret}@h/d"))]).unwrap();
        let shown = format!("{:?} {:?}", raw.show(), Settings::read(&raw).unwrap());
        assert!(!shown.contains(&secret) && shown.contains("\"postgres:<hidden>\""), "{shown}");
    }

    proptest! {
        #[test]
        fn no_value_panics(index in 0..SETTINGS.len(), value in ".{0,40}") {
            let name = SETTINGS[index].variable();
            let _ = read("", &[(&name, &value)], &[]);
        }
    }
}
