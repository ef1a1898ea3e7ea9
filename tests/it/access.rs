//! What one organisation may see and change of another: nothing. And what each role may do in its own.
//!
//! The tests walk the schema, so a new field, id argument or mutation fails them until it is told here how to ask it.

use crate::support::{
    TestApp,
    sdl::{Sdl, is_list, named, required},
};
use chimera::{seed, write::UnitOfWork};
use chimera_stores::{Principal, Role, Scope};
use chrono::TimeDelta;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use uuid::Uuid;

/// What the other organisation owns. Its words occur nowhere in the demo data.
struct Stranger {
    organization: Uuid,
    user: Uuid,
    persona: Uuid,
    campaign: Uuid,
    video: Uuid,
    post: Uuid,
}

const STRANGER: Stranger = Stranger {
    organization: Uuid::from_u128(99),
    user: Uuid::from_u128(98),
    persona: Uuid::from_u128(97),
    campaign: Uuid::from_u128(96),
    video: Uuid::from_u128(95),
    post: Uuid::from_u128(94),
};

impl Stranger {
    fn ids(&self) -> [(&'static str, Uuid); 6] {
        [
            ("organization", self.organization),
            ("user", self.user),
            ("persona", self.persona),
            ("campaign", self.campaign),
            ("video", self.video),
            ("post", self.post),
        ]
    }

    fn global_ids(&self) -> BTreeSet<String> {
        self.ids().iter().map(|(kind, id)| format!("{kind}_{}", id.simple())).collect()
    }
}

/// A demo installation with an API key, a task that a worker holds, and a second organisation.
async fn two_organizations() -> (TestApp, String) {
    // The walks below ask for all of the schema at once; limits are tested elsewhere.
    let test = TestApp::with(&[
        ("limits.max_complexity", "100000000"),
        ("limits.max_selections", "1000000"),
        ("limits.max_tokens", "1000000"),
        ("limits.max_depth", "30"),
    ])
    .await;
    let now = test.app.shared.clock.now();
    let mut work = UnitOfWork::new("createApiKey", None);
    work.insert(&entity::api_key::Model {
        id: Uuid::now_v7(),
        organization_id: seed::demo().organization_id,
        user_id: Some(seed::demo().user_id),
        name: "render farm".to_owned(),
        prefix: "chm_f4rm".to_owned(),
        hash: "ab".repeat(32),
        role: entity::membership::Role::Editor,
        expires_at: None,
        revoked_at: None,
        created_at: now,
        updated_at: now,
        version: 1,
    });
    test.write(&test.scope(), work).await;
    let episodic = test.app.shared.stores.episodic().unwrap();
    let held = episodic.reserve(&test.scope(), "render", "farm-1", 1, Duration::from_secs(3600)).await.unwrap();
    let token = held[0].lease.as_ref().unwrap().token.to_string();
    move_in(&test).await;
    (test, token)
}

async fn move_in(test: &TestApp) {
    let at = test.app.shared.clock.now() - TimeDelta::days(1);
    let (created_at, updated_at, version, organization_id) = (at, at, 1, STRANGER.organization);
    let mut work = UnitOfWork::new("moveIn", None);
    let (handle, name) = ("zzyzx".to_owned(), "Zzyzx Quorum".to_owned());
    work.insert(&entity::organization::Model { id: organization_id, handle, name, created_at, updated_at, version });
    let (email, name) = ("quill@zzyzx.example".to_owned(), "Quill".to_owned());
    work.insert(&entity::user::Model { id: STRANGER.user, email, name, created_at, updated_at, version });
    work.insert(&entity::membership::Model {
        id: Uuid::from_u128(93),
        organization_id,
        user_id: STRANGER.user,
        role: entity::membership::Role::Admin,
        created_at,
        updated_at,
        version,
    });
    work.insert(&entity::persona::Model {
        id: STRANGER.persona,
        organization_id,
        external_id: None,
        handle: "quixote".to_owned(),
        name: "Quixote".to_owned(),
        status: entity::persona::Status::Active,
        avatar_asset_id: None,
        created_at,
        updated_at,
        version,
    });
    work.insert(&entity::campaign::Model {
        id: STRANGER.campaign,
        organization_id,
        external_id: None,
        name: "Windmills".to_owned(),
        objective: "Joust".to_owned(),
        status: entity::campaign::Status::Draft,
        starts_at: None,
        ends_at: None,
        budget_minor: None,
        currency: "EUR".to_owned(),
        created_at,
        updated_at,
        version,
    });
    work.insert(&entity::video::Model {
        id: STRANGER.video,
        organization_id,
        external_id: None,
        persona_id: STRANGER.persona,
        campaign_id: None,
        title: "Xylophones".to_owned(),
        description: None,
        status: entity::video::Status::Queued,
        category: None,
        tags: entity::Strings(Vec::new()),
        duration_ms: None,
        asset_id: None,
        thumbnail_asset_id: None,
        published_at: None,
        created_at,
        updated_at,
        version,
    });
    work.insert(&entity::post::Model {
        id: STRANGER.post,
        organization_id,
        external_id: None,
        persona_id: STRANGER.persona,
        campaign_id: None,
        video_id: None,
        text: "Vexing zephyrs".to_owned(),
        topics: entity::Strings(Vec::new()),
        platform: "mastodon".to_owned(),
        status: entity::post::Status::Draft,
        scheduled_at: None,
        published_at: None,
        url: None,
        created_at,
        updated_at,
        version,
    });
    test.write(&test.foreign(), work).await;
}

/// How required arguments are given, in GraphQL; the names are those of the demo data.
fn argument(name: &str) -> &'static str {
    match name {
        "args" => "{ range: { from: \"2025-01-01T00:00:00Z\", to: \"2027-01-01T00:00:00Z\" } }",
        "groupBy" => "[CAMPAIGN, PERSONA, KIND]",
        "handle" => "\"luna.vega\"",
        "name" => "\"render\"",
        "query" => "\"moon\"",
        other => panic!("say how the argument {other} is given"),
    }
}

