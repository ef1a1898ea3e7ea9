//! What the application hands to the HTTP layer.

use crate::document::{Api, Limits};
use async_graphql::Data;
use async_trait::async_trait;
use chimera_stores::{Scope, Store, media::LocalMedia};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use serde::Serialize;
use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};
use url::Url;

/// Finds out who asks.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// The scope of the caller with this bearer token; without one, the scope of anyone, if there is such.
    async fn authenticate(&self, bearer: Option<&str>) -> Result<Scope, AuthError>;
}

/// Why a caller was not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// No token, and none may come without: 401.
    Missing,
    /// A token that is not known, or no longer: 401.
    Invalid,
    /// Known, and not welcome here: 403.
    Forbidden,
    /// Whether the token is known cannot be found out now: 503.
    Unavailable,
}

/// Says how the stores are.
#[async_trait]
pub trait Readiness: Send + Sync + 'static {
    /// All seven stores, in the order of the documentation.
    async fn check(&self) -> Vec<StoreStatus>;
}

/// One store, as `/ready` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoreStatus {
    /// Which.
    pub store: Store,
    /// The adapter's name; `off` when the installation runs without it.
    pub adapter: String,
    /// Where it is, without secrets.
    pub place: String,
    /// Whether it answers.
    pub ready: bool,
    /// `closed`, `half_open` or `open`.
    pub breaker: String,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The id of one request: in its answer, its errors and its log lines. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

/// The longest id taken from a caller.
const MAX_REQUEST_ID: usize = 128;

impl RequestId {
    /// The caller's id when it is up to 128 visible ASCII characters, otherwise a new one.
    pub fn accept(given: Option<&[u8]>) -> Self {
        let sane = |id: &&[u8]| !id.is_empty() && id.len() <= MAX_REQUEST_ID && id.iter().all(u8::is_ascii_graphic);
        match given.filter(sane).and_then(|id| std::str::from_utf8(id).ok()) {
            Some(id) => Self(id.into()),
            None => Self::random(),
        }
    }

    /// A new id, ordered by time.
    pub fn random() -> Self {
        Self(uuid::Uuid::now_v7().to_string().into())
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes what resolvers find in their context. The scope carries the request's deadline and its count of store calls.
pub type MakeData = Arc<dyn Fn(Scope, RequestId) -> Data + Send + Sync>;

/// How the server listens and what it lets through.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Worker threads; 0 is one for each core.
    pub workers: usize,
    /// Where clients reach the server.
    pub public_url: Url,
    /// Whether GraphiQL is served.
    pub graphiql: bool,
    /// How long open requests may take to end at a shutdown.
    pub shutdown_timeout: Duration,
    /// Web origins whose pages may call, in canonical form.
    pub cors_origins: Vec<String>,
    /// What a request may cost.
    pub limits: Limits,
}

/// Everything the HTTP layer needs.
#[derive(Clone)]
pub struct Parts {
    /// Prepares and executes documents.
    pub api: Arc<dyn Api>,
    /// Finds out who asks.
    pub authenticator: Arc<dyn Authenticator>,
    /// Says how the stores are.
    pub readiness: Arc<dyn Readiness>,
    /// Makes the data of each request.
    pub make_data: MakeData,
    /// Serves the media URLs that point at this process; `None` when none do.
    pub media: Option<Arc<dyn LocalMedia>>,
    /// What `/metrics` shows; this layer adds its own.
    pub registry: Arc<Mutex<Registry>>,
    /// How to listen.
    pub settings: HttpSettings,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sane_ids_are_kept_and_others_replaced() {
        for id in ["a", "0af7651916cd43dd8448eb211c80319c", "order-7/try=2", &"x".repeat(128)] {
            assert_eq!(RequestId::accept(Some(id.as_bytes())).as_str(), id);
        }
        let long = "x".repeat(129);
        for id in [&b""[..], b"a b", b"a\nb", b"a\"\x7f", "ü".as_bytes(), long.as_bytes(), b"\xff"] {
            let made = RequestId::accept(Some(id));
            assert!(uuid::Uuid::parse_str(made.as_str()).is_ok(), "{made}");
        }
        assert_ne!(RequestId::accept(None), RequestId::accept(None));
    }
}
