//! The engine as a whole, over a schema made for it, and held against the library's own strict schema.

use super::*;
use async_graphql::{
    Context, Data, EmptySubscription, Enum, ID, InputObject, MaybeUndefined, Object, OneofObject, Request, Response,
    Schema, SchemaBuilder, SimpleObject, Subscription, Union, Value, Variables, value,
};
use futures_util::{Stream, StreamExt};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

struct Query;
struct Mutation;
struct Listen;

#[derive(Enum, Clone, Copy, PartialEq, Eq)]
enum Color {
    Red,
    Green,
}

#[derive(InputObject, Clone)]
struct Filter {
    id: ID,
    count: Option<i32>,
    colors: Option<Vec<Color>>,
    inner: Option<Box<Filter>>,
    #[graphql(default = 7)]
    weight: i32,
}

#[derive(OneofObject)]
enum Key {
    Id(ID),
    Number(i32),
}

#[derive(InputObject)]
struct Patch {
    name: MaybeUndefined<String>,
}

#[derive(SimpleObject, Clone, Default)]
struct PageInfo {
    has_next: bool,
}

#[derive(SimpleObject)]
struct Edge {
    cursor: String,
    node: Item,
}

struct ItemConnection(i32);

#[Object]
impl ItemConnection {
    async fn edges(&self) -> Vec<Edge> {
        (0..self.0).map(|n| Edge { cursor: n.to_string(), node: Item(n) }).collect()
    }
    async fn nodes(&self) -> Vec<Item> {
        (0..self.0).map(Item).collect()
    }
    async fn page_info(&self) -> PageInfo {
        PageInfo::default()
    }
    async fn total_count(&self) -> i32 {
        self.0
    }
}

struct Item(i32);

#[Object]
impl Item {
    async fn id(&self) -> ID {
        self.0.into()
    }
    async fn name(&self) -> String {
        format!("item {}", self.0)
    }
    async fn broken(&self) -> async_graphql::Result<String> {
        Err(async_graphql::Error::new("no").extend_with_code("STORE_TIMEOUT"))
    }
    async fn maybe_broken(&self) -> async_graphql::Result<Option<String>> {
        Err(async_graphql::Error::new("no").extend_with_code("STORE_TIMEOUT"))
    }
    async fn defect(&self) -> async_graphql::Result<Option<i32>> {
        Ok(Some("password=hunter2".parse()?))
    }
    async fn items(&self, first: Option<i32>, last: Option<i32>) -> ItemConnection {
        ItemConnection(first.or(last).unwrap_or(2))
    }
    async fn parent(&self) -> Option<Item> {
        Some(Item(self.0 - 1))
    }
    async fn plain(&self) -> Vec<Item> {
        vec![]
    }
    async fn tags(&self) -> Vec<String> {
        vec![]
    }
}

trait WithCode {
    fn extend_with_code(self, code: &str) -> Self;
}

impl WithCode for async_graphql::Error {
    fn extend_with_code(self, code: &str) -> Self {
        use async_graphql::ErrorExtensions;
        self.extend_with(|_, extensions| extensions.set("code", code))
    }
}

#[derive(Union)]
enum Either {
    Item(Item),
    Page(PageInfo),
}

#[Object]
impl Query {
    async fn item(&self, id: Option<i32>) -> Item {
        Item(id.unwrap_or(1))
    }
    async fn maybe(&self) -> Option<Item> {
        Some(Item(1))
    }
    async fn items(&self, first: Option<i32>, #[graphql(name = "last")] last: Option<i32>) -> ItemConnection {
        ItemConnection(first.or(last).unwrap_or(2))
    }
    async fn nodes(&self, ids: Vec<ID>) -> Vec<Option<Item>> {
        ids.iter().map(|_| None).collect()
    }
    async fn filtered(&self, filter: Filter) -> String {
        format!("{}:{}:{}", *filter.id, filter.count.unwrap_or(-1), filter.weight)
    }
    async fn by(&self, key: Key) -> String {
        match key {
            Key::Id(id) => id.0,
            Key::Number(number) => number.to_string(),
        }
    }
    async fn add(&self, a: i32, #[graphql(default = 5)] b: i32) -> i64 {
        i64::from(a) + i64::from(b)
    }
    async fn list(&self, of: Vec<Vec<i32>>) -> usize {
        of.len()
    }
    async fn color(&self, color: Option<Color>) -> Option<Color> {
        color
    }
    async fn text(&self, text: Option<String>, flag: Option<bool>, float: Option<f64>) -> String {
        format!("{text:?} {flag:?} {float:?}")
    }
    async fn either(&self) -> Vec<Either> {
        vec![Either::Item(Item(1)), Either::Page(PageInfo::default())]
    }
    async fn count(&self, context: &Context<'_>) -> usize {
        context.data_unchecked::<Arc<AtomicUsize>>().fetch_add(1, Ordering::Relaxed)
    }
}

