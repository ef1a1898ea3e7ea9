//! Serves GraphiQL, the page on which people explore the API, from bytes the binary carries.
//!
//! The build script makes the page out of `frontend/` and the example documents out of `docs/queries/`. A build
//! without npm has no page: `/graphiql` then answers 404 and says how to get it. Nothing here knows the schema, and the
//! page asks no host but the one it came from; the `Content-Security-Policy` makes browsers insist on that.
//!
//! Meant to be mounted with two routes: `/graphiql` to [`index`] and `/graphiql/{path:.*}` to [`file`](fn@file).

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpResponse, web};
use serde_json::json;

include!(concat!(env!("OUT_DIR"), "/graphiql_assets.rs"));
include!(concat!(env!("OUT_DIR"), "/graphiql_examples.rs"));

/// Scripts, workers and requests of this origin only. Monaco, the editor, writes styles into the page and starts some
/// workers from blobs; icons and fonts may be data URLs. `connect-src 'self'` includes the WebSocket of this origin.
const POLICY: &str = "default-src 'none'; script-src 'self'; worker-src 'self' blob:; connect-src 'self'; \
                      style-src 'self' 'unsafe-inline'; font-src 'self' data:; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The names below `assets/` contain a hash of the content, so a copy of one never goes stale.
const HASHED: &str = "assets/";

const MISSING: &str = "this server was built without GraphiQL: build it again with Node 20.19 or later with npm on the PATH and \
                       without CHIMERA_SKIP_FRONTEND\n";

/// The content type and the bytes of a file of the page; `path` is relative to `/graphiql/`.
pub fn asset(path: &str) -> Option<(&'static str, &'static [u8])> {
    ASSETS.iter().find(|(name, ..)| *name == path).map(|(_, content_type, bytes)| (*content_type, *bytes))
}

/// Whether the page was built into this binary.
pub fn available() -> bool {
    asset("index.html").is_some()
}

/// The example documents as the page reads them: an array of `{name, query, variables}`, the one to open first in
/// front. `variables` is JSON text, empty where a document takes none.
pub fn examples_json() -> String {
    let examples =
        EXAMPLES.iter().map(|(name, query, variables)| json!({ "name": name, "query": query, "variables": variables }));
    serde_json::Value::from_iter(examples).to_string()
}

/// `GET /graphiql`: the page, or a 404 that says how to get it.
pub async fn index() -> HttpResponse {
    match asset("index.html") {
        Some((content_type, bytes)) => response("index.html", content_type, bytes),
        None => HttpResponse::NotFound().content_type("text/plain; charset=utf-8").body(MISSING),
    }
}

/// `GET /graphiql/{path}`: the page for an empty path, the example documents for `examples.json`, otherwise a file.
pub async fn file(path: web::Path<String>) -> HttpResponse {
    match path.as_str() {
        "" => index().await,
        "examples.json" => response("examples.json", "application/json", examples_json()),
        path => match asset(path) {
            Some((content_type, bytes)) => response(path, content_type, bytes),
            None => HttpResponse::new(StatusCode::NOT_FOUND),
        },
    }
}

fn response(path: &str, content_type: &'static str, body: impl Into<web::Bytes>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((CACHE_CONTROL, cache_control(path)))
        // On every file: a worker obeys the policy its own script came with, not that of the page.
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(body.into())
}

fn cache_control(path: &str) -> &'static str {
    if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, HttpResponse, web};

    use super::*;

    async fn get(uri: &str) -> HttpResponse {
        let app = App::new().route("/graphiql", web::get().to(index)).route("/graphiql/{path:.*}", web::get().to(file));
        let app = init_service(app).await;
        let (_, answer) = call_service(&app, TestRequest::get().uri(uri).to_request()).await.into_parts();
        answer.map_into_boxed_body()
    }

    fn header(answer: &HttpResponse, name: impl actix_web::http::header::AsHeaderName) -> &str {
        answer.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    #[actix_web::test]
    async fn the_page_is_served_with_and_without_a_slash_or_says_how_to_get_it() {
        for uri in ["/graphiql", "/graphiql/"] {
            let answer = get(uri).await;
            if available() {
                assert_eq!(answer.status(), StatusCode::OK, "{uri}");
                assert_eq!(header(&answer, CACHE_CONTROL), "no-cache", "a new build must reach the browser");
                assert_eq!(header(&answer, CONTENT_SECURITY_POLICY), POLICY);
            } else {
                assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{uri}");
                let body = to_bytes(answer.into_body()).await.unwrap();
                assert!(String::from_utf8_lossy(&body).contains("npm"), "the answer names what is missing");
            }
        }
    }

    #[actix_web::test]
    async fn every_file_of_the_page_is_served_as_what_it_is() {
        for (path, content_type, bytes) in ASSETS {
            let answer = get(&format!("/graphiql/{path}")).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            assert_eq!(header(&answer, "content-type"), *content_type, "{path}");
            assert_eq!(header(&answer, CACHE_CONTROL).contains("immutable"), path.starts_with("assets/"), "{path}");
            assert_ne!(*content_type, "application/octet-stream", "{path}: add its type to build.rs");
            assert_eq!(to_bytes(answer.into_body()).await.unwrap().as_ref(), *bytes, "{path}");
        }
    }

    #[actix_web::test]
    async fn an_unknown_file_is_absent() {
        for path in ["nothing.js", "../Cargo.toml", "assets/", "index.html/"] {
            assert_eq!(get(&format!("/graphiql/{path}")).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[actix_web::test]
    async fn examples_are_json_with_the_overview_in_front() {
        let answer = get("/graphiql/examples.json").await;
        assert_eq!(header(&answer, "content-type"), "application/json");
        let body = to_bytes(answer.into_body()).await.unwrap();
        let examples: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
        assert_eq!(examples.len(), EXAMPLES.len());
        let names: Vec<_> = EXAMPLES.iter().map(|(name, ..)| *name).collect();
        assert!(!names.contains(&"overview") || names.starts_with(&["overview"]), "{names:?}");
        assert!(names.get(1..).unwrap_or_default().is_sorted(), "{names:?}");
        for example in examples {
            let variables = example["variables"].as_str().unwrap();
            assert!(variables.is_empty() || serde_json::from_str::<serde_json::Value>(variables).is_ok(), "{example}");
        }
    }

    #[test]
    fn the_policy_allows_no_foreign_host() {
        for word in POLICY.split([' ', ';']).filter(|word| !word.is_empty()) {
            assert!(!word.contains('*') && !word.contains("//") && word != "'unsafe-eval'", "{word}");
        }
        assert!(POLICY.contains("script-src 'self';"), "no inline script");
    }
}
