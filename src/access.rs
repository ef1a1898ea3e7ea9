//! Who asks: API keys as bearer tokens, and the demo principal while the server is bound to a loopback address.

use crate::{
    http::{AuthError, Authenticator},
    seed::Demo,
    stores::Stores,
    token,
};
use async_trait::async_trait;
use chimera_stores::{Principal, Role, Scope};
use quick_cache::sync::Cache;
use std::time::{Duration, Instant};

/// How long a key that was looked up is believed: the longest a revoked key still works.
const BELIEVED: Duration = Duration::from_secs(5);

/// Knows the keys.
pub struct KeyRing {
    stores: Stores,
    demo: Option<Scope>,
    known: Cache<String, (Instant, Scope)>,
}

impl KeyRing {
    /// Over the keys of the relational store; with `demo`, whoever shows no key is the demo principal.
    pub fn new(stores: Stores, demo: Option<Demo>) -> Self {
        let demo = demo.map(|demo| Scope::new(demo.organization_id, Principal::User(demo.user_id), Role::Admin));
        Self { stores, demo, known: Cache::new(1024) }
    }
}

#[async_trait]
impl Authenticator for KeyRing {
    async fn authenticate(&self, bearer: Option<&str>) -> Result<Scope, AuthError> {
        let Some(token) = bearer else { return self.demo.clone().ok_or(AuthError::Missing) };
        let hash = token::hash_token(token);
        if let Some((at, scope)) = self.known.get(&hash)
            && at.elapsed() < BELIEVED
        {
            return Ok(scope);
        }
        match self.stores.relational.authenticate(&hash).await {
            Ok(Some(scope)) => {
                self.known.insert(hash, (Instant::now(), scope.clone()));
                Ok(scope)
            }
            Ok(None) => {
                self.known.remove(&hash);
                Err(AuthError::Invalid)
            }
            Err(_) => Err(AuthError::Unavailable),
        }
    }
}
