//! Builds what the binary carries: GraphiQL, and the example documents it offers.
//!
//! GraphiQL is a small npm package in `frontend/`. Its build needs npm and, the first time, the network; neither is
//! needed to run the API, so a failure here is one warning and an empty table, never a failed build. Cargo runs this
//! script again only when one of the files named by `rerun-if-changed` has changed.
//!
//! Two files are left in `OUT_DIR` for `src/http/graphiql.rs` to include: `graphiql_assets.rs` with the table `ASSETS`
//! and `graphiql_examples.rs` with the table `EXAMPLES`.

use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What decides how GraphiQL looks. `node_modules` and `dist` are results and must not be watched.
const FRONTEND_INPUTS: [&str; 6] = [
    "frontend/.npmrc",
    "frontend/index.html",
    "frontend/package-lock.json",
    "frontend/package.json",
    "frontend/src",
    "frontend/vite.config.js",
];

/// Set to 1 to build without GraphiQL, for a fast or an offline build.
const SKIP: &str = "CHIMERA_SKIP_FRONTEND";

/// A folder with GraphiQL as `npm run build` leaves it, for a build on a machine without Node.
const BUILT: &str = "CHIMERA_FRONTEND_BUILT";

/// The document that opens first.
const FIRST_EXAMPLE: &str = "overview";

fn main() -> io::Result<()> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);

    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={SKIP}");
    println!("cargo:rerun-if-env-changed={BUILT}");
    for input in FRONTEND_INPUTS {
        println!("cargo:rerun-if-changed={input}");
    }
    let built = env::var_os(BUILT).map(PathBuf::from);
    let dist = built.clone().unwrap_or_else(|| out.join("graphiql"));
    if built.is_some() && !dist.join("index.html").is_file() {
        // Asked for, so without it there is no build.
        return Err(io::Error::other(format!("{BUILT}: {} holds no index.html", dist.display())));
    }
    let files = match built.map_or_else(|| build_graphiql(&root, &dist), |_| Ok(())) {
        Ok(()) => files_below(&dist)?,
        Err(reason) => {
            // A newly installed npm shows in PATH more often than not.
            println!("cargo:rerun-if-env-changed=PATH");
            println!(
                "cargo:warning=built without GraphiQL ({reason}); to get it, make Node 20.19 or later with npm available, unset \
                 {SKIP}, touch frontend/package.json and build again"
            );
            Vec::new()
        }
    };
    fs::write(out.join("graphiql_assets.rs"), assets_table(&dist, &files)?)?;

    // A folder that does not exist counts as changed in every build, hence only when it is there.
    let queries = root.join("docs/queries");
    if queries.is_dir() {
        println!("cargo:rerun-if-changed=docs/queries");
    } else if root.join("docs").is_dir() {
        println!("cargo:rerun-if-changed=docs");
    }
    fs::write(out.join("graphiql_examples.rs"), examples_table(&queries)?)
}

/// Fills `dist` with the built page, or says in a few words why not.
fn build_graphiql(root: &Path, dist: &Path) -> Result<(), String> {
    if env::var_os(SKIP).is_some_and(|value| value == "1") {
        return Err(format!("{SKIP} is 1"));
    }
    let frontend = root.join("frontend");
    // Builds of two profiles may run at once and share `node_modules`. The lock goes with the process.
    let lock = File::open(root.join("build.rs")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;

    install(&frontend)?;
    npm(&frontend, &["run".as_ref(), "build".as_ref(), "--".as_ref(), "--outDir".as_ref(), dist.as_os_str()])
}

/// Installs the packages the lock file names, unless they were installed from the very same lock file before.
fn install(frontend: &Path) -> Result<(), String> {
    let wanted = fs::read(frontend.join("package-lock.json")).map_err(|error| format!("package-lock.json: {error}"))?;
    let stamp = frontend.join("node_modules/.installed-lock.json");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    // No package needs its install scripts. One short retry, as an offline build should give up in less than a minute.
    let arguments = [
        "ci",
        "--ignore-scripts",
        "--include=dev",
        "--no-audit",
        "--no-fund",
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=1000",
        "--fetch-retry-maxtimeout=5000",
    ];
    npm(frontend, &arguments.map(OsStr::new))?;
    fs::write(stamp, wanted).map_err(|error| error.to_string())
}

/// Runs npm in the frontend's folder. On failure its output goes to cargo's log of this script and one line comes back.
fn npm(frontend: &Path, arguments: &[&OsStr]) -> Result<(), String> {
    let program = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let output = Command::new(program)
        .args(arguments)
        .current_dir(frontend)
        .output()
        .map_err(|error| format!("npm cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    eprintln!("{}", String::from_utf8_lossy(&text));
    let verb = arguments.first().map(|verb| verb.to_string_lossy()).unwrap_or_default();
    Err(format!("npm {verb} failed"))
}

/// All files below a folder, in the order of their names.
fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// `ASSETS`: path below `/graphiql/`, content type, bytes.
fn assets_table(dist: &Path, files: &[PathBuf]) -> io::Result<String> {
    let mut table = String::from(
        "/// The files of GraphiQL: path below `/graphiql/`, content type, bytes.\n\
         pub static ASSETS: &[(&str, &str, &[u8])] = &[\n",
    );
    for file in files {
        let below = file.strip_prefix(dist).map_err(io::Error::other)?;
        let path = utf8(below)?.replace('\\', "/");
        line(
            &mut table,
            format_args!("    ({path:?}, {:?}, include_bytes!({:?})),", content_type(below), utf8(file)?),
        )?;
    }
    table.push_str("];\n");
    Ok(table)
}

/// `EXAMPLES`: name, document, variables as JSON text or nothing.
fn examples_table(queries: &Path) -> io::Result<String> {
    let mut documents = if queries.is_dir() { entries(queries)? } else { Vec::new() };
    documents.retain(|path| path.extension() == Some(OsStr::new("graphql")));
    // A stable sort: the rest stays in the order of the names.
    documents.sort_by_key(|path| path.file_stem() != Some(OsStr::new(FIRST_EXAMPLE)));

    let mut table = String::from(
        "/// The example documents, the one to open first in front: name, document, variables as JSON text or nothing.\n\
         pub static EXAMPLES: &[(&str, &str, &str)] = &[\n",
    );
    for document in documents {
        let name = document.file_stem().map(Path::new).unwrap_or(Path::new(""));
        let variables = document.with_extension("variables.json");
        let variables = match variables.is_file() {
            true => format!("include_str!({:?})", utf8(&variables)?),
            false => String::from("\"\""),
        };
        let entry = format_args!("    ({:?}, include_str!({:?}), {variables}),", utf8(name)?, utf8(&document)?);
        line(&mut table, entry)?;
    }
    table.push_str("];\n");
    Ok(table)
}

/// The paths in a folder, in the order of their names.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// What a browser is told about a file. A module script with a wrong type is not run, so this list must be right.
fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(OsStr::to_str) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ttf") => "font/ttf",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

/// A path as it is written into Rust source.
fn utf8(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::other(format!("{} is not UTF-8", path.display())))
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(text, "{line}").map_err(io::Error::other)
}

fn variable(name: &str) -> io::Result<std::ffi::OsString> {
    env::var_os(name).ok_or_else(|| io::Error::other(format!("cargo did not set {name}")))
}