#[Object]
impl Mutation {
    async fn rename(&self, patch: Patch) -> String {
        match patch.name {
            MaybeUndefined::Undefined => "left".to_owned(),
            MaybeUndefined::Null => "erased".to_owned(),
            MaybeUndefined::Value(name) => name,
        }
    }
}

#[Subscription]
impl Listen {
    async fn ticks(&self, of: i32) -> impl Stream<Item = i32> {
        futures_util::stream::iter(0..of)
    }
}

fn build() -> SchemaBuilder<Query, Mutation, Listen> {
    Schema::build(Query, Mutation, Listen).data(Arc::new(AtomicUsize::new(0)))
}

type TestEngine = Engine<Query, Mutation, Listen>;

fn with(limits: Limits) -> TestEngine {
    Engine::new(build, limits, true).unwrap()
}

fn engine() -> TestEngine {
    with(Limits::default())
}

fn refuse(engine: &TestEngine, text: &str) -> Refusal {
    match engine.prepare(text, None, Variables::default()) {
        Ok(prepared) => panic!("accepted with complexity {}: {text}", prepared.complexity),
        Err(refusal) => refusal,
    }
}

fn code(refusal: &Refusal) -> String {
    match refusal.errors[0].extensions.as_ref().and_then(|extensions| extensions.get("code")) {
        Some(Value::String(code)) => code.clone(),
        other => panic!("{other:?}"),
    }
}

fn complexity(text: &str, variables: Value) -> u64 {
    let variables = Variables::from_value(variables);
    engine().prepare(text, None, variables).unwrap_or_else(|refusal| panic!("{refusal:?}")).complexity
}

async fn run(engine: &TestEngine, text: &str, variables: Value) -> Result<Response, Refusal> {
    let prepared = engine.prepare(text, None, Variables::from_value(variables))?;
    Ok(engine.execute(prepared, Data::default()).await)
}

async fn data(text: &str, variables: Value) -> serde_json::Value {
    let response = run(&engine(), text, variables).await.unwrap_or_else(|refusal| panic!("{refusal:?}"));
    assert!(response.errors.is_empty(), "{:?}", response.errors);
    response.data.into_json().unwrap()
}

#[tokio::test]
async fn a_document_is_decided_once_and_runs_every_time() {
    let engine = engine();
    for n in 0..3 {
        let response = run(&engine, "{ count }", value!({})).await.unwrap();
        assert_eq!(response.data, value!({ "count": n }), "validation must not execute");
    }
    assert_eq!((engine.stats().hits(), engine.stats().misses()), (2, 1));
    assert_eq!(engine.stats().held().0, 1);
    for _ in 0..3 {
        assert_eq!(code(&refuse(&engine, "{ nothing }")), "GRAPHQL_VALIDATION_FAILED");
    }
    assert_eq!((engine.stats().refused(), engine.stats().misses()), (2, 2));
}

#[tokio::test]
async fn what_was_refused_once_is_refused_again_and_never_reaches_the_runner() {
    let engine = engine();
    for text in [
        "{ nothing }",
        "{ item { nothing } }",
        "{ item }",
        "{ add }",
        "{ add(a: 1, c: 2) }",
        "{ add(a: \"1\") }",
        "{ ...F } fragment F on Nothing { x }",
        "{ ...G }",
        "query($x: Nothing) { add(a: 1) }",
        "query($x: Int) { add(a: $y) }",
        "query($x: Int) { add(a: $x) }",
        "query($x: String) { item(id: $x) { id } }",
        "query($x: String!) { item(id: $x) { id } }",
        "query($x: [Int]) { item(id: $x) { id } }",
        "query($x: Int!) { list(of: $x) }",
        "query($x: [[Int]!]!) { list(of: $x) }",
        "query($x: String) { filtered(filter: {id: 1, count: $x}) }",
        "query($x: [Color]) { filtered(filter: {id: 1, colors: $x}) }",
        "query($x: Color) { filtered(filter: {id: 1, colors: [$x]}) }",
        "query($x: String!) { item { ...F } } fragment F on Item { items(first: $x) { totalCount } }",
        "query($x: Boolean) { count @skip(if: $x) }",
        "query($x: [Nothing] = [1]) { count @skip(if: $x) }",
        "query($x: Item) { count @skip(if: $x) }",
        "{ item { id } } fragment F on Item { id }",
        "mutation { nothing }",
        "{ add(a: 1) @nothing }",
        "{ a: add(a: 1) a: add(a: 2) }",
    ] {
        for _ in 0..3 {
            let refusal = refuse(&engine, text);
            assert_eq!(refusal.stage, Stage::Validate, "{text}");
            assert!(refusal.errors.iter().all(|error| error.extensions.is_some()));
        }
    }
    assert_eq!(engine.stats().held().0, 0);
}

#[test]
fn text_that_is_not_graphql_is_named_so_with_its_place() {
    for text in ["", "   ", "{", "{ a", "query", "{ a(b: ) }", "type X { a: Int }", "{ a } { b }", "\u{0}"] {
        let refusal = refuse(&engine(), text);
        assert_eq!((refusal.stage, code(&refusal).as_str()), (Stage::Parse, "GRAPHQL_PARSE_FAILED"), "{text}");
        assert!(!refusal.errors[0].message.contains('\n'));
    }
    assert!(!refuse(&engine(), "{ a(b: ) }").errors[0].locations.is_empty());
}

