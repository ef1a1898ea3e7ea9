//! The program from outside: what it prints, what it refuses and with which exit code.
//!
//! Serving is tried in `serve`.

use crate::support::settings;
use chimera::{app::App, token::hash_token};
use chimera_stores::Role;
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};
use tempfile::TempDir;

/// A folder to run the program in.
pub struct Place(TempDir);

/// How a run of the program ended.
pub struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let run = Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
        for sign in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
            assert!(!run.err.contains(sign) && !run.out.contains(sign), "{}{}", run.out, run.err);
        }
        run
    }

    /// What an exit code 0 printed.
    pub fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    /// The one line of a refusal, with each of `words` in it.
    pub fn refused(self, words: &[&str]) -> String {
        let Self { code, out, err } = self;
        assert_eq!(code, Some(2), "{out}{err}");
        assert_eq!(out, "", "a refusal prints nothing on standard output");
        assert_eq!(err.lines().count(), 1, "one line: {err}");
        assert!(err.starts_with("chimera: ") && err.ends_with('\n'), "{err}");
        for word in words {
            assert!(err.contains(word), "{err:?} lacks {word:?}");
        }
        err
    }
}

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A folder whose data are a copy of seeded ones: seeding loads a language model, which takes its time.
    pub fn seeded() -> Self {
        static SEEDED: OnceLock<TempDir> = OnceLock::new();
        let seeded = SEEDED.get_or_init(|| {
            let place = Self::new();
            place.run(&["seed"]).good();
            place.0
        });
        let place = Self::new();
        copy(&seeded.path().join("data"), &place.path("data"));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        fs::write(self.path(name), text).unwrap();
        self
    }

    /// The program in this folder, without any setting of the machine's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chimera"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CHIMERA_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).current_dir(self.0.path()).stdin(Stdio::null()).env("RUST_BACKTRACE", "1");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().unwrap())
    }

    fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Run {
        Run::of(self.command(arguments).envs(environment.iter().copied()).output().unwrap())
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(path, to).unwrap();
        }
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn help_and_version_name_what_there_is() {
    let place = Place::new();
    let help = place.run(&["--help"]).good();
    for word in [
        "serve",
        "migrate",
        "seed",
        "import",
        "key",
        "schema",
        "config",
        "doctor",
        "--listen",
        "--data",
        "--no-demo",
        "--set",
        "--config",
        "chimera config table",
    ] {
        assert!(help.contains(word), "{help} lacks {word}");
    }
    let help = place.run(&["import", "--help"]).good();
    for word in ["personas", "videos", "memories", "posts", "render-events", "Exit code 0"] {
        assert!(help.contains(word), "{help} lacks {word}");
    }
    assert_eq!(place.run(&["--version"]).good(), format!("chimera {}\n", env!("CARGO_PKG_VERSION")));
    for wrong in [&["no-such-command"][..], &["--no-such-option"], &["import", "films", "x"], &["config"], &["key"]] {
        assert_eq!(place.run(wrong).code, Some(2), "{wrong:?}");
    }
    assert_eq!(fs::read_dir(place.0.path()).unwrap().count(), 0, "asking for help leaves nothing behind");
}

#[test]
fn schema_and_the_table_need_no_settings() {
    let place = Place::new();
    place.write("chimera.toml", "this is not TOML [");
    let committed = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.graphql")).unwrap();
    assert!(place.run(&["schema"]).good() == committed, "`chimera schema` differs from schema.graphql");
    let table = place.run(&["config", "table"]).good();
    assert!(table.contains("| `server.listen` | `127.0.0.1:8080` |"), "{table}");
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    if readme.exists() {
        let readme = fs::read_to_string(readme).unwrap();
        let (_, rest) = readme.split_once("<!-- settings:begin -->").expect("README.md marks where the settings begin");
        let (inside, _) = rest.split_once("<!-- settings:end -->").expect("README.md marks where the settings end");
        assert!(inside.trim() == table.trim(), "README.md differs from `chimera config table`");
    }
}

