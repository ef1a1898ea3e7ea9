//! From bytes to requests: bodies, query strings, and what is wrong with them.

use super::answer::Fault;
use crate::document::{Exceeded, Limits};
use actix_web::{
    http::{
        StatusCode,
        header::{self, HeaderMap},
    },
    web,
};
use async_graphql::Variables;
use futures_util::StreamExt;
use serde::Deserialize;
use std::{borrow::Cow, collections::BTreeMap};

/// One request as the client wrote it.
#[derive(Debug)]
pub(super) struct Incoming {
    pub query: String,
    pub operation_name: Option<String>,
    pub variables: Variables,
}

/// One request, or several in an array.
#[derive(Debug)]
pub(super) enum Incomings {
    One(Incoming),
    Many(Vec<Incoming>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw<'a> {
    #[serde(borrow, default)]
    query: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    operation_name: Option<Cow<'a, str>>,
    #[serde(default)]
    variables: Variables,
    #[serde(default)]
    extensions: Option<BTreeMap<String, serde_json::Value>>,
}

fn bad(message: impl Into<Cow<'static, str>>) -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
}

fn exceeded(limit: Exceeded, status: StatusCode, most: usize) -> Fault {
    let error = limit.error(most as u64, None, None);
    Fault::new(status, limit.code(), error.message)
}

impl Raw<'_> {
    fn check(self) -> Result<Incoming, Fault> {
        let extensions = self.extensions.unwrap_or_default();
        let Some(query) = self.query else {
            // The message and code that Apollo's clients understand; they then send the document itself.
            if extensions.contains_key("persistedQuery") {
                let (code, message) = ("PERSISTED_QUERY_NOT_SUPPORTED", "PersistedQueryNotSupported");
                return Err(Fault::new(StatusCode::BAD_REQUEST, code, message));
            }
            return Err(bad("the parameter `query` is missing"));
        };
        Ok(Incoming {
            query: query.into_owned(),
            operation_name: self.operation_name.map(Cow::into_owned),
            variables: self.variables,
        })
    }
}

/// Holds what is not document against its limit.
fn check_variables(size: usize, documents: usize, limits: &Limits) -> Result<(), Fault> {
    if size.saturating_sub(documents) <= limits.max_variables_bytes {
        return Ok(());
    }
    Err(exceeded(Exceeded::Variables, StatusCode::PAYLOAD_TOO_LARGE, limits.max_variables_bytes))
}

/// Whether a POST has a type and encoding that can be read.
pub(super) fn check_type(headers: &HeaderMap) -> Result<(), Fault> {
    let unsupported =
        |message: &'static str| Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message);
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return Err(unsupported("the header `Content-Type: application/json` is missing"));
    };
    let mut parts = value.split(';').map(str::trim);
    if !parts.next().is_some_and(|name| name.eq_ignore_ascii_case("application/json")) {
        return Err(unsupported("a POST must have the type application/json"));
    }
    let charset =
        parts.filter_map(|part| part.split_once('=')).find(|(key, _)| key.trim().eq_ignore_ascii_case("charset"));
    if charset.is_some_and(|(_, value)| !value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")) {
        return Err(unsupported("a body must be UTF-8"));
    }
    let encoding = headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes());
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(unsupported("a body must not be compressed"));
    }
    Ok(())
}

/// Reads a body up to its limit.
pub(super) async fn read(headers: &HeaderMap, mut payload: web::Payload, limits: &Limits) -> Result<Vec<u8>, Fault> {
    let most = limits.max_body_bytes;
    let too_large = || exceeded(Exceeded::Body, StatusCode::PAYLOAD_TOO_LARGE, most);
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    let expected = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(1024);
    let mut body = Vec::with_capacity(expected.min(64 << 10));
    let all = async {
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| bad("the body ended before its time"))?;
            if body.len() + chunk.len() > most {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(())
    };
    match tokio::time::timeout(limits.request_timeout, all).await {
        Ok(Ok(())) => Ok(body),
        Ok(Err(fault)) => Err(fault),
        Err(_) => Err(Fault::new(StatusCode::REQUEST_TIMEOUT, "BODY_TIMEOUT", "the body did not arrive in time")
            .with(header::CONNECTION, "close")),
    }
}

