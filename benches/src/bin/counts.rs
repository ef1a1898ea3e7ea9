//! M13: instructions and allocations of twelve operations, counted by callgrind on a runtime of one thread over stores
//! that answer at once. They repeat, so a change of the code that costs shows on any machine, however busy.
//!
//! `counts` compares with the committed figures and fails beyond +2 %; `counts accept` takes what is counted now for
//! right. What is counted is the way from a request's bytes to the answer's: JSON, document, variables, resolvers,
//! loaders, guards, and JSON again; not the socket.

use async_graphql::Variables;
use benches::{
    data::Rows,
    documents,
    installation::{Installation, Plan},
};
use chimera::{
    api::{self, Api as Engine},
    document::Api,
};
use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command as Program, ExitCode},
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

/// More than this part above the committed figure is a failure; as much below it is worth accepting.
const TOLERANCE: f64 = 0.02;

#[derive(Parser)]
#[command(about = "Counts instructions and allocations of twelve operations under callgrind")]
struct Line {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// Compare with the committed figures (what happens without a subcommand).
    Check,
    /// Take what is counted now as the committed figures.
    Accept,
    /// What callgrind runs.
    #[command(hide = true)]
    Subject,
}

/// What one operation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    instructions: u64,
    allocations: u64,
    allocated_bytes: u64,
}

type Counts = BTreeMap<String, Count>;

fn main() -> ExitCode {
    let done = match Line::parse().command.unwrap_or(Command::Check) {
        Command::Subject => subject(),
        Command::Check => count().and_then(|counts| check(&counts)),
        Command::Accept => count().and_then(|counts| accept(&counts)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("counts: {error}");
            ExitCode::FAILURE
        }
    }
}

/// An operation by name: a body, and whether its document is one that was never seen before.
struct Operation {
    name: &'static str,
    body: String,
    new: bool,
}

const ENQUEUE: &str = "mutation { enqueueTasks(input: { tasks: [{ queue: \"bench\", kind: \"render_video\" }] }) { tasks { deduplicated task { id state } } userErrors { code } } }";

fn operations() -> Vec<Operation> {
    let known = |name, document: &str| {
        let body = documents::bodies(document).pop().unwrap_or_default();
        Operation { name, body, new: false }
    };
    let example = |name: &'static str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/queries").join(format!("{name}.graphql"));
        known(name, &fs::read_to_string(path).unwrap_or_default())
    };
    vec![
        known("hello", documents::HELLO),
        known("list", documents::LIST),
        known("flat", documents::FLAT),
        known("nested", documents::NESTED),
        known("enqueue", ENQUEUE),
        example("overview"),
        example("campaign"),
        example("ledger"),
        example("operations"),
        example("persona"),
        example("search"),
        Operation { name: "new document", new: true, ..known("", documents::OVERVIEW) },
    ]
}

#[derive(Deserialize)]
struct Body {
    query: String,
    #[serde(default)]
    variables: serde_json::Value,
}

struct Subject {
    engine: Engine,
    installation: Installation,
    runtime: Runtime,
}

impl Subject {
    fn answer(&self, body: &[u8], comment: &str) -> Vec<u8> {
        self.runtime.block_on(async {
            let Body { query, variables } = serde_json::from_slice(body).expect("a body");
            let query = if comment.is_empty() { query } else { format!("{query}# {comment}") };
            match self.engine.prepare(&query, None, Variables::from_json(variables)) {
                Ok(prepared) => {
                    let data =
                        api::request_data(&self.installation.shared, self.installation.scope(), "bench".to_owned());
                    serde_json::to_vec(&self.engine.execute(prepared, data).await).expect("JSON")
                }
                Err(refusal) => panic!("{:?}", refusal.errors),
            }
        })
    }
}

/// What callgrind collects: nothing outside of this function.
#[inline(never)]
fn measured_operation(subject: &Subject, body: &[u8], comment: &str) -> Vec<u8> {
    subject.answer(body, comment)
}

