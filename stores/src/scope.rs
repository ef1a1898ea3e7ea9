//! Who asks, and until when an answer is of use. Every port method takes a [`Scope`]; one cannot be left out.
//!
//! A scope demands the latest answer unless it was told that it need not ([`Scope::tolerating_lag`]): what nobody has
//! thought about is fresh.
//!
//! What a scope may not see does not exist for it: adapters filter by [`Scope::organization_id`] and answer `None`.

use crate::guard::CallCounter;
use std::{sync::Arc, time::Instant};
use uuid::Uuid;

/// What a member may do in an organisation. Each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads everything of the organisation.
    Viewer,
    /// Also writes content: personas, campaigns, posts, videos, memories, tasks, telemetry.
    Editor,
    /// Also wallets, billing, API keys, and the audit log.
    Admin,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A person.
    User(Uuid),
    /// An API key, by its id (never the key).
    ApiKey(Uuid),
    /// The program itself: migrations, seed, relay.
    System,
}

impl Principal {
    /// A short stable name for the audit log: `user:<id>`, `api_key:<id>` or `system`.
    pub fn label(&self) -> String {
        match self {
            Principal::User(id) => format!("user:{id}"),
            Principal::ApiKey(id) => format!("api_key:{id}"),
            Principal::System => "system".to_owned(),
        }
    }
}

#[derive(Debug)]
struct Inner {
    organization_id: Uuid,
    principal: Principal,
    role: Role,
    deadline: Option<Instant>,
    calls: Option<Arc<CallCounter>>,
    may_lag: bool,
}

/// The caller's organisation, identity, role and deadline. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Scope(Arc<Inner>);

impl Scope {
    /// A scope without a deadline.
    pub fn new(organization_id: Uuid, principal: Principal, role: Role) -> Self {
        Self(Arc::new(Inner { organization_id, principal, role, deadline: None, calls: None, may_lag: false }))
    }

    /// The program's own scope in one organisation.
    pub fn system(organization_id: Uuid) -> Self {
        Self::new(organization_id, Principal::System, Role::Admin)
    }

    /// The same scope, bound to one request: answered by `deadline`, its store calls counted in `calls`.
    pub fn for_request(&self, deadline: Instant, calls: Arc<CallCounter>) -> Self {
        Self(Arc::new(Inner {
            organization_id: self.0.organization_id,
            principal: self.0.principal.clone(),
            role: self.0.role,
            deadline: Some(deadline),
            calls: Some(calls),
            may_lag: self.0.may_lag,
        }))
    }

    /// The same scope for reads that may miss the last moments' writes, those of the caller included: a store may
    /// answer them from a replica. Not for a request that writes, and not for deciding who may do what.
    pub fn tolerating_lag(&self) -> Self {
        Self(Arc::new(Inner {
            organization_id: self.0.organization_id,
            principal: self.0.principal.clone(),
            role: self.0.role,
            deadline: self.0.deadline,
            calls: self.0.calls.clone(),
            may_lag: true,
        }))
    }

    /// The tenant: rows of any other organisation do not exist.
    pub fn organization_id(&self) -> Uuid {
        self.0.organization_id
    }

    /// Who acts.
    pub fn principal(&self) -> &Principal {
        &self.0.principal
    }

    /// What the caller may do.
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// When the request's budget ends.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline
    }

    /// Whether an answer may be older than the last writes.
    pub fn may_lag(&self) -> bool {
        self.0.may_lag
    }

    /// Where the calls of this request are counted.
    pub fn calls(&self) -> Option<&CallCounter> {
        self.0.calls.as_deref()
    }
}
