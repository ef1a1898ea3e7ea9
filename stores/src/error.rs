//! One error for all ports: which store, what kind, whether a repeat can help.
//!
//! `Display` is safe to show to a client: it never contains a driver's text. The driver's own error is the `source`,
//! for the log alone.

use std::{error::Error as StdError, fmt, sync::Arc};

/// What every port method returns.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// One of the seven stores, as named in settings, metrics and `/ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// Organisations, users, campaigns, billing, audit, outbox.
    Relational,
    /// Persona definitions, memories, interactions.
    Memory,
    /// Queues, windows, sessions, publish/subscribe.
    Episodic,
    /// Render events.
    Telemetry,
    /// Balances, transfers, contract events.
    Ledger,
    /// Bytes of media.
    Media,
    /// Full-text discovery.
    Search,
}

impl Store {
    /// All seven, in the order of the documentation.
    pub const ALL: [Store; 7] = [
        Store::Relational,
        Store::Memory,
        Store::Episodic,
        Store::Telemetry,
        Store::Ledger,
        Store::Media,
        Store::Search,
    ];

    /// The lower-case name used in settings, metrics and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Store::Relational => "relational",
            Store::Memory => "memory",
            Store::Episodic => "episodic",
            Store::Telemetry => "telemetry",
            Store::Ledger => "ledger",
            Store::Media => "media",
            Store::Search => "search",
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What went wrong, as far as a caller can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Absence where the caller had a right to expect presence. Look-ups return `None` instead.
    NotFound,
    /// A unique key, a version or a state stands in the way.
    Conflict,
    /// The argument is wrong and will be wrong again; the message names it.
    Invalid,
    /// The caller's scope does not permit it.
    Forbidden,
    /// A change older than what the store already holds. For a relay this is success.
    Superseded,
    /// The store refuses connections, or its breaker is open.
    Unavailable,
    /// The deadline passed.
    Timeout,
    /// Too many calls are waiting, or the store itself asked for a pause.
    Overloaded,
    /// This adapter cannot do it; its capabilities say so.
    Unsupported,
    /// The store answered something that makes no sense.
    BadResponse,
    /// What is stored is damaged.
    Corrupt,
    /// A defect of this program.
    Internal,
}

impl ErrorKind {
    /// The stable code of the API's error catalogue.
    pub const fn code(self) -> &'static str {
        match self {
            ErrorKind::NotFound => "NOT_FOUND",
            ErrorKind::Conflict => "CONFLICT",
            ErrorKind::Invalid => "BAD_USER_INPUT",
            ErrorKind::Forbidden => "FORBIDDEN",
            ErrorKind::Superseded => "SUPERSEDED",
            ErrorKind::Unavailable => "STORE_UNAVAILABLE",
            ErrorKind::Timeout => "STORE_TIMEOUT",
            ErrorKind::Overloaded => "STORE_OVERLOADED",
            ErrorKind::Unsupported => "UNSUPPORTED_BY_STORE",
            ErrorKind::BadResponse => "STORE_BAD_RESPONSE",
            ErrorKind::Corrupt => "STORE_CORRUPT",
            ErrorKind::Internal => "INTERNAL_ERROR",
        }
    }

    /// Whether the store, not the caller, is at fault: what a breaker counts and what a log shows as an error.
    pub const fn is_store_fault(self) -> bool {
        matches!(
            self,
            ErrorKind::Unavailable
                | ErrorKind::Timeout
                | ErrorKind::BadResponse
                | ErrorKind::Corrupt
                | ErrorKind::Internal
        )
    }
}

/// Whether a repeat of the same call can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same call fails the same way.
    Never,
    /// Nothing happened; an idempotent read may be repeated at once.
    Safe,
}

struct Inner {
    store: Store,
    kind: ErrorKind,
    retry: Retry,
    message: String,
    advice: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// A failure of one port call. Cheap to clone, so that one failed batch can fail every key of it.
#[derive(Clone)]
pub struct StoreError(Arc<Inner>);

impl StoreError {
    /// An error with a message that is safe to show: lower case, no full stop, no driver text.
    pub fn new(store: Store, kind: ErrorKind, message: impl Into<String>) -> Self {
        let retry = match kind {
            ErrorKind::Unavailable | ErrorKind::Timeout => Retry::Safe,
            _ => Retry::Never,
        };
        Self(Arc::new(Inner { store, kind, retry, message: message.into(), advice: None, source: None }))
    }

    /// The same with the driver's error as its cause, for the log.
    pub fn with_source(
        store: Store,
        kind: ErrorKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        let plain = Self::new(store, kind, message);
        match Arc::try_unwrap(plain.0) {
            Ok(inner) => Self(Arc::new(Inner { source: Some(source.into()), ..inner })),
            Err(shared) => Self(shared),
        }
    }

    /// The same with what its operator can do about it: lower case, no full stop.
    #[must_use]
    pub fn with_advice(self, advice: impl Into<String>) -> Self {
        match Arc::try_unwrap(self.0) {
            Ok(inner) => Self(Arc::new(Inner { advice: Some(advice.into()), ..inner })),
            Err(shared) => Self(shared),
        }
    }

    /// Shorthand for [`ErrorKind::Invalid`].
    pub fn invalid(store: Store, message: impl Into<String>) -> Self {
        Self::new(store, ErrorKind::Invalid, message)
    }

    /// Shorthand for [`ErrorKind::Conflict`].
    pub fn conflict(store: Store, message: impl Into<String>) -> Self {
        Self::new(store, ErrorKind::Conflict, message)
    }

    /// Shorthand for [`ErrorKind::Unsupported`].
    pub fn unsupported(store: Store, message: impl Into<String>) -> Self {
        Self::new(store, ErrorKind::Unsupported, message)
    }

    /// The store that failed.
    pub fn store(&self) -> Store {
        self.0.store
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether a repeat can help.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// The message that a client may see.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What its operator can do about it, when the adapter knows.
    pub fn advice(&self) -> Option<&str> {
        self.0.advice.as_deref()
    }

    /// The whole chain of causes on one line, for the log.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.store, self.0.message)
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreError({:?}, {})", self.0.kind, self.chain())
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}
