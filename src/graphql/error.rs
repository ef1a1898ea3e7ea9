//! From a store's error to what a client sees: a code of the catalogue, a message without internals, the store.
//!
//! | code | meaning |
//! |---|---|
//! | `BAD_USER_INPUT` | an argument is wrong; the message names it |
//! | `NOT_FOUND` | what was named does not exist, or not for you |
//! | `CONFLICT` | a unique key, a version or a state stands in the way |
//! | `FORBIDDEN` | your role does not permit it |
//! | `UNAUTHENTICATED` | no or a wrong API key |
//! | `STORE_UNAVAILABLE` | a store refuses connections or is resting; the other stores' fields are complete |
//! | `STORE_TIMEOUT` | a store did not answer inside its budget |
//! | `STORE_OVERLOADED` | too many calls of a store are under way; try again |
//! | `STORE_BAD_RESPONSE` | a store answered nonsense |
//! | `STORE_CORRUPT` | what a store holds is damaged |
//! | `UNSUPPORTED_BY_STORE` | the configured store cannot do it |
//! | `INTERNAL_ERROR` | a defect of this program; report it with the request id |

use async_graphql::{Error, ErrorExtensions};
use chimera_stores::{ErrorKind, Role, Scope, StoreError};

/// The client's view of a store's error. The cause chain stays in the log, where the guard has written it.
pub fn field_error(error: &StoreError) -> Error {
    let message = match error.kind() {
        // A defect's message may name internals.
        ErrorKind::Internal => format!("{}: the store failed", error.store()),
        _ => error.to_string(),
    };
    Error::new(message).extend_with(|_, extensions| {
        extensions.set("code", error.kind().code());
        extensions.set("store", error.store().name());
    })
}

/// An error about an argument.
pub fn bad_input(message: impl Into<String>) -> Error {
    coded("BAD_USER_INPUT", message)
}

/// An error with a code of the catalogue.
pub fn coded(code: &'static str, message: impl Into<String>) -> Error {
    Error::new(message.into()).extend_with(|_, extensions| extensions.set("code", code))
}

/// Refuses a caller whose role is below `least`.
///
/// # Errors
/// `FORBIDDEN`.
pub fn require(scope: &Scope, least: Role) -> Result<(), Error> {
    if scope.role() >= least {
        return Ok(());
    }
    let name = match least {
        Role::Viewer => "VIEWER",
        Role::Editor => "EDITOR",
        Role::Admin => "ADMIN",
    };
    Err(coded("FORBIDDEN", format!("this needs the role {name}")))
}
