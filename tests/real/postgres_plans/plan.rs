//! The plans that the server really used, read from its log: `auto_explain` writes one for every statement, those of
//! foreign keys and triggers included, with the rows that each of its nodes saw. So no query can be forgotten.

use super::data::TABLES;
use serde_json::Value;
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
};
use test_servers::Postgres;

/// What the server is started with.
pub const SETTINGS: &[&str] = &[
    "session_preload_libraries=auto_explain",
    "auto_explain.log_min_duration=-1",
    "auto_explain.log_analyze=on",
    "auto_explain.log_timing=off",
    "auto_explain.log_nested_statements=on",
    "auto_explain.log_format=json",
    "log_line_prefix=",
    "jit=off",
    "autovacuum=off",
    "shared_buffers=512MB",
];

/// What a call may cost at the most.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Rows that one sort may be given.
    pub sorted: f64,
    /// Rows that are looked at in the large tables; `None` where a condition that no index knows picks among them, and
    /// for sums.
    pub touched: Option<f64>,
}

/// The log of a server, from where it was read last.
pub struct Log {
    path: PathBuf,
    read: u64,
}

impl Log {
    /// From the end of what is there now.
    pub fn of(server: &Postgres) -> Self {
        let path = server.log();
        let read = path.metadata().unwrap().len();
        Self { path, read }
    }

    /// The plans written since.
    pub fn plans(&mut self) -> Vec<Value> {
        let mut file = File::open(&self.path).unwrap();
        file.seek(SeekFrom::Start(self.read)).unwrap();
        let mut text = String::new();
        self.read += u64::try_from(file.read_to_string(&mut text).unwrap()).unwrap();
        let mut plans = Vec::new();
        // Lines that continue an entry begin with a tab.
        for entry in text.split("\nLOG:").flat_map(|entry| entry.split_once("plan:\n")) {
            let json: Vec<&str> = entry.1.lines().take_while(|line| line.starts_with('\t')).collect();
            plans.push(serde_json::from_str(&json.join("\n")).expect("a plan"));
        }
        plans
    }
}

/// What is wrong with a plan: nothing, when all is well.
pub fn faults(plan: &Value, bounds: Bounds) -> Vec<String> {
    let mut faults = Vec::new();
    let mut touched = 0.0;
    walk(&plan["Plan"], &mut |node| {
        let kind = node["Node Type"].as_str().unwrap();
        let table = node["Relation Name"].as_str().unwrap_or_default();
        let seen = rows(node) + number(node, "Rows Removed by Filter") + number(node, "Rows Removed by Index Recheck");
        let large = TABLES.contains(&table);
        if large {
            touched += seen * number(node, "Actual Loops");
        }
        if large && kind == "Seq Scan" && node["Actual Loops"] != 0 {
            faults.push(format!("a sequential scan of {table}"));
        }
        if kind == "Sort" {
            let sorted = rows(&node["Plans"][0]);
            if sorted > bounds.sorted {
                faults.push(format!("a sort of {sorted} rows by {}", node["Sort Key"]));
            }
        }
    });
    if bounds.touched.is_some_and(|most| touched > most) {
        faults.push(format!("{touched} rows looked at"));
    }
    faults
}

fn walk<'a>(node: &'a Value, visit: &mut impl FnMut(&'a Value)) {
    visit(node);
    for child in node["Plans"].as_array().into_iter().flatten() {
        walk(child, visit);
    }
}

/// Of each loop.
fn rows(node: &Value) -> f64 {
    number(node, "Actual Rows")
}

fn number(node: &Value, name: &str) -> f64 {
    node[name].as_f64().unwrap_or_default()
}

/// A plan in a few lines, for the message of a failure.
pub fn outline(plan: &Value) -> String {
    let mut text = format!("  {}\n", plan["Query Text"].as_str().unwrap_or_default());
    fn lines(node: &Value, depth: usize, text: &mut String) {
        let words = ["Index Name", "Relation Name", "Index Cond", "Filter", "Sort Key", "Hash Cond", "Join Filter"]
            .iter()
            .filter(|name| !node[**name].is_null())
            .map(|name| format!(" {name}: {}", node[*name]))
            .collect::<String>();
        text.push_str(&format!(
            "  {:depth$}{} rows={} loops={} planned={}{words}\n",
            "",
            node["Node Type"].as_str().unwrap_or_default(),
            node["Actual Rows"],
            node["Actual Loops"],
            node["Plan Rows"],
        ));
        for child in node["Plans"].as_array().into_iter().flatten() {
            lines(child, depth + 2, text);
        }
    }
    lines(&plan["Plan"], 2, &mut text);
    text
}
