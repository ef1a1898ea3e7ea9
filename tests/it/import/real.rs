//! Two real data sets, imported once and asked: `tests/data/fetch.sh` brings them. Nothing of their texts stands here, only
//! external ids and our own words.
//!
//! Without the data the test says that it was left out, unless CHIMERA_REQUIRE_DATA=1, which CI sets.

use super::Empty;
use crate::support::servers::Servers;
use chimera::import::{self, Kind, Summary};
use chimera_stores::{ManualClock, SystemClock};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// Videos whose titles must be found in spite of a typo; the rule that makes the typo is [`typo`].
const TYPOS: [&str; 10] = [
    "yt-dlp-e688298f08822329d0d40b7b",
    "yt-dlp-067abf437c963e4124deb6bf",
    "yt-dlp-f2e5d0cd970fdeb5a61064f7",
    "yt-dlp-158164f278fc5c6acc25addd",
    "yt-dlp-c27610676eedf009ff667bcb",
    "yt-dlp-8d06007d75a2bc2f8ea04135",
    "yt-dlp-4a0e0f5fccbca3fa6e091b18",
    "yt-dlp-060c90c2479dad533e085769",
    "yt-dlp-ec9265ad7dae82ee62a516c1",
    "yt-dlp-b5f40f8d4736a0dd71b861b5",
];

/// Our own words for what a tweet says, sharing no word of content with it, and the tweet.
const PARAPHRASES: [(&str, &str); 8] = [
    ("frightening vehicle failure, could not stop the car while driving to class", "vader-tweet-4003"),
    ("wounded by a sharp blade among the kitchen cutlery", "vader-tweet-3067"),
    ("terrible headache in spite of working out at the gym", "vader-tweet-775"),
    ("my body aches after seeing a band perform live", "vader-tweet-2490"),
    ("relative diagnosed with a tumour while a parent is abroad at a burial", "vader-tweet-351"),
    ("feeling ill the morning after too many beers", "vader-tweet-583"),
    ("restaurants cost less than cooking at home", "vader-tweet-4106"),
    ("bad skiing weather, frozen slopes", "vader-tweet-3591"),
];

struct Data {
    folder: PathBuf,
    facts: Value,
}

