//! The command line: one file a subcommand. Whatever cannot be done is one line on standard error and exit code 2.

mod config;
mod doctor;
mod health;
mod import;
mod serve;
mod store;

use crate::{
    app::StartError,
    config::{ConfigError, Raw, Settings},
    graphql,
    import::Kind,
};
use clap::{Args, Parser, Subcommand};
use std::{
    fmt,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// One GraphQL door to the seven stores of a network of autonomous personas.
///
/// Without a subcommand it serves. Every setting can be given in a TOML file, as an environment variable
/// CHIMERA_SECTION_NAME, or with --set; `chimera config table` lists them all.
#[derive(Debug, Parser)]
#[command(name = "chimera", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Options {
    /// A TOML file of settings; ./chimera.toml is read when it is there.
    #[arg(long, global = true, env = "CHIMERA_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the server listens.
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Where the embedded stores live.
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<String>,
    /// Neither demo data nor the demo principal.
    #[arg(long, global = true)]
    no_demo: bool,
    /// Any setting, such as --set limits.max_depth=20; may be repeated.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API (what happens without a subcommand).
    Serve,
    /// Bring the relational store to this version's schema, and say what was done.
    Migrate {
        /// Undo the newest migrations instead, this many. Only for a store without data worth keeping.
        #[arg(long, value_name = "COUNT")]
        down: Option<u32>,
    },
    /// Write the demo data; repeating it adds only what has expired since.
    Seed,
    /// Import newline-delimited JSON. Repeating it changes nothing; a bad line is reported and costs nothing else.
    ///
    /// Exit code 0 when every line was taken, 1 when some were refused, 2 when the import could not run.
    Import {
        /// What the file holds.
        kind: Kind,
        /// The file; `-` reads standard input.
        file: PathBuf,
        /// The organisation, by its handle.
        #[arg(long, default_value = crate::seed::ORGANIZATION, value_name = "HANDLE")]
        organization: String,
    },
    /// Make an API key for an organisation, and print it once.
    Key {
        /// What the key is for.
        name: String,
        /// The organisation, by its handle; made when it does not exist.
        #[arg(long, default_value = crate::seed::ORGANIZATION, value_name = "HANDLE")]
        organization: String,
        /// What the key may do.
        #[arg(long, value_enum, default_value = "admin")]
        role: store::KeyRole,
    },
    /// Print the GraphQL schema.
    Schema,
    /// Look at the settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Try each store, and say in plain words what is wrong and what to do.
    Doctor,
    /// Ask the running server of the same settings whether requests may be sent to it.
    ///
    /// Exit code 0 when they may, 1 when not.
    Health {
        /// Ask only whether it runs, not how its stores are.
        #[arg(long)]
        live: bool,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check the settings, and say whether the server would accept them.
    Check,
    /// Show every setting, its value and where it came from; secrets are hidden.
    Show,
    /// Print the table of settings as Markdown.
    Table,
}

/// Why a command ended.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Start(#[from] StartError),
    #[error("{0}")]
    Store(#[from] chimera_stores::StoreError),
    #[error("{0}")]
    Other(String),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(failure) => {
            // The cause goes to the log for the operator; the line is for the person at the terminal.
            if let Failure::Store(error) | Failure::Start(StartError::Store(error)) = &failure {
                tracing::debug!(error = %error.chain(), "command failed");
            }
            complain(format_args!("chimera: {failure}"));
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    // These need no settings at all.
    match &cli.command {
        Some(Command::Schema) => return print(&graphql::sdl()),
        Some(Command::Config(ConfigCommand::Table)) => return print(&crate::config::markdown()),
        _ => {}
    }
    let raw = gather(&cli.options)?;
    if let Some(Command::Config(ConfigCommand::Show)) = &cli.command {
        return print(&config::show(&raw));
    }
    let settings = Settings::read(&raw)?;
    crate::logging::start(&settings);
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(settings),
        Command::Config(_) => print("the settings are valid\n"),
        Command::Migrate { down } => wait(store::migrate(&settings, down)),
        Command::Seed => wait(store::write_demo(&settings)),
        Command::Import { kind, file, organization } => wait(import::run(&settings, kind, &file, &organization)),
        Command::Key { name, organization, role } => wait(store::key(&settings, &name, &organization, role)),
        Command::Doctor => wait(doctor::run(&settings)),
        Command::Health { live } => wait(health::run(&settings, live)),
        Command::Schema => print(&graphql::sdl()),
    }
}

/// Runs one command to its end on a runtime of its own.
fn wait(command: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::Other(format!("the runtime cannot be started: {error}")))?.block_on(command)
}

/// Prints, minding that the reader may have gone (`chimera schema | head`).
fn print(text: &str) -> Result<ExitCode, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Other(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Prints a line, like [`print`](fn@print).
fn say(line: fmt::Arguments<'_>) -> Result<(), Failure> {
    print(&format!("{line}\n")).map(drop)
}

/// A line for the person at the terminal. Nobody is left to hear that it cannot be written.
fn complain(line: fmt::Arguments<'_>) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

fn gather(options: &Options) -> Result<Raw, Failure> {
    let file = match &options.config {
        Some(path) => Some((path.clone(), read(path)?)),
        None => {
            let path = PathBuf::from("chimera.toml");
            if path.exists() { Some((path.clone(), read(&path)?)) } else { None }
        }
    };
    let mut line: Vec<(&str, String)> = Vec::new();
    for assignment in &options.set {
        let (key, value) = assignment
            .split_once('=')
            .ok_or_else(|| Failure::Other(format!("--set {assignment}: write --set section.name=value")))?;
        line.push((key, value.to_owned()));
    }
    line.extend(options.listen.iter().map(|listen| ("server.listen", listen.clone())));
    line.extend(options.data.iter().map(|data| ("data.dir", data.clone())));
    if options.no_demo {
        line.push(("demo.enabled", "false".to_owned()));
    }
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
    Ok(Raw::gather(file.as_ref().map(|(path, text)| (path.as_path(), text.as_str())), environment, &line)?)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::Other(format!("{} cannot be read: {error}", path.display())))
}
