//! `chimera import`: a file in, a progress bar, a summary.

use super::{Failure, complain, say, store::organization};
use crate::{
    app::App,
    config::Settings,
    import::{self, ImportError, Kind, Progress},
};
use chimera_stores::Scope;
use indicatif::{ProgressBar, ProgressStyle};
use std::{path::Path, process::ExitCode, time::Duration};
use tokio::io::{AsyncRead, BufReader};

/// How long the end of an import waits for stores that lag behind.
const SETTLE: Duration = Duration::from_secs(10);

pub(super) async fn run(settings: &Settings, kind: Kind, file: &Path, handle: &str) -> Result<ExitCode, Failure> {
    let (input, size): (Box<dyn AsyncRead + Unpin>, Option<u64>) = if file == Path::new("-") {
        (Box::new(tokio::io::stdin()), None)
    } else {
        let unreadable = |error| Failure::Other(format!("{} cannot be read: {error}", file.display()));
        let opened = tokio::fs::File::open(file).await.map_err(unreadable)?;
        let size = opened.metadata().await.map_err(unreadable)?.len();
        (Box::new(opened), Some(size))
    };
    let app = App::open_now(settings).await?;
    if settings.demo {
        app.seed_new_folder().await?;
    }
    let shared = &app.shared;
    let organization_id = organization(&shared.stores, handle).await?.ok_or_else(|| {
        Failure::Other(format!(
            "there is no organisation {handle:?}; `chimera key NAME --organization {handle}` makes it"
        ))
    })?;
    let mut bar = Bar::new(size);
    let scope = Scope::system(organization_id);
    let input = BufReader::with_capacity(1 << 16, input);
    let result = import::import(&shared.stores, &shared.relay, &shared.clock, &scope, kind, input, &mut bar).await;
    bar.0.finish_and_clear();
    let summary = result.map_err(|error| match error {
        ImportError::Store(error) => Failure::Store(error),
        ImportError::Read(error) => Failure::Other(format!("{} cannot be read: {error}", file.display())),
    })?;
    let waiting = import::settle(&shared.stores, &shared.relay, &scope, SETTLE).await?;
    app.stop().await;
    say(format_args!(
        "{} lines: {} created, {} updated, {} unchanged, {} refused",
        summary.lines(),
        summary.created,
        summary.updated,
        summary.unchanged,
        summary.failed,
    ))?;
    if waiting > 0 {
        say(format_args!(
            "{waiting} changes wait for the memory or search store; the server applies them when it runs"
        ))?;
    }
    Ok(if summary.failed > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

struct Bar(ProgressBar);

impl Bar {
    fn new(size: Option<u64>) -> Self {
        let bar = size.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = match size {
            Some(_) => "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            None => "{spinner} {bytes} {bytes_per_sec}",
        };
        Self(bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())))
    }
}

impl Progress for Bar {
    fn advanced(&mut self, bytes: u64) {
        self.0.inc(bytes);
    }

    fn refused(&mut self, line: u64, reason: &str) {
        self.0.suspend(|| complain(format_args!("line {line}: {reason}")));
    }
}
