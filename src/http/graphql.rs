//! `POST /graphql` and `GET /graphql`.

use super::{
    answer::{self, Fault, Outcome},
    envelope::request_id,
    negotiate::{self, MediaType},
    origin,
    parts::{AuthError, RequestId},
    request::{self, Incoming, Incomings},
    server::State,
};
use crate::document::{OperationKind, Prepared, Refusal, Stage};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName},
    },
    web,
};
use async_graphql::{ServerError, Value};
use chimera_stores::{Scope, guard::CallCounter};
use futures_util::{FutureExt, future::join_all};
use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::Instrument;

const COST: HeaderName = HeaderName::from_static("x-chimera-cost");
/// Asks that a query sees every write that was acknowledged before it.
const FRESH: HeaderName = HeaderName::from_static("x-chimera-fresh");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// An operation slower than this is worth a line in the log.
const SLOW: Duration = Duration::from_secs(1);

/// Answers a GraphQL request.
pub(super) async fn graphql(http: HttpRequest, payload: web::Payload, state: web::Data<State>) -> HttpResponse {
    let id = request_id(&http);
    let headers = http.headers();
    let Some(media) = negotiate::negotiate(headers) else {
        let message = "an answer is application/graphql-response+json or application/json";
        return Fault::new(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", message).response(&id, MediaType::Json);
    };
    let incomings = match receive(&http, payload, &state).await {
        Ok(incomings) => incomings,
        Err(fault) => return fault.response(&id, media),
    };
    let scope = match state.parts.authenticator.authenticate(bearer(headers).as_deref()).await {
        Ok(scope) => scope,
        Err(error) => return refused(error).response(&id, media),
    };
    let caller = Caller {
        state: &state,
        scope,
        id: &id,
        reading: http.method() == Method::GET,
        trace: trace_id(headers),
        cost: headers.contains_key(COST),
        fresh: headers.contains_key(FRESH),
    };
    let (status, body) = match incomings {
        Incomings::One(incoming) => {
            let (outcome, cost) = caller.answer(incoming).await;
            if let Outcome::Failed(fault) = outcome {
                return fault.response(&id, media);
            }
            (outcome.status(media), outcome.body(&id, cost))
        }
        Incomings::Many(all) => {
            let bodies = join_all(all.into_iter().map(|incoming| caller.answer(incoming))).await;
            let bodies = bodies.into_iter().map(|(outcome, cost)| outcome.body(&id, cost)).collect();
            (StatusCode::OK, answer::batch(bodies))
        }
    };
    HttpResponse::build(status)
        .content_type(media.header())
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::VARY, "accept"))
        .body(body)
}

/// Any other method.
pub(super) async fn other_method(http: HttpRequest) -> HttpResponse {
    Fault::method("GET, POST").response(&request_id(&http), MediaType::Json)
}

async fn receive(http: &HttpRequest, payload: web::Payload, state: &State) -> Result<Incomings, Fault> {
    let settings = &state.parts.settings;
    origin::check(http.head(), settings)?;
    if http.method() == Method::GET {
        return request::from_query(http.query_string(), &settings.limits).map(Incomings::One);
    }
    request::check_type(http.headers())?;
    let body = request::read(http.headers(), payload, &settings.limits).await?;
    request::from_body(&body, &settings.limits)
}

/// The bearer token. An `Authorization` of another scheme counts as a token that nobody knows.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?;
    let text = value.to_str().unwrap_or_default();
    let token = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => "",
    };
    Some(token.to_owned())
}

fn refused(error: AuthError) -> Fault {
    let unauthenticated = |message: &'static str, challenge| {
        Fault::new(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", message).with(header::WWW_AUTHENTICATE, challenge)
    };
    match error {
        AuthError::Missing => unauthenticated("the header `Authorization: Bearer <API key>` is missing", "Bearer"),
        AuthError::Invalid => unauthenticated("the API key is not valid", "Bearer error=\"invalid_token\""),
        AuthError::Forbidden => Fault::new(StatusCode::FORBIDDEN, "FORBIDDEN", "this API key may not be used here"),
        AuthError::Unavailable => {
            Fault::unavailable("STORE_UNAVAILABLE", "who asks cannot be found out now; try again")
        }
    }
}

/// The trace a caller's request is part of, after the W3C's trace context.
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let parts: Vec<_> = headers.get(TRACE_PARENT)?.to_str().ok()?.split('-').collect();
    let hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    match parts.as_slice() {
        [version, trace, parent, flags, ..]
            if hex(version, 2) && *version != "ff" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2) =>
        {
            trace.bytes().any(|byte| byte != b'0').then(|| (*trace).to_owned())
        }
        _ => None,
    }
}

/// What the operations of one HTTP request share.
struct Caller<'a> {
    state: &'a State,
    scope: Scope,
    id: &'a RequestId,
    /// By GET, which must not change anything.
    reading: bool,
    trace: Option<String>,
    cost: bool,
    fresh: bool,
}

