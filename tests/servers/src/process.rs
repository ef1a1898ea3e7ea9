//! A server's process: it dies with the process that started it, even when that is killed.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

/// How long a server may take to answer: far longer than any does on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A started server.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `command`, with its output in the file `log`.
    ///
    /// `setpriv` asks the kernel to kill the server when its parent ends. The kernel takes the *thread* that started it
    /// for the parent, so one thread that never ends starts all of them.
    pub fn start(program: &str, arguments: &[String], user: Option<&str>, log: &Path) -> Self {
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig=KILL");
        if let Some(user) = user {
            command.args([format!("--reuid={user}"), format!("--regid={user}"), "--init-groups".to_owned()]);
        }
        let output = File::options().create(true).append(true).open(log).expect("a log");
        command.arg(program).args(arguments).stdin(Stdio::null());
        command.stdout(output.try_clone().expect("a log")).stderr(output);
        Self { child: spawn(command) }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it as a power failure would, and waits for its end.
    pub fn kill(&mut self) {
        // Already ended is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal by name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.id().to_string()]).status().expect("kill");
        assert!(status.success(), "the server {} is gone", self.id());
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The processes that a process has started and that still run.
pub fn children(of: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc");
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|process| stat(*process).is_some_and(|(state, parent)| state != "Z" && parent == of)).collect()
}

/// Kills processes that are nobody's children any more, and waits for their end.
///
/// # Panics
/// When one does not end.
pub fn kill_all(processes: &[u32]) {
    for process in processes {
        // One that has ended by itself is fine.
        let _ = Command::new("kill").args(["-KILL", &process.to_string()]).stderr(Stdio::null()).status();
    }
    let begun = Instant::now();
    while processes.iter().any(|process| stat(*process).is_some_and(|(state, _)| state != "Z")) {
        assert!(begun.elapsed() < PATIENCE, "a killed process does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The state and the parent of a process.
fn stat(process: u32) -> Option<(String, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program stands in parentheses and may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn spawn(command: Command) -> Child {
    static STARTER: std::sync::OnceLock<mpsc::Sender<(Command, mpsc::Sender<Child>)>> = std::sync::OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (send, receive) = mpsc::channel::<(Command, mpsc::Sender<Child>)>();
        std::thread::spawn(move || {
            for (mut command, answer) in receive {
                let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
                // The asker waits for it.
                let _ = answer.send(child);
            }
        });
        send
    });
    let (answer, child) = mpsc::channel();
    starter.send((command, answer)).expect("the starter runs");
    child.recv().expect("a process")
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("an address").port()
}

/// Waits until `ready` says yes.
///
/// # Panics
/// When the server ends first or takes longer than [`PATIENCE`]; with the last lines of its log.
pub fn wait(process: &mut Process, log: &Path, mut ready: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !ready() {
        let late = begun.elapsed() > PATIENCE;
        if late || !process.runs() {
            let lines: Vec<String> = File::open(log)
                .map(|file| BufReader::new(file).lines().map_while(Result::ok).collect())
                .unwrap_or_default();
            let tail = lines.iter().rev().take(20).rev().cloned().collect::<Vec<_>>().join("\n");
            panic!("the server {}:\n{tail}", if late { "does not answer" } else { "ended" });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a program to its end and answers what it printed.
///
/// # Panics
/// When it fails; with what it printed.
pub fn run(program: &str, arguments: &[&str], user: Option<&str>) -> String {
    let mut command = match user {
        None => Command::new(program),
        Some(user) => {
            let mut command = Command::new("setpriv");
            command.args([format!("--reuid={user}"), format!("--regid={user}"), "--init-groups".to_owned()]);
            command.arg(program);
            command
        }
    };
    let output = command.args(arguments).stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Whether this process may become another user: servers of databases refuse to run as root.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