/// A field with the selections of everything below it, lists in full, two objects deep; `None` when it is deeper.
fn field(sdl: &Sdl, field: &async_graphql::parser::types::FieldDefinition, above: &mut Vec<String>) -> Option<String> {
    let ty = named(&field.ty.node);
    let mut arguments: Vec<String> = field
        .arguments
        .iter()
        .filter(|argument| required(&argument.node))
        .map(|given| format!("{}: {}", given.node.name.node, argument(&given.node.name.node)))
        .collect();
    if field.arguments.iter().any(|argument| argument.node.name.node == "first") {
        arguments.push("first: 100".to_owned());
    }
    if field.arguments.iter().any(|argument| argument.node.name.node == "facets") {
        arguments.push("facets: [TYPE, TAGS, STATUS, CATEGORY, PLATFORM]".to_owned());
    }
    let arguments = if arguments.is_empty() { String::new() } else { format!("({})", arguments.join(", ")) };
    let selection = match below(sdl, ty, above)?.as_str() {
        "" => String::new(),
        selection => format!(" {{ {selection} }}"),
    };
    Some(format!("{}{arguments}{selection}", field.name.node))
}

fn below(sdl: &Sdl, ty: &str, above: &mut Vec<String>) -> Option<String> {
    let members = sdl.members(ty);
    if !members.is_empty() {
        let name = |member: &str| if member == "Topic" { "name" } else { "id" };
        let fragments = members.iter().map(|member| format!("... on {member} {{ {} }}", name(member)));
        return Some(format!("__typename {}", fragments.collect::<Vec<_>>().join(" ")));
    }
    let fields = sdl.fields(ty);
    if fields.is_empty() {
        return Some(String::new());
    }
    // Connections are wrappers; edges repeat the nodes.
    let wrapper = ty.ends_with("Connection");
    if !wrapper && (above.len() > 2 || above.iter().any(|seen| seen == ty)) {
        return None;
    }
    if !wrapper {
        above.push(ty.to_owned());
    }
    let skipped = |name: &str| ["edges", "pageInfo"].contains(&name) && wrapper;
    let selected: Vec<String> = fields
        .into_iter()
        .filter(|child| !skipped(&child.name.node))
        .filter_map(|child| self::field(sdl, child, above))
        .collect();
    if !wrapper {
        above.pop();
    }
    Some(if selected.is_empty() { "__typename".to_owned() } else { selected.join(" ") })
}

/// The answers of all fields of the root, each asked alone; but for `node` and `nodes`, which take ids, and `service`,
/// which is the same for all.
async fn everything(test: &TestApp, scope: &Scope) -> BTreeMap<String, Value> {
    let sdl = Sdl::read();
    let mut all = BTreeMap::new();
    for root in sdl.fields("Query") {
        let name = root.name.node.to_string();
        if ["node", "nodes", "service"].contains(&name.as_str()) {
            continue;
        }
        let document = format!("{{ {} }}", field(&sdl, root, &mut Vec::new()).unwrap());
        let mut answer = test.ask_as(scope, &document, json!({})).await.data()[&name].clone();
        without_addresses(&mut answer);
        all.insert(name, answer);
    }
    all
}

/// Signed addresses differ with every signing.
fn without_addresses(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("url");
            fields.values_mut().for_each(without_addresses);
        }
        Value::Array(items) => items.iter_mut().for_each(without_addresses),
        _ => {}
    }
}

/// All values of fields with one of these names.
fn values<'a>(value: &'a Value, names: &[&str], into: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if names.contains(&name.as_str()) {
                    into.push(value);
                }
                values(value, names, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| values(item, names, into)),
        _ => {}
    }
}