#[test]
fn a_wrong_setting_is_one_line_that_names_it() {
    let place = Place::new();
    let check = ["config", "check"];
    assert_eq!(place.run(&check).good(), "the settings are valid\n");
    place.run_with(&check, &[("CHIMERA_SERVER_LISTEN", "8080")]).refused(&[
        "server.listen",
        "\"8080\"",
        "environment",
        "127.0.0.1:8080",
    ]);
    place
        .run_with(&check, &[("CHIMERA_SERVER_LISTN", "x")])
        .refused(&["CHIMERA_SERVER_LISTN", "did you mean CHIMERA_SERVER_LISTEN"]);
    place.run_with(&check, &[("CHIMERA_CONFIG", "absent.toml")]).refused(&["absent.toml", "cannot be read"]);
    place.run(&["config", "check", "--set", "limits.max_depth=0"]).refused(&[
        "limits.max_depth",
        "\"0\"",
        "command line",
        "from 1 to 64",
    ]);
    place.run(&["config", "check", "--set", "limits.max_dept=3"]).refused(&["limits.max_dept", "limits.max_depth"]);
    place
        .run(&["config", "check", "--set", "limits.max_depth"])
        .refused(&["--set limits.max_depth", "section.name=value"]);
    place.run(&["config", "check", "--data", ""]).refused(&["data.dir", "the path of a folder"]);
    place.write("chimera.toml", "[server]\nworkers = 1.5\n");
    place.run(&check).refused(&["chimera.toml", "server.workers", "whole number"]);
    // A wrong setting stops every command that would use it.
    for command in [&["seed"][..], &["doctor"], &["migrate"], &["key", "k"], &["import", "videos", "-"]] {
        place.run(command).refused(&["server.workers"]);
    }
    place.write("chimera.toml", [0xff, 0xfe]);
    place.run(&check).refused(&["chimera.toml", "cannot be read"]);
    place.write("chimera.toml", "[server]\nworkers = 3\n").write("other.toml", "[server]\nworkers = 4\n");
    let shown = |run: Run| {
        run.good()
            .lines()
            .find(|line| line.starts_with("server.workers "))
            .unwrap()
            .split_whitespace()
            .skip(1)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(place.run(&["config", "show"])), ["3", "chimera.toml"]);
    assert_eq!(shown(place.run(&["config", "show", "--config", "other.toml"])), ["4", "other.toml"]);
    assert_eq!(shown(place.run_with(&["config", "show"], &[("CHIMERA_SERVER_WORKERS", "5")])), ["5", "environment"]);
    assert_eq!(
        shown(place.run_with(&["config", "show", "--set", "server.workers=6"], &[("CHIMERA_SERVER_WORKERS", "5")])),
        ["6", "command", "line"]
    );
    assert!(!place.path("data").exists(), "looking at settings makes no data folder");
}

#[test]
fn secrets_are_shown_nowhere() {
    let place = Place::new();
    let (secret, key, short) = ("s3cr3t-".repeat(6), "sk-very-private-key", "s3cr3t-short");
    let environment = [("CHIMERA_DATA_SECRET", secret.as_str()), ("CHIMERA_EMBEDDER_KEY", key)];
    let run = place.run_with(&["config", "show"], &environment);
    let shown = format!("{}{}", run.out, run.err);
    assert_eq!(run.code, Some(0));
    assert_eq!(shown.matches("<hidden>").count(), 2, "{shown}");
    assert!(!shown.contains("s3cr3t") && !shown.contains(key), "{shown}");
    let line = place.run_with(&["config", "check"], &[("CHIMERA_DATA_SECRET", short)]).refused(&[
        "data.secret",
        "<hidden>",
        "32 bytes",
    ]);
    assert!(!line.contains(short), "{line}");
    let line = place
        .run_with(&["config", "check"], &[("CHIMERA_RELATIONAL_URL", "mysql://ada:pa55word@db/chimera")])
        .refused(&["relational.url", "not a place"]);
    assert!(!line.contains("pa55word"), "{line}");
    let url = "postgres://ada:pa55/w@rd@db/chimera?password=pa55word";
    let servers = [("CHIMERA_RELATIONAL_URL", url), ("CHIMERA_RELATIONAL_REPLICA_URL", url)];
    let shown = place.run_with(&["config", "show"], &servers).good();
    assert_eq!(shown.matches("postgres://<hidden>@db/chimera").count(), 2, "{shown}");
    assert!(!shown.contains("pa55"), "{shown}");
}

