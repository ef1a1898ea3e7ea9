//! The server as clients meet it: a real one on a free port, with a schema, a caller and stores made for the test.

use super::*;
use crate::document::{Api, Engine, Limits};
use async_graphql::{Context, Data, EmptySubscription, Error, Object, Schema};
use async_trait::async_trait;
use chimera_stores::{
    ErrorKind, Principal, Role, Scope, Store, StoreError,
    media::{ByteStream, Download, LocalMedia, ObjectVersion},
};
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

struct Query;
struct Mutation;

impl Query {
    fn hello_is_wrong(&self) -> bool {
        false
    }
}

struct Seen {
    scope: Scope,
    id: RequestId,
}

#[Object]
impl Query {
    async fn hello(&self) -> &str {
        "world"
    }
    async fn request_id(&self, context: &Context<'_>) -> String {
        context.data_unchecked::<Seen>().id.to_string()
    }
    async fn principal(&self, context: &Context<'_>) -> String {
        context.data_unchecked::<Seen>().scope.principal().label()
    }
    /// Milliseconds that the stores have.
    async fn budget(&self, context: &Context<'_>) -> Option<u64> {
        let deadline = context.data_unchecked::<Seen>().scope.deadline()?;
        Some(deadline.saturating_duration_since(Instant::now()).as_millis() as u64)
    }
    async fn sleep(&self, ms: u64) -> bool {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        true
    }
    async fn broken(&self) -> Result<Option<String>, Error> {
        Err(std::io::Error::other("password=hunter2").into())
    }
    async fn panics(&self) -> bool {
        assert!(self.hello_is_wrong(), "on purpose");
        true
    }
    async fn may_lag(&self, context: &Context<'_>) -> bool {
        context.data_unchecked::<Seen>().scope.may_lag()
    }
    async fn text(&self, length: usize) -> String {
        "abc ".repeat(length / 4)
    }
}

#[Object]
impl Mutation {
    async fn write(&self) -> bool {
        true
    }
    async fn may_lag(&self, context: &Context<'_>) -> bool {
        context.data_unchecked::<Seen>().scope.may_lag()
    }
}

struct Door;

#[async_trait]
impl Authenticator for Door {
    async fn authenticate(&self, bearer: Option<&str>) -> Result<Scope, AuthError> {
        match bearer {
            None => Ok(Scope::new(uuid::Uuid::nil(), Principal::System, Role::Viewer)),
            Some("good") => Ok(Scope::new(uuid::Uuid::nil(), Principal::User(uuid::Uuid::nil()), Role::Admin)),
            Some("nobody") => Err(AuthError::Missing),
            Some("banned") => Err(AuthError::Forbidden),
            Some("down") => Err(AuthError::Unavailable),
            Some(_) => Err(AuthError::Invalid),
        }
    }
}

struct Stores(AtomicBool);

#[async_trait]
impl Readiness for Stores {
    async fn check(&self) -> Vec<StoreStatus> {
        let status = |store: Store| StoreStatus {
            store,
            adapter: "test".to_owned(),
            place: "here".to_owned(),
            ready: store != Store::Search && (store != Store::Relational || self.0.load(Ordering::Relaxed)),
            breaker: "closed".to_owned(),
            message: (store == Store::Search).then(|| "it sleeps".to_owned()),
        };
        Store::ALL.into_iter().map(status).collect()
    }
}

#[derive(Default)]
struct Shelf(Mutex<Vec<u8>>);

#[async_trait]
impl LocalMedia for Shelf {
    async fn accept(
        &self,
        token: &str,
        content_type: Option<&str>,
        mut body: ByteStream,
    ) -> chimera_stores::Result<()> {
        let error = |kind, message: &str| Err(StoreError::new(Store::Media, kind, message));
        match token {
            "forged" => return error(ErrorKind::Forbidden, "the token is not ours"),
            "full" => return error(ErrorKind::Unavailable, "the folder is full"),
            _ => {}
        }
        let mut taken = Vec::new();
        while let Some(chunk) = body.next().await {
            let Ok(chunk) = chunk else { return error(ErrorKind::Invalid, "the sender went away") };
            taken.extend_from_slice(&chunk);
        }
        if content_type != Some("image/png") {
            return error(ErrorKind::Invalid, "another type was signed");
        }
        *self.0.lock() = taken;
        Ok(())
    }

