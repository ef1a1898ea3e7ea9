//! Every list of the schema, walked wholly in both directions: each row once, in order, also while others write.

mod rows;

use crate::support::{
    TestApp,
    sdl::{Sdl, named},
};
use chimera::write::UnitOfWork;
use chrono::DateTime;
use rows::{Parents, add, fill};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// How rows compare: by a value, and by their global id where values are equal.
#[derive(Clone, Copy, Debug)]
enum Sort {
    Id,
    Time(&'static str),
    Text(&'static str),
    Int(&'static str),
    Float(&'static str),
    /// By a time; the tie-break is not shown.
    Loosely(&'static str),
}

/// One list of the schema.
#[derive(Clone, Copy)]
struct List {
    /// The type and its field.
    at: &'static str,
    /// The document around the field, which stands where `#` is.
    within: &'static str,
    /// Further arguments.
    arguments: &'static str,
    /// What is asked of a row.
    node: &'static str,
    /// The order when none is asked for.
    sort: Sort,
    /// The rows that were written; unknown for the audit log.
    rows: Option<usize>,
}

const LUNA: &str = "{ persona(handle: \"luna.vega\") { # } }";
const CAMPAIGN: &str = "{ campaigns(filter: { nameContains: \"Dark Sky\" }) { nodes { # } } }";
const VIDEO: &str = "{ videos(filter: { titleContains: \"Andromeda\" }) { nodes { # } } }";
const WALLET: &str = "{ persona(handle: \"luna.vega\") { wallets(last: 1) { nodes { # } } } }";
const ORGANIZATION: &str = "{ organization { # } }";
const QUEUE: &str = "{ queue(name: \"render\") { # } }";
const FOUND: &str = "title score item { ... on Persona { id createdAt } ... on Campaign { id createdAt } ... on Post { id createdAt } ... on Video { id createdAt } ... on Topic { name } }";

const fn list(at: &'static str, within: &'static str, node: &'static str, sort: Sort, rows: usize) -> List {
    List { at, within, arguments: "", node, sort, rows: Some(rows) }
}

/// Every connection of the schema. The numbers are those of the demo data and of [`fill`].
fn lists() -> Vec<List> {
    use Sort::{Id, Loosely, Time};
    let root = "{ # }";
    vec![
        list("Query.personas", root, "id createdAt updatedAt handle name", Id, 3 + 47),
        list("Query.campaigns", root, "id updatedAt name", Id, 3 + 37),
        list("Query.posts", root, "id updatedAt", Id, 8 + 60),
        list("Query.videos", root, "id updatedAt title", Id, 7 + 231),
        list("Query.assets", root, "id", Id, 3 + 40),
        list("Query.wallets", root, "id", Id, 3 + 18),
        list("Query.ledgerEntries", root, "id at", Loosely("/at"), 7 + 120),
        list("Query.billingRecords", root, "id occurredAt amount { amountMinor }", Id, 9 + 60),
        List { rows: None, ..list("Query.auditLog", root, "id", Id, 0) },
        list("Query.renderEvents", root, "id at", Time("/at"), 35 + 150),
        List { arguments: ", query: \"\"", ..list("Query.search", root, FOUND, Id, 50 + 40 + 68 + 238 + 13) },
        List { arguments: ", query: \"harbour\", types: [VIDEO]", ..list("Query.search", root, FOUND, Id, 231) },
        list("Organization.apiKeys", ORGANIZATION, "id", Id, 19),
        list("Organization.members", ORGANIZATION, "createdAt user { id }", Loosely("/createdAt"), 1 + 20),
        list("Persona.campaigns", LUNA, "id updatedAt name", Id, 2 + 37),
        list("Persona.interactions", LUNA, "text occurredAt", Loosely("/occurredAt"), 3 + 130),
        list("Persona.ledgerEntries", LUNA, "id at", Loosely("/at"), 4 + 120),
        list("Persona.memories", LUNA, "id occurredAt", Time("/occurredAt"), 5 + 130),
        list("Persona.posts", LUNA, "id updatedAt", Id, 3 + 60),
        list("Persona.tasks", LUNA, "id createdAt", Time("/createdAt"), 1 + 130),
        list("Persona.videos", LUNA, "id updatedAt title", Id, 3 + 231),
        list("Persona.wallets", LUNA, "id", Id, 1 + 18),
        list("Campaign.billingRecords", CAMPAIGN, "id occurredAt amount { amountMinor }", Id, 3 + 60),
        list("Campaign.personas", CAMPAIGN, "id", Id, 1 + 47),
        list("Campaign.posts", CAMPAIGN, "id", Id, 3 + 60),
        list("Campaign.tasks", CAMPAIGN, "id createdAt", Time("/createdAt"), 1 + 130),
        list("Campaign.videos", CAMPAIGN, "id", Id, 3 + 231),
        list("Queue.tasks", QUEUE, "id createdAt", Time("/createdAt"), 3 + 130),
        list("Video.renderEvents", VIDEO, "id at", Time("/at"), 5 + 150),
        list("Wallet.ledgerEntries", WALLET, "id at", Loosely("/at"), 4 + 120),
    ]
}

/// A list in one order.
#[derive(Clone)]
struct Variant {
    list: List,
    arguments: String,
    sort: Sort,
    descending: bool,
    /// Whether a row keeps its place when others are written. Relevance depends on all documents.
    steady: bool,
}

impl Variant {
    /// The list in every order the schema offers.
    fn all(sdl: &Sdl, list: List) -> Vec<Self> {
        let (ty, name) = list.at.split_once('.').unwrap();
        let fields = sdl.fields(ty);
        let field = fields.into_iter().find(|field| field.name.node == name).unwrap();
        let orders = |argument: &str| {
            let argument = field.arguments.iter().find(|given| given.node.name.node == argument);
            argument.map(|argument| sdl.values(named(&argument.node.ty.node))).unwrap_or_default()
        };
        let variant = |arguments: String, sort, descending, steady| Self {
            list,
            arguments: format!("{}{arguments}", list.arguments),
            sort,
            descending,
            steady,
        };
        if name == "search" {
            let sort = |order: &str| match order {
                "RELEVANCE" => (Sort::Float("/score"), true),
                "NEWEST" => (Sort::Loosely("/item/createdAt"), true),
                "OLDEST" => (Sort::Loosely("/item/createdAt"), false),
                other => panic!("say how {other} orders"),
            };
            let of = |order: String| {
                let (sort, descending) = sort(&order);
                variant(format!(", order: {order}"), sort, descending, order != "RELEVANCE")
            };
            return orders("order").into_iter().map(of).collect();
        }
        let mut all = vec![variant(String::new(), list.sort, true, true)];
        for order in orders("orderBy") {
            let sort = match order.as_str() {
                "CREATED_AT" => Sort::Id,
                "UPDATED_AT" => Sort::Time("/updatedAt"),
                "OCCURRED_AT" => Sort::Time("/occurredAt"),
                "AMOUNT" => Sort::Int("/amount/amountMinor"),
                "NAME" => Sort::Text("/name"),
                "HANDLE" => Sort::Text("/handle"),
                "TITLE" => Sort::Text("/title"),
                other => panic!("say how {other} orders"),
            };
            for (direction, descending) in [("ASC", false), ("DESC", true)] {
                all.push(variant(format!(", orderBy: {order}, direction: {direction}"), sort, descending, true));
            }
        }
        all
    }

    fn name(&self) -> String {
        format!("{}{}", self.list.at, self.arguments)
    }

    fn field(&self) -> &'static str {
        self.list.at.split_once('.').unwrap().1
    }

    fn document(&self) -> String {
        let (field, node, arguments) = (self.field(), self.list.node, &self.arguments);
        let connection = format!(
            "{field}(first: $first, after: $after, last: $last, before: $before{arguments}) {{
               edges {{ cursor node {{ {node} }} }} nodes {{ {node} }} totalCount
               pageInfo {{ hasPreviousPage hasNextPage startCursor endCursor }} }}"
        );
        format!(
            "query($first: Int, $after: String, $last: Int, $before: String) {}",
            self.list.within.replace('#', &connection)
        )
    }

    async fn page(&self, test: &TestApp, variables: Value) -> Page {
        let answer = test.ask(&self.document(), variables.clone()).await;
        let context = format!("{} {variables}", self.name());
        Page::read(
            find(answer.data(), self.field()).unwrap_or_else(|| panic!("{context}: {:#}", answer.body)),
            &context,
        )
    }

    /// Whether the rows are in this order.
    fn check(&self, nodes: &[Value]) {
        for pair in nodes.windows(2) {
            let (Some(a), Some(b)) = (self.rank(&pair[0]), self.rank(&pair[1])) else { continue };
            let order = if self.descending { b.partial_cmp(&a) } else { a.partial_cmp(&b) };
            let (a, b) = (key(&pair[0]), key(&pair[1]));
            let order = match (order.unwrap(), self.sort) {
                (std::cmp::Ordering::Equal, Sort::Loosely(_) | Sort::Float(_)) => continue,
                (std::cmp::Ordering::Equal, _) if self.descending => b.cmp(&a),
                (std::cmp::Ordering::Equal, _) => a.cmp(&b),
                (order, _) => order,
            };
            assert!(order.is_lt(), "{}: {} stands before {}", self.name(), pair[0], pair[1]);
        }
    }

    fn rank(&self, node: &Value) -> Option<Rank> {
        let at = |pointer: &str| node.pointer(pointer).filter(|value| !value.is_null());
        Some(match self.sort {
            Sort::Id => Rank::Text(String::new()),
            Sort::Text(pointer) => Rank::Text(at(pointer)?.as_str().unwrap().to_owned()),
            Sort::Int(pointer) => Rank::Int(at(pointer)?.as_str().unwrap().parse().unwrap()),
            Sort::Float(pointer) => Rank::Float(at(pointer)?.as_f64().unwrap()),
            Sort::Time(pointer) | Sort::Loosely(pointer) => {
                let time = DateTime::parse_from_rfc3339(at(pointer)?.as_str().unwrap()).unwrap();
                Rank::Int(time.timestamp_micros())
            }
        })
    }
}

#[derive(Debug, PartialEq, PartialOrd)]
enum Rank {
    Int(i64),
    Float(f64),
    Text(String),
}

/// The connection below this value.
fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) => match fields.get(name) {
            Some(connection) if connection.get("pageInfo").is_some() => Some(connection),
            _ => fields.values().find_map(|value| find(value, name)),
        },
        Value::Array(items) => items.iter().find_map(|value| find(value, name)),
        _ => None,
    }
}

