//! The log: text for people, JSON for machines, always on standard error. It holds no variables and no secrets.

use crate::config::Settings;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts the log. A second call changes nothing.
pub fn start(settings: &Settings) {
    // Libraries speak up only when something is wrong.
    let filter = format!("warn,chimera={level},chimera_stores={level}", level = settings.log_level);
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(colours);
    // An already started log is kept: tests start it more than once.
    let _ = if settings.log_json { builder.json().try_init() } else { builder.with_target(false).try_init() };
}
