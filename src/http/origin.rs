//! Which pages may call: cross-site request forgery, and CORS.
//!
//! The API takes its credentials from the `Authorization` header alone, never from cookies, so a forged request carries no
//! one's rights. What is left to protect is an installation that lets anyone in who can reach it (a demo on a
//! developer's machine, a private network): a page of another site must not be able to use a visitor's browser as a door.
//!
//! 1. A request whose `Origin` is neither this server's own nor allowed by `server.cors_origins` is refused, whatever else
//!    it says. Browsers send `Origin` with every cross-origin POST and with every cross-origin request made with CORS.
//! 2. A POST must have the type `application/json`, which a page of another origin cannot send without a preflight, and
//!    the preflight is answered for allowed origins only.
//! 3. A GET has no side effects (mutations are refused), and its answer is readable by other origins only where CORS
//!    allows it. Even so it is refused unless something shows that a program meant it: a header that forces a
//!    preflight (`X-Requested-With`, `Apollo-Require-Preflight`, `Authorization`, a content type that is not simple), an
//!    `Accept` that names a JSON type, or a browser's word (`Sec-Fetch-Mode: cors` or `same-origin`) that a script of a
//!    permitted origin asks. Links, images, forms and frames have none of these. And `Sec-Fetch-Site: cross-site` or
//!    `same-site` is refused without a header that forces a preflight, unless the `Origin` is allowed.
//!
//! 4. A server that listens on a loopback address answers to the names of this machine, and to that of
//!    `server.public_url`, alone: a page may have its own name resolve to 127.0.0.1, and is then its own origin (DNS
//!    rebinding).
//!
//! `Accept` may be set without a preflight, so the second sign stops what happens by itself, not a script that sets out to
//! send blind queries through a browser without `Sec-Fetch` headers (before 2023). Such a script gains nothing it can read.

use super::{answer::Fault, negotiate, parts::HttpSettings};
use actix_web::{
    HttpResponse,
    dev::{RequestHead, ResponseHead},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Headers a page of another origin cannot send without a preflight.
const FORCES_PREFLIGHT: [HeaderName; 3] = [
    HeaderName::from_static("x-requested-with"),
    HeaderName::from_static("apollo-require-preflight"),
    header::AUTHORIZATION,
];

/// Types a form can send.
const SIMPLE_TYPES: [&str; 3] = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];

/// Where a request comes from, by its `Origin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// No page, or a page that says nothing.
    Unsaid,
    /// This server's own pages.
    Own,
    /// An origin of `server.cors_origins`.
    Allowed,
    /// Any other.
    Foreign,
}

fn from(head: &RequestHead, settings: &HttpSettings) -> From {
    let Some(origin) = head.headers().get(header::ORIGIN) else { return From::Unsaid };
    let Ok(origin) = origin.to_str() else { return From::Foreign };
    if settings.cors_origins.iter().any(|allowed| allowed == origin) {
        return From::Allowed;
    }
    let public = settings.public_url.origin().ascii_serialization();
    // Behind a proxy that ends TLS the scheme differs, so only host and port are compared.
    let host = head.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let own = origin.split_once("://").is_some_and(|(_, authority)| Some(authority) == host);
    if own || public == origin { From::Own } else { From::Foreign }
}

