//! Bulk import: what is taken, what is refused and why, and that a repeat changes nothing.

mod real;

use crate::support::{TestApp, settings};
use chimera::{
    api,
    app::App,
    import::{self, Kind, Progress, Summary},
    write::UnitOfWork,
};
use chimera_stores::{Clock, ManualClock, Scope};
use chrono::{TimeDelta, TimeZone, Utc};
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::BufReader;
use uuid::Uuid;

/// An installation without demo data and without jobs, with one organisation: what `chimera import` meets.
pub struct Empty {
    pub test: TestApp,
    pub scope: Scope,
}

/// What an import told while it ran.
#[derive(Default)]
struct Heard {
    bytes: u64,
    refused: Vec<(u64, String)>,
}

impl Progress for Heard {
    fn advanced(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    fn refused(&mut self, line: u64, reason: &str) {
        self.refused.push((line, reason.to_owned()));
    }
}

impl Empty {
    pub async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Utc.with_ymd_and_hms(2026, 1, 2, 12, 0, 0).unwrap()));
        Self::over(clock.clone(), clock, &[("guard.deadline", "20s")]).await
    }

    /// The app goes by `clock`; `manual` is for tests that turn it.
    pub async fn over(clock: Arc<dyn Clock>, manual: Arc<ManualClock>, more: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut all = vec![("limits.request_timeout", "60s")];
        all.extend_from_slice(more);
        let settings = settings(folder.path(), &all);
        let app = App::open(&settings, clock.clone()).await.unwrap();
        app.skip_seed().unwrap();
        let scope = Scope::system(Uuid::now_v7());
        let (handle, name, now) = ("acme".to_owned(), "Acme".to_owned(), clock.now());
        let mut work = UnitOfWork::new("test", None);
        work.insert(&entity::organization::Model {
            id: scope.organization_id(),
            handle,
            name,
            created_at: now,
            updated_at: now,
            version: 1,
        });
        work.commit(&app.shared.stores, &scope).await.unwrap();
        let api = api::engine(&settings).unwrap();
        Self { test: TestApp { app, api, clock: manual, settings, folder }, scope }
    }

    /// Imports; the summary and what was refused.
    pub async fn import(&self, kind: Kind, file: &[u8]) -> (Summary, Vec<(u64, String)>) {
        let (shared, mut heard) = (&self.test.app.shared, Heard::default());
        let input = BufReader::with_capacity(97, file);
        let summary =
            import::import(&shared.stores, &shared.relay, &shared.clock, &self.scope, kind, input, &mut heard)
                .await
                .unwrap();
        assert_eq!(heard.bytes, file.len() as u64, "every byte is accounted for");
        assert_eq!(heard.refused.len() as u64, summary.failed, "every refusal is told");
        assert!(heard.refused.is_sorted_by(|a, b| a.0 < b.0), "in the order of the file: {:?}", heard.refused);
        (summary, heard.refused)
    }

    /// Imports lines that are all good.
    pub async fn load(&self, kind: Kind, lines: &[Value]) -> Summary {
        let (summary, refused) = self.import(kind, ndjson(lines).as_bytes()).await;
        assert_eq!(refused, [], "{kind:?}");
        summary
    }

    /// The data of an answer without errors.
    pub async fn ask(&self, document: &str, variables: Value) -> Value {
        self.test.ask_as(&self.scope, document, variables).await.data().clone()
    }

    /// How many audit entries there are.
    pub async fn audited(&self) -> i64 {
        let data = self.ask("{ auditLog(first: 1) { totalCount } }", json!({})).await;
        data["auditLog"]["totalCount"].as_i64().expect("the audit log counts")
    }
}

