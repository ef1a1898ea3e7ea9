//! The HTTP embedder against a server that answers whatever a case wants.

use super::*;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// What one request looked like: its head, and its JSON.
type Seen = Arc<Mutex<Vec<(String, serde_json::Value)>>>;

/// Answers each request with the bytes that `answer` makes of its JSON, then closes the connection.
async fn serve(answer: impl Fn(&serde_json::Value) -> String + Send + Sync + 'static) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (seen, answer) = (Seen::default(), Arc::new(answer));
    let heard = seen.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (heard, answer) = (heard.clone(), answer.clone());
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                let (head, body) = loop {
                    if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                        return;
                    }
                    let text = String::from_utf8_lossy(&bytes);
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    if let Ok(body) = serde_json::from_str(body) {
                        break (head.to_owned(), body);
                    }
                };
                let bytes = answer(&body);
                heard.lock().push((head, body));
                let _ = stream.write_all(bytes.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (base, seen)
}

fn status(line: &str, body: &str) -> String {
    format!("HTTP/1.1 {line}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn ok(body: &str) -> String {
    status("200 OK", body)
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// Answers `[text as a number, 1]` for each text, last first.
fn backwards(body: &serde_json::Value) -> String {
    let inputs = body["input"].as_array().unwrap().iter().enumerate().rev();
    let data: Vec<_> = inputs
        .map(|(index, text)| {
            let number: f32 = text.as_str().unwrap().parse().unwrap();
            serde_json::json!({ "object": "embedding", "index": index, "embedding": [number, 1.0] })
        })
        .collect();
    ok(&serde_json::json!({ "object": "list", "data": data, "model": "m" }).to_string())
}

#[tokio::test]
async fn batches_go_out_whole_and_come_back_in_order() {
    let (base, seen) = serve(backwards).await;
    let embedder = HttpEmbedder::new(&format!("{base}/v1/"), Some("s3cret".to_owned()), "m", 2).unwrap();
    let vectors = embedder.embed(&texts(150)).await.unwrap();
    for (number, vector) in vectors.iter().enumerate() {
        let number = number as f32;
        assert!((vector[0] - number / number.hypot(1.0)).abs() < 1e-6, "{number}");
        assert!((vector[0].hypot(vector[1]) - 1.0).abs() < 1e-6);
    }
    assert!(embedder.embed(&[]).await.unwrap().is_empty());
    let seen = seen.lock();
    let mut sizes: Vec<usize> = seen.iter().map(|(_, body)| body["input"].as_array().unwrap().len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [22, 64, 64]);
    for (head, body) in seen.iter() {
        assert!(head.starts_with("POST /v1/embeddings HTTP/1.1"), "{head}");
        assert!(head.contains("authorization: Bearer s3cret"), "{head}");
        assert_eq!((body["model"].as_str(), body["encoding_format"].as_str()), (Some("m"), Some("float")));
    }
}

#[tokio::test]
async fn every_strange_answer_has_its_code() {
    let one = |embedding: &str| {
        ok(&format!(r#"{{"data":[{{"index":0,"embedding":{embedding}}},{{"index":1,"embedding":[1,0]}}]}}"#))
    };
    let indexed = |a: &str, b: &str| ok(&format!(r#"{{"data":[{{{a}"embedding":[1,0]}},{{{b}"embedding":[0,1]}}]}}"#));
    for (name, answer, kind) in [
        ("too few", ok(r#"{"data":[{"index":0,"embedding":[1,0]}]}"#), ErrorKind::BadResponse),
        ("none", ok(r#"{"data":[]}"#), ErrorKind::BadResponse),
        ("too many dimensions", one("[1,0,0]"), ErrorKind::BadResponse),
        ("NaN", one("[NaN,1]"), ErrorKind::BadResponse),
        ("null", one("[null,1]"), ErrorKind::BadResponse),
        ("infinite", one("[1e60,1]"), ErrorKind::BadResponse),
        ("zeros", one("[0,0]"), ErrorKind::BadResponse),
        ("base64", one(r#""AAAAAA==""#), ErrorKind::BadResponse),
        ("an index twice", indexed(r#""index":0,"#, r#""index":0,"#), ErrorKind::BadResponse),
        ("an index too high", indexed(r#""index":0,"#, r#""index":2,"#), ErrorKind::BadResponse),
        ("only one index", indexed("", r#""index":0,"#), ErrorKind::BadResponse),
        ("not JSON", ok("<html>hello</html>"), ErrorKind::BadResponse),
        ("empty", ok(""), ErrorKind::BadResponse),
        ("another JSON", ok(r#"{"error":"no"}"#), ErrorKind::BadResponse),
        ("endless", ok(&" ".repeat(BYTES_AROUND + 1000)), ErrorKind::BadResponse),
        ("400", status("400 Bad Request", "{}"), ErrorKind::Invalid),
        ("401", status("401 Unauthorized", "{}"), ErrorKind::Unavailable),
        ("404", status("404 Not Found", "{}"), ErrorKind::BadResponse),
        ("429", status("429 Too Many Requests", "{}"), ErrorKind::Overloaded),
        ("503", status("503 Service Unavailable", ""), ErrorKind::Unavailable),
        ("redirect", status("307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/", ""), ErrorKind::BadResponse),
        ("cut short", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_owned(), ErrorKind::Unavailable),
        ("not HTTP", "SSH-2.0-OpenSSH_9\r\n".to_owned(), ErrorKind::Unavailable),
        ("nothing", String::new(), ErrorKind::Unavailable),
    ] {
        let (base, _) = serve(move |_| answer.clone()).await;
        let embedder = HttpEmbedder::new(&base, None, "m", 2).unwrap();
        let error = embedder.embed(&texts(2)).await.expect_err(name);
        assert_eq!(error.kind(), kind, "{name}: {error:?}");
    }
}

#[tokio::test]
async fn a_server_without_indexes_is_believed_by_order() {
    let (base, _) = serve(|_| ok(r#"{"data":[{"embedding":[0,2]},{"embedding":[2,0]}]}"#)).await;
    let vectors = HttpEmbedder::new(&base, None, "m", 2).unwrap().embed(&texts(2)).await.unwrap();
    assert_eq!(vectors, [[0.0, 1.0], [1.0, 0.0]]);
}

#[tokio::test]
async fn a_refused_connection_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = HttpEmbedder::new(&base, None, "m", 2).unwrap().embed(&texts(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn the_key_is_never_shown() {
    let (base, _) = serve(|_| status("401 Unauthorized", r#"{"error":"wrong key s3cret"}"#)).await;
    let embedder = HttpEmbedder::new(&base, Some("s3cret".to_owned()), "m", 2).unwrap();
    assert!(!format!("{embedder:?}").contains("s3cret"));
    let error = embedder.embed(&texts(1)).await.unwrap_err();
    assert!(error.chain().contains("wrong key [redacted]"), "{}", error.chain());
    assert!(!error.message().contains("wrong"), "{error}");
}

#[test]
fn half_given_settings_are_refused() {
    for (base, key, model, dimensions) in [
        ("ftp://host", None, "m", 2),
        ("not a url", None, "m", 2),
        ("http://user:secret@host", None, "m", 2),
        ("http://host", Some(""), "m", 2),
        ("http://host", Some("a\nb"), "m", 2),
        ("http://host", None, "", 2),
        ("http://host", None, "m", 0),
    ] {
        let error = HttpEmbedder::new(base, key.map(str::to_owned), model, dimensions).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{base} {key:?}");
        assert!(!format!("{error:?}").contains("secret"));
    }
}
