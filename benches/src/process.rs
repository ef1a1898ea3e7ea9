//! The processes that are measured: started on a core of their own, and asked what they have used.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The core of what is measured.
pub const SERVER_CORE: usize = 0;
/// The core of the load, of the databases and of the stubs' clock.
pub const LOAD_CORE: usize = 1;

/// Keeps the calling thread, and those it starts from now on, on one core.
///
/// # Errors
/// When the machine has no such core.
pub fn pin_thread(core: usize) -> nix::Result<()> {
    let mut set = nix::sched::CpuSet::new();
    set.set(core)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)
}

/// A server of its own, ended with this value.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub port: u16,
}

impl Server {
    /// Starts a program on the servers' core and waits until it prints a line that holds `listening PORT`, or the line
    /// of an address that the product prints.
    ///
    /// # Errors
    /// What kept it from listening.
    pub fn start(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self, String> {
        let mut child = Command::new("taskset")
            .args(["-c", &SERVER_CORE.to_string(), program])
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{program}: {error}"))?;
        let output = child.stdout.take().ok_or("no output")?;
        let mut lines = BufReader::new(output).lines();
        while let Some(Ok(line)) = lines.next() {
            if let Some(port) = port(&line) {
                // What else it says must not fill the pipe.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(Self { child, port });
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(format!("{program} {} ended before it listened", arguments.join(" ")))
    }

    /// One of this program's own servers.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn own(arguments: &[&str]) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        Self::start(&program.display().to_string(), arguments, &[])
    }

    /// Processor time it has used, of all its threads.
    pub fn cpu(&self) -> Duration {
        cpu(self.child.id())
    }

    /// Memory it holds, in bytes.
    pub fn rss(&self) -> u64 {
        status(self.child.id(), "VmRSS:")
    }

    /// The most memory it has held, in bytes.
    pub fn peak(&self) -> u64 {
        status(self.child.id(), "VmHWM:")
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `listening 4000`, or `API       http://127.0.0.1:4000/graphql`.
fn port(line: &str) -> Option<u16> {
    let text = line.strip_prefix("listening ").or_else(|| {
        let address = line.strip_prefix("API")?.trim().strip_prefix("http://")?;
        address.split('/').next()?.rsplit(':').next()
    })?;
    text.trim().parse().ok()
}

/// Nanoseconds on a processor of each thread, summed: finer than the hundredths of a second of `/proc/PID/stat`.
/// Threads that have ended are not in it; the servers that are measured end none.
fn cpu(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let times = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(times.sum())
}

fn status(process: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or_default() * 1024
}