/// Requests from a body.
pub(super) fn from_body(body: &[u8], limits: &Limits) -> Result<Incomings, Fault> {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Err(bad("the body is empty; it must be a JSON object with `query`")),
        Some(b'{') => {
            let incoming = json::<Raw>(body)?.check()?;
            check_variables(body.len(), incoming.query.len(), limits)?;
            Ok(Incomings::One(incoming))
        }
        Some(b'[') if limits.max_batch == 0 => Err(Fault::new(
            StatusCode::BAD_REQUEST,
            "BATCHING_DISABLED",
            "several requests in one body are not served here (limits.max_batch is 0)",
        )),
        Some(b'[') => {
            let raws: Vec<Raw> = json(body)?;
            if raws.is_empty() {
                return Err(bad("the array of requests is empty"));
            }
            if raws.len() > limits.max_batch {
                return Err(exceeded(Exceeded::Batch, StatusCode::BAD_REQUEST, limits.max_batch));
            }
            let all: Vec<_> = raws.into_iter().map(Raw::check).collect::<Result<_, _>>()?;
            check_variables(body.len(), all.iter().map(|incoming| incoming.query.len()).sum(), limits)?;
            Ok(Incomings::Many(all))
        }
        Some(_) => Err(bad("the body must be a JSON object with `query`")),
    }
}

fn json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Fault> {
    // The parser's message names the place and the type it found, not the content of strings.
    serde_json::from_slice(bytes).map_err(|error| bad(format!("the body is not a GraphQL request: {}", brief(&error))))
}

/// The error without values the client sent.
fn brief(error: &serde_json::Error) -> String {
    let at = format!("line {} column {}", error.line(), error.column());
    match error.classify() {
        serde_json::error::Category::Data => {
            let text = error.to_string();
            let expected = text.split(", expected ").nth(1).and_then(|rest| rest.split(" at line").next());
            format!(
                "{} at {at}",
                expected.map_or("a parameter has a wrong type".to_owned(), |it| format!("expected {it}"))
            )
        }
        serde_json::error::Category::Eof => format!("the JSON ends too early at {at}"),
        _ => format!("not JSON at {at}"),
    }
}