#[tokio::test]
async fn operations_are_picked_by_name() {
    let engine = engine();
    let text = "query A { add(a: 1) } query B($n: Int!) { ...F } mutation C { rename(patch: {}) } \
                fragment F on Query { add(a: $n) }";
    let prepare = |name| engine.prepare(text, name, Variables::default());
    assert_eq!(prepare(Some("A")).unwrap().kind, OperationKind::Query);
    let prepared = prepare(Some("A")).unwrap();
    assert_eq!(engine.execute(prepared, Data::default()).await.data, value!({ "add": 6 }));
    assert_eq!(prepare(Some("C")).unwrap().kind, OperationKind::Mutation);
    assert_eq!(prepare(Some("B")).err().unwrap().stage, Stage::Variables);
    for name in [None, Some(""), Some("D")] {
        let refusal = prepare(name).err().unwrap();
        assert_eq!(code(&refusal), "OPERATION_RESOLUTION_FAILURE");
    }
    assert!(engine.prepare("query A { add(a: 1) }", Some(""), Variables::default()).is_ok());
    assert!(engine.prepare("{ add(a: 1) }", Some("A"), Variables::default()).is_err());
}

/// The table that shows that nothing the strict schema refuses gets through, whatever the order of requests.
#[tokio::test]
async fn variables_are_held_against_their_types_like_the_strict_schema_and_the_specification_do() {
    const FILTERED: &str = "query($f: Filter!) { filtered(filter: $f) }";
    const NESTED: &str = "query($n: Int, $c: [Color!]) { filtered(filter: {id: 1, count: $n, colors: $c}) }";
    let table: &[(&str, Value, bool)] = &[
        ("query($a: Int!) { add(a: $a) }", value!({ "a": 1 }), true),
        ("query($a: Int!) { add(a: $a) }", value!({}), false),
        ("query($a: Int!) { add(a: $a) }", value!({ "a": null }), false),
        ("query($a: Int!) { add(a: $a) }", value!({ "a": "1" }), false),
        ("query($a: Int!) { add(a: $a) }", value!({ "a": 1.5 }), false),
        ("query($a: Int!) { add(a: $a) }", value!({ "a": true }), false),
        ("query($a: Int!) { add(a: $a) }", value!({ "a": [1] }), false),
        ("query($a: Int!) { add(a: $a) }", value!({ "a": 2147483647 }), true),
        ("query($a: Int!) { add(a: $a) }", value!({ "a": 2147483648_u64 }), false),
        ("query($a: Int!) { add(a: $a) }", value!({ "a": 1, "unknown": { "x": 1 } }), true),
        ("query($a: Int = 3) { add(a: $a) }", value!({}), true),
        ("query($a: Int = 3) { add(a: $a) }", value!({ "a": null }), false),
        ("query($b: Int) { add(a: 1, b: $b) }", value!({}), true),
        ("query($unused: Int!, $a: Int!) { add(a: $a) text(float: $unused) }", value!({ "a": 1, "unused": 2 }), false),
        (FILTERED, value!({ "f": { "id": "x" } }), true),
        (FILTERED, value!({ "f": { "id": 5, "count": 1, "colors": ["RED"], "weight": 1 } }), true),
        (FILTERED, value!({ "f": { "id": "x", "colors": "GREEN" } }), true),
        (FILTERED, value!({ "f": { "id": "x", "colors": null, "count": null } }), true),
        (FILTERED, value!({ "f": {} }), false),
        (FILTERED, value!({ "f": { "id": null } }), false),
        (FILTERED, value!({ "f": { "id": 1.5 } }), false),
        (FILTERED, value!({ "f": { "id": "x", "unknown": 1 } }), false),
        (FILTERED, value!({ "f": { "id": "x", "colors": ["BLUE"] } }), false),
        (FILTERED, value!({ "f": { "id": "x", "colors": [null] } }), false),
        (FILTERED, value!({ "f": { "id": "x", "colors": [1] } }), false),
        (FILTERED, value!({ "f": { "id": "x", "weight": null } }), false),
        (FILTERED, value!({ "f": { "id": "x", "inner": { "id": "y", "count": "z" } } }), false),
        (FILTERED, value!({ "f": { "id": "x", "inner": { "count": 1 } } }), false),
        (FILTERED, value!({ "f": "x" }), false),
        (FILTERED, value!({ "f": 1 }), false),
        (FILTERED, value!({ "f": [{ "id": "x" }] }), false),
        (NESTED, value!({}), true),
        (NESTED, value!({ "n": 1, "c": ["RED", "GREEN"] }), true),
        (NESTED, value!({ "n": "1" }), false),
        (NESTED, value!({ "c": ["RED", null] }), false),
        ("query($c: Color) { color(color: $c) }", value!({ "c": "RED" }), true),
        ("query($c: Color) { color(color: $c) }", value!({ "c": "BLUE" }), false),
        ("query($c: Color) { color(color: $c) }", value!({ "c": 1 }), false),
        ("query($c: Color) { color(color: $c) }", value!({ "c": null }), true),
        ("query($k: Key!) { by(key: $k) }", value!({ "k": { "id": "x" } }), true),
        ("query($k: Key!) { by(key: $k) }", value!({ "k": {} }), false),
        ("query($k: Key!) { by(key: $k) }", value!({ "k": { "id": "x", "number": 1 } }), false),
        ("query($k: Key!) { by(key: $k) }", value!({ "k": { "id": null } }), false),
        ("query($l: [[Int!]!]!) { list(of: $l) }", value!({ "l": [[1], [2, 3]] }), true),
        ("query($l: [[Int!]!]!) { list(of: $l) }", value!({ "l": [[1], [null]] }), false),
        ("query($l: [[Int!]!]!) { list(of: $l) }", value!({ "l": [[1], null] }), false),
        ("query($l: [[Int!]!]!) { list(of: $l) }", value!({ "l": 1 }), true),
        ("query($l: [[Int!]!]!) { list(of: $l) }", value!({ "l": [["1"]] }), false),
        ("query($s: String) { text(text: $s) }", value!({ "s": 1 }), false),
        ("query($s: Boolean) { text(flag: $s) }", value!({ "s": "true" }), false),
        ("query($s: Float) { text(float: $s) }", value!({ "s": 1 }), true),
        ("query($s: Float) { text(float: $s) }", value!({ "s": "1" }), false),
        ("query($i: Boolean!) { add(a: 1) @include(if: $i) }", value!({ "i": "x" }), false),
        ("query($i: Boolean!) { add(a: 1) @include(if: $i) }", value!({}), false),
        ("query($n: Int) { items(first: $n) { totalCount } }", value!({ "n": "ten" }), false),
    ];
    let engine = engine();
    let strict = build().finish();
    let mut differ = 0;
    for (text, variables, good) in table {
        let first = run(&engine, text, variables.clone()).await;
        let again = run(&engine, text, variables.clone()).await;
        assert_eq!(first.is_ok(), again.is_ok(), "{text} {variables}: the second time differs from the first");
        let accepted = again.as_ref().is_ok_and(|response| response.errors.is_empty());
        assert_eq!(accepted, *good, "{text} {variables}: {again:?}");
        if let Err(refusal) = &again {
            assert!(matches!(refusal.stage, Stage::Variables | Stage::Validate), "{refusal:?}");
        }
        let request = Request::new(*text).variables(Variables::from_value(variables.clone()));
        let stock = strict.execute(request).await;
        if text.contains("$b: Int)") {
            // The library takes what is not given for null, here and in `what_is_not_given_is_absent_and_not_null`.
            continue;
        }
        if stock.errors.is_empty() {
            // Stricter than the library, never laxer.
            differ += usize::from(!accepted);
        } else {
            assert!(!accepted, "{text} {variables}: the strict schema refuses it: {:?}", stock.errors);
        }
        if accepted {
            assert_eq!(stock.data, again.unwrap().data, "{text} {variables}");
        }
    }
    assert!(differ <= 6, "{differ} rows are refused here and not by the library; look at each");
}

