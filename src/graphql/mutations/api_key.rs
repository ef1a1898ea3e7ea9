//! Making and revoking API keys. The token leaves the process once, in the answer to `createApiKey`; only its hash stays.

use super::{Outcome, UserError, UserErrorCode, admin, commit, current, input, now, payload, unit};
use crate::{
    graphql::{
        context::RequestContext,
        scalars::DateTime,
        types::{
            organization::{ApiKey, Role},
            service::StoreName,
        },
    },
    token::new_token,
};
use async_graphql::{Context, ID, InputObject, Object, Result};
use chimera_stores::{Principal, Role as ScopeRole};
use entity::api_key::Model;
use uuid::Uuid;

/// A key to be made.
#[derive(Clone, Debug, InputObject)]
pub struct CreateApiKeyInput {
    /// What it is for: 1 to 256 bytes.
    pub name: String,
    /// What it may do: not more than you may.
    pub role: Role,
    /// When it stops working; never when absent.
    pub expires_at: Option<DateTime>,
}

/// A key to be taken back.
#[derive(Clone, Debug, InputObject)]
pub struct RevokeApiKeyInput {
    /// The key.
    pub id: ID,
}

payload! {
    /// What became of `createApiKey`.
    CreateApiKeyPayload {
        /// The new key.
        api_key: ApiKey,
        /// The token to send as `Authorization: Bearer …`. It is shown only here: keep it now.
        token: String
    }
}

payload! {
    /// What became of `revokeApiKey`.
    RevokeApiKeyPayload {
        /// The key as it is now.
        api_key: ApiKey
    }
}

/// Mutations of API keys.
#[derive(Default)]
pub struct ApiKeyMutation;

#[Object]
impl ApiKeyMutation {
    /// Makes an API key and shows its token once. Needs the role ADMIN.
    async fn create_api_key(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The key.")] input: CreateApiKeyInput,
    ) -> Result<Option<CreateApiKeyPayload>> {
        CreateApiKeyPayload::of(create(admin(context)?, input).await)
    }

    /// Takes an API key back: it stops working within five seconds. Repeating it is harmless. Needs the role ADMIN.
    async fn revoke_api_key(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The key.")] input: RevokeApiKeyInput,
    ) -> Result<Option<RevokeApiKeyPayload>> {
        RevokeApiKeyPayload::of(revoke(admin(context)?, input).await)
    }
}

async fn create(request: &RequestContext, input: CreateApiKeyInput) -> Outcome<(ApiKey, String, Vec<StoreName>)> {
    if scope_role(input.role) > request.scope().role() {
        let message = "a key may not do more than the one who makes it";
        return Err(UserError::new(UserErrorCode::Refused, &["input", "role"], message).into());
    }
    let now = now(request);
    if input.expires_at.is_some_and(|at| at.0 <= now) {
        return Err(UserError::invalid(&["input", "expiresAt"], "this is not in the future").into());
    }
    let (token, prefix, hash) = new_token();
    let row = Model {
        id: Uuid::now_v7(),
        organization_id: request.scope().organization_id(),
        user_id: match request.scope().principal() {
            Principal::User(id) => Some(*id),
            Principal::ApiKey(_) | Principal::System => None,
        },
        name: input::text(&["input", "name"], input.name, 256)?,
        prefix,
        hash,
        role: input.role.into(),
        expires_at: input.expires_at.map(|at| at.0),
        revoked_at: None,
        created_at: now,
        updated_at: now,
        version: 1,
    };
    let mut work = unit(request, "createApiKey");
    work.insert(&row);
    let pending = commit(request, work).await?;
    Ok((row.into(), token, pending))
}

async fn revoke(request: &RequestContext, input: RevokeApiKeyInput) -> Outcome<(ApiKey, Vec<StoreName>)> {
    let id = input::api_key_id(&input.id, &["input", "id"])?;
    let before: Model = current(request, id, &["input", "id"], "API key").await?;
    if before.revoked_at.is_some() {
        return Ok((before.into(), Vec::new()));
    }
    let now = now(request);
    let after = Model { revoked_at: Some(now), updated_at: now, version: before.version + 1, ..before.clone() };
    let mut work = unit(request, "revokeApiKey");
    work.update(&before, &after);
    let pending = commit(request, work).await?;
    Ok((after.into(), pending))
}

fn scope_role(role: Role) -> ScopeRole {
    match role {
        Role::Viewer => ScopeRole::Viewer,
        Role::Editor => ScopeRole::Editor,
        Role::Admin => ScopeRole::Admin,
    }
}