fn texts(all: &BTreeMap<String, Value>, names: &[&str]) -> BTreeSet<String> {
    let mut found = Vec::new();
    all.values().for_each(|value| values(value, names, &mut found));
    found.into_iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// An id like this one that names nothing: the hex digits of its last part turned.
fn twin(id: &str) -> String {
    let hex = |text: &str| text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut parts: Vec<String> = id.split(['_', ':']).map(str::to_owned).collect();
    let last = parts.iter().rposition(|part| hex(part)).unwrap_or_else(|| panic!("{id} has no digits to turn"));
    let turned = |digit: char| char::from_digit(15 - digit.to_digit(16).unwrap(), 16).unwrap();
    parts[last] = parts[last].chars().map(turned).collect();
    let separators: Vec<char> = id.chars().filter(|char| ['_', ':'].contains(char)).collect();
    let rest: String =
        separators.iter().zip(&parts[1..]).map(|(separator, part)| format!("{separator}{part}")).collect();
    format!("{}{rest}", parts[0])
}

#[tokio::test]
async fn nodes_of_another_organisation_are_as_absent_ones() {
    let (test, _) = two_organizations().await;
    let ids = texts(&everything(&test, &test.scope()).await, &["id"]);
    assert!(ids.len() > 100, "{}", ids.len());

    let node = "query($id: ID!) { node(id: $id) { __typename id } }";
    let mut seen = BTreeSet::new();
    for id in &ids {
        let mine = test.ask(node, json!({ "id": id })).await;
        assert_eq!(mine.data()["node"]["id"], **id);
        seen.insert(mine.data()["node"]["__typename"].as_str().unwrap().to_owned());
        let theirs = test.ask_as(&test.foreign(), node, json!({ "id": id })).await;
        let absent = test.ask_as(&test.foreign(), node, json!({ "id": twin(id) })).await;
        assert_eq!(theirs.body, json!({ "data": { "node": null } }), "{id}");
        assert_eq!(theirs.body, absent.body, "{id}");
        // The work is the same as well, so that a clock tells no more than the answer.
        assert_eq!(theirs.calls, absent.calls, "{id}");
    }
    let possible = test.ask("{ __type(name: \"Node\") { possibleTypes { name } } }", json!({})).await;
    let possible = possible.data()["__type"]["possibleTypes"].as_array().unwrap();
    let possible: BTreeSet<_> = possible.iter().map(|ty| ty["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(seen, possible, "the ids above are of every type that `node` can answer");

    let nodes = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }";
    let ids: Vec<&String> = ids.iter().collect();
    for ids in ids.chunks(100) {
        let nothing = json!({ "data": { "nodes": vec![Value::Null; ids.len()] } });
        let twins: Vec<String> = ids.iter().map(|id| twin(id)).collect();
        assert_eq!(test.ask_as(&test.foreign(), nodes, json!({ "ids": ids })).await.body, nothing);
        assert_eq!(test.ask_as(&test.foreign(), nodes, json!({ "ids": twins })).await.body, nothing);
    }

    // It is not blind: it sees its own, and the demo organisation does not.
    for id in STRANGER.global_ids() {
        assert_eq!(test.ask_as(&test.foreign(), node, json!({ "id": id })).await.data()["node"]["id"], *id);
        assert_eq!(test.ask(node, json!({ "id": id })).await.body, json!({ "data": { "node": null } }));
    }
    test.app.stop().await;
}

/// Fields whose texts would give another organisation away.
const TELLING: [&str; 22] = [
    "id",
    "handle",
    "name",
    "title",
    "text",
    "bio",
    "voice",
    "email",
    "address",
    "prefix",
    "fileName",
    "sha256",
    "description",
    "objective",
    "transaction",
    "blockHash",
    "entityId",
    "counterparty",
    "conversation",
    "topic",
    "from",
    "to",
];

#[tokio::test]
async fn no_root_field_shows_another_organisation() {
    let (test, _) = two_organizations().await;
    let mut mine = everything(&test, &test.scope()).await;
    let theirs = everything(&test, &test.foreign()).await;
    let own = STRANGER.global_ids();
    for (name, answer) in &theirs {
        let rows = |expected: &[&str]| {
            let ids: BTreeSet<&str> =
                answer["nodes"].as_array().unwrap().iter().filter_map(|node| node["id"].as_str()).collect();
            assert_eq!(ids, expected.iter().copied().collect::<BTreeSet<_>>(), "{name}");
            assert!(answer["totalCount"].is_null() || answer["totalCount"] == expected.len(), "{name}: {answer}");
        };
        let id = |kind: &str| own.iter().find(|id| id.starts_with(&format!("{kind}_"))).unwrap().as_str();
        match name.as_str() {
            "personas" | "campaigns" | "videos" | "posts" => rows(&[id(&name[..name.len() - 1])]),
            "assets" | "wallets" | "ledgerEntries" | "billingRecords" | "renderEvents" => rows(&[]),
            // The word asked for is one of the demo data; the facets count hits.
            "search" => {
                assert_eq!(answer["totalCount"], 0);
                assert_eq!(answer["nodes"], json!([]));
                assert!(
                    answer["facets"].as_array().unwrap().iter().all(|facet| facet["counts"] == json!([])),
                    "{answer}"
                );
            }
            "auditLog" => {
                let about: BTreeSet<String> = answer["nodes"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|entry| entry["entityId"].as_str().unwrap().to_owned())
                    .collect();
                let mut expected: BTreeSet<String> = STRANGER.ids().iter().map(|(_, id)| id.to_string()).collect();
                expected.insert(Uuid::from_u128(93).to_string());
                assert_eq!(about, expected);
                assert_eq!(answer["totalCount"], 7);
            }
            "queues" | "trending" => assert_eq!(*answer, json!([]), "{name}"),
            "queue" => {
                for count in ["scheduled", "ready", "leased", "dead", "completed"] {
                    assert_eq!(answer[count], 0, "{count}");
                }
                assert_eq!((&answer["tasks"]["nodes"], &answer["oldestReadyAt"]), (&json!([]), &Value::Null));
            }
            "renderStats" => {
                assert_eq!((&answer["total"]["count"], &answer["total"]["failed"]), (&json!(0), &json!(0)));
                assert_eq!((&answer["total"]["sum"], &answer["costMicros"]), (&Value::Null, &json!("0")));
                assert!(answer["buckets"].as_array().unwrap().iter().all(|bucket| bucket["aggregate"]["count"] == 0));
            }
            "spendReport" => assert_eq!(*answer, json!({ "rows": [], "hasMore": false })),
            "persona" => assert!(answer.is_null(), "it was asked for by a handle of the demo organisation"),
            "organization" => assert_eq!(answer["id"], id("organization")),
            "viewer" => assert_eq!(
                (&answer["organization"]["id"], &answer["user"]["id"]),
                (&json!(id("organization")), &json!(id("user")))
            ),
            other => panic!("say what another organisation may see in {other}"),
        }
    }

    // Whatever the fields are called: no telling text of the demo organisation is anywhere in what the other one sees.
    // The name of a queue is the word it was asked for.
    mine.remove("queue");
    mine.remove("queues");
    let (mine, theirs) = (texts(&mine, &TELLING), json!(theirs).to_string());
    let telling: Vec<&String> = mine.iter().filter(|text| text.len() >= 6).collect();
    assert!(telling.len() > 200, "{}", telling.len());
    for text in telling {
        assert!(!theirs.contains(json!(text).to_string().trim_matches('"')), "{text}");
    }
    test.app.stop().await;
}

#[tokio::test]
async fn nothing_of_another_organisation_is_found() {
    let (test, _) = two_organizations().await;
    let mine = everything(&test, &test.scope()).await;
    let search = "query($query: String!, $filter: SearchFilter) { search(query: $query, filter: $filter, facets: [TYPE, TAGS, STATUS, CATEGORY, PLATFORM])
        { totalCount nodes { title item { ... on Persona { id } } } facets { counts { value count } } } }";
    let words = texts(&mine, &["title", "handle", "topic", "text", "objective"]);
    assert!(words.len() > 20);
    for query in words.iter().filter(|query| query.len() <= 1024) {
        let found = test.ask_as(&test.foreign(), search, json!({ "query": query })).await;
        assert_eq!(found.data()["search"]["totalCount"], 0, "{query}: {:#}", found.body);
        assert!(found.data()["search"]["facets"].as_array().unwrap().iter().all(|facet| facet["counts"] == json!([])));
    }
    let all = test.ask_as(&test.foreign(), search, json!({ "query": "" })).await;
    assert_eq!(all.data()["search"]["totalCount"], 4, "its persona, campaign, video and post");

    // Every argument of a query that takes an id, other than `node` and `nodes`.
    let sdl = Sdl::read();
    let mut paths = BTreeSet::new();
    for ty in sdl.objects().filter(|ty| *ty != "Mutation") {
        for field in sdl.fields(ty) {
            for argument in &field.arguments {
                paths.extend(
                    sdl.id_paths(&argument.node).into_iter().map(|path| format!("{ty}.{}({path})", field.name.node)),
                );
            }
        }
    }
    let tested =
        ["Query.node(id)", "Query.nodes(ids)", "Query.search(filter.campaignId)", "Query.search(filter.personaId)"];
    assert_eq!(paths, tested.map(str::to_owned).into(), "test the new id arguments here");
    for (filter, list) in [("personaId", "personas"), ("campaignId", "campaigns")] {
        for node in mine[list]["nodes"].as_array().unwrap() {
            let variables = json!({ "query": "", "filter": { filter: node["id"] } });
            assert_ne!(test.ask(search, variables.clone()).await.data()["search"]["totalCount"], 0);
            let theirs = test.ask_as(&test.foreign(), search, variables).await;
            let absent = json!({ "query": "", "filter": { filter: twin(node["id"].as_str().unwrap()) } });
            assert_eq!(theirs.data()["search"]["totalCount"], 0);
            assert_eq!(theirs.body, test.ask_as(&test.foreign(), search, absent).await.body);
        }
    }

    let trending = "{ trending(window: \"P365D\", limit: 100) { topic count } }";
    assert_ne!(test.ask(trending, json!({})).await.data()["trending"], json!([]));
    assert_eq!(test.ask_as(&test.foreign(), trending, json!({})).await.data()["trending"], json!([]));
    let log = "query($filter: AuditFilter) { auditLog(filter: $filter) { totalCount nodes { id } } }";
    for filter in
        [json!({ "action": ["seed"] }), json!({ "actor": [format!("user:{}", seed::demo().user_id), "system"] })]
    {
        assert_ne!(test.ask(log, json!({ "filter": filter })).await.data()["auditLog"]["totalCount"], 0);
        let theirs = test.ask_as(&test.foreign(), log, json!({ "filter": filter })).await;
        assert_eq!(theirs.data()["auditLog"], json!({ "totalCount": 0, "nodes": [] }));
    }
    test.app.stop().await;
}

/// The ids that mutations are tried with.
struct Ids {
    persona: String,
    campaign: String,
    post: String,
    video: String,
    asset: String,
    task: String,
    memory: String,
    api_key: String,
    address: String,
    /// The token of the worker who holds the task.
    token: String,
}

impl Ids {
    /// Of the demo organisation.
    async fn of_demo(test: &TestApp, token: String) -> Self {
        let all = everything(test, &test.scope()).await;
        let ids = texts(&all, &["id"]);
        let id = |kind: &str| ids.iter().find(|id| id.starts_with(&format!("{kind}_"))).unwrap().clone();
        let leased =
            all["queue"]["tasks"]["nodes"].as_array().unwrap().iter().find(|task| task["state"] == "LEASED").unwrap();
        Self {
            persona: id("persona"),
            campaign: id("campaign"),
            post: id("post"),
            video: id("video"),
            asset: id("asset"),
            task: leased["id"].as_str().unwrap().to_owned(),
            memory: id("memory"),
            api_key: id("apiKey"),
            address: all["wallets"]["nodes"][0]["address"].as_str().unwrap().to_owned(),
            token,
        }
    }

    /// Ids that name nothing.
    fn twins(&self) -> Self {
        Self {
            persona: twin(&self.persona),
            campaign: twin(&self.campaign),
            post: twin(&self.post),
            video: twin(&self.video),
            asset: twin(&self.asset),
            task: twin(&self.task),
            memory: twin(&self.memory),
            api_key: twin(&self.api_key),
            address: twin(&self.address),
            token: self.token.clone(),
        }
    }
}

/// One id argument of one mutation.
struct Case {
    mutation: &'static str,
    /// Where the id stands; empty for a mutation that takes none.
    path: &'static str,
    /// What `userErrors` may say of an id that is not the caller's.
    codes: &'static [&'static str],
    /// The input: the id at `path` is one of these, all others are the stranger's own.
    input: fn(&Ids) -> Value,
}