#[tokio::test]
async fn variables_may_stand_where_the_specification_lets_them() {
    for (text, variables) in [
        ("query($x: Int!) { item(id: $x) { id } }", value!({ "x": 1 })),
        ("query($x: Int = 1) { add(a: $x) }", value!({})),
        ("query($x: Int) { add(a: 1, b: $x) }", value!({})),
        ("query($x: [[Int!]!]!) { list(of: $x) }", value!({ "x": [] })),
        ("query($x: [Int!]!) { list(of: [$x]) }", value!({ "x": [1] })),
        ("query($x: Color!) { filtered(filter: {id: 1, colors: [$x]}) }", value!({ "x": "RED" })),
        ("query($x: Int) { filtered(filter: {id: 1, weight: $x}) }", value!({})),
        ("query($x: Boolean = false) { count @skip(if: $x) }", value!({})),
    ] {
        data(text, variables).await;
    }
    // The place's own default makes it legal to leave it out, not to give null.
    let response = run(&engine(), "query($x: Int) { add(a: 1, b: $x) }", value!({ "x": null })).await;
    assert_eq!(response.err().map(|refusal| refusal.stage), Some(Stage::Variables));
}

#[test]
fn operations_of_one_document_are_bounded() {
    let many = |n: usize| (0..n).map(|n| format!("query Q{n} {{ count }} ")).collect::<String>();
    assert!(engine().prepare(&many(25), Some("Q7"), Variables::default()).is_ok());
    assert_eq!(code(&refuse(&engine(), &many(26))), "OPERATION_LIMIT_EXCEEDED");
}

