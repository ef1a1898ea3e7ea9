//! Mutations: one file an entity, merged into one root.
//!
//! What a caller can get wrong comes back as `userErrors` with a code, the argument and a message; what only the
//! operator can mend is an error of the field. A payload tells which derived stores have not applied the change yet.
//!
//! What people change is audited in the transaction that changes it. Render events, tasks and conversation turns are not:
//! they are the traffic of machines, go straight to their own stores, and a relational commit for each batch would cost
//! more than the batch.

pub mod api_key;
pub mod asset;
mod batch;
pub mod billing;
pub mod campaign;
pub mod conversation;
pub mod input;
pub mod ledger;
pub mod memory;
pub mod persona;
pub mod post;
pub mod task;
pub mod telemetry;
pub mod video;
pub mod wallet;

use super::{context::RequestContext, error::field_error, ids::NodeId, types::service::StoreName};
use crate::write::UnitOfWork;
use async_graphql::{Enum, ID, MergedObject, Result, SimpleObject};
use chimera_stores::{ErrorKind, StoreError};
use chrono::{DateTime, SubsecRound, Utc};
use std::time::Duration;
use uuid::Uuid;

/// Everything that can be changed. Every mutation needs the role EDITOR; those of wallets, money, keys and the settings
/// of queues need ADMIN.
#[derive(MergedObject, Default)]
pub struct Mutation(
    persona::PersonaMutation,
    memory::MemoryMutation,
    conversation::ConversationMutation,
    campaign::CampaignMutation,
    post::PostMutation,
    video::VideoMutation,
    asset::AssetMutation,
    telemetry::TelemetryMutation,
    task::TaskMutation,
    wallet::WalletMutation,
    ledger::LedgerMutation,
    billing::BillingMutation,
    api_key::ApiKeyMutation,
);

/// Why a change was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum UserErrorCode {
    /// An argument is wrong.
    Invalid,
    /// What was named does not exist, or not for you.
    NotFound,
    /// A unique value is taken, or somebody else changed it first.
    Conflict,
    /// The state does not permit it.
    Refused,
}

/// Why a change was not made, for the person who asked for it.
#[derive(Clone, Debug, SimpleObject)]
pub struct UserError {
    /// What kind of reason.
    pub code: UserErrorCode,
    /// The path of the argument, such as `["input", "handle"]`; null when no single one is to blame.
    pub field: Option<Vec<String>>,
    /// What is wrong and what is accepted.
    pub message: String,
}

impl UserError {
    /// A wrong argument.
    pub fn invalid(field: &[&str], message: impl Into<String>) -> Self {
        Self::new(UserErrorCode::Invalid, field, message)
    }

    /// Something that does not exist.
    pub fn not_found(field: &[&str], message: impl Into<String>) -> Self {
        Self::new(UserErrorCode::NotFound, field, message)
    }

    /// Any reason.
    pub fn new(code: UserErrorCode, field: &[&str], message: impl Into<String>) -> Self {
        let field = (!field.is_empty()).then(|| field.iter().map(|part| (*part).to_owned()).collect());
        Self { code, field, message: message.into() }
    }
}

/// Why a mutation did not happen: the caller's doing, or a store's.
pub enum Refusal {
    /// For `userErrors`.
    User(Vec<UserError>),
    /// For `errors`.
    Error(async_graphql::Error),
}

impl From<UserError> for Refusal {
    fn from(error: UserError) -> Self {
        Self::User(vec![error])
    }
}

impl From<async_graphql::Error> for Refusal {
    fn from(error: async_graphql::Error) -> Self {
        Self::Error(error)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let code = match error.kind() {
            ErrorKind::Invalid => UserErrorCode::Invalid,
            ErrorKind::NotFound => UserErrorCode::NotFound,
            ErrorKind::Conflict => UserErrorCode::Conflict,
            ErrorKind::Unsupported => UserErrorCode::Refused,
            _ => return Self::Error(field_error(&error)),
        };
        Self::User(vec![UserError::new(code, &[], error.message())])
    }
}

/// What a mutation's body answers.
pub type Outcome<T> = std::result::Result<T, Refusal>;

/// How long a mutation waits for the derived stores, unless the settings say otherwise.
pub const DEFAULT_WAIT: Duration = Duration::from_millis(250);

/// Commits, wakes the relay, and waits for it for the budget; answers the stores that are still pending. Work that
/// changes nothing is not committed.
///
/// # Errors
/// What the relational store says.
pub async fn commit(request: &RequestContext, work: UnitOfWork) -> Outcome<Vec<StoreName>> {
    if work.is_empty() {
        return Ok(Vec::new());
    }
    let committed = work.commit(request.stores(), request.scope()).await?;
    let shared = request.shared();
    let pending = shared.relay.wait(&committed.outbox, shared.outbox_wait).await;
    Ok(pending.into_iter().map(StoreName::from).collect())
}

/// A new unit of work for this request.
pub fn unit(request: &RequestContext, action: &'static str) -> UnitOfWork {
    UnitOfWork::new(action, Some(request.request_id().to_owned()))
}

/// The time of this change, to the microsecond: what the databases keep, so that a payload shows what is read later.
pub fn now(request: &RequestContext) -> DateTime<Utc> {
    request.shared().clock.now().trunc_subsecs(6)
}