/// What tells a row from all others of its list.
fn key(node: &Value) -> String {
    let places = ["/id", "/item/id", "/item/name", "/user/id", "/text"];
    places.iter().find_map(|place| node.pointer(place)?.as_str()).unwrap_or_else(|| panic!("{node}")).to_owned()
}

struct Page {
    nodes: Vec<Value>,
    keys: Vec<String>,
    cursors: Vec<String>,
    has_previous: bool,
    has_next: bool,
    total: Option<u64>,
}

impl Page {
    fn read(connection: &Value, context: &str) -> Self {
        let edges = connection["edges"].as_array().unwrap();
        let nodes: Vec<Value> = edges.iter().map(|edge| edge["node"].clone()).collect();
        assert_eq!(connection["nodes"], json!(nodes), "{context}");
        let cursors: Vec<String> = edges.iter().map(|edge| edge["cursor"].as_str().unwrap().to_owned()).collect();
        let info = &connection["pageInfo"];
        assert_eq!(info["startCursor"], json!(cursors.first()), "{context}");
        assert_eq!(info["endCursor"], json!(cursors.last()), "{context}");
        Self {
            keys: nodes.iter().map(key).collect(),
            nodes,
            cursors,
            has_previous: info["hasPreviousPage"].as_bool().unwrap(),
            has_next: info["hasNextPage"].as_bool().unwrap(),
            total: connection["totalCount"].as_u64(),
        }
    }
}