#[test]
fn literals_around_variables_are_checked_when_the_document_is_new() {
    for text in [
        "query($n: Int) { filtered(filter: {id: 1, count: $n, unknown: 2}) }",
        "query($n: Int) { filtered(filter: {count: $n}) }",
        "query($n: Int) { filtered(filter: {id: 1, count: $n, colors: [BLUE]}) }",
        "query($n: Int) { filtered(filter: {id: 1, inner: {id: true, count: $n}}) }",
        "{ color(color: \"RED\") }",
        "{ add(a: 3000000000) }",
    ] {
        assert_eq!(refuse(&engine(), text).stage, Stage::Validate, "{text}");
    }
}

#[tokio::test]
async fn what_is_not_given_is_absent_and_not_null() {
    let rename = "mutation($name: String) { rename(patch: {name: $name}) }";
    assert_eq!(data(rename, value!({})).await["rename"], "left");
    assert_eq!(data(rename, value!({ "name": null })).await["rename"], "erased");
    assert_eq!(data(rename, value!({ "name": "new" })).await["rename"], "new");
    let add = "query($b: Int) { add(a: 1, b: $b) ...F } fragment F on Query { again: add(a: 2, b: $b) }";
    assert_eq!(data(add, value!({})).await, serde_json::json!({ "add": 6, "again": 7 }));
}

#[tokio::test]
async fn defaults_reach_skip_and_include() {
    let text = "query($yes: Boolean = true, $no: Boolean = false) { a: add(a: 1) @include(if: $yes) b: add(a: 2) @skip(if: $no) c: add(a: 3) @skip(if: $yes) }";
    assert_eq!(data(text, value!({})).await, serde_json::json!({ "a": 6, "b": 7 }));
    assert_eq!(data(text, value!({ "yes": false, "no": true })).await, serde_json::json!({ "c": 8 }));
    assert_eq!(data("{ add(a: 1) @skip(if: true) }", value!({})).await, serde_json::json!({}));
}

#[test]
fn every_limit_refuses_with_its_code_and_its_setting() {
    let small = Limits {
        max_tokens: 60,
        max_depth: 3,
        max_selections: 12,
        max_aliases: 2,
        max_root_fields: 4,
        max_directives: 2,
        max_complexity: 50,
        ..Limits::default()
    };
    let tight = with(small);
    let deep = "{ item { parent { parent { id } } } }";
    let many = format!("{{ item {{ {} }} }}", "id ".repeat(12));
    let skip = "@skip(if: false)";
    for (text, expected) in [
        (&*format!("{{ {} }}", "count ".repeat(60)), "TOKEN_LIMIT_EXCEEDED"),
        (deep, "DEPTH_LIMIT_EXCEEDED"),
        (&*many, "SELECTION_LIMIT_EXCEEDED"),
        ("{ a: count b: count c: count }", "ALIAS_LIMIT_EXCEEDED"),
        ("{ count count count count count }", "ROOT_FIELD_LIMIT_EXCEEDED"),
        (&*format!("{{ count {skip} item {skip} {{ id {skip} }} }}"), "DIRECTIVE_LIMIT_EXCEEDED"),
        ("{ items(first: 30) { nodes { id } } }", "COMPLEXITY_LIMIT_EXCEEDED"),
    ] {
        let refusal = refuse(&tight, text);
        assert_eq!((refusal.stage, code(&refusal).as_str()), (Stage::Limit, expected), "{text}");
        let setting = refusal.errors[0].extensions.as_ref().unwrap().get("setting").cloned();
        assert!(matches!(setting, Some(Value::String(setting)) if refusal.errors[0].message.contains(&setting)));
    }
    for text in ["{ item { parent { id } } }", "{ a: count b: count count }", "{ items(first: 20) { nodes { id } } }"] {
        assert!(tight.prepare(text, None, Variables::default()).is_ok(), "{text}");
    }
}

#[test]
fn complexity_follows_the_pages() {
    for (text, variables, expected) in [
        ("{ __typename }", value!({}), 0),
        ("{ count }", value!({}), 1),
        ("{ item { id name } }", value!({}), 3),
        ("{ items { nodes { id } } }", value!({}), 1 + 20 * 2),
        ("{ items(first: 5) { nodes { id name } } }", value!({}), 1 + 5 * 3),
        ("{ items(last: 5) { edges { cursor node { id } } } }", value!({}), 1 + 5 * 4),
        ("{ items(first: 5) { totalCount pageInfo { hasNext } } }", value!({}), 1 + 3),
        ("{ items(first: 5) { nodes { id } totalCount } }", value!({}), 1 + 5 * 2 + 1),
        ("{ items(first: 5) { nodes { items(first: 3) { nodes { id } } } } }", value!({}), 1 + 5 * (1 + (1 + 3 * 2))),
        ("query($n: Int) { items(first: $n) { nodes { id } } }", value!({ "n": 7 }), 1 + 7 * 2),
        ("query($n: Int) { items(first: $n) { nodes { id } } }", value!({}), 1 + 20 * 2),
        ("query($n: Int = 4) { items(first: $n) { nodes { id } } }", value!({}), 1 + 4 * 2),
        ("query($n: Int, $m: Int) { items(first: $n, last: $m) { nodes { id } } }", value!({ "m": 3 }), 1 + 100 * 2),
        ("{ nodes(ids: [1, 2, 3]) { id } }", value!({}), 1 + 3),
        ("query($i: [ID!]!) { nodes(ids: $i) { id } }", value!({ "i": ["1", "2"] }), 1 + 2),
        ("{ item { plain { id } tags } }", value!({}), 1 + (1 + 10) + 1),
        (
            "{ items(first: 5) { ...F } } fragment F on ItemConnection { nodes { ...I } totalCount } fragment I on Item { id name }",
            value!({}),
            1 + 5 * 3 + 1,
        ),
        ("{ items(first: 5) { nodes { ... on Item { id } } } }", value!({}), 1 + 5 * 2),
        ("{ __schema { types { fields { name } } } }", value!({}), 4),
    ] {
        assert_eq!(complexity(text, variables), expected, "{text}");
    }
}