    async fn open(&self, token: &str, range: Option<(u64, Option<u64>)>) -> chimera_stores::Result<Download> {
        if token != "good" {
            return Err(StoreError::new(Store::Media, ErrorKind::Forbidden, "the token is not ours"));
        }
        let bytes = self.0.lock().clone();
        let (first, last) = range.map_or((0, bytes.len() as u64 - 1), |(first, last)| (first, last.unwrap()));
        let part = bytes[first as usize..=last as usize].to_vec();
        Ok(Download {
            object: ObjectVersion {
                version: "1".to_owned(),
                content_type: "image/png".to_owned(),
                size_bytes: bytes.len() as u64,
                sha256: "f00d".to_owned(),
                created_at: Default::default(),
                latest: true,
            },
            file_name: Some("pörträt \"1\".png".to_owned()),
            offset: first,
            length: part.len() as u64,
            body: Box::pin(stream::iter(part.chunks(1000).map(|chunk| Ok(chunk.to_vec().into())).collect::<Vec<_>>())),
        })
    }
}

/// A running server; it ends with the test.
struct TestServer {
    address: SocketAddr,
    client: reqwest::Client,
    stop: mpsc::UnboundedSender<()>,
    ended: tokio::task::JoinHandle<Result<(), ServeError>>,
    stores: Arc<Stores>,
}

fn parts(limits: Limits) -> (Parts, Arc<Stores>) {
    let stores = Arc::new(Stores(AtomicBool::new(true)));
    let engine = Engine::new(|| Schema::build(Query, Mutation, EmptySubscription), limits.clone(), true).unwrap();
    let registry = Arc::new(Mutex::new(Registry::default()));
    engine.stats().register(&mut registry.lock());
    let parts = Parts {
        api: Arc::new(engine) as Arc<dyn Api>,
        authenticator: Arc::new(Door),
        readiness: Arc::clone(&stores) as Arc<dyn Readiness>,
        make_data: Arc::new(|scope, id| {
            let mut data = Data::default();
            data.insert(Seen { scope, id });
            data
        }),
        media: Some(Arc::new(Shelf::default())),
        registry,
        settings: HttpSettings {
            listen: ([127, 0, 0, 1], 0).into(),
            workers: 1,
            public_url: "https://api.example".parse().unwrap(),
            graphiql: true,
            shutdown_timeout: Duration::from_secs(5),
            cors_origins: vec!["https://app.example".to_owned()],
            limits,
        },
    };
    (parts, stores)
}

impl TestServer {
    fn start() -> Self {
        Self::with(Limits::default(), |_| {})
    }

    fn with(limits: Limits, change: impl FnOnce(&mut Parts)) -> Self {
        // A second installation in the same process is refused, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (mut parts, stores) = parts(limits);
        change(&mut parts);
        let bound = bind(parts).unwrap();
        let address = bound.addresses()[0];
        let (stop, signals) = mpsc::unbounded_channel();
        let ended = tokio::spawn(bound.run_until(signals));
        let client = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        Self { address, client, stop, ended, stores }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url(path))
    }

    fn post(&self, query: &str) -> reqwest::RequestBuilder {
        self.request(Method::POST, "/graphql").json(&json!({ "query": query }))
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        read(self.request(Method::GET, path)).await
    }
}

async fn read(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}")))
}

fn code(body: &Value) -> &str {
    assert!(body["errors"][0]["message"].is_string(), "{body}");
    assert!(body["errors"][0]["extensions"]["requestId"].is_string(), "{body}");
    body["errors"][0]["extensions"]["code"].as_str().unwrap()
}

const GRAPHQL: &str = "application/graphql-response+json";