/// Rows of a page: not a divisor of any list's length.
const SIZE: usize = 17;

/// Lists of stores that do not count.
const UNCOUNTED: [&str; 4] = ["interactions", "ledgerEntries", "renderEvents", "tasks"];

struct Walk {
    nodes: Vec<Value>,
    keys: Vec<String>,
    cursors: Vec<String>,
    total: Option<u64>,
}

/// All rows from the front.
async fn forwards(test: &TestApp, variant: &Variant) -> Walk {
    let mut walk = Walk { nodes: Vec::new(), keys: Vec::new(), cursors: Vec::new(), total: None };
    loop {
        let page = variant.page(test, json!({ "first": SIZE, "after": walk.cursors.last() })).await;
        let context = format!("{} after {} rows", variant.name(), walk.keys.len());
        assert_eq!(page.has_previous, !walk.keys.is_empty(), "{context}");
        assert!(!page.keys.is_empty(), "{context}");
        assert!(page.keys.len() == SIZE || !page.has_next, "{context}");
        walk.total = page.total;
        walk.nodes.extend(page.nodes);
        walk.keys.extend(page.keys);
        walk.cursors.extend(page.cursors);
        if !page.has_next {
            return walk;
        }
    }
}

/// The keys of all rows from the back, in list order.
async fn backwards(test: &TestApp, variant: &Variant) -> Vec<String> {
    let (mut pages, mut before): (Vec<Vec<String>>, Option<String>) = (Vec::new(), None);
    loop {
        let page = variant.page(test, json!({ "last": SIZE, "before": before })).await;
        let context = format!("{} before {} pages", variant.name(), pages.len());
        assert_eq!(page.has_next, before.is_some(), "{context}");
        assert!(!page.keys.is_empty(), "{context}");
        assert!(page.keys.len() == SIZE || !page.has_previous, "{context}");
        before = page.cursors.first().cloned();
        pages.push(page.keys);
        if !page.has_previous {
            return pages.into_iter().rev().flatten().collect();
        }
    }
}