#[test]
fn complexity_is_held_against_the_limit_for_each_request() {
    let engine = engine();
    let text = "query($n: Int!) { items(first: $n) { nodes { items(first: $n) { nodes { id name } } } } }";
    let with = |n: i32| engine.prepare(text, None, Variables::from_value(value!({ "n": n })));
    assert!(with(100).is_ok());
    let refusal = with(1000).err().unwrap();
    assert_eq!(code(&refusal), "COMPLEXITY_LIMIT_EXCEEDED");
    assert!(with(10).is_ok(), "the document itself stays accepted");
}

fn bomb(levels: usize, width: usize, last: &str) -> String {
    let mut text = "{ item { ...F0 } }".to_owned();
    for level in 0..levels {
        let spread = format!("...F{} ", level + 1).repeat(width);
        text.push_str(&format!(" fragment F{level} on Item {{ {spread} }}"));
    }
    text.push_str(&format!(" fragment F{levels} on Item {{ {last} }}"));
    text
}

#[test]
fn fragments_that_multiply_are_refused_at_the_price_of_reading_them() {
    let engine = engine();
    let cycle = "{ item { ...A } } fragment A on Item { ...B } fragment B on Item { parent { ...A ...A } }";
    for (text, expected) in [
        (bomb(40, 10, "id"), "SELECTION_LIMIT_EXCEEDED"),
        (bomb(40, 10, "...Unknown"), "SELECTION_LIMIT_EXCEEDED"),
        (bomb(200, 1, "id"), "NESTING_LIMIT_EXCEEDED"),
        (cycle.to_owned(), "GRAPHQL_VALIDATION_FAILED"),
        ("{ item { ...A } } fragment A on Item { ...A }".to_owned(), "GRAPHQL_VALIDATION_FAILED"),
        ("{ count } fragment A on Item { ...A }".to_owned(), "GRAPHQL_VALIDATION_FAILED"),
        (format!("{}a{}", "{a".repeat(5_000), "}".repeat(5_000)), "TOKEN_LIMIT_EXCEEDED"),
        (format!("{}a{}", "{a".repeat(500), "}".repeat(500)), "NESTING_LIMIT_EXCEEDED"),
        (format!("{{ f(a: {}1{}) }}", "[".repeat(500), "]".repeat(500)), "NESTING_LIMIT_EXCEEDED"),
        (format!("query($a: {}Int{}) {{ count }}", "[".repeat(500), "]".repeat(500)), "NESTING_LIMIT_EXCEEDED"),
        ("{ item { parent { parent { parent { parent { parent { parent { parent { parent { parent { parent { parent { parent { parent { parent { id } } } } } } } } } } } } } } } }".to_owned(), "DEPTH_LIMIT_EXCEEDED"),
    ] {
        let started = Instant::now();
        assert_eq!(code(&refuse(&engine, &text)), expected, "{}", &text[..text.len().min(120)]);
        assert!(started.elapsed().as_millis() < 1_000, "{:?} for {}", started.elapsed(), &text[..text.len().min(120)]);
    }
}

#[test]
fn the_deepest_allowed_nesting_fits_the_stack() {
    let depth = 60;
    let text = format!("{{ item {{ {} id {} }} }}", "... on Item { ".repeat(depth), "}".repeat(depth));
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let engine = engine();
        let prepared =
            engine.prepare(&text, None, Variables::default()).unwrap_or_else(|refusal| panic!("{refusal:?}"));
        futures_util::FutureExt::now_or_never(engine.execute(prepared, Data::default())).unwrap().data
    });
    assert_eq!(thread.unwrap().join().unwrap(), value!({ "item": { "id": "1" } }));
}

