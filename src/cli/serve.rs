//! `chimera serve`: open, tell, answer, end in order.

use super::Failure;
use crate::{
    app::{self, App},
    config::Settings,
    http,
};
use std::{io::IsTerminal, process::ExitCode};

pub(super) fn run(settings: Settings) -> Result<ExitCode, Failure> {
    // actix starts a single-threaded runtime on each of its workers; this one runs the jobs and the signals.
    actix_web::rt::System::with_tokio_rt(|| {
        tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap_or_else(|error| {
            eprintln!("chimera: the runtime cannot be started: {error}");
            std::process::exit(2)
        })
    })
    .block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<ExitCode, Failure> {
    if settings.demo && !settings.listen.ip().is_loopback() {
        return Err(Failure::Other(format!(
            "demo mode lets everyone in, so it listens on a loopback address only, not on {}; give --no-demo and make a key with `chimera key NAME`",
            settings.listen
        )));
    }
    let mut app = App::open_now(&settings).await?;
    if settings.demo {
        if app.seed_new_folder().await? {
            println!("demo data written to {}", settings.data_dir.display());
        }
    } else {
        app.skip_seed()?;
        if app.shared.stores.relational.live_keys().await? == 0 {
            return Err(Failure::Other(
                "nobody could sign in: there is no API key; make one with `chimera key NAME`".to_owned(),
            ));
        }
    }
    app.start_jobs(settings.telemetry.retain_raw);
    let broken =
        |refusal: crate::document::Refusal| Failure::Other(format!("the schema is broken: {:?}", refusal.errors));
    let parts = app::parts(&app.shared, &app.registry, &settings).map_err(broken)?;
    let bound = http::bind(parts).map_err(|error| Failure::Other(error.to_string()))?;
    tell(&app, &settings, bound.addresses());
    let ended = bound.run().await;
    app.stop().await;
    match ended {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // As a shell reports a program that SIGINT ended.
        Err(http::ServeError::Interrupted) => Ok(ExitCode::from(130)),
        Err(error) => Err(Failure::Other(error.to_string())),
    }
}

/// What a person at the terminal wants to know.
fn tell(app: &App, settings: &Settings, addresses: &[std::net::SocketAddr]) {
    let at = addresses.first().copied().unwrap_or(settings.listen);
    println!("API       http://{at}/graphql");
    match (settings.graphiql, http::graphiql::available()) {
        (true, true) => println!("GraphiQL  http://{at}/graphiql"),
        (true, false) => println!(
            "GraphiQL  not in this build: install Node 20.19 or later with npm, touch frontend/package.json, and build again"
        ),
        (false, _) => println!("GraphiQL  off"),
    }
    if settings.demo {
        println!("Access    demo mode: everyone on this machine is the administrator of the demo organisation");
    }
    println!();
    for description in app.shared.stores.describe() {
        println!("{:<11} {:<10} {}", description.store.name(), description.adapter, description.place);
    }
    if std::io::stdout().is_terminal() {
        println!("\nCtrl-C stops the server once open requests have finished.");
    }
}
