//! What a request may cost: the limits of section `[limits]`, each with the code a client sees when it is exceeded.
//!
//! Limits are about documents and bodies. What a caller may read is decided elsewhere.

use super::refusal::{Refusal, Stage};
use async_graphql::{Pos, ServerError};
use serde::Serialize;
use std::time::Duration;

/// Nesting of braces, brackets and parentheses, and of selection sets with fragments put in place. Not a setting: the
/// parser and the executor recurse on it, and at 64 both stay far inside a thread's stack even in a debug build.
pub const MAX_NESTING: u32 = 64;

/// Operations of one document. Not a setting: each is kept with the fragments it uses, so this bounds how far a document
/// can multiply itself in memory. Pages in which people explore send what the editor holds, hence more than one.
pub const MAX_OPERATIONS: usize = 25;

/// The parts of all definitions of one document, fragments put in place, against those of its largest operation:
/// validation visits each definition once, so a document of many overlapping fragments is bounded by this.
pub const MAX_DEFINITIONS_FACTOR: u64 = 10;

/// The limits in force.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Limits {
    /// Bytes of a request's body.
    pub max_body_bytes: usize,
    /// Bytes of a request without its document: variables, extensions, names.
    pub max_variables_bytes: usize,
    /// Lexical tokens of a document.
    pub max_tokens: u64,
    /// Fields inside fields.
    pub max_depth: u64,
    /// Fields and fragments of an operation, with what each fragment holds put in its place.
    pub max_selections: u64,
    /// Fields under another name than their own.
    pub max_aliases: u64,
    /// Fields at the root of an operation.
    pub max_root_fields: u64,
    /// Directives of an operation.
    pub max_directives: u64,
    /// The estimate of [`super::cost`].
    pub max_complexity: u64,
    /// Rows of one page of a connection. The schema refuses more; the estimate only knows the default.
    pub max_page_size: u32,
    /// Rows of a page when the document does not say.
    pub default_page_size: u32,
    /// Requests in one body; 0 switches batching off.
    pub max_batch: usize,
    /// Memory for documents that were parsed and validated.
    pub document_cache_bytes: u64,
    /// How long a request may take.
    #[serde(serialize_with = "milliseconds", rename = "request_timeout_ms")]
    pub request_timeout: Duration,
}

fn milliseconds<S: serde::Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 256 << 10,
            max_variables_bytes: 192 << 10,
            max_tokens: 10_000,
            max_depth: 15,
            max_selections: 10_000,
            max_aliases: 100,
            max_root_fields: 30,
            max_directives: 50,
            max_complexity: 50_000,
            max_page_size: 100,
            default_page_size: 20,
            max_batch: 0,
            document_cache_bytes: 16 << 20,
            request_timeout: Duration::from_secs(5),
        }
    }
}

/// Which limit was exceeded: its code, its setting, and what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// [`Limits::max_body_bytes`].
    Body,
    /// [`Limits::max_variables_bytes`].
    Variables,
    /// [`Limits::max_tokens`].
    Tokens,
    /// [`Limits::max_depth`].
    Depth,
    /// [`MAX_NESTING`].
    Nesting,
    /// Lists of the schema inside each other in an introspection query.
    Introspection,
    /// [`Limits::max_selections`].
    Selections,
    /// [`Limits::max_aliases`].
    Aliases,
    /// [`Limits::max_root_fields`].
    RootFields,
    /// [`Limits::max_directives`].
    Directives,
    /// [`MAX_OPERATIONS`].
    Operations,
    /// [`Limits::max_complexity`].
    Complexity,
    /// [`Limits::max_batch`].
    Batch,
}

impl Exceeded {
    /// Every limit, for the documentation and the tests.
    pub const ALL: [Exceeded; 13] = [
        Exceeded::Body,
        Exceeded::Variables,
        Exceeded::Tokens,
        Exceeded::Depth,
        Exceeded::Nesting,
        Exceeded::Introspection,
        Exceeded::Selections,
        Exceeded::Aliases,
        Exceeded::RootFields,
        Exceeded::Directives,
        Exceeded::Operations,
        Exceeded::Complexity,
        Exceeded::Batch,
    ];