#[tokio::test]
async fn every_list_is_the_same_from_both_ends_and_while_others_write() {
    let test = TestApp::demo().await;
    fill(&test).await;
    let sdl = Sdl::read();
    let connections = sdl.objects().filter(|ty| !ty.ends_with("Payload")).flat_map(|ty| {
        let connection =
            |field: &&&async_graphql::parser::types::FieldDefinition| named(&field.ty.node).ends_with("Connection");
        let fields = sdl.fields(ty);
        fields.iter().filter(connection).map(|field| format!("{ty}.{}", field.name.node)).collect::<Vec<_>>()
    });
    let listed: BTreeSet<String> = lists().iter().map(|list| list.at.to_owned()).collect();
    assert_eq!(connections.collect::<BTreeSet<_>>(), listed, "every connection is walked here");

    for list in lists() {
        let mut sets: Vec<BTreeSet<String>> = Vec::new();
        for variant in Variant::all(&sdl, list) {
            let walk = forwards(&test, &variant).await;
            let name = variant.name();
            let set: BTreeSet<String> = walk.keys.iter().cloned().collect();
            assert_eq!(set.len(), walk.keys.len(), "{name}: a row comes twice");
            assert_eq!(walk.keys.len(), list.rows.unwrap_or(walk.keys.len()), "{name}");
            let total = (!UNCOUNTED.contains(&variant.field())).then_some(walk.keys.len() as u64);
            assert_eq!(walk.total, total, "{name}: totalCount");
            variant.check(&walk.nodes);
            assert_eq!(backwards(&test, &variant).await, walk.keys, "{name}: from the back");
            between(&test, &variant, &walk).await;
            assert!(sets.last().is_none_or(|other| *other == set), "{name}: other rows than in another order");
            sets.push(set);
        }
    }
    // One list of each way that a store pages; of those that can be ordered, every order.
    let ways = [
        "Persona.videos",
        "Campaign.personas",
        "Query.auditLog",
        "Query.search",
        "Persona.memories",
        "Persona.interactions",
        "Persona.tasks",
        "Queue.tasks",
        "Video.renderEvents",
        "Wallet.ledgerEntries",
    ];
    for list in lists().into_iter().filter(|list| ways.contains(&list.at)) {
        for variant in Variant::all(&sdl, list).into_iter().filter(|variant| variant.steady) {
            undisturbed(&test, &variant).await;
        }
    }
    test.app.stop().await;
}

/// A window between two cursors, from both of its ends.
async fn between(test: &TestApp, variant: &Variant, walk: &Walk) {
    let (after, before) = (&walk.cursors[3], &walk.cursors[12]);
    for (end, count, rows) in [("first", 5, 4..9), ("last", 3, 9..12), ("first", 50, 4..12), ("last", 50, 4..12)] {
        let page = variant.page(test, json!({ end: count, "after": after, "before": before })).await;
        assert_eq!(page.keys, walk.keys[rows], "{} {end} {count}", variant.name());
        assert!(page.has_previous && page.has_next, "{} {end} {count}", variant.name());
    }
}

