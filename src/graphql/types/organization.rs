//! The tenant, its people and keys, and its audit log.

use super::list::{self, ListOf, between};
use crate::graphql::{
    context::RequestContext,
    error::require,
    ids::NodeId,
    keys::relational::ById,
    page::{Connection, Listed, PageArgs},
    resolve::One,
    scalars::DateTime,
};
use async_graphql::{ComplexObject, Context, Enum, InputObject, Result, SimpleObject};
use chimera_stores::{
    Principal, Role as ScopeRole,
    relational::{Column, Predicate, Value},
};
use uuid::Uuid;

/// What a member or a key may do; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::membership::Role")]
pub enum Role {
    /// Reads everything.
    Viewer,
    /// Also writes content.
    Editor,
    /// Also wallets, billing, keys and the audit log.
    Admin,
}

/// A tenant: everything else belongs to one, and sees no other.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct Organization {
    #[graphql(skip)]
    key: Uuid,
    /// Unique short name.
    pub handle: String,
    /// Name shown to people.
    pub name: String,
    /// When it was made.
    pub created_at: DateTime,
}

impl From<entity::organization::Model> for Organization {
    fn from(row: entity::organization::Model) -> Self {
        Self { key: row.id, handle: row.handle, name: row.name, created_at: row.created_at.into() }
    }
}

#[ComplexObject]
impl Organization {
    /// Global id.
    pub async fn id(&self) -> NodeId {
        NodeId::Organization(self.key)
    }

    /// Who may do what, newest first.
    async fn members(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<Option<Connection<Membership>>> {
        let list = ListOf::organization();
        list::connection::<entity::membership::Model, _>(context, list, PageArgs::new(first, after, last, before)).await
    }

    /// Its API keys, newest first. Needs the role ADMIN.
    async fn api_keys(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "Rows from the front: 1 to 100, 20 when neither end is given.")] first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Rows from the back: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<Option<Connection<ApiKey>>> {
        require(RequestContext::of(context)?.scope(), ScopeRole::Admin)?;
        let list = ListOf::organization();
        list::connection::<entity::api_key::Model, _>(context, list, PageArgs::new(first, after, last, before)).await
    }
}

/// A person who signs in.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct User {
    #[graphql(skip)]
    key: Uuid,
    /// Unique, lower case.
    pub email: String,
    /// Name shown to people.
    pub name: String,
    /// When the account was made.
    pub created_at: DateTime,
}

impl From<entity::user::Model> for User {
    fn from(row: entity::user::Model) -> Self {
        Self { key: row.id, email: row.email, name: row.name, created_at: row.created_at.into() }
    }
}

#[ComplexObject]
impl User {
    /// Global id.
    pub async fn id(&self) -> NodeId {
        NodeId::User(self.key)
    }
}

impl User {
    /// The user with this id, when a member of the caller's organisation.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(context: &Context<'_>, id: Option<Uuid>) -> Result<Option<One<Self>>> {
        let Some(id) = id else { return Ok(None) };
        Ok(RequestContext::of(context)?.load(ById::<entity::user::Model>::new(id)).await?.map(|row| One(row.into())))
    }
}

/// What a user may do in the organisation.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct Membership {
    #[graphql(skip)]
    user_id: Uuid,
    /// What the member may do.
    pub role: Role,
    /// Since when.
    pub created_at: DateTime,
}

impl Listed for Membership {
    const NAME: &'static str = "Membership";
}

impl From<entity::membership::Model> for Membership {
    fn from(row: entity::membership::Model) -> Self {
        Self { user_id: row.user_id, role: row.role.into(), created_at: row.created_at.into() }
    }
}

#[ComplexObject]
impl Membership {
    /// The member.
    async fn user(&self, context: &Context<'_>) -> Result<Option<One<User>>> {
        User::load(context, Some(self.user_id)).await
    }
}

/// A bearer token of a program. The token itself is shown once, when it is made.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct ApiKey {
    #[graphql(skip)]
    key: Uuid,
    /// What it is for.
    pub name: String,
    /// The first characters of the token, to recognise it by.
    pub prefix: String,
    /// What it may do.
    pub role: Role,
    /// When it stops working.
    pub expires_at: Option<DateTime>,
    /// When it was taken back.
    pub revoked_at: Option<DateTime>,
    /// When it was made.
    pub created_at: DateTime,
}

impl Listed for ApiKey {
    const NAME: &'static str = "ApiKey";
}