/// Reads the global id of one type out of an argument.
///
/// # Errors
/// `INVALID` naming the argument.
pub fn read_id(id: &ID, field: &[&str], what: &str, read: impl FnOnce(NodeId) -> Option<Uuid>) -> Outcome<Uuid> {
    NodeId::parse(id)
        .and_then(read)
        .ok_or_else(|| UserError::invalid(field, format!("this is not the id of {what}")).into())
}

/// Makes a payload type: what was made or changed, `userErrors`, the stores still pending, and the conversion from a
/// mutation's outcome. With `direct` before the name, for what goes straight to its own store: nothing can be pending,
/// and some items of a batch may be refused on their own.
macro_rules! payload {
    ($(#[doc = $doc:literal])* direct $name:ident { $($(#[doc = $field_doc:literal])* $field:ident: $type:ty),+ $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Clone, async_graphql::SimpleObject)]
        pub struct $name {
            $(
                $(#[doc = $field_doc])*
                pub $field: Option<$type>,
            )+
            /// What was refused and why; empty when nothing was.
            pub user_errors: Vec<$crate::graphql::mutations::UserError>,
        }

        impl $name {
            /// The payload of an outcome.
            fn of(
                outcome: $crate::graphql::mutations::Outcome<(
                    $($type,)+
                    Vec<$crate::graphql::mutations::UserError>,
                )>,
            ) -> async_graphql::Result<Option<Self>> {
                use $crate::graphql::mutations::Refusal;
                match outcome {
                    Ok(($($field,)+ user_errors)) => Ok(Some(Self { $($field: Some($field),)+ user_errors })),
                    Err(Refusal::User(user_errors)) => Ok(Some(Self { $($field: None,)+ user_errors })),
                    Err(Refusal::Error(error)) => Err(error),
                }
            }
        }
    };
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $field_doc:literal])* $field:ident: $type:ty),+ $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Clone, async_graphql::SimpleObject)]
        pub struct $name {
            $(
                $(#[doc = $field_doc])*
                pub $field: Option<$type>,
            )+
            /// Why nothing was changed; empty when it was.
            pub user_errors: Vec<$crate::graphql::mutations::UserError>,
            /// Stores that will show the change a moment later.
            pub pending_stores: Vec<$crate::graphql::types::service::StoreName>,
        }

        impl $name {
            /// The payload of an outcome.
            fn of(
                outcome: $crate::graphql::mutations::Outcome<(
                    $($type,)+
                    Vec<$crate::graphql::types::service::StoreName>,
                )>,
            ) -> async_graphql::Result<Option<Self>> {
                use $crate::graphql::mutations::Refusal;
                match outcome {
                    Ok(($($field,)+ pending_stores)) => {
                        Ok(Some(Self { $($field: Some($field),)+ user_errors: Vec::new(), pending_stores }))
                    }
                    Err(Refusal::User(user_errors)) => {
                        Ok(Some(Self { $($field: None,)+ user_errors, pending_stores: Vec::new() }))
                    }
                    Err(Refusal::Error(error)) => Err(error),
                }
            }
        }
    };
}
pub(crate) use payload;

/// The request, when the caller may change content.
///
/// # Errors
/// `FORBIDDEN`.
pub fn editor<'a>(context: &async_graphql::Context<'a>) -> Result<&'a RequestContext> {
    let request = RequestContext::of(context)?;
    super::error::require(request.scope(), chimera_stores::Role::Editor)?;
    Ok(request)
}

/// The request, when the caller may change wallets, money, keys and the settings of queues.
///
/// # Errors
/// `FORBIDDEN`.
pub fn admin<'a>(context: &async_graphql::Context<'a>) -> Result<&'a RequestContext> {
    let request = RequestContext::of(context)?;
    super::error::require(request.scope(), chimera_stores::Role::Admin)?;
    Ok(request)
}

/// One row of the caller's organisation, read now and not from the request's loaders, which may hold an older version.
///
/// # Errors
/// `NOT_FOUND` naming the argument, or what the store says.
pub async fn current<R: chimera_stores::relational::Record>(
    request: &RequestContext,
    id: Uuid,
    field: &[&str],
    what: &str,
) -> Outcome<R> {
    let rows = request.stores().relational.get::<R>(request.scope(), &[id]).await?;
    rows.into_iter()
        .next()
        .flatten()
        .ok_or_else(|| UserError::not_found(field, format!("there is no such {what}")).into())
}

/// Refuses a change of a version the caller has not seen.
///
/// # Errors
/// `CONFLICT` with the current version.
pub fn expect_version(expected: Option<i64>, current: i64) -> Outcome<()> {
    match expected {
        Some(expected) if expected != current => Err(UserError::new(
            UserErrorCode::Conflict,
            &["input", "expectedVersion"],
            format!("it is at version {current} by now, not {expected}"),
        )
        .into()),
        _ => Ok(()),
    }
}

/// Refuses a text that is blank, too long, or holds a NUL, which not every database can keep.
///
/// # Errors
/// `INVALID` naming the argument.
pub fn check_text(field: &[&str], text: &str, max_bytes: usize) -> Outcome<()> {
    if text.trim().is_empty() {
        return Err(UserError::invalid(field, "this must not be blank").into());
    }
    if text.len() > max_bytes {
        return Err(UserError::invalid(
            field,
            format!("this has {} bytes; at most {max_bytes} are accepted", text.len()),
        )
        .into());
    }
    if text.contains('\0') {
        return Err(UserError::invalid(field, "this must not contain the character U+0000").into());
    }
    Ok(())
}