#[test]
fn a_data_folder_that_cannot_be_used_is_one_line() {
    let place = Place::new();
    // Tests may run as root, whom permissions do not stop; a file in the way stops everybody.
    place.write("file", "");
    for command in [&["seed"][..], &["doctor"], &["migrate"], &["key", "k"], &["import", "videos", "-"]] {
        let mut all = vec!["--data", "file/data"];
        all.extend(command);
        place.run(&all).refused(&["the data folder file/data cannot be used"]);
    }
    fs::create_dir(place.path("data")).unwrap();
    let lock = File::create(place.path("data/lock")).unwrap();
    lock.lock().unwrap();
    for command in [&["seed"][..], &["doctor"], &["migrate"], &["key", "k"], &["import", "videos", "-"]] {
        place.run(command).refused(&["the data folder data is in use by another process", "--data"]);
    }
    assert_eq!(files(&place.path("data")), [place.path("data/lock")], "nobody touches a folder that is in use");
    drop(lock);
    place.write("data/secret", "short");
    place.run(&["seed"]).refused(&["data/secret cannot be used"]);
}

/// Overwrites the middle third of a file with what no format takes for its own.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    // The two halves of a ledger's head file stand in for one another, with a gap between them: both go.
    let whole = path.extension().is_some_and(|extension| extension == "head");
    let (from, to) = if whole { (0, bytes.len()) } else { (bytes.len() / 3, bytes.len() * 2 / 3) };
    bytes[from..to].iter_mut().enumerate().for_each(|(index, byte)| *byte = (index * 31 + 7) as u8 ^ 0xa5);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_file_is_named_and_nothing_starts_over_it() {
    let whole = Place::seeded();
    let all = files(&whole.path("data"));
    // A database that was closed is one file: what a copy of it holds is everything.
    assert!(!all.iter().any(|path| path.to_str().unwrap().ends_with("-wal")), "{all:?}");
    let healthy = whole.run(&["doctor"]).good();
    assert_eq!(healthy.lines().filter(|line| line.ends_with(" ok")).count(), 7, "{healthy}");
    let (mut damaged, mut sorts) = (0, BTreeSet::new());
    for path in all {
        let name = path.strip_prefix(whole.path("data")).unwrap().to_str().unwrap().to_owned();
        let store = match name.split(['/', '.']).next().unwrap() {
            "chimera" => "relational",
            // Blobs are checked against their hash when they are read.
            "media" if name.starts_with("media/blobs") => continue,
            store @ ("memory" | "episodic" | "telemetry" | "ledger" | "search" | "media") => store,
            // The lock and the secret belong to no store.
            _ => continue,
        };
        // One file of each sort is enough: an index has many segments.
        if fs::metadata(&path).unwrap().len() < 64
            || !sorts.insert((store.to_owned(), path.extension().map(ToOwned::to_owned)))
        {
            continue;
        }
        let place = Place::seeded();
        let broken = place.path("data").join(&name);
        damage(&broken);
        let before = fs::read(&broken).unwrap();
        let run = place.run(&["doctor"]);
        assert_eq!(run.code, Some(2), "{name}: {}{}", run.out, run.err);
        let told: Vec<&str> =
            run.out.lines().filter(|line| line.starts_with(store) && !line.ends_with(" ok")).collect();
        assert_eq!(told.len(), 1, "{name}: {}", run.out);
        assert_eq!(
            run.out.lines().filter(|line| line.ends_with(" ok")).count(),
            6,
            "the others are well: {name}: {}",
            run.out
        );
        let line = place.run(&["seed"]).refused(&[]);
        println!("{name}: {} / {}", told[0], line.trim_end());
        // redb marks a file it has tried to open in its header; nothing else is touched, and it is refused again.
        let header = if name.ends_with(".redb") { 4096 } else { 0 };
        let after = fs::read(&broken).unwrap();
        assert_eq!(after.len(), before.len(), "{name}");
        let changed: Vec<usize> = (header..before.len()).filter(|at| before[*at] != after[*at]).collect();
        assert!(
            changed.is_empty(),
            "{name}: a damaged file is left as it was, but {} bytes from {} on",
            changed.len(),
            changed[0]
        );
        assert_eq!(place.run(&["doctor"]).code, Some(2), "{name} is refused again");
        damaged += 1;
    }
    assert!(damaged >= 8, "{damaged} files were damaged");
}