/// Refuses what no program of a permitted origin meant to send.
pub(super) fn check(head: &RequestHead, settings: &HttpSettings) -> Result<(), Fault> {
    if settings.listen.ip().is_loopback() && !is_ours(head, settings) {
        return Err(Fault::new(
            StatusCode::FORBIDDEN,
            "HOST_NOT_ALLOWED",
            "this server listens for its own machine and does not go by this name; server.public_url names it",
        ));
    }
    let from = from(head, settings);
    if from == From::Foreign {
        return Err(Fault::new(
            StatusCode::FORBIDDEN,
            "ORIGIN_NOT_ALLOWED",
            "pages of this origin may not call; server.cors_origins names those that may",
        ));
    }
    if head.method == Method::POST {
        return Ok(());
    }
    let headers = head.headers();
    let preflighted = FORCES_PREFLIGHT.iter().any(|name| headers.contains_key(name)) || has_unusual_type(headers);
    let said = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let other_site = matches!(said(&SITE), "cross-site" | "same-site") && from != From::Allowed;
    let by_itself = matches!(said(&MODE), "navigate" | "no-cors" | "nested-navigate" | "websocket");
    let meant = negotiate::names_json(headers) || matches!(said(&MODE), "cors" | "same-origin");
    if preflighted || (!other_site && !by_itself && meant) {
        return Ok(());
    }
    Err(Fault::new(
        StatusCode::FORBIDDEN,
        "CSRF_PREVENTED",
        "a GET must show that a program sent it: add the header `X-Requested-With`, or an `Accept` that names \
         application/graphql-response+json; people use /graphiql",
    ))
}

/// Whether the `Host` is this machine by a name that no page can take, or the public one.
fn is_ours(head: &RequestHead, settings: &HttpSettings) -> bool {
    // HTTP/1.0 knows no host; nor can a browser leave it out.
    let Some(host) = head.headers().get(header::HOST) else { return true };
    let Ok(url) = url::Url::parse(&format!("http://{}/", host.to_str().unwrap_or_default())) else { return false };
    match url.host() {
        Some(url::Host::Ipv4(ip)) if ip.is_loopback() => true,
        Some(url::Host::Ipv6(ip)) if ip.is_loopback() => true,
        Some(url::Host::Domain(name)) if name == "localhost" || name.ends_with(".localhost") => true,
        host => host.is_some() && host == settings.public_url.host(),
    }
}

fn has_unusual_type(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let name = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    !name.is_empty() && !SIMPLE_TYPES.contains(&name.as_str())
}

/// Whether this is a browser asking what it may send.
pub(super) fn is_preflight(head: &RequestHead) -> bool {
    head.method == Method::OPTIONS
        && head.headers().contains_key(header::ORIGIN)
        && head.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

const METHODS: &str = "GET, HEAD, POST, PUT, OPTIONS";
const REQUEST_HEADERS: &str = "accept, apollo-require-preflight, authorization, content-type, range, traceparent, tracestate, \
                               x-chimera-cost, x-chimera-fresh, x-request-id, x-requested-with";
const RESPONSE_HEADERS: &str = "accept-ranges, content-disposition, content-range, etag, retry-after, x-request-id";

/// The answer to a preflight; the envelope adds the origin.
pub(super) fn preflight(head: &RequestHead, settings: &HttpSettings) -> Result<HttpResponse, Fault> {
    match from(head, settings) {
        From::Allowed => Ok(HttpResponse::NoContent()
            .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, METHODS))
            .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS))
            .insert_header((header::ACCESS_CONTROL_MAX_AGE, "600"))
            .finish()),
        From::Own | From::Unsaid => Ok(HttpResponse::NoContent().insert_header((header::ALLOW, METHODS)).finish()),
        From::Foreign => Err(Fault::new(
            StatusCode::FORBIDDEN,
            "ORIGIN_NOT_ALLOWED",
            "pages of this origin may not call; server.cors_origins names those that may",
        )),
    }
}

/// The origin to allow in the answer; `None` when it is not allowed or none was given.
pub(super) fn allowed(head: &RequestHead, settings: &HttpSettings) -> Option<HeaderValue> {
    (from(head, settings) == From::Allowed).then(|| head.headers().get(header::ORIGIN).cloned()).flatten()
}

/// Lets a page of an allowed origin read the answer.
pub(super) fn share(head: &mut ResponseHead, origin: Option<HeaderValue>, settings: &HttpSettings) {
    if !settings.cors_origins.is_empty() {
        head.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
    }
    if let Some(origin) = origin {
        let headers = head.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(RESPONSE_HEADERS));
    }
}
