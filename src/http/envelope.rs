//! What is around every request: its id, the shutdown, CORS, counting, and headers that every answer has.

use super::{answer::Fault, negotiate::MediaType, origin, parts::RequestId, server::State, shutdown::Open};
use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, HeaderName, HeaderValue},
    middleware::Next,
    web::{self, Bytes},
};
use std::{
    pin::Pin,
    task::{Context, Poll},
};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Bytes below which compressing costs more than it saves.
const MIN_COMPRESSED: u64 = 1024;

/// The id the envelope gave to this request.
pub(super) fn request_id(request: &HttpRequest) -> RequestId {
    request.extensions().get::<RequestId>().cloned().unwrap_or_else(RequestId::random)
}

/// The route in the metrics; never the path itself, which is the client's to choose.
fn route(path: &str) -> &'static str {
    match path.split('/').nth(1).unwrap_or_default() {
        "" => "/",
        "graphql" => "/graphql",
        "graphiql" => "/graphiql",
        "live" => "/live",
        "ready" => "/ready",
        "metrics" => "/metrics",
        "media" => "/media",
        _ => "other",
    }
}

/// Around everything.
pub(super) async fn envelope(
    state: web::Data<State>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<Counted>, Error> {
    let id = RequestId::accept(request.headers().get(REQUEST_ID).map(HeaderValue::as_bytes));
    request.extensions_mut().insert(id.clone());
    let route = route(request.path());
    let settings = &state.parts.settings;
    let allowed = origin::allowed(request.head(), settings);
    let health = matches!(route, "/live" | "/ready" | "/metrics");
    let counted = (!health).then(|| (state.drain.enter(), InFlight::new(&state)));
    let draining = state.drain.is_draining();

    let mut answer = if draining && !health {
        let fault = Fault::unavailable("SHUTTING_DOWN", "the server is shutting down; try again, elsewhere if you can");
        request.into_response(fault.response(&id, MediaType::Json))
    } else if origin::is_preflight(request.head()) {
        let answer = origin::preflight(request.head(), settings);
        request.into_response(answer.unwrap_or_else(|fault| fault.response(&id, MediaType::Json)))
    } else {
        let mut answer = next.call(request).await?.map_into_boxed_body();
        // Errors of actix itself, such as a path that is not UTF-8.
        if let Some(status) = answer.response().error().map(|error| error.as_response_error().status_code()) {
            let fault = if status.is_client_error() {
                Fault::new(status, "BAD_REQUEST", "the request cannot be read")
            } else {
                Fault::internal()
            };
            answer = answer.into_response(fault.response(&id, MediaType::Json));
        }
        answer
    };

    state.metrics.answer(route, answer.status().as_u16());
    let head = answer.response_mut().head_mut();
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        head.headers_mut().insert(REQUEST_ID, value);
    }
    head.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Only the compressor needed to know.
    if head.headers().get(header::CONTENT_ENCODING).is_some_and(|value| value == "identity") {
        head.headers_mut().remove(header::CONTENT_ENCODING);
    }
    origin::share(head, allowed, settings);
    if draining {
        head.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        head.set_connection_type(actix_web::http::ConnectionType::Close);
    }
    Ok(answer.map_body(|_, body| Counted { body, _counted: counted }))
}

/// Inside the compressor: small answers go as they are.
pub(super) async fn small(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut answer = next.call(request).await?;
    if matches!(answer.response().body().size(), BodySize::Sized(size) if size < MIN_COMPRESSED)
        && !answer.headers().contains_key(header::CONTENT_ENCODING)
    {
        answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("identity"));
    }
    Ok(answer)
}

struct InFlight(web::Data<State>);

impl InFlight {
    fn new(state: &web::Data<State>) -> Self {
        state.metrics.in_flight(1);
        Self(state.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.metrics.in_flight(-1);
    }
}

/// An answer's body; its request counts as open until the last byte.
pub(super) struct Counted {
    body: BoxBody,
    _counted: Option<(Open, InFlight)>,
}

impl MessageBody for Counted {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
