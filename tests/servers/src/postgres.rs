//! PostgreSQL 15, with or without TimescaleDB preloaded.

use crate::process::{self, Process};
use std::{path::PathBuf, process::Command};

const BIN: &str = "/usr/lib/postgresql/15/bin";
const TIMESCALE: &str = "/usr/share/postgresql/15/extension/timescaledb.control";

/// The role that owns the databases of [`Postgres::owned`]: it may not do more than its owner.
pub const OWNER: &str = "chimera";

/// What the server is started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// As Debian ships it.
    Plain,
    /// With TimescaleDB preloaded. A database gets the extension when it is created there.
    Timescale,
}

/// A running server. Its superuser is `app`, without a password.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    folder: tempfile::TempDir,
    port: u16,
    settings: Vec<String>,
}

impl Postgres {
    /// Whether this machine has it.
    pub fn found(flavour: Flavour) -> bool {
        let server = PathBuf::from(BIN).join("postgres").exists();
        server && (flavour == Flavour::Plain || PathBuf::from(TIMESCALE).exists())
    }

    /// Starts one. Nothing is forced to disk: the machine does not lose power in a test, and a killed server loses
    /// nothing that the kernel has.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(flavour: Flavour) -> Self {
        Self::start_with(flavour, &[])
    }

    /// Starts one with more settings, such as `statement_timeout=1s`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_with(flavour: Flavour, settings: &[&str]) -> Self {
        let (folder, user) = (folder(), user());
        let data = folder.path().join("data").display().to_string();
        let arguments =
            ["-D", &data, "-U", "app", "--auth=trust", "-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions"];
        process::run(&format!("{BIN}/initdb"), &arguments, user);
        let mut all: Vec<String> =
            ["fsync=off", "max_connections=300", "max_worker_processes=40"].map(String::from).into();
        all.extend(
            ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_locks_per_transaction=256"]
                .map(String::from),
        );
        if flavour == Flavour::Timescale {
            let of_timescale = [
                "shared_preload_libraries=timescaledb",
                "timescaledb.telemetry_level=off",
                "timescaledb.max_background_workers=24",
            ];
            all.extend(of_timescale.map(String::from));
        }
        all.extend(settings.iter().map(|&setting| setting.to_owned()));
        Self::launch(folder, all)
    }

    /// Starts a streaming replica of this server: everything it holds, read-only, on a port of its own.
    ///
    /// # Panics
    /// When it does not start.
    pub fn replica(&self) -> Self {
        let folder = folder();
        let data = folder.path().join("data").display().to_string();
        // It writes down where the primary is, and that this is a standby of it.
        let from = self.port.to_string();
        let copy =
            ["-h", "127.0.0.1", "-p", &from, "-U", "app", "-D", &data, "-R", "-X", "stream", "-c", "fast", "--no-sync"];
        process::run(&format!("{BIN}/pg_basebackup"), &copy, user());
        Self::launch(folder, self.settings.clone())
    }

    fn launch(folder: tempfile::TempDir, settings: Vec<String>) -> Self {
        let (data, port) = (folder.path().join("data").display().to_string(), process::free_port());
        let process = launch(&data, port, &settings, &folder);
        let mut server = Self { process, folder, port, settings };
        server.wait();
        server
    }

    /// `127.0.0.1` is its host.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The file that its log goes to.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The URL of a database on it, for its superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://app@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes a database and answers its URL.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn create(&self, database: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE \"{database}\""));
        self.url(database)
    }

    /// Makes a database that belongs to [`OWNER`], an ordinary role, and answers its URL for that role. One that is
    /// there is left as it is.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn owned(&self, database: &str) -> String {
        if self.sql("postgres", &format!("SELECT 1 FROM pg_roles WHERE rolname = '{OWNER}'")).is_empty() {
            self.sql("postgres", &format!("CREATE ROLE {OWNER} LOGIN"));
        }
        if self.sql("postgres", &format!("SELECT 1 FROM pg_database WHERE datname = '{database}'")).is_empty() {
            self.sql("postgres", &format!("CREATE DATABASE \"{database}\" OWNER {OWNER}"));
        }
        format!("postgres://{OWNER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs statements as the superuser, and answers the rows without decoration.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        self.sql_at(&self.url(database), statements)
    }

    /// The same as whoever the URL names.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn sql_at(&self, url: &str, statements: &str) -> String {
        process::run(&format!("{BIN}/psql"), &["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statements], None)
    }

    /// What the server says to statements that it refuses.
    ///
    /// # Panics
    /// When it does not.
    pub fn refusal(&self, url: &str, statements: &str) -> String {
        let psql = Command::new(format!("{BIN}/psql"))
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url])
            .args(["-c", statements])
            .output();
        let output = psql.expect("psql");
        assert!(!output.status.success(), "not refused: {statements}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Kills it as a power failure would: all of its processes, so that none ends its work on the way.
    pub fn kill(&mut self) {
        let sessions = process::children(self.process.id());
        self.process.kill();
        process::kill_all(&sessions);
    }

    /// Starts it again on the same folder and port.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.kill();
        // Nothing of it is left, so its lock means nothing.
        let pid = self.folder.path().join("data/postmaster.pid");
        let _ = std::fs::remove_file(pid);
        self.process =
            launch(&self.folder.path().join("data").display().to_string(), self.port, &self.settings, &self.folder);
        self.wait();
    }

    /// Sends the server a signal, such as `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Stops every process of the server in its tracks, until what is answered is dropped: connections stay open and
    /// nothing comes back.
    ///
    /// # Panics
    /// When the server is gone.
    pub fn freeze(&self) -> Frozen {
        let children = self.sql("postgres", "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()");
        let mut processes: Vec<String> = children.lines().map(str::to_owned).collect();
        processes.push(self.process.id().to_string());
        for process in &processes {
            process::run("kill", &["-STOP", process], None);
        }
        Frozen { processes }
    }

    fn wait(&mut self) {
        let url = self.url("postgres");
        let log = self.folder.path().join("log");
        process::wait(&mut self.process, &log, || {
            let asked = Command::new(format!("{BIN}/psql")).args(["-XAtq", "-d", &url, "-c", "SELECT 1"]).output();
            asked.is_ok_and(|output| output.status.success())
        });
    }
}

/// A new folder that the server may write.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("postgres").tempdir().expect("a folder");
    if let Some(user) = user() {
        process::run("chown", &[user, &folder.path().display().to_string()], None);
    }
    folder
}

/// The processes of a server that stands still.
#[derive(Debug)]
pub struct Frozen {
    processes: Vec<String>,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for process in &self.processes {
            // One that was killed meanwhile is gone.
            let _ = Command::new("kill").args(["-CONT", process]).status();
        }
    }
}

fn launch(data: &str, port: u16, settings: &[String], folder: &tempfile::TempDir) -> Process {
    let mut arguments = vec!["-D".to_owned(), data.to_owned(), "-p".to_owned(), port.to_string()];
    arguments.extend(settings.iter().flat_map(|setting| ["-c".to_owned(), setting.clone()]));
    Process::start(&format!("{BIN}/postgres"), &arguments, user(), &folder.path().join("log"))
}

/// PostgreSQL does not run as root.
fn user() -> Option<&'static str> {
    process::is_root().then_some("postgres")
}
