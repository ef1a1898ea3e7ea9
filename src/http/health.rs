//! The pages for operators and balancers: `/`, `/live`, `/ready`, `/metrics`.

use super::{answer::Fault, envelope::request_id, graphiql, negotiate, negotiate::MediaType, server::State};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use chimera_stores::Store;
use serde_json::json;
use std::time::Duration;

/// The longest a store may take to say how it is.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// `GET /`: where things are.
pub(super) async fn index(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let mut links =
        vec![("GraphQL", "/graphql"), ("liveness", "/live"), ("readiness", "/ready"), ("metrics", "/metrics")];
    if state.parts.settings.graphiql && graphiql::available() {
        links.insert(1, ("GraphiQL", "/graphiql"));
    }
    let docs = env!("CARGO_PKG_REPOSITORY");
    if negotiate::names_html(request.headers()) {
        let docs = (!docs.is_empty()).then_some(("documentation", docs));
        let items: String =
            links.iter().chain(&docs).map(|(name, to)| format!("<li><a href=\"{to}\">{name}</a></li>")).collect();
        let page = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Chimera</title>\
             <meta name=\"viewport\" content=\"width=device-width\"><h1>Chimera data API</h1><ul>{items}</ul></html>\n"
        );
        return HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .insert_header((
                header::CONTENT_SECURITY_POLICY,
                "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
            ))
            .body(page);
    }
    let links: serde_json::Map<_, _> = links.iter().map(|(name, to)| ((*name).to_owned(), json!(to))).collect();
    HttpResponse::Ok().json(json!({ "name": "chimera", "version": env!("CARGO_PKG_VERSION"), "links": links }))
}

/// `GET /live`: the process runs.
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(json!({ "live": true }))
}

/// `GET /ready`: whether requests should be sent here, and how each store is. The relational store is needed; without any
/// other its own fields are null.
pub(super) async fn ready(state: web::Data<State>) -> HttpResponse {
    let check = async { tokio::time::timeout(CHECK_TIMEOUT, state.parts.readiness.check()).await.ok() };
    let stores = state.readiness.get(check).await;
    let draining = state.drain.is_draining();
    let needed = |stores: &Vec<super::StoreStatus>| stores.iter().any(|it| it.store == Store::Relational && it.ready);
    let ready = !draining && stores.as_ref().is_some_and(needed);
    let degraded: Vec<_> =
        stores.iter().flatten().filter(|it| !it.ready && it.adapter != "off").map(|it| it.store).collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    HttpResponse::build(status).insert_header((header::CACHE_CONTROL, "no-store")).json(json!({
        "ready": ready,
        "draining": draining,
        "degraded": degraded,
        "stores": stores.unwrap_or_default(),
    }))
}

/// `GET /metrics`: OpenMetrics text.
pub(super) async fn metrics(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let mut text = String::with_capacity(16 << 10);
    let written = prometheus_client::encoding::text::encode(&mut text, &state.parts.registry.lock());
    match written {
        Ok(()) => {
            HttpResponse::Ok().content_type("application/openmetrics-text; version=1.0.0; charset=utf-8").body(text)
        }
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            Fault::internal().response(&request_id(&request), MediaType::Json)
        }
    }
}