const NOT_FOUND: &[&str] = &["NOT_FOUND"];
/// A hold is lost in the same way whether the task is another's, gone, or held by somebody else.
const LOST: &[&str] = &["CONFLICT"];

fn own(kind: &str) -> String {
    STRANGER.global_ids().into_iter().find(|id| id.starts_with(&format!("{kind}_"))).unwrap()
}

fn case(mutation: &'static str, path: &'static str, input: fn(&Ids) -> Value) -> Case {
    Case { mutation, path, codes: NOT_FOUND, input }
}

/// Every mutation and every id argument of each.
fn cases() -> Vec<Case> {
    let mut all = content_cases();
    all.extend(traffic_cases());
    all.extend(admin_cases());
    all
}

/// Mutations of content: they need the role EDITOR.
fn content_cases() -> Vec<Case> {
    vec![
        case("createPersona", "", |_| json!({ "handle": "new.face", "name": "New Face" })),
        case("updatePersona", "input.id", |ids| json!({ "id": ids.persona, "name": "Taken Over" })),
        // Where the mutation leaves it to the database to refuse the reference, the code is INVALID.
        Case {
            codes: &["NOT_FOUND", "INVALID"],
            ..case("updatePersona", "input.avatarId", |ids| json!({ "id": own("persona"), "avatarId": ids.asset }))
        },
        case(
            "definePersona",
            "input.id",
            |ids| json!({ "id": ids.persona, "definition": { "bio": "Taken over.", "voice": "Loud" } }),
        ),
        case(
            "createCampaign",
            "input.personaIds",
            |ids| json!({ "name": "Raid", "objective": "Take", "personaIds": [ids.persona] }),
        ),
        case("updateCampaign", "input.id", |ids| json!({ "id": ids.campaign, "name": "Taken Over" })),
        case(
            "addCampaignPersonas",
            "input.campaignId",
            |ids| json!({ "campaignId": ids.campaign, "personaIds": [own("persona")] }),
        ),
        case(
            "addCampaignPersonas",
            "input.personaIds",
            |ids| json!({ "campaignId": own("campaign"), "personaIds": [ids.persona] }),
        ),
        case(
            "removeCampaignPersonas",
            "input.campaignId",
            |ids| json!({ "campaignId": ids.campaign, "personaIds": [own("persona")] }),
        ),
        case(
            "removeCampaignPersonas",
            "input.personaIds",
            |ids| json!({ "campaignId": own("campaign"), "personaIds": [ids.persona] }),
        ),
        case(
            "createPost",
            "input.personaId",
            |ids| json!({ "personaId": ids.persona, "text": "Raid", "platform": "x" }),
        ),
        case(
            "createPost",
            "input.campaignId",
            |ids| json!({ "personaId": own("persona"), "campaignId": ids.campaign, "text": "Raid", "platform": "x" }),
        ),
        case(
            "createPost",
            "input.videoId",
            |ids| json!({ "personaId": own("persona"), "videoId": ids.video, "text": "Raid", "platform": "x" }),
        ),
        case("updatePost", "input.id", |ids| json!({ "id": ids.post, "text": "Taken over" })),
        case("updatePost", "input.campaignId", |ids| json!({ "id": own("post"), "campaignId": ids.campaign })),
        case("updatePost", "input.videoId", |ids| json!({ "id": own("post"), "videoId": ids.video })),
        case("publishPost", "input.id", |ids| json!({ "id": ids.post })),
        case("createVideo", "input.personaId", |ids| json!({ "personaId": ids.persona, "title": "Raid" })),
        case(
            "createVideo",
            "input.campaignId",
            |ids| json!({ "personaId": own("persona"), "campaignId": ids.campaign, "title": "Raid" }),
        ),
        case(
            "createVideo",
            "input.assetId",
            |ids| json!({ "personaId": own("persona"), "assetId": ids.asset, "title": "Raid" }),
        ),
        case(
            "createVideo",
            "input.thumbnailId",
            |ids| json!({ "personaId": own("persona"), "thumbnailId": ids.asset, "title": "Raid" }),
        ),
        case("updateVideo", "input.id", |ids| json!({ "id": ids.video, "title": "Taken Over" })),
        case("updateVideo", "input.campaignId", |ids| json!({ "id": own("video"), "campaignId": ids.campaign })),
        case("updateVideo", "input.assetId", |ids| json!({ "id": own("video"), "assetId": ids.asset })),
        case("updateVideo", "input.thumbnailId", |ids| json!({ "id": own("video"), "thumbnailId": ids.asset })),
        case(
            "requestUpload",
            "input.sourceAssetId",
            |ids| json!({ "kind": "IMAGE", "contentType": "image/png", "sizeBytes": "3", "sha256": "0".repeat(64), "sourceAssetId": ids.asset }),
        ),
        case("completeUpload", "input.id", |ids| json!({ "id": ids.asset })),
        case("restoreAssetVersion", "input.id", |ids| json!({ "id": ids.asset, "version": "1" })),
        case(
            "rememberMemories",
            "input.personaId",
            |ids| json!({ "personaId": ids.persona, "memories": [{ "text": "Raided" }] }),
        ),
        case("forgetMemories", "input.ids", |ids| json!({ "ids": [ids.memory] })),
    ]
}