impl Data {
    fn find() -> Option<Self> {
        let folder = std::env::var_os("CHIMERA_TEST_DATA")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/data"), PathBuf::from);
        let Ok(facts) = fs::read_to_string(folder.join("facts.json")) else {
            assert!(
                std::env::var("CHIMERA_REQUIRE_DATA").as_deref() != Ok("1"),
                "no test data in {}; run tests/data/fetch.sh",
                folder.display()
            );
            println!("left out: no test data in {}; tests/data/fetch.sh brings them", folder.display());
            return None;
        };
        Some(Self { facts: serde_json::from_str(&facts).unwrap(), folder })
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.join(name).with_extension("ndjson")).unwrap()
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        self.bytes(name)
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    fn count(&self, pointer: &str) -> u64 {
        self.facts.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer} is no count"))
    }

    /// The twenty most frequent values of a fact, then by value.
    fn top(&self, pointer: &str) -> Vec<(String, u64)> {
        let counts = self.facts.pointer(pointer).and_then(Value::as_object).unwrap();
        let mut counts: Vec<_> = counts.iter().map(|(value, count)| (value.clone(), count.as_u64().unwrap())).collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        counts.truncate(20);
        counts
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_real_data_sets_are_imported_and_answer() {
    let Some(data) = Data::find() else { return };
    import_and_ask(&data, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_and_do_the_same_on_real_servers() {
    let (Some(data), Some(servers)) = (Data::find(), Servers::start()) else { return };
    import_and_ask(&data, &servers.settings()).await;
}

async fn import_and_ask(data: &Data, settings: &[(&'static str, &str)]) {
    let clock = Arc::new(ManualClock::new(chrono::Utc::now()));
    // The deadline of the stores is the default on purpose: an import must fit into it.
    let empty = Empty::over(Arc::new(SystemClock), clock, settings).await;
    let sizes = [
        ("personas", Kind::Personas, "/personas"),
        ("videos", Kind::Videos, "/videos/count"),
        ("memories", Kind::Memories, "/memories/count"),
    ];
    for (name, kind, fact) in sizes {
        let started = Instant::now();
        let (summary, refused) = empty.import(kind, &data.bytes(name)).await;
        assert_eq!(refused, []);
        assert_eq!(summary, Summary { created: data.count(fact), ..Summary::default() }, "{name}");
        let shared = &empty.test.app.shared;
        let waiting =
            import::settle(&shared.stores, &shared.relay, &empty.scope, Duration::from_secs(60)).await.unwrap();
        assert_eq!(waiting, 0, "{name} are in the memory and search stores");
        println!("import of {} {name}: {:.1?}", summary.lines(), started.elapsed());
    }
    totals(data, &empty).await;
    facets(data, &empty).await;
    typos(data, &empty).await;
    paraphrases(data, &empty).await;
    paging(data, &empty).await;

    let audited = empty.audited().await;
    for (name, kind, fact) in sizes {
        let (summary, _) = empty.import(kind, &data.bytes(name)).await;
        assert_eq!(summary, Summary { unchanged: data.count(fact), ..Summary::default() }, "{name} once more");
    }
    assert_eq!(empty.audited().await, audited, "a repeat leaves no trace");
}

async fn totals(data: &Data, empty: &Empty) {
    let answer = empty
        .ask("{ videos(first: 1) { totalCount } personas(first: 100) { nodes { handle videos(first: 1) { totalCount } memories(first: 1) { totalCount } } } }", json!({}))
        .await;
    assert_eq!(answer["videos"]["totalCount"], data.count("/videos/count"));
    let nodes = answer["personas"]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len() as u64, data.count("/personas"));
    for (connection, facts) in [("videos", "/videos/perPersona"), ("memories", "/memories/perPersona")] {
        let seen: BTreeMap<&str, u64> = nodes
            .iter()
            .map(|node| (node["handle"].as_str().unwrap(), node[connection]["totalCount"].as_u64().unwrap()))
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(json!(seen), data.facts.pointer(facts).unwrap().clone(), "{connection} of each persona");
    }
}

async fn facets(data: &Data, empty: &Empty) {
    let answer = empty
        .ask("{ search(query: \"\", types: [VIDEO], facets: [CATEGORY, TAGS], first: 1) { totalCount facets { field counts { value count } } } }", json!({}))
        .await;
    assert_eq!(answer["search"]["totalCount"], data.count("/videos/count"));
    let counts = |facet: usize| -> Vec<(String, u64)> {
        let counts = answer["search"]["facets"][facet]["counts"].as_array().unwrap();
        counts
            .iter()
            .map(|entry| (entry["value"].as_str().unwrap().to_owned(), entry["count"].as_u64().unwrap()))
            .collect()
    };
    assert_eq!(counts(0), data.top("/videos/perCategory"));
    assert_eq!(counts(1), data.top("/videos/perTagTop20"));
}

/// The title with two inner letters of its first long word changing places, or one of them gone.
fn typo(title: &str, swap: bool) -> Option<String> {
    let word = title.split(|char: char| !char.is_ascii_alphabetic()).find(|word| word.len() >= 8)?;
    let mut letters: Vec<char> = word.chars().collect();
    let at = (2..letters.len() - 2).find(|at| !letters[*at].eq_ignore_ascii_case(&letters[at + 1]))?;
    if swap {
        letters.swap(at, at + 1);
    } else {
        letters.remove(at);
    }
    Some(title.replacen(word, &letters.into_iter().collect::<String>(), 1))
}

async fn typos(data: &Data, empty: &Empty) {
    let videos = data.lines("videos");
    let mut known: HashMap<String, u32> = HashMap::new();
    for video in &videos {
        *known.entry(video["title"].as_str().unwrap().to_lowercase()).or_default() += 1;
    }
    let alone = |video: &&Value| known[&video["title"].as_str().unwrap().to_lowercase()] == 1;
    let (mut found, mut asked, mut missed) = (0, 0, Vec::new());
    let mut required: BTreeSet<&str> = TYPOS.into();
    for (index, video) in videos.iter().filter(alone).enumerate() {
        let id = video["externalId"].as_str().unwrap();
        // Every thirtieth, and those that must be found.
        let chosen = required.remove(id);
        if index % 30 != 0 && !chosen {
            continue;
        }
        let Some(query) = typo(video["title"].as_str().unwrap(), index % 2 == 0) else {
            assert!(!chosen, "{id} has no long word");
            continue;
        };
        let answer = empty
            .ask("query($query: String!) { search(query: $query, types: [VIDEO], first: 5) { nodes { item { ... on Video { externalId } } } } }", json!({ "query": query }))
            .await;
        let hit = answer["search"]["nodes"].as_array().unwrap().iter().any(|node| node["item"]["externalId"] == id);
        assert!(hit || !chosen, "{id} is not found by {query:?}: {answer:#}");
        asked += 1;
        found += u32::from(hit);
        if !hit {
            missed.push(id);
        }
    }
    assert!(required.is_empty(), "{required:?} are not in the data");
    println!("titles with a typo: {found} of {asked} among the first five hits; missed {missed:?}");
    assert!(asked >= 50 && found * 100 >= asked * 95, "{found} of {asked}");
}

async fn paraphrases(data: &Data, empty: &Empty) {
    let texts: HashMap<String, String> = data
        .lines("memories")
        .into_iter()
        .map(|line| (line["externalId"].as_str().unwrap().to_owned(), line["text"].as_str().unwrap().to_owned()))
        .collect();
    for (query, id) in PARAPHRASES {
        let answer = empty
            .ask(
                "query($query: String!) { persona(handle: \"tweets\") {
                   meaning: recall(query: $query, mode: SEMANTIC, limit: 10) { memory { text } }
                   words: recall(query: $query, mode: KEYWORD, limit: 10) { memory { text } } } }",
                json!({ "query": query }),
            )
            .await;
        let rank = |mode: &str| {
            answer["persona"][mode]
                .as_array()
                .unwrap()
                .iter()
                .position(|hit| hit["memory"]["text"] == texts[id].as_str())
        };
        println!("{query:?}: by meaning at {:?}, by words at {:?}", rank("meaning"), rank("words"));
        assert!(rank("meaning").is_some(), "{query:?} does not recall {id}");
        assert!(rank("words").is_none(), "{query:?} shares words with {id}");
    }
}

/// Walks a whole connection both ways: each row once, the same order.
async fn walk(empty: &Empty, connection: &str, total: u64) {
    let page = |arguments: String| {
        let field = connection.replace("ARGUMENTS", &arguments);
        async move { empty.ask(&format!("{{ {field} }}"), json!({})).await }
    };
    let part =
        |answer: &Value| answer.pointer("/persona/memories").or_else(|| answer.pointer("/videos")).unwrap().clone();
    let ids = |part: &Value| -> Vec<String> {
        part["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap().to_owned()).collect()
    };
    let (mut forward, mut after) = (Vec::new(), String::new());
    loop {
        let part = part(&page(format!("first: 100{after}")).await);
        forward.extend(ids(&part));
        if part["pageInfo"]["hasNextPage"] == false {
            break;
        }
        after = format!(", after: {}", part["pageInfo"]["endCursor"]);
    }
    let (mut backward, mut before) = (Vec::new(), String::new());
    loop {
        let part = part(&page(format!("last: 100{before}")).await);
        let mut rows = ids(&part);
        rows.extend(backward);
        backward = rows;
        if part["pageInfo"]["hasPreviousPage"] == false {
            break;
        }
        before = format!(", before: {}", part["pageInfo"]["startCursor"]);
    }
    assert_eq!(forward.len() as u64, total, "{connection}");
    assert_eq!(forward.iter().collect::<BTreeSet<_>>().len() as u64, total, "each row once: {connection}");
    assert!(forward == backward, "the same list both ways: {connection}");
}

async fn paging(data: &Data, empty: &Empty) {
    let part = "{ nodes { id } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } }";
    walk(empty, &format!("videos(ARGUMENTS) {part}"), data.count("/videos/count")).await;
    walk(
        empty,
        &format!("persona(handle: \"tweets\") {{ memories(ARGUMENTS) {part} }}"),
        data.count("/memories/count"),
    )
    .await;
}