/// One line each.
pub fn ndjson(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn counts(created: u64, updated: u64, unchanged: u64, failed: u64) -> Summary {
    Summary { created, updated, unchanged, failed }
}

/// A line of a file, and a part of the reason when it is to be refused.
type Line = (Vec<u8>, Option<&'static str>);

fn good(line: Value) -> Line {
    (line.to_string().into_bytes(), None)
}

fn bad(line: Value, reason: &'static str) -> Line {
    (line.to_string().into_bytes(), Some(reason))
}

/// `base` with other fields.
fn but(base: &Value, fields: Value) -> Value {
    let mut line = base.clone();
    for (name, value) in fields.as_object().unwrap() {
        line[name.as_str()] = value.clone();
    }
    line
}

/// Bad lines that are bad in a file of any kind; `whole` is a good line.
fn bad_anywhere(whole: &Value) -> Vec<Line> {
    let without = |field: &str| {
        let mut line = whole.clone();
        line.as_object_mut().unwrap().remove(field);
        line
    };
    let mut torn = whole.to_string().into_bytes();
    torn.truncate(torn.len() / 2);
    let mut foreign = but(whole, json!({ "externalId": "latin-1" })).to_string().into_bytes();
    let at = foreign.windows(7).position(|window| window == b"latin-1").unwrap();
    foreign[at] = 0xff;
    vec![
        (b"not json".to_vec(), Some("expected ident")),
        (b"[1]".to_vec(), Some("invalid")),
        (torn, Some("EOF while parsing")),
        (foreign, Some("not UTF-8")),
        (format!("{whole} {whole}").into_bytes(), Some("trailing characters")),
        (vec![b'x'; import::MAX_LINE_BYTES + 2], Some("longer than 1048576 bytes")),
        bad(without("externalId"), "missing field `externalId`"),
        bad(but(whole, json!({ "externalId": 7 })), "invalid type: integer `7`, expected a string"),
        bad(but(whole, json!({ "externalId": null })), "invalid type: null"),
        bad(but(whole, json!({ "externalId": " " })), "externalId: it is blank"),
        bad(but(whole, json!({ "externalId": "x".repeat(257) })), "externalId: it has 257 bytes; at most 256"),
        bad(but(whole, json!({ "externalId": "a\0b" })), "externalId: it has a NUL character"),
        bad(but(whole, json!({ "externalId": "more", "colour\u{1b}[2J": 1 })), "unknown field `colour\\u{1b}[2J`"),
    ]
}

/// Imports good and bad lines in turn, with blank ones between, CRLF here and there, a BOM and no newline at the end;
/// then once more. Answers the number of good ones.
async fn one_by_one(empty: &Empty, kind: Kind, lines: &[Line]) -> u64 {
    let mut file = b"\xef\xbb\xbf".to_vec();
    let (mut number, mut expected) = (0, Vec::new());
    for (index, (line, reason)) in lines.iter().enumerate() {
        if index % 5 == 3 {
            file.extend_from_slice(b" \t\r\n\n");
            number += 2;
        }
        number += 1;
        file.extend_from_slice(line);
        if index + 1 < lines.len() {
            file.extend_from_slice(if index % 2 == 0 { b"\r\n" } else { b"\n" });
        }
        expected.extend(reason.map(|reason| (number, reason)));
    }
    let taken = (lines.len() - expected.len()) as u64;
    let (summary, refused) = empty.import(kind, &file).await;
    for ((line, reason), (expected_line, words)) in refused.iter().zip(&expected) {
        assert_eq!(line, expected_line, "{kind:?}: {reason} where {words} was expected");
        assert!(reason.contains(words), "{kind:?} line {line}: {reason:?} lacks {words:?}");
        assert!(!reason.contains(char::is_control) && reason.len() < 500, "{reason:?}");
        assert!(!reason.contains("line 1"), "the parser's own line number is always 1: {reason}");
    }
    assert_eq!(refused.len(), expected.len(), "{kind:?}: {refused:?}");
    assert_eq!(summary, counts(taken, 0, 0, expected.len() as u64), "{kind:?}");

    let audited = empty.audited().await;
    empty.test.clock.advance(TimeDelta::seconds(60));
    let (again, refused_again) = empty.import(kind, &file).await;
    assert_eq!(again, counts(0, 0, taken, expected.len() as u64), "{kind:?}: a repeat changes nothing");
    assert_eq!(refused_again, refused, "{kind:?}");
    assert_eq!(empty.audited().await, audited, "{kind:?}: and leaves no trace");
    taken
}

async fn people(empty: &Empty) {
    let ada = json!({ "externalId": "p-ada", "handle": "ada", "name": "Ada" });
    empty.load(Kind::Personas, &[ada]).await;
}

#[tokio::test]
async fn personas_are_taken_or_refused_line_by_line() {
    let empty = Empty::new().await;
    let whole = json!({ "externalId": "p-1", "handle": "one", "name": "One" });
    let mut lines = vec![good(whole.clone())];
    lines.extend(bad_anywhere(&whole));
    lines.extend([
        good(json!({ "externalId": "p-2", "handle": "zo.e_2-x", "name": "Zoë 🦊", "status": "PAUSED" })),
        bad(whole.clone(), "externalId: an earlier line close by"),
        bad(json!({ "externalId": "p-3", "handle": "One!", "name": "n" }), "handle: a handle has 1 to 64"),
        bad(json!({ "externalId": "p-3", "handle": "", "name": "n" }), "handle: a handle has 1 to 64"),
        bad(json!({ "externalId": "p-3", "handle": "x".repeat(65), "name": "n" }), "handle: a handle has 1 to 64"),
        bad(json!({ "externalId": "p-3", "handle": "three", "name": "n".repeat(257) }), "name: it has 257 bytes"),
        bad(json!({ "externalId": "p-3", "handle": "three" }), "missing field `name`"),
        bad(
            json!({ "externalId": "p-3", "handle": "three", "name": "n", "status": "ASLEEP" }),
            "unknown variant `ASLEEP`",
        ),
        // A refused line does not take its externalId.
        good(json!({ "externalId": "p-3", "handle": "three", "name": "Three" })),
    ]);
    assert_eq!(one_by_one(&empty, Kind::Personas, &lines).await, 3);
    let data = empty
        .ask(
            "{ personas(first: 9, orderBy: NAME, direction: ASC) { nodes { externalId handle name status version } } }",
            json!({}),
        )
        .await;
    assert_eq!(
        data["personas"]["nodes"],
        json!([
            { "externalId": "p-1", "handle": "one", "name": "One", "status": "ACTIVE", "version": 1 },
            { "externalId": "p-3", "handle": "three", "name": "Three", "status": "ACTIVE", "version": 1 },
            { "externalId": "p-2", "handle": "zo.e_2-x", "name": "Zoë 🦊", "status": "PAUSED", "version": 1 },
        ])
    );
}

#[tokio::test]
async fn videos_are_taken_or_refused_line_by_line() {
    let empty = Empty::new().await;
    people(&empty).await;
    let whole = json!({ "externalId": "v-1", "persona": "ada", "title": "Telescopes for beginners" });
    let mut lines = vec![good(whole.clone())];
    lines.extend(bad_anywhere(&whole));
    let full = json!({
        "externalId": "v-2", "persona": "ada", "title": "Überall Sterne ✨", "description": "long\ntext", "tags": ["sky", "night"],
        "category": "Science", "durationMs": 61_500, "publishedAt": "2026-01-01T10:00:00.123456789+02:00",
    });
    let other = |fields| but(&whole, but(&json!({ "externalId": "v-3" }), fields));
    lines.extend([
        good(full),
        bad(whole.clone(), "externalId: an earlier line close by"),
        bad(other(json!({ "persona": "nobody" })), "persona: there is no persona \"nobody\""),
        bad(other(json!({ "persona": "p".repeat(100_000) })), "persona: there is no persona"),
        bad(other(json!({ "title": "" })), "title: it is blank"),
        bad(other(json!({ "title": "t".repeat(1025) })), "title: it has 1025 bytes"),
        bad(other(json!({ "description": "d".repeat(65_537) })), "description: it has 65537 bytes"),
        bad(other(json!({ "category": "c".repeat(257) })), "category: it has 257 bytes"),
        bad(other(json!({ "category": "" })), "category: it is blank"),
        bad(other(json!({ "tags": ["ok", " "] })), "tags: it is blank"),
        bad(other(json!({ "tags": vec!["t"; 129] })), "tags: it has 129 items"),
        bad(other(json!({ "tags": "sky" })), "invalid type: string"),
        bad(other(json!({ "durationMs": -1 })), "durationMs: it is negative"),
        bad(other(json!({ "durationMs": "61" })), "invalid type: string"),
        bad(other(json!({ "durationMs": 1.5 })), "invalid type: floating point"),
        bad(other(json!({ "publishedAt": "yesterday" })), "\"yesterday\" is not a time after RFC 3339"),
        bad(other(json!({ "publishedAt": "9999-12-31T23:59:59-23:59" })), "is not a time after RFC 3339"),
        bad(other(json!({ "publishedAt": 1_700_000_000 })), "invalid type: integer"),
        bad(other(json!({ "status": "READY" })), "unknown field `status`"),
    ]);
    assert_eq!(one_by_one(&empty, Kind::Videos, &lines).await, 2);
    let data = empty.ask("{ videos(first: 9, orderBy: TITLE, direction: ASC) { nodes { externalId title description tags category duration publishedAt status persona { handle } } } }", json!({})).await;
    assert_eq!(
        data["videos"]["nodes"],
        json!([
            { "externalId": "v-1", "title": "Telescopes for beginners", "description": null, "tags": [], "category": null,
              "duration": null, "publishedAt": null, "status": "READY", "persona": { "handle": "ada" } },
            { "externalId": "v-2", "title": "Überall Sterne ✨", "description": "long\ntext", "tags": ["sky", "night"], "category": "Science",
              "duration": "PT1M1.5S", "publishedAt": "2026-01-01T08:00:00.123456Z", "status": "PUBLISHED", "persona": { "handle": "ada" } },
        ])
    );
}

#[tokio::test]
async fn posts_are_taken_or_refused_line_by_line() {
    let empty = Empty::new().await;
    people(&empty).await;
    let whole = json!({ "externalId": "t-1", "persona": "ada", "text": "Look up tonight", "platform": "tiktok" });
    let mut lines = vec![good(whole.clone())];
    lines.extend(bad_anywhere(&whole));
    let other = |fields| but(&whole, but(&json!({ "externalId": "t-3" }), fields));
    lines.extend([
        good(json!({ "externalId": "t-2", "persona": "ada", "text": "Saturn", "platform": "x", "topics": ["#Night Sky", " saturn "], "publishedAt": "2026-01-01T00:00:00Z" })),
        bad(whole.clone(), "externalId: an earlier line close by"),
        bad(other(json!({ "persona": "nobody" })), "persona: there is no persona \"nobody\""),
        bad(other(json!({ "text": "\n" })), "text: it is blank"),
        bad(other(json!({ "text": "t".repeat(16_385) })), "text: it has 16385 bytes"),
        bad(other(json!({ "platform": "p".repeat(65) })), "platform: it has 65 bytes"),
        bad(other(json!({ "topics": ["#"] })), "topics: it is blank"),
        bad(other(json!({ "topics": vec!["t"; 33] })), "topics: it has 33 items"),
    ]);
    assert_eq!(one_by_one(&empty, Kind::Posts, &lines).await, 2);
    let data = empty.ask("{ posts(first: 9) { nodes { externalId status topics } } search(query: \"night sky\", types: [TOPIC], first: 5) { nodes { title } } }", json!({})).await;
    assert_eq!(
        data["posts"]["nodes"],
        json!([
            { "externalId": "t-2", "status": "PUBLISHED", "topics": ["night sky", "saturn"] },
            { "externalId": "t-1", "status": "DRAFT", "topics": [] },
        ])
    );
    assert_eq!(data["search"]["nodes"], json!([{ "title": "night sky" }]));
}

#[tokio::test]
async fn memories_are_taken_or_refused_line_by_line() {
    let empty = Empty::new().await;
    people(&empty).await;
    let whole = json!({ "externalId": "m-1", "persona": "ada", "text": "Saw Saturn with her own eyes" });
    let mut lines = vec![good(whole.clone())];
    lines.extend(bad_anywhere(&whole));
    let other = |fields| but(&whole, but(&json!({ "externalId": "m-3" }), fields));
    lines.extend([
        good(json!({
            "externalId": "m-2", "persona": "ada", "text": "Cheap tripods shake", "kind": "SEMANTIC", "importance": 0.123_456_789, "source": "diary",
            "tags": ["gear"], "occurredAt": "2025-06-01T00:00:00.987654321Z",
        })),
        bad(whole.clone(), "externalId: an earlier line close by"),
        bad(other(json!({ "persona": "nobody" })), "persona: there is no persona \"nobody\""),
        bad(other(json!({ "text": " " })), "text: it is blank"),
        bad(other(json!({ "text": "t".repeat(16_385) })), "text: it has 16385 bytes"),
        bad(other(json!({ "importance": 1.5 })), "importance: it is not between 0 and 1"),
        bad(other(json!({ "importance": "high" })), "invalid type: string"),
        bad(other(json!({ "kind": "DREAM" })), "unknown variant `DREAM`"),
        bad(other(json!({ "source": "s".repeat(1025) })), "source: it has 1025 bytes"),
        bad(other(json!({ "tags": vec!["t"; 33] })), "tags: it has 33 items"),
        bad(other(json!({ "occurredAt": "2025-06-01" })), "is not a time after RFC 3339"),
    ]);
    // The repeat inside has turned the clock: a memory without a time keeps the one of its first import.
    assert_eq!(one_by_one(&empty, Kind::Memories, &lines).await, 2);
    let data = empty.ask("{ persona(handle: \"ada\") { memories(first: 9) { nodes { text kind source tags occurredAt version } } } }", json!({})).await;
    assert_eq!(
        data["persona"]["memories"]["nodes"],
        json!([
            { "text": "Saw Saturn with her own eyes", "kind": "EPISODIC", "source": null, "tags": [], "occurredAt": "2026-01-02T12:00:00Z", "version": 1 },
            { "text": "Cheap tripods shake", "kind": "SEMANTIC", "source": "diary", "tags": ["gear"], "occurredAt": "2025-06-01T00:00:00.987654Z", "version": 1 },
        ])
    );

    let changed = but(&whole, json!({ "text": "Saw Jupiter with her own eyes" }));
    assert_eq!(empty.load(Kind::Memories, std::slice::from_ref(&changed)).await, counts(0, 1, 0, 0));
    assert_eq!(empty.load(Kind::Memories, &[changed]).await, counts(0, 0, 1, 0));
    let data = empty.ask("{ persona(handle: \"ada\") { recall(query: \"jupiter\", mode: KEYWORD) { memory { version occurredAt } } } }", json!({})).await;
    assert_eq!(
        data["persona"]["recall"],
        json!([{ "memory": { "version": 2, "occurredAt": "2026-01-02T12:00:00Z" } }])
    );
}

#[tokio::test]
async fn render_events_are_taken_or_refused_line_by_line() {
    let empty = Empty::new().await;
    people(&empty).await;
    empty.load(Kind::Videos, &[json!({ "externalId": "v-1", "persona": "ada", "title": "Telescopes" })]).await;
    let whole = json!({ "externalId": "e-1", "video": "v-1", "stage": "RENDER", "at": "2026-01-01T00:00:00Z", "durationMs": 1500 });
    let mut lines = vec![good(whole.clone())];
    lines.extend(bad_anywhere(&whole));
    let other = |fields| but(&whole, but(&json!({ "externalId": "e-3" }), fields));
    lines.extend([
        good(json!({
            "externalId": "e-2", "video": "v-1", "stage": "ENCODE", "at": "2026-01-01T00:01:00.5Z", "durationMs": 20,
            "costMicros": 900, "frames": 24, "gpuSeconds": 1.25, "succeeded": false,
        })),
        bad(whole.clone(), "externalId: an earlier line close by"),
        bad(other(json!({ "video": "v-9" })), "video: there is no video \"v-9\""),
        bad(other(json!({ "stage": "PAINT" })), "unknown variant `PAINT`"),
        // These two are refused by the store, so the batch is appended one by one.
        bad(other(json!({ "durationMs": -1 })), "the event: durations, costs, frames"),
        bad(other(json!({ "externalId": "e-4", "at": "2099-01-01T00:00:00Z" })), "hours in the future"),
        (
            but(&whole, json!({ "externalId": "e-5", "gpuSeconds": 0 }))
                .to_string()
                .replace("\"gpuSeconds\":0", "\"gpuSeconds\":1e999")
                .into_bytes(),
            Some("number out of range"),
        ),
    ]);
    assert_eq!(one_by_one(&empty, Kind::RenderEvents, &lines).await, 2);
    let data = empty.ask("{ renderEvents(first: 9) { nodes { stage duration succeeded } } }", json!({})).await;
    assert_eq!(
        data["renderEvents"]["nodes"],
        json!([
            { "stage": "ENCODE", "duration": "PT0.02S", "succeeded": false },
            { "stage": "RENDER", "duration": "PT1.5S", "succeeded": true },
        ])
    );
}

#[tokio::test]
async fn a_changed_line_changes_its_row_and_is_found_by_its_new_words() {
    let empty = Empty::new().await;
    people(&empty).await;
    let line = |title: &str| json!({ "externalId": "v-1", "persona": "ada", "title": title });
    let beside = json!({ "externalId": "v-2", "persona": "ada", "title": "Left alone" });
    assert_eq!(empty.load(Kind::Videos, &[line("Telescopes"), beside.clone()]).await, counts(2, 0, 0, 0));
    let audited = empty.audited().await;
    empty.test.clock.advance(TimeDelta::seconds(5));
    assert_eq!(empty.load(Kind::Videos, &[line("Binoculars"), beside]).await, counts(0, 1, 1, 0));
    assert_eq!(empty.audited().await, audited + 1);
    let data = empty
        .ask(
            "{ videos(first: 9, orderBy: TITLE, direction: ASC) { nodes { title version createdAt updatedAt } }
               new: search(query: \"binoculars\", types: [VIDEO], first: 5) { totalCount nodes { item { ... on Video { externalId } } } }
               old: search(query: \"telescopes\", types: [VIDEO], first: 5) { totalCount } }",
            json!({}),
        )
        .await;
    assert_eq!(
        data["videos"]["nodes"],
        json!([
            { "title": "Binoculars", "version": 2, "createdAt": "2026-01-02T12:00:00Z", "updatedAt": "2026-01-02T12:00:05Z" },
            { "title": "Left alone", "version": 1, "createdAt": "2026-01-02T12:00:00Z", "updatedAt": "2026-01-02T12:00:00Z" },
        ])
    );
    assert_eq!(data["new"], json!({ "totalCount": 1, "nodes": [{ "item": { "externalId": "v-1" } }] }));
    assert_eq!(data["old"]["totalCount"], 0);
    // A persona keeps its handle's uniqueness, and a change of name reaches the index.
    assert_eq!(
        empty.load(Kind::Personas, &[json!({ "externalId": "p-ada", "handle": "ada", "name": "Augusta" })]).await,
        counts(0, 1, 0, 0)
    );
    let data = empty.ask("{ search(query: \"augusta\", types: [PERSONA], first: 5) { totalCount } persona(handle: \"ada\") { version } }", json!({})).await;
    assert_eq!(data, json!({ "search": { "totalCount": 1 }, "persona": { "version": 2 } }));
}

#[tokio::test]
async fn a_batch_that_the_database_refuses_is_taken_line_by_line() {
    let empty = Empty::new().await;
    people(&empty).await;
    let persona =
        |number: u32, handle: String| json!({ "externalId": format!("p-{number}"), "handle": handle, "name": "n" });
    let mut lines: Vec<Value> = (0..20).map(|number| persona(number, format!("h-{number}"))).collect();
    lines[4] = persona(4, "ada".to_owned());
    lines[9] = persona(9, "h-2".to_owned());
    let (summary, refused) = empty.import(Kind::Personas, ndjson(&lines).as_bytes()).await;
    assert_eq!(summary, counts(18, 0, 0, 2));
    assert_eq!(refused.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [5, 10]);
    for (_, reason) in &refused {
        assert!(reason.contains("handle") && !reason.to_lowercase().contains("sql"), "{reason}");
    }
    let data = empty
        .ask(
            "{ personas(first: 1) { totalCount } search(query: \"\", types: [PERSONA], first: 1) { totalCount } }",
            json!({}),
        )
        .await;
    assert_eq!(
        data,
        json!({ "personas": { "totalCount": 19 }, "search": { "totalCount": 19 } }),
        "all that was taken, and only that"
    );
}

#[tokio::test]
async fn a_thousand_lines_over_many_batches() {
    let empty = Empty::new().await;
    people(&empty).await;
    let line = |number: u32| match number % 10 {
        7 => json!({ "externalId": format!("v-{number}"), "persona": "nobody", "title": "t" }),
        _ => {
            json!({ "externalId": format!("v-{number}"), "persona": "ada", "title": format!("Film {number}"), "tags": [format!("tag {}", number % 3)] })
        }
    };
    let lines: Vec<Value> = (1..=1000).map(line).collect();
    assert!(lines.len() > 3 * import::BATCH_LINES);
    let (summary, refused) = empty.import(Kind::Videos, ndjson(&lines).as_bytes()).await;
    assert_eq!(summary, counts(900, 0, 0, 100));
    assert_eq!(
        refused.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
        (0..100).map(|tens| tens * 10 + 7).collect::<Vec<_>>()
    );
    let data = empty
        .ask(
            "{ videos(first: 1) { totalCount } search(query: \"\", types: [VIDEO], first: 1) { totalCount } }",
            json!({}),
        )
        .await;
    assert_eq!(data, json!({ "videos": { "totalCount": 900 }, "search": { "totalCount": 900 } }));
    // Three of 900 differ, in different batches.
    let mut changed = lines.clone();
    for number in [0, 499, 999] {
        changed[number]["title"] = json!("Another");
    }
    assert_eq!(empty.import(Kind::Videos, ndjson(&changed).as_bytes()).await.0, counts(0, 3, 897, 100));
    // The same id again a batch later is a change of it, not a refusal.
    let mut twice = lines[..300].to_vec();
    twice.push(but(&lines[0], json!({ "title": "Last word" })));
    assert_eq!(empty.import(Kind::Videos, ndjson(&twice).as_bytes()).await.0, counts(0, 2, 269, 30));
}

/// A line of anything: bytes, words, or JSON that is nearly right.
fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let nearly = (0..12_u32, "[ -~éß\u{85}\u{a0}]{0,12}", 0..200_usize).prop_map(|(id, text, cut)| {
        let line = match id % 4 {
            0 => json!({ "externalId": format!("x{id}"), "handle": format!("h{id}"), "name": text }),
            1 => json!({ "externalId": format!("x{id}"), "persona": "ada", "title": text }),
            2 => json!({ "externalId": format!("x{id}"), "persona": "ada", "text": text, "platform": "p" }),
            _ => json!({ "externalId": format!("x{id}"), "video": "v", "stage": "VOICE", "at": "2026-01-01T00:00:00Z", "durationMs": id }),
        };
        let mut bytes = line.to_string().into_bytes();
        if cut < bytes.len() / 3 {
            bytes.truncate(cut);
        }
        bytes
    });
    prop_oneof![3 => nearly, 1 => vec(any::<u8>(), 0..40), 1 => "[ \t\r\u{2003}]{0,4}".prop_map(String::into_bytes)]
}

#[test]
fn any_bytes_are_accounted_for() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let empty = runtime.block_on(async {
        let empty = Empty::new().await;
        people(&empty).await;
        empty.load(Kind::Videos, &[json!({ "externalId": "v", "persona": "ada", "title": "t" })]).await;
        empty
    });
    let kinds = prop_oneof![
        Just(Kind::Personas),
        Just(Kind::Videos),
        Just(Kind::Memories),
        Just(Kind::Posts),
        Just(Kind::RenderEvents),
    ];
    let files = (kinds, any::<bool>(), vec((any_line(), any::<bool>()), 0..24));
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&files, |(kind, bom, lines)| {
            let mut file = if bom { b"\xef\xbb\xbf".to_vec() } else { Vec::new() };
            for (line, ended) in &lines {
                file.extend_from_slice(line);
                if *ended {
                    file.push(b'\n');
                }
            }
            let text = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&file);
            let blank = |line: &&[u8]| std::str::from_utf8(line).is_ok_and(|line| line.trim().is_empty());
            let expected = text.split(|byte| *byte == b'\n').filter(|line| !blank(line)).count() as u64;
            let (summary, _) = runtime.block_on(empty.import(kind, &file));
            prop_assert_eq!(summary.lines(), expected);
            let (again, _) = runtime.block_on(empty.import(kind, &file));
            prop_assert_eq!(again.failed, summary.failed);
            prop_assert_eq!(again.created, 0);
            Ok(())
        })
        .unwrap();
}