/// A request from a query string.
pub(super) fn from_query(query: &str, limits: &Limits) -> Result<Incoming, Fault> {
    if query.len() > limits.max_body_bytes {
        return Err(exceeded(Exceeded::Body, StatusCode::URI_TOO_LONG, limits.max_body_bytes));
    }
    let mut raw = Raw { query: None, operation_name: None, variables: Variables::default(), extensions: None };
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let wrong = |_| bad(format!("the parameter `{name}` is not a JSON object"));
        match name.as_ref() {
            "query" if raw.query.is_some() => return Err(bad("the parameter `query` is given twice")),
            "query" => raw.query = Some(value),
            "operationName" if !value.is_empty() => raw.operation_name = Some(value),
            "variables" if !value.is_empty() => raw.variables = serde_json::from_str(&value).map_err(wrong)?,
            "extensions" if !value.is_empty() => raw.extensions = serde_json::from_str(&value).map_err(wrong)?,
            _ => {}
        }
    }
    let incoming = raw.check()?;
    check_variables(query.len(), incoming.query.len(), limits)?;
    Ok(incoming)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Result<Incomings, Fault> {
        from_body(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn well_formed_bodies_are_read() {
        for text in [
            r#"{"query":"{ a }"}"#,
            r#" {"query":"{ a }","variables":null,"operationName":null,"extensions":null}"#,
            r#"{"query":"{ a }","variables":{"x":[1,{"y":null}]},"operationName":"A","extensions":{"z":1},"more":1}"#,
            "{\"query\":\"{\\n a \\u0041 }\"}",
        ] {
            assert!(matches!(body(text), Ok(Incomings::One(_))), "{text}");
        }
    }

    #[test]
    fn malformed_bodies_are_named() {
        for text in [
            "",
            " \n",
            "null",
            "\"{ a }\"",
            "1",
            "{",
            "{\"query\":",
            "{}",
            r#"{"query":null}"#,
            r#"{"query":1}"#,
            r#"{"query":["a"]}"#,
            r#"{"query":{"a":1}}"#,
            r#"{"query":"{a}","variables":[]}"#,
            r#"{"query":"{a}","variables":"x"}"#,
            r#"{"query":"{a}","variables":7}"#,
            r#"{"query":"{a}","operationName":1}"#,
            r#"{"query":"{a}","extensions":"x"}"#,
            r#"{"query":"{a}","extensions":[]}"#,
            r#"{"query":"{a}"} trailing"#,
            r#"{"query":"a","query":"b"}"#,
            "{\"query\":\"\u{0}\"}",
        ] {
            let fault = body(text).expect_err(text);
            assert_eq!((fault.status, fault.code), (StatusCode::BAD_REQUEST, "BAD_REQUEST"), "{text}");
        }
        assert_eq!(from_body(b"{\"query\":\"\xff\"}", &Limits::default()).unwrap_err().code, "BAD_REQUEST");
        let deep =
            format!("{{\"query\":\"{{a}}\",\"variables\":{{\"x\":{}{}}}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(body(&deep).unwrap_err().code, "BAD_REQUEST");
        assert_eq!(body(r#"{"extensions":{"persistedQuery":{}}}"#).unwrap_err().code, "PERSISTED_QUERY_NOT_SUPPORTED");
        let secret = format!("{:?}", body(r#"{"query":"{a}","variables":"hunter2"}"#).unwrap_err());
        assert!(!secret.contains("hunter2"), "{secret}");
    }

    #[test]
    fn batches_need_the_setting() {
        let two = r#"[{"query":"{a}"},{"query":"{b}"}]"#;
        assert_eq!(body(two).unwrap_err().code, "BATCHING_DISABLED");
        let limits = Limits { max_batch: 2, ..Limits::default() };
        assert!(matches!(from_body(two.as_bytes(), &limits), Ok(Incomings::Many(all)) if all.len() == 2));
        assert_eq!(from_body(b"[]", &limits).unwrap_err().code, "BAD_REQUEST");
        let three = br#"[{"query":"{a}"},{"query":"{b}"},{"query":"{c}"}]"#;
        assert_eq!(from_body(three, &limits).unwrap_err().code, "BATCH_LIMIT_EXCEEDED");
    }

    #[test]
    fn variables_have_their_own_limit() {
        let limits = Limits { max_variables_bytes: 100, ..Limits::default() };
        let long = format!(r#"{{"query":"{{{}}}"}}"#, "a ".repeat(500));
        assert!(from_body(long.as_bytes(), &limits).is_ok(), "the document does not count");
        let fat = format!(r#"{{"query":"{{a}}","variables":{{"x":"{}"}}}}"#, "y".repeat(100));
        assert_eq!(from_body(fat.as_bytes(), &limits).unwrap_err().code, "VARIABLES_LIMIT_EXCEEDED");
    }

    #[test]
    fn query_strings_are_read() {
        let limits = Limits::default();
        let incoming = from_query(
            "query=%7B+a+%7D&variables=%7B%22x%22%3A1%7D&operationName=A&extensions=%7B%7D&other=1",
            &limits,
        )
        .unwrap();
        assert_eq!((incoming.query.as_str(), incoming.operation_name.as_deref()), ("{ a }", Some("A")));
        assert_eq!(incoming.variables.len(), 1);
        for query in [
            "",
            "query",
            "variables=1",
            "query=a&variables=1",
            "query=a&variables=x",
            "query=a&extensions=%5B%5D",
            "query=a&query=b",
        ] {
            // `query` alone is an empty document, which the parser refuses.
            let result = from_query(query, &limits);
            assert!(query == "query" || result.is_err(), "{query}");
        }
        assert_eq!(from_query("variables=%7B%7D", &limits).unwrap_err().code, "BAD_REQUEST");
        let long = "a".repeat(300_000);
        assert_eq!(from_query(&long, &limits).unwrap_err().status, StatusCode::URI_TOO_LONG);
    }
}
