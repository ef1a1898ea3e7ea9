//! `bench run METRIC…` measures; `bench run all` measures everything; `bench list` says what there is, and `bench table`
//! what was measured.

use benches::{
    figure, metrics,
    process::{LOAD_CORE, pin_thread},
    queue,
    serve::{Serve, serve},
};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Chimera against others on this machine. Every figure is a ratio taken in one run.
#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Says what can be measured.
    List,
    /// Measures, prints tables, and writes `results/METRIC.json`.
    Run {
        /// Names from `list`, or `all`.
        #[arg(required = true)]
        metrics: Vec<String>,
    },
    /// Prints the kept figures as one table.
    Table,
    /// Serves, for a run.
    #[command(hide = true)]
    Serve(Serve),
    /// Enqueues and processes tasks, for a run.
    #[command(hide = true)]
    Queue(queue::Run),
}

fn main() -> ExitCode {
    match Line::parse().command {
        Command::List => {
            for metric in metrics::ALL {
                println!("{:<8} {}", metric.name, metric.about);
            }
            ExitCode::SUCCESS
        }
        Command::Run { metrics } => measure(&metrics),
        Command::Table => ended(
            figure::table(metrics::ALL.iter().map(|metric| metric.name))
                .map_err(Into::into)
                .map(|table| println!("{table}")),
        ),
        Command::Serve(wanted) => ended(actix_web::rt::System::new().block_on(serve(wanted))),
        Command::Queue(wanted) => ended(actix_web::rt::System::new().block_on(queue::run(wanted))),
    }
}

fn ended(result: Result<(), Box<dyn std::error::Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(names: &[String]) -> ExitCode {
    let all = names.iter().any(|name| name == "all");
    let known = |name: &&String| metrics::ALL.iter().any(|metric| metric.name.eq_ignore_ascii_case(name));
    if let Some(unknown) = names.iter().find(|name| !all && !known(name)) {
        eprintln!("bench: there is no metric {unknown}; see `bench list`");
        return ExitCode::from(2);
    }
    if let Err(error) = pin_thread(LOAD_CORE) {
        eprintln!("bench: two cores are needed: {error}");
        return ExitCode::from(2);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let Ok(runtime) = runtime else { return ExitCode::FAILURE };
    let mut failed = false;
    for metric in metrics::ALL {
        if !all && !names.iter().any(|name| metric.name.eq_ignore_ascii_case(name)) {
            continue;
        }
        println!("\n# {}: {}", metric.name, metric.about);
        let told = runtime.block_on(metrics::run(metric.name)).and_then(|figures| figure::tell(metric.name, &figures));
        if let Err(error) = told {
            failed = true;
            eprintln!("bench: {}: {error}", metric.name);
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
