//! `chimera doctor`: tries each store by itself.

use super::{Failure, say};
use crate::{
    app::{DataFolder, Opener},
    config::Settings,
};
use chimera_stores::{ErrorKind, Store, StoreError};
use std::process::ExitCode;

pub(super) async fn run(settings: &Settings) -> Result<ExitCode, Failure> {
    let folder = DataFolder::open(&settings.data_dir)?;
    say(format_args!("data folder  {}  can be written", settings.data_dir.display()))?;
    let opener = Opener::detached(settings, &folder)?;
    let mut healthy = true;
    for store in Store::ALL {
        match opener.check(store).await {
            Ok(None) => say(format_args!("{store:<12} off"))?,
            Ok(Some(findings)) => {
                say(format_args!("{store:<12} ok"))?;
                for finding in findings {
                    say(format_args!("{:13}{}\n{:13}{}", "", finding.message, "", finding.advice))?;
                }
            }
            Err(error) => {
                healthy = false;
                say(format_args!(
                    "{store:<12} {}\n{:13}{}",
                    error.message(),
                    "",
                    error.advice().unwrap_or_else(|| advice(&error))
                ))?;
            }
        }
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// What a person can do about it.
fn advice(error: &StoreError) -> &'static str {
    match (error.store(), error.kind()) {
        (Store::Search, ErrorKind::Corrupt) => {
            "the index is derived: move its folder away, and the next start fills a new one from the relational store"
        }
        (_, ErrorKind::Corrupt) => "restore the file from a backup; nothing was repaired or thrown away",
        (_, ErrorKind::Conflict) => {
            "the store was made with other settings: put them back, or choose another data folder"
        }
        (_, ErrorKind::Unavailable) => "check that the path exists, can be written, and is not held by another process",
        (_, ErrorKind::Timeout | ErrorKind::Overloaded) => {
            "the store answers too slowly: look at the load of the machine"
        }
        _ => "run again with --set log.level=debug for the cause",
    }
}
