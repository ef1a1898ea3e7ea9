//! Values as they were given, before anything is known about them but their names; and how one is read or refused.
//!
//! A value that is refused is shown, and never a secret in it.

use super::{
    ConfigError, Origin,
    place::{self, Place},
    table::{Form, SETTINGS, Setting, find},
};
use chimera_stores::{Address, Store};
use std::{collections::BTreeMap, path::Path, time::Duration};
use url::Url;

/// Environment variables of this program that are not settings.
const NOT_SETTINGS: &[&str] = &["CHIMERA_CONFIG", "CHIMERA_FRONTEND_BUILT", "CHIMERA_SKIP_FRONTEND"];

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
                let shown = if setting.is_secret() && !value.is_empty() { "<hidden>".to_owned() } else { shown(value) };
                (setting.key, shown, origin)
            })
            .collect()
    }

    pub(super) fn refuse(&self, key: &str, why: &str) -> ConfigError {
        let Ok(setting) = known(key) else { return ConfigError(format!("{key}: {why}")) };
        let (value, origin) = self.get(setting);
        let given = if setting.is_secret() { "<hidden>".to_owned() } else { format!("{:?}", shown(value)) };
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        ConfigError(format!("{key} is {given} (from {origin}){why}; accepted: {}", setting.accepts()))
    }

    pub(super) fn text(&self, key: &str) -> Result<&str, ConfigError> {
        Ok(self.get(known(key)?).0)
    }

    pub(super) fn optional(&self, key: &str) -> Result<Option<&str>, ConfigError> {
        Ok(Some(self.text(key)?).filter(|text| !text.is_empty()))
    }

    pub(super) fn bool(&self, key: &str) -> Result<bool, ConfigError> {
        self.text(key)?.parse().map_err(|_| self.refuse(key, ""))
    }

    pub(super) fn count(&self, key: &str) -> Result<u64, ConfigError> {
        let value: u64 = self.text(key)?.parse().map_err(|_| self.refuse(key, ""))?;
        match known(key)?.form {
            Form::Count(least, most) if !(least..=most).contains(&value) => Err(self.refuse(key, "")),
            _ => Ok(value),
        }
    }

    pub(super) fn size(&self, key: &str) -> Result<usize, ConfigError> {
        usize::try_from(self.count(key)?).map_err(|_| self.refuse(key, ""))
    }

    pub(super) fn duration(&self, key: &str) -> Result<Duration, ConfigError> {
        let millis = milliseconds(self.text(key)?).ok_or_else(|| self.refuse(key, ""))?;
        match known(key)?.form {
            Form::Duration(least, most) if !(least..=most).contains(&millis) => Err(self.refuse(key, "")),
            _ => Ok(Duration::from_millis(millis)),
        }
    }

    pub(super) fn url(&self, key: &str) -> Result<Option<Url>, ConfigError> {
        let read = |text: &str| {
            let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            url.ok_or_else(|| self.refuse(key, ""))
        };
        self.optional(key)?.map(read).transpose()
    }

    pub(super) fn place(&self, store: Store) -> Result<Place, ConfigError> {
        let key = format!("{store}.url");
        place::parse(store, self.text(&key)?).map_err(|why| self.refuse(&key, &why))
    }
}

pub(super) fn known(key: &str) -> Result<&'static Setting, ConfigError> {
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

/// A value without what is secret in it. A URL with a slash too few is one as well.
pub(super) fn shown(value: &str) -> String {
    if value.contains("://") || value.contains('@') { Address::new(value).marked() } else { value.to_owned() }
}

/// A number and a unit: `ms`, `s`, `m`, `h` or `d`.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
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