/// Rows that are written while a list is walked do not make the walk miss a row, or show one twice.
async fn undisturbed(test: &TestApp, variant: &Variant) {
    let mut before = 0;
    for (size, cursor) in [("first", "after"), ("last", "before")] {
        let backward = size == "last";
        let rows = forwards(test, variant).await.keys;
        assert!(rows.len() > before, "{}: nothing was written", variant.name());
        before = rows.len();
        let (mut seen, mut at, mut pages) = (Vec::new(), None::<String>, 0);
        loop {
            let mut page = variant.page(test, json!({ size: SIZE, cursor: at })).await;
            if backward {
                page.keys.reverse();
            }
            seen.extend(page.keys);
            pages += 1;
            if pages == 1 {
                add(test, rows.len()).await;
            }
            at = if backward { page.cursors.first() } else { page.cursors.last() }.cloned();
            if !(if backward { page.has_previous } else { page.has_next }) {
                break;
            }
        }
        if backward {
            seen.reverse();
        }
        let name = format!("{} with `{size}` while others write", variant.name());
        let old: BTreeSet<&String> = rows.iter().collect();
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "{name}: a row comes twice");
        let seen: Vec<&String> = seen.iter().filter(|key| old.contains(key)).collect();
        assert_eq!(seen, rows.iter().collect::<Vec<_>>(), "{name}");
    }
}

#[tokio::test]
async fn bad_page_arguments_are_named() {
    let test = TestApp::demo().await;
    let mut work = UnitOfWork::new("key", None);
    let parents = Parents::read(&test).await;
    work.insert(&parents.key());
    work.insert(&parents.video("Old harbour".to_owned(), String::new(), parents.now));
    test.write(&test.scope(), work).await;
    let sdl = Sdl::read();
    let cursor_of = async |variant: &Variant| variant.page(&test, json!({ "first": 2 })).await.cursors[0].clone();
    let every = lists();
    for (index, list) in every.iter().enumerate() {
        let variants = Variant::all(&sdl, *list);
        let variant = &variants[0];
        let own = cursor_of(variant).await;
        let other = every.iter().cycle().skip(index + 1).find(|other| other.node != list.node).unwrap();
        let mut bad = vec![(json!({ "first": 1, "last": 1 }), "`first`"), (json!({ "first": 1, "last": 1 }), "`last`")];
        for name in ["first", "last"] {
            for size in [0, 101, -1, i32::MIN] {
                bad.push((json!({ name: size }), if name == "first" { "`first`" } else { "`last`" }));
            }
        }
        let mut foreign =
            vec!["".to_owned(), "garbage".to_owned(), "é".to_owned(), format!("{own}A"), own[1..].to_owned()];
        foreign.push(another_list(&test, &sdl, list, other).await);
        for variant in &variants[1..] {
            if variant.arguments != variants[0].arguments && !same_order(variant, &variants[0]) {
                foreign.push(cursor_of(variant).await);
            }
        }
        for cursor in foreign {
            bad.push((json!({ "first": 1, "after": cursor }), "`after`"));
            bad.push((json!({ "last": 1, "before": cursor }), "`before`"));
            bad.push((json!({ "first": 1, "after": own, "before": cursor }), "`before`"));
        }
        for (variables, named) in bad {
            let answer = test.ask(&variant.document(), variables.clone()).await;
            let context = format!("{} {variables}: {:#}", variant.name(), answer.body);
            let errors = answer.errors();
            assert_eq!(errors.len(), 1, "{context}");
            assert!(errors[0].0.ends_with(variant.field()), "{context}");
            assert_eq!(errors[0].1, "BAD_USER_INPUT", "{context}");
            assert!(answer.body["errors"][0]["message"].as_str().unwrap().contains(named), "{context}");
        }
        // The list's own cursor is accepted.
        variant.page(&test, json!({ "first": 100, "after": own })).await;
    }
    test.app.stop().await;
}

/// A cursor of a list of another type.
async fn another_list(test: &TestApp, sdl: &Sdl, list: &List, other: &List) -> String {
    let ty = |list: &List| {
        let (parent, name) = list.at.split_once('.').unwrap();
        let fields = sdl.fields(parent);
        named(&fields.into_iter().find(|field| field.name.node == name).unwrap().ty.node).to_owned()
    };
    assert_ne!(ty(list), ty(other));
    Variant::all(sdl, *other)[0].page(test, json!({ "first": 1 })).await.cursors[0].clone()
}

/// Whether two variants are the same order said in different words.
fn same_order(a: &Variant, b: &Variant) -> bool {
    a.list.at != "Query.search" && format!("{:?}", a.sort) == format!("{:?}", b.sort) && a.descending == b.descending
}