/// What machines report: it needs the role EDITOR.
fn traffic_cases() -> Vec<Case> {
    vec![
        case(
            "recordInteractions",
            "input.personaId",
            |ids| json!({ "personaId": ids.persona, "interactions": [{ "channel": "x", "counterparty": "@x", "outbound": true, "text": "Raid" }] }),
        ),
        case(
            "appendTurns",
            "input.personaId",
            |ids| json!({ "personaId": ids.persona, "turns": [{ "conversation": "instagram:@stargazer_88", "role": "USER", "text": "Raid" }] }),
        ),
        case(
            "recordRenderEvents",
            "input.events.videoId",
            |ids| json!({ "events": [{ "videoId": ids.video, "stage": "RENDER", "at": "2026-01-02T11:00:00Z", "duration": "PT1S" }] }),
        ),
        case(
            "enqueueTasks",
            "input.tasks.personaId",
            |ids| json!({ "tasks": [{ "queue": "render", "kind": "raid", "personaId": ids.persona }] }),
        ),
        case(
            "enqueueTasks",
            "input.tasks.campaignId",
            |ids| json!({ "tasks": [{ "queue": "render", "kind": "raid", "campaignId": ids.campaign }] }),
        ),
        case("reserveTasks", "", |_| json!({ "queue": "nobody", "worker": "raider" })),
        Case {
            codes: LOST,
            ..case(
                "heartbeatTasks",
                "input.holds.taskId",
                |ids| json!({ "holds": [{ "taskId": ids.task, "token": ids.token, "progress": 0.5 }] }),
            )
        },
        Case {
            codes: LOST,
            ..case(
                "completeTasks",
                "input.holds.taskId",
                |ids| json!({ "holds": [{ "taskId": ids.task, "token": ids.token }] }),
            )
        },
        Case {
            codes: LOST,
            ..case(
                "failTasks",
                "input.holds.taskId",
                |ids| json!({ "holds": [{ "taskId": ids.task, "token": ids.token, "error": "raid" }] }),
            )
        },
        case("replayTasks", "input.ids", |ids| json!({ "ids": [ids.task] })),
    ]
}

