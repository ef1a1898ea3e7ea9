//! Redis 7, alone and as a cluster of three.

use crate::process::{self, Process};
use std::{path::PathBuf, process::Command};

const SERVER: &str = "/usr/bin/redis-server";
const CLI: &str = "/usr/bin/redis-cli";

/// A running server that keeps what it acknowledged in an append-only file.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    folder: tempfile::TempDir,
    port: u16,
    settings: Vec<String>,
}

impl Redis {
    /// Whether this machine has it.
    pub fn found() -> bool {
        [SERVER, CLI].iter().all(|program| PathBuf::from(program).exists())
    }

    /// Starts one.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with more settings, such as `["--maxmemory", "4mb"]`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_with(settings: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("redis").tempdir().expect("a folder");
        let port = process::free_port();
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        let process = launch(port, &settings, &folder);
        let mut server = Self { process, folder, port, settings };
        server.wait();
        server
    }

    /// `127.0.0.1` is its host.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs one command by `redis-cli` and answers what it printed.
    ///
    /// # Panics
    /// When it cannot be reached.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        process::run(CLI, &[&["-p", &port], arguments].concat(), None)
    }

    /// Kills it as a power failure would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same folder and port.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = launch(self.port, &self.settings, &self.folder);
        self.wait();
    }

    /// Starts it again on the same folder and port with these settings as well, and does not wait for its answer.
    pub fn restart_unawaited(&mut self, settings: &[&str]) {
        self.process.kill();
        let more = settings.iter().map(|&setting| setting.to_owned());
        let settings: Vec<String> = self.settings.iter().cloned().chain(more).collect();
        self.process = launch(self.port, &settings, &self.folder);
    }

    /// Sends the server a signal, such as `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    fn wait(&mut self) {
        let port = self.port.to_string();
        let log = self.folder.path().join("log");
        process::wait(&mut self.process, &log, || {
            let asked = Command::new(CLI).args(["-p", &port, "PING"]).output();
            asked.is_ok_and(|output| !output.stdout.is_empty() && !output.stdout.starts_with(b"LOADING"))
        });
    }
}

fn launch(port: u16, settings: &[String], folder: &tempfile::TempDir) -> Process {
    let dir = folder.path().display().to_string();
    let port = port.to_string();
    let own = ["--port", &port, "--bind", "127.0.0.1", "--dir", &dir, "--save", "", "--appendonly", "yes"];
    let mut arguments: Vec<String> = own.map(str::to_owned).into();
    // Once a second is not enough: while the disk is slow, the server answers before it writes.
    arguments.extend(["--appendfsync", "always"].map(str::to_owned));
    arguments.extend(settings.iter().cloned());
    Process::start(SERVER, &arguments, None, &folder.path().join("log"))
}

/// Three servers that share the slots, and as many replicas of them as were asked for.
#[derive(Debug)]
pub struct RedisCluster {
    /// The nodes: first the three that own slots.
    pub nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts three nodes, each with `replicas` replicas.
    ///
    /// # Panics
    /// When they do not come together.
    pub fn start(replicas: usize) -> Self {
        let settings =
            ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "1500"];
        let nodes: Vec<Redis> = (0..3 * (1 + replicas)).map(|_| Redis::start_with(&settings)).collect();
        let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let (replicas, yes) = (replicas.to_string(), "--cluster-yes");
        let mut arguments = vec!["--cluster", "create"];
        arguments.extend(addresses.iter().map(String::as_str));
        arguments.extend(["--cluster-replicas", &replicas, yes]);
        process::run(CLI, &arguments, None);
        let mut cluster = Self { nodes };
        cluster.wait();
        cluster
    }

    /// The URL that names all nodes.
    pub fn url(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis-cluster://{}", addresses.join(","))
    }

    fn wait(&mut self) {
        for node in &mut self.nodes {
            let port = node.port.to_string();
            let log = node.folder.path().join("log");
            process::wait(&mut node.process, &log, || {
                let asked = Command::new(CLI).args(["-p", &port, "CLUSTER", "INFO"]).output();
                asked.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("cluster_state:ok"))
            });
        }
    }
}