    /// The stable code in the API's error catalogue.
    pub const fn code(self) -> &'static str {
        match self {
            Exceeded::Body => "BODY_LIMIT_EXCEEDED",
            Exceeded::Variables => "VARIABLES_LIMIT_EXCEEDED",
            Exceeded::Tokens => "TOKEN_LIMIT_EXCEEDED",
            Exceeded::Depth => "DEPTH_LIMIT_EXCEEDED",
            Exceeded::Nesting => "NESTING_LIMIT_EXCEEDED",
            Exceeded::Introspection => "INTROSPECTION_LIMIT_EXCEEDED",
            Exceeded::Selections => "SELECTION_LIMIT_EXCEEDED",
            Exceeded::Aliases => "ALIAS_LIMIT_EXCEEDED",
            Exceeded::RootFields => "ROOT_FIELD_LIMIT_EXCEEDED",
            Exceeded::Directives => "DIRECTIVE_LIMIT_EXCEEDED",
            Exceeded::Operations => "OPERATION_LIMIT_EXCEEDED",
            Exceeded::Complexity => "COMPLEXITY_LIMIT_EXCEEDED",
            Exceeded::Batch => "BATCH_LIMIT_EXCEEDED",
        }
    }

    /// The setting that moves it; `None` for what is fixed.
    pub const fn setting(self) -> Option<&'static str> {
        Some(match self {
            Exceeded::Body => "limits.max_body_bytes",
            Exceeded::Variables => "limits.max_variables_bytes",
            Exceeded::Tokens => "limits.max_tokens",
            Exceeded::Depth => "limits.max_depth",
            Exceeded::Nesting | Exceeded::Introspection | Exceeded::Operations => return None,
            Exceeded::Selections => "limits.max_selections",
            Exceeded::Aliases => "limits.max_aliases",
            Exceeded::RootFields => "limits.max_root_fields",
            Exceeded::Directives => "limits.max_directives",
            Exceeded::Complexity => "limits.max_complexity",
            Exceeded::Batch => "limits.max_batch",
        })
    }

    const fn counts(self) -> &'static str {
        match self {
            Exceeded::Body => "bytes in the request",
            Exceeded::Variables => "bytes in the request besides the document",
            Exceeded::Tokens => "tokens in the document",
            Exceeded::Depth => "levels of fields",
            Exceeded::Nesting => "levels of nesting, fragments included",
            Exceeded::Introspection => "lists of the schema inside each other",
            Exceeded::Selections => "selections with fragments put in place",
            Exceeded::Aliases => "aliases",
            Exceeded::RootFields => "fields at the root",
            Exceeded::Directives => "directives",
            Exceeded::Operations => "operations in the document",
            Exceeded::Complexity => "points of complexity",
            Exceeded::Batch => "requests in one body",
        }
    }

    /// The client's error: how much is allowed, how much it was (`None` where counting stopped at the limit), which
    /// setting moves it.
    pub fn error(self, limit: u64, actual: Option<u64>, at: Option<Pos>) -> ServerError {
        let mut message = match actual {
            Some(actual) => format!("{actual} {} are more than the limit of {limit}", self.counts()),
            None => format!("more than {limit} {}", self.counts()),
        };
        if let Some(setting) = self.setting() {
            message.push_str(&format!(" ({setting})"));
        }
        let mut error = ServerError::new(message, at);
        let extensions = error.extensions.get_or_insert_default();
        extensions.set("code", self.code());
        extensions.set("limit", limit);
        if let Some(actual) = actual {
            extensions.set("actual", actual);
        }
        if let Some(setting) = self.setting() {
            extensions.set("setting", setting);
        }
        error
    }

    /// The refusal of a document.
    pub(super) fn refuse(self, limit: u64, actual: Option<u64>, at: Option<Pos>) -> Refusal {
        Refusal { stage: Stage::Limit, errors: vec![self.error(limit, actual, at)] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_limit_has_its_own_code_and_names_value_and_setting() {
        let codes: BTreeSet<_> = Exceeded::ALL.iter().map(|limit| limit.code()).collect();
        assert_eq!(codes.len(), Exceeded::ALL.len());
        for limit in Exceeded::ALL {
            assert!(limit.code().ends_with("_LIMIT_EXCEEDED"));
            let error = limit.error(7, Some(9), None);
            assert!(error.message.contains('7') && error.message.contains('9'), "{}", error.message);
            let extensions = error.extensions.expect("extensions");
            assert_eq!(extensions.get("limit"), Some(&7.into()));
            assert_eq!(extensions.get("setting").is_some(), limit.setting().is_some());
        }
    }
}