/// Wallets, money and keys: they need the role ADMIN.
fn admin_cases() -> Vec<Case> {
    vec![
        case("createWallet", "input.personaId", |ids| json!({ "personaId": ids.persona, "chain": "LOCAL" })),
        // Wallets are named by their address.
        case("submitTransaction", "input.operations.transfer.from", |ids| {
            let transfer = json!({ "from": ids.address, "to": format!("local:{}", "0".repeat(40)), "token": { "symbol": "USDC", "decimals": 6 }, "amount": "1" });
            json!({ "chain": "LOCAL", "operations": [{ "transfer": transfer }], "idempotencyKey": "raid" })
        }),
        case(
            "createBillingRecord",
            "input.campaignId",
            |ids| json!({ "kind": "RENDER", "amount": { "amountMinor": "1", "currency": "USD" }, "campaignId": ids.campaign }),
        ),
        case(
            "createBillingRecord",
            "input.personaId",
            |ids| json!({ "kind": "RENDER", "amount": { "amountMinor": "1", "currency": "USD" }, "personaId": ids.persona }),
        ),
        case("createApiKey", "", |_| json!({ "name": "raid", "role": "ADMIN" })),
        case("revokeApiKey", "input.id", |ids| json!({ "id": ids.api_key })),
    ]
}