#[tokio::test]
async fn statuses_follow_the_media_type() {
    let server = TestServer::start();
    for (query, graphql, json, expected) in [
        ("{ hello }", 200, 200, None),
        ("{", 400, 200, Some("GRAPHQL_PARSE_FAILED")),
        ("{ nothing }", 400, 200, Some("GRAPHQL_VALIDATION_FAILED")),
        ("query($x: Boolean!) { hello @skip(if: $x) }", 400, 200, Some("BAD_USER_INPUT")),
        ("query A { hello } query B { hello }", 400, 200, Some("OPERATION_RESOLUTION_FAILURE")),
        ("{ a: text(length: 1) }", 200, 200, None),
        ("{ broken }", 200, 200, Some("INTERNAL_ERROR")),
        ("{ panics }", 500, 500, Some("INTERNAL_ERROR")),
    ] {
        for (accept, status) in [(GRAPHQL, graphql), ("application/json", json), ("*/*", json)] {
            let answer = server.post(query).header("accept", accept).send().await.unwrap();
            assert_eq!(answer.status(), status, "{query} as {accept}");
            let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
            let expected_type = if accept == GRAPHQL { GRAPHQL } else { "application/json" };
            assert_eq!(content_type, format!("{expected_type}; charset=utf-8"));
            let body: Value = answer.json().await.unwrap();
            assert_eq!(body.get("errors").is_some(), expected.is_some(), "{body}");
            if let Some(expected) = expected {
                assert_eq!(code(&body), expected, "{query}");
            }
            let executed = status == 200 && !matches!(expected, Some(code) if code != "INTERNAL_ERROR");
            assert_eq!(body.get("data").is_some(), executed, "data stands only once execution began: {body}");
            assert!(!body.to_string().contains("hunter2"));
        }
    }
    let (status, _) = read(server.post("{ hello }").header("accept", "text/html")).await;
    assert_eq!(status, 406);
}

