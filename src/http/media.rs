//! The URLs of a media store that lives in this process: uploads in, downloads out, streamed both ways.
//!
//! The token in the path is the authority; it binds what may be sent or fetched, so no key is asked for. Nothing is held in
//! memory but the chunk on its way.

use super::{answer::Fault, envelope::request_id, negotiate::MediaType, server::State};
use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    body::{BodySize, MessageBody, SizedStream},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
    web::{self, Bytes},
};
use chimera_stores::{
    ErrorKind, StoreError,
    media::{ByteStream, Download, LocalMedia},
};
use futures_util::{StreamExt, stream};
use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::mpsc;

/// Chunks between the connection and the store; a slow store slows the sender down.
const CHUNKS: usize = 4;

fn fault(error: &StoreError) -> Fault {
    let (status, code) = match error.kind() {
        ErrorKind::Forbidden => (StatusCode::FORBIDDEN, "FORBIDDEN"),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "NOT_FOUND"),
        ErrorKind::Invalid => (StatusCode::BAD_REQUEST, "BAD_USER_INPUT"),
        ErrorKind::Conflict | ErrorKind::Superseded => (StatusCode::CONFLICT, "CONFLICT"),
        ErrorKind::Unsupported => (StatusCode::NOT_IMPLEMENTED, "UNSUPPORTED_BY_STORE"),
        ErrorKind::Timeout => (StatusCode::GATEWAY_TIMEOUT, "STORE_TIMEOUT"),
        kind @ (ErrorKind::Unavailable | ErrorKind::Overloaded) => {
            return Fault::unavailable(kind.code(), error.to_string());
        }
        ErrorKind::BadResponse | ErrorKind::Corrupt | ErrorKind::Internal => {
            tracing::error!(error = %error.chain(), "the media store failed");
            let code = error.kind().code();
            return Fault::new(StatusCode::INTERNAL_SERVER_ERROR, code, "the media store failed");
        }
    };
    Fault::new(status, code, error.to_string())
}

fn store(state: &State) -> Result<Arc<dyn LocalMedia>, Fault> {
    state.parts.media.clone().ok_or_else(Fault::not_found)
}

/// `PUT /media/upload/{token}`.
pub(super) async fn upload(
    http: HttpRequest,
    token: web::Path<String>,
    payload: web::Payload,
    state: web::Data<State>,
) -> HttpResponse {
    let taken = async {
        let media = store(&state)?;
        if !http.headers().contains_key(header::CONTENT_LENGTH) {
            let message = "an upload must say its size in Content-Length";
            return Err(Fault::new(StatusCode::LENGTH_REQUIRED, "LENGTH_REQUIRED", message));
        }
        let content_type = http.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let (body, pump) = sendable(payload);
        // The pump ends with the sender, or when the store takes no more.
        let (accepted, ()) = tokio::join!(media.accept(&token, content_type, body), pump);
        accepted.map_err(|error| fault(&error))
    };
    match taken.await {
        Ok(()) => HttpResponse::NoContent().finish(),
        // What was not read of the body would be taken for the next request.
        Err(fault) => fault.with(header::CONNECTION, "close").response(&request_id(&http), MediaType::Json),
    }
}

/// A connection's payload stays on its thread; the store's stream may go anywhere.
fn sendable(mut payload: web::Payload) -> (ByteStream, impl Future<Output = ()>) {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    let pump = async move {
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| io::Error::new(io::ErrorKind::UnexpectedEof, error.to_string()));
            let failed = chunk.is_err();
            if sender.send(chunk).await.is_err() || failed {
                return;
            }
        }
    };
    let body =
        stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|chunk| (chunk, receiver)) });
    (Box::pin(body), pump)
}

/// `GET` and `HEAD /media/download/{token}`, whole or a range.
pub(super) async fn download(http: HttpRequest, token: web::Path<String>, state: web::Data<State>) -> HttpResponse {
    let answer = async {
        let media = store(&state)?;
        let whole = media.open(&token, None).await.map_err(|error| fault(&error))?;
        let etag = format!("\"{}\"", whole.object.sha256);
        let headers = http.headers();
        if matches(headers, header::IF_NONE_MATCH, &etag) {
            return Ok(describe(&mut HttpResponse::NotModified(), &whole, &etag).finish());
        }
        let size = whole.object.size_bytes;
        let (status, download) = match range(headers, size, &etag) {
            Range::Whole => (StatusCode::OK, whole),
            Range::Outside => {
                let mut answer = HttpResponse::build(StatusCode::RANGE_NOT_SATISFIABLE);
                answer.insert_header((header::CONTENT_RANGE, format!("bytes */{size}")));
                return Ok(answer.finish());
            }
            Range::Part(first, last) => {
                let part = media.open(&token, Some((first, Some(last)))).await.map_err(|error| fault(&error))?;
                (StatusCode::PARTIAL_CONTENT, part)
            }
        };
        let mut answer = HttpResponse::build(status);
        describe(&mut answer, &download, &etag);
        if status == StatusCode::PARTIAL_CONTENT {
            let last = download.offset + download.length.saturating_sub(1);
            answer.insert_header((header::CONTENT_RANGE, format!("bytes {}-{last}/{size}", download.offset)));
        }
        Ok(if http.method() == Method::HEAD {
            answer.body(Headless(download.length))
        } else {
            answer.body(SizedStream::new(download.length, download.body))
        })
    };
    answer.await.unwrap_or_else(|fault: Fault| fault.response(&request_id(&http), MediaType::Json))
}

