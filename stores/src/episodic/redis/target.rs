//! Where to connect to and whom to trust, from the URL: one server, or the named nodes of a cluster; a user; and over
//! TLS, by the same names as in the URL of a PostgreSQL server, files of certificates (PEM):
//! - `sslrootcert`: the authority that the server's certificate must come from. Without it, the public ones are trusted.
//! - `sslcert` and `sslkey`: the certificate and key that this process shows, for a server that asks for one.

use super::fault;
use crate::{Address, Result, StoreError};
use ::redis::{Client, ClientTlsConfig, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, TlsCertificates};
use std::collections::BTreeMap;

/// What a URL says.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The server, or the nodes of the cluster that are named; at least one.
    pub(super) nodes: Vec<Client>,
    /// Whether it is a cluster.
    pub(super) is_cluster: bool,
    /// Certificates that are named.
    pub(super) certificates: Option<TlsCertificates>,
}

impl Target {
    /// Reads a URL and the files it names.
    ///
    /// # Errors
    /// `Invalid`; the URL itself is in no message.
    pub(super) fn read(address: &Address) -> Result<Self> {
        let url = address.expose();
        // A password may hold a question mark: what follows the last at sign is the host. (The driver refuses such a one.)
        let (user, rest) = url.split_at_checked(url.rfind('@').unwrap_or_default()).unwrap_or_default();
        let (host, query) = rest.split_once('?').unwrap_or((rest, ""));
        let certificates = certificates(address.scheme(), query)?;
        let client = |info: ConnectionInfo| match &certificates {
            None => Client::open(info).map_err(fault::of),
            Some(certificates) => Client::build_with_tls(info, certificates.clone()).map_err(|error| {
                fault::wrong_because("the certificates that the redis URL names are no certificates and key", error)
            }),
        };
        let nodes =
            nodes(address.scheme(), &format!("{user}{host}"))?.into_iter().map(client).collect::<Result<Vec<_>>>()?;
        Ok(Self { nodes, is_cluster: is_cluster(address.scheme()), certificates })
    }

    /// What the driver connects to.
    pub(super) fn infos(&self) -> Vec<ConnectionInfo> {
        self.nodes.iter().map(|node| node.get_connection_info().clone()).collect()
    }
}

/// A URL that names no server.
pub(super) fn no_server() -> StoreError {
    fault::wrong("the redis URL names no server")
}

fn is_cluster(scheme: &str) -> bool {
    scheme.ends_with("-cluster")
}

fn nodes(scheme: &str, url: &str) -> Result<Vec<ConnectionInfo>> {
    let wrong = || fault::wrong("the redis URL is wrong: it is redis://USER:PASSWORD@HOST:PORT/DATABASE");
    let (_, rest) = url.split_once("://").ok_or_else(wrong)?;
    let (user, rest) = rest.rsplit_once('@').map_or((String::new(), rest), |(user, rest)| (format!("{user}@"), rest));
    let (hosts, path) = rest.split_once('/').map_or((rest, ""), |(hosts, path)| (hosts, path));
    let hosts: Vec<&str> = if is_cluster(scheme) { hosts.split(',').collect() } else { vec![hosts] };
    let scheme = scheme.trim_end_matches("-cluster");
    let info = |host: &&str| {
        if host.is_empty() {
            return Err(no_server());
        }
        // The driver's own words could hold the password.
        let info = format!("{scheme}://{user}{host}/{path}").into_connection_info().map_err(|_| wrong())?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(info.set_redis_settings(settings))
    };
    hosts.iter().map(info).collect()
}

fn certificates(scheme: &str, query: &str) -> Result<Option<TlsCertificates>> {
    if query.is_empty() {
        return Ok(None);
    }
    if !scheme.starts_with("rediss") {
        return Err(fault::wrong("only a rediss: or rediss-cluster: URL names certificates"));
    }
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (name, path) in url::form_urlencoded::parse(query.as_bytes()) {
        if !["sslrootcert", "sslcert", "sslkey"].contains(&&*name) {
            return Err(fault::wrong("the redis URL names nothing but sslrootcert, sslcert and sslkey after its `?`"));
        }
        let bytes = std::fs::read(&*path)
            .map_err(|error| fault::wrong_because(format!("the file of {name} cannot be read"), error))?;
        files.insert(name.into_owned(), bytes);
    }
    let client_tls = match (files.remove("sslcert"), files.remove("sslkey")) {
        (Some(client_cert), Some(client_key)) => Some(ClientTlsConfig { client_cert, client_key }),
        (None, None) => None,
        _ => return Err(fault::wrong("the redis URL names one of sslcert and sslkey without the other")),
    };
    Ok(Some(TlsCertificates { client_tls, root_cert: files.remove("sslrootcert") }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use ::redis::ConnectionAddr;

    fn parsed(url: &str) -> Result<Vec<(String, String, i64)>> {
        let of = |info: ConnectionInfo| {
            let settings = info.redis_settings();
            let user = format!("{}:{}", settings.username().unwrap_or(""), settings.password().unwrap_or(""));
            (info.addr().to_string(), user, settings.db())
        };
        Target::read(&Address::new(url)).map(|target| target.infos().into_iter().map(of).collect())
    }

    #[test]
    fn urls_are_read_whole() {
        let one = |host: &str, user: &str, db| (host.to_owned(), user.to_owned(), db);
        assert_eq!(parsed("redis://localhost").unwrap(), [one("localhost:6379", ":", 0)]);
        assert_eq!(parsed("redis://app:p%40ss@db:7000/3").unwrap(), [one("db:7000", "app:p@ss", 3)]);
        assert_eq!(parsed("rediss://:only@db").unwrap(), [one("db:6379", ":only", 0)]);
        assert_eq!(
            parsed("redis-cluster://app:secret@a:1,b:2").unwrap(),
            [one("a:1", "app:secret", 0), one("b:2", "app:secret", 0)]
        );
        let tls = Target::read(&Address::new("rediss-cluster://a:1,b:2")).unwrap();
        assert!(tls.is_cluster && tls.certificates.is_none());
        assert!(tls.infos().iter().all(|node| matches!(node.addr(), ConnectionAddr::TcpTls { .. })));
    }

    #[test]
    fn wrong_urls_are_refused_without_their_password() {
        for url in [
            "redis:x",
            "redis://",
            "redis://app:secret@",
            "redis-cluster://app:secret@a,,b",
            "redis://:secret@h:x",
            "redis://:secret@h?sslrootcert=/x",
            "rediss://:secret@h?timeout=3",
            "rediss://:secret@h?sslrootcert=/there/is/no/such/file",
        ] {
            let error = parsed(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
            assert!(!error.chain().contains("secret"), "{}", error.chain());
        }
    }

    #[test]
    fn certificates_are_read_from_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a file");
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        let path: String = url::form_urlencoded::byte_serialize(path.to_str().unwrap().as_bytes()).collect();
        for (query, word) in [
            (format!("sslrootcert={path}"), "no certificates"),
            (format!("sslcert={path}"), "without the other"),
            (format!("sslcert={path}&sslkey={path}"), "no certificates"),
        ] {
            let error = parsed(&format!("rediss://:secret@h/1?{query}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.message().contains(word), "{query}: {error:?}");
        }
    }
}