#[test]
fn introspection_serves_tools_and_not_floods() {
    let engine = engine();
    let nested = |levels: usize| {
        format!("{{ __schema {{ types {{ {} name {} }} }} }}", "fields { type { ".repeat(levels), "} }".repeat(levels))
    };
    assert!(engine.prepare(&nested(2), None, Variables::default()).is_ok());
    assert_eq!(code(&refuse(&engine, &nested(3))), "INTROSPECTION_LIMIT_EXCEEDED");
    assert!(engine.prepare(INTROSPECTION, None, Variables::default()).is_ok(), "the query that tools send");

    let closed = Engine::new(build, Limits::default(), false).unwrap();
    for text in [
        "{ __schema { types { name } } }",
        "{ __type(name: \"Item\") { name } }",
        "{ ...F } fragment F on Query { x: __schema { types { name } } }",
    ] {
        assert_eq!(code(&refuse(&closed, text)), "INTROSPECTION_DISABLED", "{text}");
    }
    assert!(closed.prepare("{ __typename item { __typename } }", None, Variables::default()).is_ok());
    let suggestion = |engine: &TestEngine| refuse(engine, "{ itemz { id } }").errors[0].message.clone();
    assert!(suggestion(&engine).contains("Did you mean"), "{}", suggestion(&engine));
    assert!(!suggestion(&closed).contains("Did you mean"), "{}", suggestion(&closed));
}

/// What graphql-js's `getIntrospectionQuery` sends with all its options.
const INTROSPECTION: &str = "query IntrospectionQuery { __schema { description queryType { name } mutationType { name } \
    subscriptionType { name } types { ...FullType } directives { name description isRepeatable locations args \
    { ...InputValue } } } } fragment FullType on __Type { kind name description specifiedByURL fields(includeDeprecated: true) \
    { name description args { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason } inputFields \
    { ...InputValue } interfaces { ...TypeRef } enumValues(includeDeprecated: true) { name description isDeprecated \
    deprecationReason } possibleTypes { ...TypeRef } } fragment InputValue on __InputValue { name description type \
    { ...TypeRef } defaultValue } fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType \
    { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType \
    { kind name } } } } } } } } } }";

#[test]
fn fields_under_one_key_are_one_field() {
    let engine = engine();
    for text in [
        "{ maybe { x: id } maybe { x: name } }",
        "{ maybe { items { nodes { x: id } } } maybe { items { nodes { x: name } } } }",
        "{ maybe { ...A ...B } } fragment A on Item { x: id } fragment B on Item { x: name }",
        "{ item { parent { x: items(first: 1) { totalCount } } } item { parent { x: items(first: 2) { totalCount } } } }",
        "{ item(id: 1) { id } item(id: 2) { id } }",
        "query($a: Int) { maybe { items(first: $a) { totalCount } } maybe { items(first: 1) { totalCount } } }",
        // Never in one object, and still of one shape.
        "{ either { ... on Item { x: id } ... on PageInfo { x: hasNext } } }",
        "{ either { ... on Item { x: parent { id } } ... on PageInfo { x: hasNext } } }",
    ] {
        let refusal = refuse(&engine, text);
        assert_eq!((refusal.stage, code(&refusal).as_str()), (Stage::Validate, "GRAPHQL_VALIDATION_FAILED"), "{text}");
    }
    for text in [
        "{ maybe { id } maybe { name } }",
        "{ maybe { x: id ...A } maybe { x: id ...A } } fragment A on Item { x: id parent { id } }",
        "{ item(id: 1) { x: items(first: 1) { totalCount } } item(id: 1) { x: items(first: 1) { nodes { id } } } }",
        "{ either { __typename ... on Item { x: __typename } ... on PageInfo { x: __typename } } }",
        "{ a: item { x: id } b: item { x: name } }",
    ] {
        assert!(engine.prepare(text, None, Variables::default()).is_ok(), "{text}: {:?}", refuse(&engine, text));
    }
}

