//! The peers from npm: fetched when they are needed, with a lock file; one that cannot be had is reported.

use crate::process::Server;
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Where their programs are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// Fetches all of them, once.
///
/// # Errors
/// Why they cannot be had.
pub fn install() -> Result<(), String> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    DONE.get_or_init(|| {
        let npm = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"])
            .current_dir(folder())
            .output();
        match npm {
            Err(error) => Err(format!("npm cannot be started: {error}")),
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).lines().take(3).collect::<Vec<_>>().join(" ")),
        }
    })
    .clone()
}

/// Starts one of them.
///
/// # Errors
/// Why it cannot be had.
pub fn start(program: &str, environment: &[(&str, &str)]) -> Result<Server, String> {
    install()?;
    let path = folder().join(program).display().to_string();
    let mut all = vec![("PORT", "0"), ("NODE_ENV", "production")];
    all.extend_from_slice(environment);
    Server::start("node", &[&path], &all)
}