/// The headers of a file. Downloads are stored by the asker alone, offered under their name, and never run as a page of
/// this origin, whatever they contain.
fn describe<'a>(answer: &'a mut HttpResponseBuilder, download: &Download, etag: &str) -> &'a mut HttpResponseBuilder {
    answer
        .content_type(download.object.content_type.as_str())
        .insert_header((header::ETAG, etag.to_owned()))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header((header::CACHE_CONTROL, "private, max-age=300"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; sandbox"))
        .insert_header((header::CONTENT_DISPOSITION, disposition(download)))
        // Media is compressed already, and a range is of the bytes as they are.
        .insert_header((header::CONTENT_ENCODING, "identity"))
}

/// Images, sounds and films may be shown in place; anything else is a download.
fn disposition(download: &Download) -> String {
    let kind = download.object.content_type.split('/').next().unwrap_or_default();
    let script = download.object.content_type.starts_with("image/svg");
    let kind = if matches!(kind, "image" | "audio" | "video") && !script { "inline" } else { "attachment" };
    let Some(name) = &download.file_name else { return kind.to_owned() };
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || " ._-()".contains(letter) { letter } else { '_' };
    let ascii: String = name.chars().map(plain).collect();
    let encoded: String = name
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'~' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect();
    format!("{kind}; filename=\"{ascii}\"; filename*=UTF-8''{encoded}")
}

/// Whether one of the header's tags is this one; `W/` makes no difference to a reader.
fn matches(headers: &HeaderMap, name: header::HeaderName, etag: &str) -> bool {
    let values = headers.get_all(name).filter_map(|value: &HeaderValue| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    Whole,
    /// First and last byte.
    Part(u64, u64),
    Outside,
}

/// The part asked for. Several parts, another unit, or a stale `If-Range` are answered with the whole.
fn range(headers: &HeaderMap, size: u64, etag: &str) -> Range {
    let Some(value) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()) else { return Range::Whole };
    if headers.get(header::IF_RANGE).is_some_and(|value| value.as_bytes() != etag.as_bytes()) {
        return Range::Whole;
    }
    let Some((first, last)) = value.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return Range::Whole;
    };
    let (first, last) = (first.trim(), last.trim());
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) || (first.is_empty() && last.is_empty()) {
        return Range::Whole;
    }
    // A number beyond 64 bits is beyond any file.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    match (first, last) {
        ("", last) => match number(last).min(size) {
            0 => Range::Outside,
            length => Range::Part(size - length, size - 1),
        },
        (first, _) if number(first) >= size => Range::Outside,
        (first, "") => Range::Part(number(first), size - 1),
        (first, last) if number(last) < number(first) => Range::Whole,
        (first, last) => Range::Part(number(first), number(last).min(size - 1)),
    }
}

/// The answer to HEAD: the length of a body that is not sent.
struct Headless(u64);

impl MessageBody for Headless {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_the_specification() {
        for (value, expected) in [
            ("bytes=0-4", Range::Part(0, 4)),
            ("bytes=5-", Range::Part(5, 9)),
            ("bytes=5-100", Range::Part(5, 9)),
            ("bytes=-3", Range::Part(7, 9)),
            ("bytes=-100", Range::Part(0, 9)),
            ("bytes=10-", Range::Outside),
            ("bytes=-0", Range::Outside),
            ("bytes=99999999999999999999-", Range::Outside),
            ("bytes=0-99999999999999999999", Range::Part(0, 9)),
            ("bytes=4-2", Range::Whole),
            ("bytes=0-1,3-4", Range::Whole),
            ("bytes=a-b", Range::Whole),
            ("bytes=-", Range::Whole),
            ("bytes=+1-2", Range::Whole),
            ("lines=1-2", Range::Whole),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static(value));
            assert_eq!(range(&headers, 10, "\"x\""), expected, "{value}");
            headers.insert(header::IF_RANGE, HeaderValue::from_static("\"other\""));
            assert_eq!(range(&headers, 10, "\"x\""), Range::Whole, "{value}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-"));
        assert_eq!(range(&headers, 0, ""), Range::Outside, "an empty file has no byte");
    }
}