impl Caller<'_> {
    /// One operation: one span, one count, one line in the log. A defect that panics ends here.
    async fn answer(&self, incoming: Incoming) -> (Outcome, Option<Value>) {
        let span = tracing::info_span!(
            "operation",
            request_id = %self.id,
            trace_id = self.trace.as_deref(),
            principal = %self.scope.principal().label(),
            kind = tracing::field::Empty,
            name = tracing::field::Empty,
        );
        let started = Instant::now();
        let mut seen = Seen::default();
        let answered = AssertUnwindSafe(self.run(incoming, &mut seen).instrument(span.clone())).catch_unwind().await;
        let outcome = answered.unwrap_or_else(|_| {
            tracing::error!(parent: &span, "an operation panicked");
            Outcome::Failed(Fault::internal())
        });
        let took = started.elapsed();
        let kind = seen.kind.map_or("unknown", OperationKind::name);
        self.state.metrics.operation(kind, outcome.label(), seen.complexity, took);
        span.in_scope(|| log(&outcome, took, seen.complexity));
        let cost = self.cost.then(|| seen.report());
        (outcome, cost)
    }

    async fn run(&self, incoming: Incoming, seen: &mut Seen) -> Outcome {
        let Incoming { query, operation_name, variables } = incoming;
        let parts = &self.state.parts;
        let prepared = match parts.api.prepare(&query, operation_name.as_deref(), variables) {
            Ok(prepared) => prepared,
            Err(refusal) => return Outcome::Refused(refusal),
        };
        drop(query);
        seen.prepared(&prepared);
        match prepared.kind {
            OperationKind::Mutation if self.reading => return Outcome::Failed(Fault::method("POST")),
            OperationKind::Subscription => return Outcome::Refused(subscription()),
            _ => {}
        }
        let timeout = parts.settings.limits.request_timeout;
        let deadline = Instant::now() + timeout;
        // The stores give up a little earlier, so that what the others hold can still be answered.
        let margin = (timeout / 10).min(Duration::from_millis(250));
        let mut scope = self.scope.for_request(deadline - margin, Arc::clone(&seen.calls));
        // A mutation reads what it is about to change, and shows what it has changed.
        if prepared.kind == OperationKind::Query && !self.fresh {
            scope = scope.tolerating_lag();
        }
        let data = (parts.make_data)(scope, self.id.clone());
        match tokio::time::timeout_at(deadline.into(), parts.api.execute(prepared, data)).await {
            Ok(response) => Outcome::Executed(response),
            Err(_) => {
                let message =
                    format!("the request took longer than {} ms (limits.request_timeout)", timeout.as_millis());
                Outcome::Failed(Fault::new(StatusCode::GATEWAY_TIMEOUT, "REQUEST_TIMEOUT", message))
            }
        }
    }
}

fn subscription() -> Refusal {
    let mut error = ServerError::new("a subscription is not answered by a plain request", None);
    error.extensions.get_or_insert_default().set("code", "OPERATION_NOT_SUPPORTED");
    Refusal::new(Stage::Operation, error)
}

/// What is known of an operation, kept outside of its future so that it outlives a panic.
#[derive(Default)]
struct Seen {
    kind: Option<OperationKind>,
    complexity: Option<u64>,
    depth: u64,
    calls: Arc<CallCounter>,
}

impl Seen {
    fn prepared(&mut self, prepared: &Prepared) {
        self.kind = Some(prepared.kind);
        self.complexity = Some(prepared.complexity);
        self.depth = prepared.depth;
        let span = tracing::Span::current();
        span.record("kind", prepared.kind.name());
        if let Some(name) = &prepared.name {
            let name: String = name.chars().take(64).collect();
            span.record("name", name);
        }
    }

    /// What the header `X-Chimera-Cost` asks for: the estimate, and the store calls it came to.
    fn report(&self) -> Value {
        let calls = self.calls.snapshot();
        let calls: serde_json::Map<_, _> =
            calls.into_iter().map(|((store, call), count)| (format!("{store}.{call}"), count.into())).collect();
        let report = serde_json::json!({ "complexity": self.complexity, "depth": self.depth, "storeCalls": calls });
        Value::from_json(report).unwrap_or_default()
    }
}

fn log(outcome: &Outcome, took: Duration, complexity: Option<u64>) {
    let took_ms = took.as_secs_f64() * 1000.0;
    let label = outcome.label();
    match outcome {
        Outcome::Failed(fault) if fault.status.is_server_error() => {
            tracing::warn!(outcome = label, code = fault.code, took_ms, complexity, "operation failed");
        }
        _ if took > SLOW => tracing::warn!(outcome = label, took_ms, complexity, "operation was slow"),
        _ => tracing::debug!(outcome = label, took_ms, complexity, "operation answered"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn with(name: HeaderName, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    }

    #[test]
    fn bearers_are_read_and_other_schemes_are_nobodys() {
        assert_eq!(bearer(&HeaderMap::new()), None);
        for (value, expected) in
            [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", ""), ("Bearer", ""), ("", "")]
        {
            assert_eq!(bearer(&with(header::AUTHORIZATION, value)).as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn traces_are_taken_when_they_are_well_formed() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(trace_id(&with(TRACE_PARENT, good)).as_deref(), Some("0af7651916cd43dd8448eb211c80319c"));
        for bad in [
            "",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7-b7ad6b7169203331-01",
            "x",
        ] {
            assert_eq!(trace_id(&with(TRACE_PARENT, bad)), None, "{bad}");
        }
    }
}
