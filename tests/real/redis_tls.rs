//! TLS: a server whose certificate comes from an authority of one's own, one that asks for a certificate in return, and
//! what is wrong told apart.

use crate::redis_store::{RECOVERY, everything, open, recovers, refusal};
use chimera_stores::ErrorKind;
use std::{net::TcpListener, path::Path, process::Command};
use tempfile::TempDir;
use test_servers::{Redis, have};

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().expect("openssl");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority (`ca`), and a certificate of it (`one`) for `localhost`; and another authority (`other`).
fn certificates() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for name in ["ca", "other"] {
        openssl(path, &format!("req -x509 {new} -keyout {name}.key -out {name}.pem -days 2 -subj /CN={name}"));
    }
    std::fs::write(path.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(path, &format!("req {new} -keyout one.key -out one.csr -subj /CN=localhost"));
    openssl(path, "x509 -req -in one.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out one.pem -extfile names");
    folder
}

/// A server with TLS on a port of its own.
struct Secure {
    folder: TempDir,
    server: Redis,
    port: u16,
}

impl Secure {
    fn start(asks: &str) -> Self {
        let folder = certificates();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let (number, cert, key, ca) = (port.to_string(), file("one.pem"), file("one.key"), file("ca.pem"));
        let names = ["--tls-port", "--tls-cert-file", "--tls-key-file", "--tls-ca-cert-file", "--tls-auth-clients"];
        let values = [number.as_str(), &cert, &key, &ca, asks];
        let settings: Vec<&str> = names.into_iter().zip(values).flat_map(|(name, value)| [name, value]).collect();
        let server = Redis::start_with(&settings);
        Self { server, port, folder }
    }

    /// Its URL under the name `host`, with files by name.
    fn url(&self, host: &str, files: &[(&str, &str)]) -> String {
        let file = |(name, file): &(&str, &str)| format!("{name}={}", self.folder.path().join(file).display());
        let query: Vec<String> = files.iter().map(file).collect();
        let mark = if files.is_empty() { "" } else { "?" };
        format!("rediss://{host}:{}/0{mark}{}", self.port, query.join("&"))
    }
}

async fn is_told(url: &str, words: &str, advice: &str) {
    let error = refusal(url).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{url}: {error:?}");
    assert!(error.message().contains(words), "{url}: {error:?}");
    assert!(error.advice().is_some_and(|given| given.contains(advice)), "{url}: {:?}", error.advice());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_of_ones_own_is_trusted_when_it_is_named() {
    if !have("redis", Redis::found()) {
        return;
    }
    let mut secure = Secure::start("no");
    let url = secure.url("localhost", &[("sslrootcert", "ca.pem")]);
    let store = open(&url).await;
    assert_eq!(store.capabilities().place, format!("rediss://localhost:{}/0", secure.port), "no path of this machine");
    everything(&store).await;
    secure.server.kill();
    secure.server.restart();
    println!("back after {:?}", recovers(&store, RECOVERY, &[ErrorKind::Unavailable, ErrorKind::Timeout]).await);

    for (host, files) in [
        ("localhost", vec![]),
        ("localhost", vec![("sslrootcert", "other.pem")]),
        // Not the name of its certificate.
        ("127.0.0.1", vec![("sslrootcert", "ca.pem")]),
    ] {
        is_told(&secure.url(host, &files), "not trusted", "sslrootcert").await;
    }
    let plain = url.replace(&format!(":{}/", secure.port), &format!(":{}/", secure.server.port()));
    // A server without TLS waits for the rest of what it takes for a command.
    let error = refusal(&plain).await;
    assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unavailable), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_a_certificate_gets_it() {
    if !have("redis", Redis::found()) {
        return;
    }
    let secure = Secure::start("yes");
    let own = [("sslrootcert", "ca.pem"), ("sslcert", "one.pem"), ("sslkey", "one.key")];
    everything(&open(&secure.url("localhost", &own)).await).await;
    let foreign = [("sslrootcert", "ca.pem"), ("sslcert", "other.pem"), ("sslkey", "other.key")];
    for files in [&own[..1], &foreign] {
        let error = refusal(&secure.url("localhost", files)).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.chain().len() > error.to_string().len(), "the log has the reason");
    }
}