/// The cases of the mutations that the schema has.
fn present(sdl: &Sdl, cases: Vec<Case>) -> Vec<Case> {
    let served: BTreeSet<&str> = sdl.fields("Mutation").iter().map(|field| field.name.node.as_str()).collect();
    cases.into_iter().filter(|case| served.contains(case.mutation)).collect()
}

async fn mutate(test: &TestApp, scope: &Scope, sdl: &Sdl, mutation: &str, input: Value) -> Value {
    let fields = sdl.fields("Mutation");
    let field = fields.into_iter().find(|field| field.name.node == mutation).unwrap();
    let [input_argument] = field.arguments.as_slice() else { panic!("{mutation} has one argument, `input`") };
    assert_eq!(input_argument.node.name.node, "input", "{mutation}");
    let ty = named(&input_argument.node.ty.node);
    let document =
        format!("mutation($input: {ty}!) {{ {mutation}(input: $input) {{ userErrors {{ code field message }} }} }}");
    test.ask_as(scope, &document, json!({ "input": input })).await.body
}

#[tokio::test]
async fn nothing_of_another_organisation_can_be_changed() {
    let (test, token) = two_organizations().await;
    let sdl = Sdl::read();
    let theirs = Ids::of_demo(&test, token).await;
    let absent = theirs.twins();
    let before = (everything(&test, &test.scope()).await, everything(&test, &test.foreign()).await);
    let mut covered = BTreeSet::new();
    for case in present(&sdl, cases()) {
        covered.insert((case.mutation.to_owned(), case.path.to_owned()));
        if case.path.is_empty() {
            continue;
        }
        let context = format!("{}({})", case.mutation, case.path);
        let refused = mutate(&test, &test.foreign(), &sdl, case.mutation, (case.input)(&theirs)).await;
        let errors =
            refused["data"][case.mutation]["userErrors"].as_array().unwrap_or_else(|| panic!("{context}: {refused:#}"));
        assert!(!errors.is_empty(), "{context} was accepted");
        for error in errors {
            assert!(case.codes.contains(&error["code"].as_str().unwrap()), "{context}: {error}");
        }
        // What is another's is told from what does not exist by no word.
        let unknown = mutate(&test, &test.foreign(), &sdl, case.mutation, (case.input)(&absent)).await;
        assert_eq!(refused, unknown, "{context}");
    }
    for field in sdl.fields("Mutation") {
        let name = field.name.node.to_string();
        assert!(covered.iter().any(|(mutation, _)| *mutation == name), "add a case for the mutation {name}");
        for argument in &field.arguments {
            for path in sdl.id_paths(&argument.node) {
                assert!(covered.contains(&(name.clone(), path.clone())), "add a case for the id {name}({path})");
            }
        }
    }
    if covered.iter().any(|(mutation, _)| mutation == "reserveTasks") {
        let reserve = "mutation { reserveTasks(input: { queue: \"render\", worker: \"raider\", count: 100 }) { tasks { id } userErrors { code } } }";
        let answer = test.ask_as(&test.foreign(), reserve, json!({})).await;
        assert_eq!(answer.data()["reserveTasks"], json!({ "tasks": [], "userErrors": [] }));
    }
    let after = (everything(&test, &test.scope()).await, everything(&test, &test.foreign()).await);
    assert_eq!(before, after);
    test.app.stop().await;
}