#[test]
fn migrations_go_up_and_down() {
    let place = Place::new();
    assert!(place.run(&["migrate"]).good().contains("at this version's schema"));
    assert!(place.run(&["migrate"]).good().contains("at this version's schema"));
    assert!(place.run(&["migrate", "--down", "1"]).good().contains("1 migrations of"));
    assert!(place.run(&["migrate"]).good().contains("at this version's schema"));
    place.run(&["migrate", "--down", "99"]).good();
    place.run(&["seed"]).good();
    assert_eq!(place.run(&["doctor"]).good().lines().filter(|line| line.ends_with(" ok")).count(), 7);
    assert_eq!(place.run(&["migrate", "--down", "-1"]).code, Some(2));
}

/// Opens the folder's app inside this process.
async fn open(place: &Place) -> App {
    App::open_now(&settings(&place.path("data"), &[])).await.unwrap()
}

#[tokio::test]
async fn seeding_twice_is_seeding_once() {
    let place = Place::seeded();
    let count = async || {
        let app = open(&place).await;
        let test = settings(&place.path("data"), &[("limits.request_timeout", "60s")]);
        let api = chimera::api::engine(&test).unwrap();
        let demo = chimera::seed::demo();
        let scope = chimera_stores::Scope::new(
            demo.organization_id,
            chimera_stores::Principal::User(demo.user_id),
            Role::Admin,
        );
        let document = "{ personas { totalCount } videos { totalCount } posts { totalCount } auditLog { totalCount } renderEvents { nodes { id } }
            search(query: \"\") { totalCount } queues { name } wallets { nodes { balances { amount } } } }";
        let prepared = chimera::document::Api::prepare(&api, document, None, async_graphql::Variables::default())
            .unwrap_or_else(|_| panic!("refused"));
        let data = chimera::api::request_data(&app.shared, scope, "test".to_owned());
        let answer = serde_json::to_value(chimera::document::Api::execute(&api, prepared, data).await).unwrap();
        app.stop().await;
        answer
    };
    let once = count().await;
    assert_eq!(once["data"]["personas"], json!({ "totalCount": 3 }), "{once:#}");
    assert!(once.get("errors").is_none(), "{once:#}");
    assert_eq!(place.run(&["seed"]).good(), "the demo data is in data\n");
    assert_eq!(count().await, once);
}

#[tokio::test]
async fn a_key_is_printed_once_and_works() {
    let place = Place::new();
    let run = place.run(&["key", "reporting", "--organization", "acme", "--role", "viewer"]);
    assert!(run.err.contains("not shown again"), "{}", run.err);
    let token = run.good();
    assert_eq!(token.lines().count(), 1, "the token alone, for `$(chimera key …)`: {token:?}");
    let other = place.run(&["key", "editing", "--organization", "acme", "--role", "editor"]).good();
    place.run(&["key", " "]).refused(&["a key's name has 1 to 256 bytes"]);
    let app = open(&place).await;
    let relational = &app.shared.stores.relational;
    let viewer = relational.authenticate(&hash_token(token.trim())).await.unwrap().expect("the key is known");
    let editor = relational.authenticate(&hash_token(other.trim())).await.unwrap().expect("the other key is known");
    assert_eq!((viewer.role(), editor.role()), (Role::Viewer, Role::Editor));
    assert_eq!(
        viewer.organization_id(),
        editor.organization_id(),
        "the second key joins the organisation of the first"
    );
    assert!(relational.authenticate(&hash_token("chim_wrong")).await.unwrap().is_none());
    assert!(!app.seed_new_folder().await.unwrap(), "a folder with a key of its own gets no demo data");
    app.stop().await;
}

#[test]
fn an_import_ends_with_its_code_and_a_clean_terminal() {
    let place = Place::seeded();
    let video =
        |id: &str, persona: &str| format!("{}\n", json!({ "externalId": id, "persona": persona, "title": "A film" }));
    let handle = "nova.star";
    place.write("good.ndjson", video("v-1", "nobody-yet"));
    let clean = |run: &Run| {
        assert!(
            !run.err.contains(['\r', '\u{1b}']) && !run.out.contains(['\r', '\u{1b}']),
            "{:?}{:?}",
            run.out,
            run.err
        )
    };
    let run = place.run(&["import", "videos", "good.ndjson"]);
    clean(&run);
    assert_eq!(run.code, Some(1), "{}{}", run.out, run.err);
    assert_eq!(run.err, "line 1: persona: there is no persona \"nobody-yet\"\n");
    assert_eq!(run.out, "1 lines: 0 created, 0 updated, 0 unchanged, 1 refused\n");

    place.write("people.ndjson", format!("{}\n", json!({ "externalId": "p", "handle": handle, "name": "Nova" })));
    assert_eq!(
        place.run(&["import", "personas", "people.ndjson"]).good(),
        "1 lines: 1 created, 0 updated, 0 unchanged, 0 refused\n"
    );
    // From standard input, and larger than one batch.
    let many: String = (0..450).map(|number| video(&format!("v-{number}"), handle)).collect();
    let mut child = place
        .command(&["import", "videos", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(many.as_bytes()).unwrap();
    let run = Run::of(child.wait_with_output().unwrap());
    clean(&run);
    assert_eq!(run.err, "");
    assert_eq!(run.good(), "450 lines: 450 created, 0 updated, 0 unchanged, 0 refused\n");
    place.write("many.ndjson", many);
    assert_eq!(
        place.run(&["import", "videos", "many.ndjson"]).good(),
        "450 lines: 0 created, 0 updated, 450 unchanged, 0 refused\n"
    );
    place.write(
        "memory.ndjson",
        format!("{}\n", json!({ "externalId": "m", "persona": handle, "text": "Saw a comet" })),
    );
    assert_eq!(
        place.run(&["import", "memories", "memory.ndjson"]).good(),
        "1 lines: 1 created, 0 updated, 0 unchanged, 0 refused\n"
    );
    assert_eq!(
        place.run(&["import", "memories", "memory.ndjson"]).good(),
        "1 lines: 0 created, 0 updated, 1 unchanged, 0 refused\n"
    );

    place.run(&["import", "videos", "absent.ndjson"]).refused(&["absent.ndjson cannot be read"]);
    place.run(&["import", "videos", "data"]).refused(&["data cannot be read"]);
    place
        .run(&["import", "videos", "good.ndjson", "--organization", "nobody"])
        .refused(&["no organisation \"nobody\"", "chimera key"]);
    place
        .run(&["import", "memories", "good.ndjson", "--set", "memory.url=off"])
        .refused(&["memory", "runs without this store"]);
}

/// Runs with a standard output whose reader has gone.
fn unread(place: &Place, arguments: &[&str]) -> Run {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    Run::of(place.command(arguments).stdout(writer).output().unwrap())
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let place = Place::seeded();
    for arguments in [
        &["schema"][..],
        &["config", "show"],
        &["config", "table"],
        &["config", "check"],
        &["doctor"],
        &["migrate"],
        &["--help"],
    ] {
        let run = unread(&place, arguments);
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{arguments:?}");
    }
    // A disk that is full is another matter.
    if let Ok(full) = File::options().write(true).open("/dev/full") {
        let output = place.command(&["schema"]).stdout(full).output().unwrap();
        Run::of(output).refused(&["standard output cannot be written"]);
    }
}