#[tokio::test]
async fn requests_that_are_none_are_refused_as_json() {
    let server = TestServer::start();
    let post = || server.request(Method::POST, "/graphql");
    let json_type = ("content-type", "application/json");
    let large = format!("{{\"query\":\"{}\"}}", "x".repeat(300 << 10));
    for (request, status, expected) in [
        (post().body("{ hello }"), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (post().header("content-type", "text/plain").body("{}"), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (
            post().header("content-type", "application/x-www-form-urlencoded").body("query=%7Bhello%7D"),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (post().header("content-type", "application/json; charset=latin1").body("{}"), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (
            post().header(json_type.0, json_type.1).header("content-encoding", "gzip").body("{}"),
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (post().header(json_type.0, json_type.1), 400, "BAD_REQUEST"),
        (post().header(json_type.0, json_type.1).body("{"), 400, "BAD_REQUEST"),
        (post().header(json_type.0, json_type.1).body("[]"), 400, "BATCHING_DISABLED"),
        (post().header(json_type.0, json_type.1).body(large.clone()), 413, "BODY_LIMIT_EXCEEDED"),
        (
            post().header(json_type.0, json_type.1).body(reqwest::Body::wrap_stream(stream::iter(
                (0..300).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024])),
            ))),
            413,
            "BODY_LIMIT_EXCEEDED",
        ),
        (server.request(Method::PUT, "/graphql"), 405, "METHOD_NOT_ALLOWED"),
        (server.request(Method::DELETE, "/graphql"), 405, "METHOD_NOT_ALLOWED"),
        (server.request(Method::POST, "/live"), 405, "METHOD_NOT_ALLOWED"),
        (server.request(Method::GET, "/nothing"), 404, "NOT_FOUND"),
        (server.request(Method::GET, "/media/nothing"), 404, "NOT_FOUND"),
        (server.request(Method::GET, "/media/upload/x"), 405, "METHOD_NOT_ALLOWED"),
    ] {
        let answer = request.send().await.unwrap();
        let found = answer.status();
        assert_eq!(found == 405, answer.headers().contains_key("allow"), "{expected}");
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("application/json"));
        let body: Value = answer.json().await.unwrap();
        assert_eq!((found.as_u16(), code(&body)), (status, expected), "{body}");
    }
    assert_eq!(read(server.post("{ hello }")).await.0, 200, "the server is well");
}

#[tokio::test]
async fn reading_by_get_and_never_writing() {
    let server = TestServer::start();
    let get = |query: &str| {
        let path = format!(
            "/graphql?{}",
            url::form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish()
        );
        server.request(Method::GET, &path).header("accept", GRAPHQL)
    };
    let (status, body) = read(get("{ hello }")).await;
    assert_eq!((status.as_u16(), &body["data"]["hello"]), (200, &json!("world")));
    for accept in [GRAPHQL, "application/json"] {
        let answer = get("mutation { write }").header("accept", accept).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap()), (405, "POST"));
        assert_eq!(code(&answer.json().await.unwrap()), "METHOD_NOT_ALLOWED");
    }
    let (status, body) = read(get("")).await;
    assert_eq!((status.as_u16(), code(&body)), (400, "GRAPHQL_PARSE_FAILED"));
    let (status, body) = read(server.request(Method::GET, "/graphql").header("accept", GRAPHQL)).await;
    assert_eq!((status.as_u16(), code(&body)), (400, "BAD_REQUEST"));
    assert_eq!(server.request(Method::HEAD, "/graphql").send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn what_a_browser_sends_by_itself_is_refused() {
    let server = TestServer::start();
    let get = || server.request(Method::GET, "/graphql?query=%7Bhello%7D");
    let host = format!("http://{}", server.address);
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let cases: &[(Headers, u16)] = &[
        // Links, images, frames, old browsers, tools that say nothing.
        (
            &[
                ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-site", "none"),
            ],
            403,
        ),
        (&[("accept", "image/avif,*/*"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-site", "cross-site")], 403),
        (&[("accept", "*/*")], 403),
        (&[("accept", "*/*"), ("content-type", "text/plain")], 403),
        (&[("accept", "application/json"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-site", "cross-site")], 403),
        (&[("accept", "application/json"), ("sec-fetch-mode", "cors"), ("sec-fetch-site", "cross-site")], 403),
        (&[("accept", "application/json"), ("sec-fetch-mode", "cors"), ("sec-fetch-site", "same-site")], 403),
        (&[("accept", "application/json"), ("sec-fetch-mode", "navigate")], 403),
        // Foreign pages, whatever else they say.
        (&[("origin", "https://evil.example"), ("accept", GRAPHQL)], 403),
        (&[("origin", "https://evil.example"), ("x-requested-with", "x")], 403),
        (&[("origin", "null"), ("accept", GRAPHQL)], 403),
        (&[("origin", "https://app.example.evil.example"), ("accept", GRAPHQL)], 403),
        // Programs that mean it.
        (&[("accept", GRAPHQL)], 200),
        (&[("accept", "application/json")], 200),
        (&[("accept", "*/*"), ("sec-fetch-mode", "cors")], 200),
        (&[("accept", "*/*"), ("sec-fetch-mode", "cors"), ("sec-fetch-site", "same-origin")], 200),
        (&[("accept", "*/*"), ("x-requested-with", "x")], 200),
        (&[("accept", "*/*"), ("apollo-require-preflight", "true")], 200),
        (&[("accept", "*/*"), ("authorization", "Bearer good")], 200),
        (&[("accept", "*/*"), ("content-type", "application/json")], 200),
        (
            &[
                ("origin", "https://app.example"),
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "cors"),
                ("accept", GRAPHQL),
            ],
            200,
        ),
        (&[("origin", "https://api.example"), ("accept", GRAPHQL)], 200),
        (&[("origin", &host), ("accept", GRAPHQL)], 200),
    ];
    for (headers, expected) in cases {
        let request = headers.iter().fold(get(), |request, (name, value)| request.header(*name, *value));
        let (status, body) = read(request).await;
        assert_eq!(status.as_u16(), *expected, "{headers:?}: {body}");
        if status == 403 {
            assert!(matches!(code(&body), "CSRF_PREVENTED" | "ORIGIN_NOT_ALLOWED"));
        }
    }
    let (status, _) = read(server.post("mutation { write }").header("origin", "https://evil.example")).await;
    assert_eq!(status, 403);
    let (status, _) = read(server.post("mutation { write }").header("origin", "https://app.example")).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_server_of_this_machine_alone_answers_to_no_other_name() {
    let server = TestServer::start();
    let ask = |host: &str| server.post("{ hello }").header("host", host);
    for host in ["localhost:8080", "127.0.0.1", "[::1]:80", "api.example", "app.localhost:1"] {
        assert_eq!(read(ask(host)).await.0, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "192.0.2.1", "localhost.evil.example"] {
        let (status, body) = read(ask(host)).await;
        assert_eq!((status.as_u16(), code(&body)), (403, "HOST_NOT_ALLOWED"), "{host}");
    }
    let open = TestServer::with(Limits::default(), |parts| parts.settings.listen = ([0, 0, 0, 0], 0).into());
    let url = format!("http://127.0.0.1:{}/graphql", open.address.port());
    let ask = open.client.post(url).header("host", "any.example").json(&json!({ "query": "{ hello }" }));
    assert_eq!(read(ask).await.0, 200, "what is reached by the network is reached by many names");
}

#[tokio::test]
async fn graphiql_can_be_switched_off() {
    let server = TestServer::with(Limits::default(), |parts| parts.settings.graphiql = false);
    let (status, body) = server.get("/graphiql").await;
    assert_eq!((status.as_u16(), code(&body)), (404, "NOT_FOUND"));
    assert!(server.get("/").await.1["links"].get("GraphiQL").is_none());
}

#[tokio::test]
async fn cors_names_exact_origins() {
    let server = TestServer::start();
    let preflight = |origin: &'static str, path: &str| {
        server
            .request(Method::OPTIONS, path)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,authorization")
    };
    for path in ["/graphql", "/media/upload/x"] {
        let answer = preflight("https://app.example", path).send().await.unwrap();
        assert_eq!(answer.status(), 204);
        assert_eq!(answer.headers()["access-control-allow-origin"], "https://app.example");
        for (header, part) in [
            ("access-control-allow-headers", "authorization"),
            ("access-control-allow-methods", "POST"),
            ("vary", "origin"),
        ] {
            let all: Vec<_> = answer.headers().get_all(header).iter().map(|value| value.to_str().unwrap()).collect();
            assert!(all.join(",").contains(part), "{header}: {all:?}");
        }
        assert!(!answer.headers().contains_key("access-control-allow-credentials"));
        let answer = preflight("https://evil.example", path).send().await.unwrap();
        assert_eq!(answer.status(), 403);
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
    }
    let answer = server.post("{ hello }").header("origin", "https://app.example").send().await.unwrap();
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://app.example");
    assert!(answer.headers()["access-control-expose-headers"].to_str().unwrap().contains("x-request-id"));
    let answer = server.post("{ hello }").send().await.unwrap();
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn callers_are_known_or_challenged() {
    let server = TestServer::start();
    let ask = |token: &str| server.post("{ principal }").header("authorization", token);
    let (_, body) = read(server.post("{ principal }")).await;
    assert_eq!(body["data"]["principal"], "system");
    let (_, body) = read(ask("Bearer good")).await;
    assert!(body["data"]["principal"].as_str().unwrap().starts_with("user:"));
    for (token, status, expected, challenge) in [
        ("Bearer bad", 401, "UNAUTHENTICATED", true),
        ("Bearer nobody", 401, "UNAUTHENTICATED", true),
        ("Basic Z29vZA==", 401, "UNAUTHENTICATED", true),
        ("Bearer banned", 403, "FORBIDDEN", false),
        ("Bearer down", 503, "STORE_UNAVAILABLE", false),
    ] {
        let answer = ask(token).send().await.unwrap();
        assert_eq!(answer.status(), status, "{token}");
        assert_eq!(answer.headers().contains_key("www-authenticate"), challenge);
        assert_eq!(answer.headers().contains_key("retry-after"), status == 503);
        assert_eq!(code(&answer.json().await.unwrap()), expected);
    }
    // Nobody's document is looked at before they are known.
    let (status, _) = read(server.post("{").header("authorization", "Bearer bad")).await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn every_answer_has_an_id() {
    let server = TestServer::start();
    let answer = server.post("{ requestId }").header("x-request-id", "mine-7").send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "mine-7");
    assert_eq!(answer.json::<Value>().await.unwrap()["data"]["requestId"], "mine-7");
    let (_, body) = read(server.post("{ nothing }").header("x-request-id", "mine-8")).await;
    assert_eq!(body["errors"][0]["extensions"]["requestId"], "mine-8");
    let answer = server.request(Method::GET, "/nothing").header("x-request-id", "not sane").send().await.unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert!(uuid::Uuid::parse_str(&id).is_ok(), "{id}");
    assert_eq!(answer.json::<Value>().await.unwrap()["errors"][0]["extensions"]["requestId"], id.as_str());
}

#[tokio::test]
async fn a_request_ends_at_its_deadline_and_the_stores_a_little_before() {
    let limits = Limits { request_timeout: Duration::from_millis(300), ..Limits::default() };
    let server = TestServer::with(limits, |_| {});
    let started = Instant::now();
    let (status, body) = read(server.post("{ sleep(ms: 10000) }")).await;
    assert_eq!((status.as_u16(), code(&body)), (504, "REQUEST_TIMEOUT"));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    let (_, body) = read(server.post("{ budget }")).await;
    let budget = body["data"]["budget"].as_u64().unwrap();
    assert!(budget <= 270, "{budget}");
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_too() {
    let limits = Limits { request_timeout: Duration::from_millis(300), ..Limits::default() };
    let server = TestServer::with(limits, |_| {});
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let head =
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(10), socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("BODY_TIMEOUT"), "{answer}");
}

#[tokio::test]
async fn batches_are_answered_when_they_are_allowed() {
    let server = TestServer::with(Limits { max_batch: 3, ..Limits::default() }, |_| {});
    let batch = |queries: &[&str]| {
        let all: Vec<_> = queries.iter().map(|query| json!({ "query": query })).collect();
        server.request(Method::POST, "/graphql").json(&all)
    };
    let (status, body) = read(batch(&["{ hello }", "{ nothing }", "mutation { write }"])).await;
    assert_eq!(status, 200);
    assert_eq!(body[0]["data"]["hello"], "world");
    assert_eq!(body[1]["errors"][0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED");
    assert_eq!(body[2]["data"]["write"], true);
    let (status, body) = read(batch(&["{ hello }"; 4])).await;
    assert_eq!((status.as_u16(), code(&body)), (400, "BATCH_LIMIT_EXCEEDED"));
}

#[tokio::test]
async fn large_answers_are_compressed_and_small_ones_are_not() {
    let server = TestServer::start();
    for encoding in ["gzip", "br", "zstd"] {
        let ask = |length: usize| {
            server.post(&format!("{{ text(length: {length}) }}")).header("accept-encoding", encoding).send()
        };
        let large = ask(20_000).await.unwrap();
        assert_eq!(large.headers()["content-encoding"], encoding);
        assert!(large.bytes().await.unwrap().len() < 5_000);
        let small = ask(100).await.unwrap();
        assert!(!small.headers().contains_key("content-encoding"));
        assert!(small.text().await.unwrap().starts_with("{\"data\""));
    }
    let plain = server.post("{ text(length: 20000) }").send().await.unwrap();
    assert!(!plain.headers().contains_key("content-encoding"));
}

#[tokio::test]
async fn operators_see_how_it_is() {
    let server = TestServer::start();
    assert_eq!(server.get("/live").await, (StatusCode::OK, json!({ "live": true })));
    let (status, body) = server.get("/ready").await;
    assert_eq!((status.as_u16(), &body["ready"], &body["degraded"]), (200, &json!(true), &json!(["search"])));
    let names: Vec<_> = body["stores"].as_array().unwrap().iter().map(|store| store["store"].clone()).collect();
    assert_eq!(names, Store::ALL.map(|store| json!(store.name())));
    assert_eq!(body["stores"][6]["message"], "it sleeps");

    server.stores.0.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let (status, body) = server.get("/ready").await;
    assert_eq!((status.as_u16(), &body["ready"]), (503, &json!(false)));

    for query in ["{ hello }", "{ hello }", "{ nothing }", "mutation { write }", "{ broken }"] {
        read(server.post(query)).await;
    }
    read(server.post("query secretName { hello }")).await;
    let answer = server.request(Method::GET, "/metrics").send().await.unwrap();
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text().await.unwrap();
    for line in [
        "chimera_operations_total{operation_type=\"query\",outcome=\"ok\"} 3",
        "chimera_operations_total{operation_type=\"mutation\",outcome=\"ok\"} 1",
        "chimera_operations_total{operation_type=\"unknown\",outcome=\"refused\"} 1",
        "chimera_operation_seconds_count{operation_type=\"query\"} 4",
        "chimera_document_cache_lookups_total{result=\"hit\"} 1",
        "chimera_http_answers_total{route=\"/graphql\",status=\"200\"} 6",
        "chimera_http_in_flight 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(!text.contains("secretName"), "no label is the client's word");
}

#[tokio::test]
async fn the_front_page_says_where_things_are() {
    let server = TestServer::start();
    let (status, body) = server.get("/").await;
    assert_eq!((status.as_u16(), &body["links"]["GraphQL"]), (200, &json!("/graphql")));
    let page = server.request(Method::GET, "/").header("accept", "text/html").send().await.unwrap();
    assert!(page.headers().contains_key("content-security-policy"));
    assert!(page.text().await.unwrap().contains("href=\"/graphql\""));
    let head = server.request(Method::HEAD, "/").send().await.unwrap();
    assert_eq!(head.status(), 200);
}

#[tokio::test]
async fn media_goes_in_and_out() {
    let server = TestServer::start();
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
    let put = |token: &str, body: Vec<u8>, content_type: &str| {
        server.request(Method::PUT, &format!("/media/upload/{token}")).header("content-type", content_type).body(body)
    };
    assert_eq!(put("good", bytes.clone(), "image/png").send().await.unwrap().status(), 204);
    for (token, content_type, status, expected) in [
        ("forged", "image/png", 403, "FORBIDDEN"),
        ("full", "image/png", 503, "STORE_UNAVAILABLE"),
        ("good", "text/html", 400, "BAD_USER_INPUT"),
    ] {
        let (found, body) = read(put(token, vec![1; 10], content_type)).await;
        assert_eq!((found.as_u16(), code(&body)), (status, expected));
    }
    let unsized_body = reqwest::Body::wrap_stream(stream::iter([Ok::<_, std::io::Error>("x")]));
    let (status, _) = read(server.request(Method::PUT, "/media/upload/good").body(unsized_body)).await;
    assert_eq!(status, 411);

    let get = || server.request(Method::GET, "/media/download/good").header("accept-encoding", "gzip");
    let whole = get().send().await.unwrap();
    assert_eq!(whole.status(), 200);
    for (name, value) in [
        ("content-type", "image/png"),
        ("content-length", "100000"),
        ("etag", "\"f00d\""),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
        (
            "content-disposition",
            "inline; filename=\"p_rtr_t _1_.png\"; filename*=UTF-8''p%C3%B6rtr%C3%A4t%20%221%22.png",
        ),
    ] {
        assert_eq!(whole.headers()[name], value);
    }
    assert!(whole.headers()["cache-control"].to_str().unwrap().starts_with("private"));
    assert!(!whole.headers().contains_key("content-encoding"));
    assert_eq!(whole.bytes().await.unwrap(), bytes);

    for (range, expected) in [("bytes=0-9", 0..10), ("bytes=99990-", 99_990..100_000), ("bytes=-5", 99_995..100_000)] {
        let part = get().header("range", range).send().await.unwrap();
        assert_eq!(part.status(), 206);
        let content_range = format!("bytes {}-{}/100000", expected.start, expected.end - 1);
        assert_eq!(part.headers()["content-range"], content_range.as_str());
        assert_eq!(part.bytes().await.unwrap(), bytes[expected]);
    }
    let outside = get().header("range", "bytes=100000-").send().await.unwrap();
    assert_eq!(
        (outside.status().as_u16(), outside.headers()["content-range"].to_str().unwrap()),
        (416, "bytes */100000")
    );
    assert_eq!(get().header("if-none-match", "\"f00d\"").send().await.unwrap().status(), 304);
    let head = server.request(Method::HEAD, "/media/download/good").send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()), (200, "100000"));
    let (status, body) = server.get("/media/download/forged").await;
    assert_eq!((status.as_u16(), code(&body)), (403, "FORBIDDEN"));
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let shelf = Arc::new(Shelf::default());
    let media = Arc::clone(&shelf) as Arc<dyn LocalMedia>;
    let server = TestServer::with(Limits::default(), |parts| parts.media = Some(media));
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let head = "PUT /media/upload/good HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/png\r\ncontent-length: 1000\r\n\r\nhalf";
    socket.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(socket);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(shelf.0.lock().is_empty());
    let without = TestServer::with(Limits::default(), |parts| parts.media = None);
    assert_eq!(without.get("/media/download/good").await.0, 404);
}

#[tokio::test]
async fn what_it_costs_is_told_when_asked() {
    let server = TestServer::start();
    let (_, body) = read(server.post("{ hello }").header("x-chimera-cost", "1")).await;
    assert_eq!(body["extensions"]["cost"], json!({ "complexity": 1, "depth": 1, "storeCalls": {} }));
    let (_, body) = read(server.post("{ hello }")).await;
    assert!(body.get("extensions").is_none());
}

#[tokio::test]
async fn only_queries_that_did_not_ask_for_the_latest_may_lag() {
    let server = TestServer::start();
    for (document, head, may_lag) in [
        ("{ mayLag }", "x-else", true),
        ("{ mayLag }", "x-chimera-fresh", false),
        ("mutation { mayLag }", "x-else", false),
        ("mutation { mayLag }", "x-chimera-fresh", false),
    ] {
        let (_, body) = read(server.post(document).header(head, "1")).await;
        assert_eq!(body["data"], json!({ "mayLag": may_lag }), "{document} {head}");
    }
}

#[tokio::test]
async fn open_requests_finish_and_new_ones_are_sent_away() {
    let server = TestServer::start();
    let slow = tokio::spawn(read(server.post("{ sleep(ms: 800) }")));
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let answer = server.post("{ hello }").send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(answer.headers()[header::CONNECTION], "close");
    assert_eq!(code(&answer.json().await.unwrap()), "SHUTTING_DOWN");
    assert_eq!(server.get("/live").await.0, 200);
    let (status, body) = server.get("/ready").await;
    assert_eq!((status.as_u16(), &body["draining"]), (503, &json!(true)));
    let (status, body) = slow.await.unwrap();
    assert_eq!((status.as_u16(), &body["data"]["sleep"]), (200, &json!(true)));
    let ended = tokio::time::timeout(Duration::from_secs(5), server.ended).await.expect("it ends");
    assert!(ended.unwrap().is_ok());
    assert!(TcpStream::connect(server.address).await.is_err(), "the port is free again");
}

#[tokio::test]
async fn the_end_waits_no_longer_than_it_may_and_a_second_signal_not_at_all() {
    let server = TestServer::with(Limits { request_timeout: Duration::from_secs(60), ..Limits::default() }, |parts| {
        parts.settings.shutdown_timeout = Duration::from_millis(300);
    });
    let _slow = tokio::spawn(server.post("{ sleep(ms: 30000) }").send());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let started = Instant::now();
    server.stop.send(()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), server.ended).await.expect("it ends");
    assert!(ended.unwrap().is_ok() && started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());

    let server = TestServer::with(Limits { request_timeout: Duration::from_secs(60), ..Limits::default() }, |_| {});
    let _slow = tokio::spawn(server.post("{ sleep(ms: 30000) }").send());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let started = Instant::now();
    server.stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.stop.send(()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), server.ended).await.expect("it ends").unwrap();
    assert!(matches!(ended, Err(ServeError::Interrupted)), "{ended:?}");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut parts, _) = parts(Limits::default());
    parts.settings.listen = taken.local_addr().unwrap();
    let error = bind(parts).err().unwrap();
    let text = error.to_string();
    assert!(
        text.contains(&taken.local_addr().unwrap().to_string()) && text.contains("another program listens there"),
        "{text}"
    );
}