#[tokio::test]
async fn each_role_does_what_it_may_and_no_more() {
    let (test, token) = two_organizations().await;
    let sdl = Sdl::read();
    let ids = Ids::of_demo(&test, token).await;
    let scope = |role| Scope::new(seed::demo().organization_id, Principal::User(seed::demo().user_id), role);
    let (viewer, editor) = (scope(Role::Viewer), scope(Role::Editor));
    let code = |body: &Value| body["errors"][0]["extensions"]["code"].as_str().map(str::to_owned);

    let before = everything(&test, &test.scope()).await;
    let admins: BTreeSet<_> = present(&sdl, admin_cases()).iter().map(|case| case.mutation).collect();
    for case in present(&sdl, cases()) {
        for scope in [Some(&viewer), admins.contains(case.mutation).then_some(&editor)].into_iter().flatten() {
            let body = mutate(&test, scope, &sdl, case.mutation, (case.input)(&ids)).await;
            assert_eq!(code(&body).as_deref(), Some("FORBIDDEN"), "{} as {:?}: {body:#}", case.mutation, scope.role());
            assert_eq!(body["data"][case.mutation], Value::Null, "{}", case.mutation);
            // Nothing is looked up for a caller who may not ask: an absent id is refused in the same words.
            let absent = mutate(&test, scope, &sdl, case.mutation, (case.input)(&ids.twins())).await;
            assert_eq!(body, absent, "{}", case.mutation);
        }
    }
    assert_eq!(before, everything(&test, &test.scope()).await);

    // Keys and the audit log are shown to administrators alone, and there is no other way to them.
    let mut ways = BTreeSet::new();
    for ty in sdl.objects().filter(|ty| !["Edge", "Connection", "Payload"].iter().any(|end| ty.ends_with(end))) {
        for field in sdl.fields(ty) {
            if ["ApiKey", "ApiKeyConnection", "AuditEntry", "AuditEntryConnection"].contains(&named(&field.ty.node)) {
                assert!(!is_list(field));
                ways.insert(format!("{ty}.{}", field.name.node));
            }
        }
    }
    // `Viewer.apiKey` is the key the caller shows.
    assert_eq!(ways, ["Organization.apiKeys", "Query.auditLog", "Viewer.apiKey"].map(str::to_owned).into());
    let entry = before["auditLog"]["nodes"][0]["id"].as_str().unwrap().to_owned();
    let node = "query($id: ID!) { node(id: $id) { __typename } }";
    let nodes = "query($id: ID!) { nodes(ids: [$id]) { __typename } }";
    let asked = [
        ("{ auditLog { nodes { id } } }", "auditLog", Value::Null),
        ("{ organization { apiKeys { nodes { id } } } }", "organization.apiKeys", Value::Null),
        (node, "node", json!(ids.api_key)),
        (node, "node", json!(twin(&ids.api_key))),
        (nodes, "nodes.0", json!(ids.api_key)),
        (node, "node", json!(entry)),
        (node, "node", json!(twin(&entry))),
        (nodes, "nodes.0", json!(entry)),
    ];
    for (document, path, id) in asked {
        for scope in [&viewer, &editor] {
            let answer = test.ask_as(scope, document, json!({ "id": id })).await;
            assert_eq!(
                answer.errors(),
                [(path.to_owned(), "FORBIDDEN".to_owned())],
                "{document} as {:?}",
                scope.role()
            );
            assert!(
                answer.calls.keys().all(|(_, operation)| !operation.contains("audit") && !operation.contains("key")),
                "{:?}",
                answer.calls
            );
        }
    }
    for scope in [&viewer, &editor] {
        let answer = test
            .ask_as(scope, "{ viewer { role apiKey { id } user { email } } personas { totalCount } }", json!({}))
            .await;
        assert_eq!(
            (&answer.data()["viewer"]["apiKey"], &answer.data()["personas"]["totalCount"]),
            (&Value::Null, &json!(3))
        );
    }

    // Last, because it changes things: an editor is not forbidden what editors may.
    for case in present(&sdl, cases()).iter().filter(|case| !admins.contains(case.mutation)) {
        let body = mutate(&test, &editor, &sdl, case.mutation, (case.input)(&ids)).await;
        assert_eq!(code(&body), None, "{}: {body:#}", case.mutation);
    }
    test.app.stop().await;
}