impl From<entity::api_key::Model> for ApiKey {
    fn from(row: entity::api_key::Model) -> Self {
        Self {
            key: row.id,
            name: row.name,
            prefix: row.prefix,
            role: row.role.into(),
            expires_at: row.expires_at.map(DateTime::from),
            revoked_at: row.revoked_at.map(DateTime::from),
            created_at: row.created_at.into(),
        }
    }
}

#[ComplexObject]
impl ApiKey {
    /// Global id.
    pub async fn id(&self) -> NodeId {
        NodeId::ApiKey(self.key)
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Viewer;

/// Who asks, and for which organisation.
#[async_graphql::Object]
impl Viewer {
    /// What the caller may do.
    async fn role(&self, context: &Context<'_>) -> Result<Role> {
        Ok(match RequestContext::of(context)?.scope().role() {
            ScopeRole::Viewer => Role::Viewer,
            ScopeRole::Editor => Role::Editor,
            ScopeRole::Admin => Role::Admin,
        })
    }

    /// The user, when a person asks.
    async fn user(&self, context: &Context<'_>) -> Result<Option<One<User>>> {
        match RequestContext::of(context)?.scope().principal() {
            Principal::User(id) => User::load(context, Some(*id)).await,
            Principal::ApiKey(_) | Principal::System => Ok(None),
        }
    }

    /// The API key, when a program asks.
    async fn api_key(&self, context: &Context<'_>) -> Result<Option<ApiKey>> {
        let request = RequestContext::of(context)?;
        match request.scope().principal() {
            Principal::ApiKey(id) => {
                Ok(request.load(ById::<entity::api_key::Model>::new(*id)).await?.map(ApiKey::from))
            }
            Principal::User(_) | Principal::System => Ok(None),
        }
    }

    /// The organisation asked for.
    async fn organization(&self, context: &Context<'_>) -> Result<Option<Organization>> {
        own_organization(context).await
    }
}

/// The caller's organisation.
///
/// # Errors
/// What the store says.
pub async fn own_organization(context: &Context<'_>) -> Result<Option<Organization>> {
    let request = RequestContext::of(context)?;
    let key = ById::<entity::organization::Model>::new(request.scope().organization_id());
    Ok(request.load(key).await?.map(Organization::from))
}

/// One line of the audit log. The database refuses to change or delete it.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct AuditEntry {
    #[graphql(skip)]
    key: Uuid,
    /// Who: `user:<id>`, `api_key:<id>` or `system`.
    pub actor: String,
    /// The mutation, such as `createCampaign`.
    pub action: String,
    /// The type of what was changed.
    pub entity_type: String,
    /// The id of what was changed, without its type.
    pub entity_id: String,
    /// The request it came with.
    pub request_id: Option<String>,
    /// SHA-256 of the row before: 64 hex digits; null when it was made.
    pub before_hash: Option<String>,
    /// SHA-256 of the row after: 64 hex digits; null when it was removed.
    pub after_hash: Option<String>,
    /// When.
    pub created_at: DateTime,
}

impl Listed for AuditEntry {
    const NAME: &'static str = "AuditEntry";
}

impl From<entity::audit_entry::Model> for AuditEntry {
    fn from(row: entity::audit_entry::Model) -> Self {
        Self {
            key: row.id,
            actor: row.actor,
            action: row.action,
            entity_type: row.entity_type,
            entity_id: row.entity_id.to_string(),
            request_id: row.request_id,
            before_hash: row.before_hash,
            after_hash: row.after_hash,
            created_at: row.created_at.into(),
        }
    }
}

#[ComplexObject]
impl AuditEntry {
    /// Global id.
    pub async fn id(&self) -> NodeId {
        NodeId::AuditEntry(self.key)
    }
}

/// Which lines of the audit log; all given conditions must hold.
#[derive(Clone, Debug, Default, InputObject)]
pub struct AuditFilter {
    /// By one of these actors.
    pub actor: Option<Vec<String>>,
    /// By one of these mutations.
    pub action: Option<Vec<String>>,
    /// At or after this.
    pub from: Option<DateTime>,
    /// Before this.
    pub to: Option<DateTime>,
}

impl AuditFilter {
    /// As conditions on columns.
    pub fn predicates(self) -> Vec<Predicate> {
        let texts = |column, values: Vec<String>| Predicate::In(column, values.into_iter().map(Value::Text).collect());
        let actor = self.actor.map(|values| texts(Column::Actor, values));
        let action = self.action.map(|values| texts(Column::Action, values));
        [actor, action, between(Column::CreatedAt, self.from, self.to)].into_iter().flatten().collect()
    }
}