/// Opens, warms, and runs each operation once in [`measured_operation`]; prints the allocations of each.
fn subject() -> Result<(), String> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let plan = Plan { rows: Some(Rows::SMALL), stub: Some(Duration::ZERO), postgres: None };
    let installation = runtime.block_on(Installation::open(&plan)).map_err(|error| error.to_string())?;
    let engine = api::engine(&installation.settings).map_err(|refusal| format!("{:?}", refusal.errors))?;
    let subject = Subject { engine, installation, runtime };
    for operation in operations() {
        let comment = |number: u32| if operation.new { number.to_string() } else { String::new() };
        let answer = subject.answer(operation.body.as_bytes(), &comment(1));
        let text = String::from_utf8_lossy(&answer);
        if text.contains("\"errors\"") {
            return Err(format!("{}: {text}", operation.name));
        }
        subject.answer(operation.body.as_bytes(), &comment(2));
        let (text, mut again) = (comment(3), Vec::new());
        let allocated = allocation_counter::measure(|| {
            again = measured_operation(&subject, operation.body.as_bytes(), &text);
        });
        if again != answer {
            return Err(format!("{}: two answers differ", operation.name));
        }
        println!("{}\t{}\t{}", operation.name, allocated.count_total, allocated.bytes_total);
    }
    Ok(())
}

/// Runs the subject under callgrind.
fn count() -> Result<Counts, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let file: PathBuf = folder.path().join("counts");
    let output = Program::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--toggle-collect=counts::measured_operation"])
        .args(["--dump-after=counts::measured_operation", &format!("--callgrind-out-file={}", file.display())])
        .arg(own)
        .arg("subject")
        .output()
        .map_err(|error| format!("valgrind cannot be started ({error}); on Debian it is the package valgrind"))?;
    if !output.status.success() {
        return Err(format!("the subject failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let mut counts = Counts::new();
    for (number, line) in String::from_utf8_lossy(&output.stdout).lines().enumerate() {
        let dump =
            fs::read_to_string(file.with_extension((number + 1).to_string())).map_err(|error| error.to_string())?;
        let total =
            dump.lines().find_map(|line| line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:")));
        let instructions = total.and_then(|text| text.trim().parse().ok()).ok_or("callgrind counted nothing")?;
        let [name, allocations, bytes] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(format!("not a count: {line}"));
        };
        let number = |text: &str| text.parse().map_err(|_| format!("not a count: {line}"));
        let count = Count { instructions, allocations: number(allocations)?, allocated_bytes: number(bytes)? };
        counts.insert(name.to_owned(), count);
    }
    if counts.len() == operations().len() {
        Ok(counts)
    } else {
        Err(format!("{} operations were counted", counts.len()))
    }
}

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results/m13.json")
}

fn accept(counts: &Counts) -> Result<(), String> {
    let text = serde_json::to_string_pretty(counts).map_err(|error| error.to_string())?;
    fs::write(committed(), text + "\n").map_err(|error| error.to_string())
}

fn check(counts: &Counts) -> Result<(), String> {
    let text = fs::read_to_string(committed()).map_err(|error| error.to_string())?;
    let known: Counts = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let (mut worse, mut better) = (Vec::new(), Vec::new());
    println!("| operation | instructions | change | allocations | change |\n|---|---|---|---|---|");
    for (name, count) in counts {
        let Some(before) = known.get(name) else {
            worse.push(format!("{name} has no committed figure"));
            continue;
        };
        let change = |now: u64, before: u64| now as f64 / before as f64 - 1.0;
        let instructions = change(count.instructions, before.instructions);
        let allocations = change(count.allocations, before.allocations);
        println!(
            "| {name} | {} | {:+.2} % | {} | {:+.2} % |",
            count.instructions,
            instructions * 100.0,
            count.allocations,
            allocations * 100.0
        );
        for (what, change) in [("instructions", instructions), ("allocations", allocations)] {
            if change > TOLERANCE {
                worse.push(format!("{name} takes {:.1} % more {what}", change * 100.0));
            } else if change < -TOLERANCE {
                better.push(format!("{name} takes {:.1} % fewer {what}", -change * 100.0));
            }
        }
    }
    let how = "`cargo run --profile bench --bin counts accept` in `benches` keeps the new figures";
    if !better.is_empty() {
        println!("{}: {how}", better.join("; "));
    }
    if worse.is_empty() {
        return Ok(());
    }
    Err(format!("{}. Either mend it, or, when it is worth its cost, accept it and say why: {how}", worse.join("; ")))
}