#[test]
fn comparing_fields_has_a_price_too() {
    // Every level stands in the sets of two object types, so that comparing doubles with each.
    let mut text = "{ either { ...L0 ...P } } fragment P on PageInfo { x: hasNext }".to_owned();
    for level in 0..40 {
        text.push_str(&format!(
            " fragment L{level} on Item {{ p: parent {{ ...L{} }} q: parent {{ ...L{} }} }}",
            level + 1,
            level + 1
        ));
    }
    text.push_str(" fragment L40 on Item { id }");
    let started = Instant::now();
    assert_eq!(refuse(&engine(), &text).stage, Stage::Limit);
    assert!(started.elapsed().as_millis() < 1_000, "{:?}", started.elapsed());
    let wide =
        format!("{{ maybe {{ {} }} }}", "...F ".repeat(1_000)) + " fragment F on Item { id name parent { id name } }";
    let started = Instant::now();
    assert!(engine().prepare(&wide, None, Variables::default()).is_ok());
    assert!(started.elapsed().as_millis() < 3_000, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_failed_field_is_null_where_it_may_be_and_its_parent_is_where_it_may_not() {
    let engine = engine();
    for (text, expected) in [
        ("{ maybe { id maybeBroken } }", serde_json::json!({ "maybe": { "id": "1", "maybeBroken": null } })),
        ("{ maybe { maybeBroken } }", serde_json::json!({ "maybe": { "maybeBroken": null } })),
        ("{ maybe { id broken } count }", serde_json::json!({ "maybe": null, "count": 0 })),
        ("{ maybe { broken maybeBroken } c: add(a: 1) }", serde_json::json!({ "maybe": null, "c": 6 })),
        ("{ maybe { maybeBroken broken } c: add(a: 1) }", serde_json::json!({ "maybe": null, "c": 6 })),
        ("{ item { id broken } c: add(a: 1) }", serde_json::json!(null)),
        ("{ item { broken } }", serde_json::json!(null)),
        ("{ item { parent { parent { broken } } } }", serde_json::json!({ "item": { "parent": { "parent": null } } })),
        (
            "{ item { parent { x: broken ...F } } } fragment F on Item { y: maybeBroken }",
            serde_json::json!({ "item": { "parent": null } }),
        ),
        (
            "{ maybe { items(first: 2) { nodes { id maybeBroken } } } }",
            serde_json::json!({ "maybe": { "items": { "nodes": [{ "id": "0", "maybeBroken": null }, { "id": "1", "maybeBroken": null }] } } }),
        ),
        ("{ maybe { id items(first: 2) { nodes { broken } } } }", serde_json::json!({ "maybe": null })),
        (
            "{ either { ... on Item { maybeBroken } ... on PageInfo { hasNext } } }",
            serde_json::json!({ "either": [{ "maybeBroken": null }, { "hasNext": false }] }),
        ),
    ] {
        let response = run(&engine, text, value!({})).await.unwrap();
        assert!(!response.errors.is_empty(), "{text}");
        assert_eq!(response.data.into_json().unwrap(), expected, "{text}");
    }
}

#[tokio::test]
async fn a_defect_is_hidden_and_every_error_has_a_code() {
    let response = run(&engine(), "{ maybe { defect broken } }", value!({})).await.unwrap();
    let text = serde_json::to_string(&response).unwrap();
    assert!(text.contains("INTERNAL_ERROR") && text.contains("STORE_TIMEOUT"), "{text}");
    assert!(!text.contains("invalid digit") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn subscriptions_stream() {
    let engine = engine();
    let prepared = engine.prepare("subscription { ticks(of: 3) }", None, Variables::default()).unwrap();
    assert_eq!(prepared.kind, OperationKind::Subscription);
    let answers: Vec<_> = engine.stream(prepared, Data::default()).collect().await;
    assert_eq!(answers.len(), 3);
}

#[test]
fn the_cache_is_bounded_by_memory() {
    let engine = with(Limits { document_cache_bytes: 64 << 10, ..Limits::default() });
    for n in 0..2_000 {
        let text = format!("{{ field{n}: count }}");
        assert!(engine.prepare(&text, None, Variables::default()).is_ok());
        refuse(&engine, &format!("{{ nothing{n} }}"));
    }
    let (documents, bytes) = engine.stats().held();
    assert!(bytes <= 64 << 10 && documents < 200, "{documents} documents, {bytes} bytes");
}

#[test]
fn a_schema_without_mutations_refuses_them() {
    let engine = Engine::new(
        || Schema::build(Query, async_graphql::EmptyMutation, EmptySubscription).data(Arc::new(AtomicUsize::new(0))),
        Limits::default(),
        true,
    )
    .unwrap();
    for text in ["mutation { rename(patch: {}) }", "subscription { ticks(of: 1) }"] {
        assert_eq!(engine.prepare(text, None, Variables::default()).err().unwrap().stage, Stage::Validate, "{text}");
    }
}

#[tokio::test]
async fn random_documents_never_panic_and_agree_with_the_strict_schema() {
    let engine = engine();
    let strict = build().finish();
    let fields = [
        "count",
        "a: count",
        "item { id }",
        "item { id nothing }",
        "maybe { ...F }",
        "maybe { ...F ...F }",
        "items { nodes { id } }",
        "items(first: 2) { nodes { id ...F } }",
        "items(first: \"2\") { totalCount }",
        "a: add(a: 1)",
        "add(a: 1, b: null)",
        "... on Query { count }",
        "... on Item { id }",
        "item",
        "count { x }",
        "count @skip(if: true)",
        "count @skip(if: 1)",
        "add(a: 2) @include(if: false)",
        "__typename",
        "either { __typename ... on Item { id } }",
        "either { id }",
        "...F",
    ];
    let mut seed = 42_u64;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) as usize % below
    };
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..2_000 {
        let mut text = "{ ".to_owned();
        for _ in 0..=next(3) {
            text.push_str(fields[next(fields.len())]);
            text.push(' ');
        }
        text.push('}');
        if next(2) == 0 || text.contains("...F") {
            text.push_str(" fragment F on Item { name id }");
        }
        let ours = engine.prepare(&text, None, Variables::default()).is_ok();
        let stock = strict.execute(text.as_str()).await;
        if ours {
            accepted += 1;
            assert!(stock.errors.is_empty(), "{text}: {:?}", stock.errors);
        } else {
            refused += 1;
        }
    }
    assert!(accepted > 200 && refused > 200, "{accepted} {refused}");
}
