//! Making and changing personas and their definitions.

use super::{Outcome, UserError, check_text, commit, current, editor, expect_version, input, now, payload, unit};
use crate::graphql::{
    context::RequestContext,
    types::{
        memory::Definition,
        persona::{Persona, PersonaStatus},
        service::StoreName,
    },
};
use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, Result};
use chimera_stores::memory;
use uuid::Uuid;

/// The most bytes of a name.
const MAX_NAME: usize = 256;
/// Where the picture is named.
const AVATAR: &[&str] = &["input", "avatarId"];

/// A new persona.
#[derive(Clone, Debug, InputObject)]
pub struct CreatePersonaInput {
    /// Unique in the organisation: 1 to 64 of `a-z`, `0-9`, `_`, `.` and `-`.
    pub handle: String,
    /// Name shown to people: 1 to 256 bytes.
    pub name: String,
    /// Whether it acts.
    #[graphql(default_with = "PersonaStatus::Draft")]
    pub status: PersonaStatus,
    /// The id in the system it comes from, at most 256 bytes; unique in the organisation.
    pub external_id: Option<String>,
    /// Who it is; can be given later by `definePersona`.
    pub definition: Option<DefinitionInput>,
}

/// Who a persona is.
#[derive(Clone, Debug, InputObject)]
pub struct DefinitionInput {
    /// Its story: at most 16,384 bytes.
    pub bio: String,
    /// How it speaks: at most 4,096 bytes.
    pub voice: String,
    /// Traits, such as `curious`: at most 64 of at most 128 bytes.
    #[graphql(default)]
    pub traits: Vec<String>,
    /// Rules it follows: at most 64 of at most 1,024 bytes.
    #[graphql(default)]
    pub directives: Vec<String>,
}

/// A change of a persona; what is absent stays as it is.
#[derive(Clone, Debug, InputObject)]
pub struct UpdatePersonaInput {
    /// The persona.
    pub id: ID,
    /// Change only this version.
    pub expected_version: Option<i64>,
    /// A new handle.
    pub handle: Option<String>,
    /// A new name.
    pub name: Option<String>,
    /// A new status.
    pub status: Option<PersonaStatus>,
    /// A new picture; null takes it away.
    pub avatar_id: MaybeUndefined<ID>,
}

/// A new definition of a persona.
#[derive(Clone, Debug, InputObject)]
pub struct DefinePersonaInput {
    /// The persona.
    pub id: ID,
    /// Who it is.
    pub definition: DefinitionInput,
}

payload! {
    /// What became of `createPersona`.
    CreatePersonaPayload {
        /// The new persona.
        persona: Persona
    }
}

payload! {
    /// What became of `updatePersona`.
    UpdatePersonaPayload {
        /// The persona as it is now.
        persona: Persona
    }
}

payload! {
    /// What became of `definePersona`.
    DefinePersonaPayload {
        /// The definition as it is now.
        definition: Definition
    }
}

/// Mutations of personas.
#[derive(Default)]
pub struct PersonaMutation;

#[Object]
impl PersonaMutation {
    /// Makes a persona.
    async fn create_persona(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The persona.")] input: CreatePersonaInput,
    ) -> Result<Option<CreatePersonaPayload>> {
        CreatePersonaPayload::of(create(editor(context)?, input).await)
    }

    /// Changes a persona.
    async fn update_persona(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The change.")] input: UpdatePersonaInput,
    ) -> Result<Option<UpdatePersonaPayload>> {
        UpdatePersonaPayload::of(update(editor(context)?, input).await)
    }

    /// Says who a persona is, replacing what was said before.
    async fn define_persona(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The definition.")] input: DefinePersonaInput,
    ) -> Result<Option<DefinePersonaPayload>> {
        DefinePersonaPayload::of(define(editor(context)?, input).await)
    }
}

async fn create(request: &RequestContext, input: CreatePersonaInput) -> Outcome<(Persona, Vec<StoreName>)> {
    check_handle(&["input", "handle"], &input.handle)?;
    check_text(&["input", "name"], &input.name, MAX_NAME)?;
    let now = now(request);
    let row = entity::persona::Model {
        id: Uuid::now_v7(),
        organization_id: request.scope().organization_id(),
        external_id: input::external_id(&["input", "externalId"], input.external_id)?,
        handle: input.handle,
        name: input.name,
        status: input.status.into(),
        avatar_asset_id: None,
        created_at: now,
        updated_at: now,
        version: 1,
    };
    let mut work = unit(request, "createPersona");
    work.insert(&row);
    if let Some(input) = input.definition {
        let definition = read_definition(row.id, 1, now, input, &["input", "definition"])?;
        work.remember("Definition", row.id, 1, &memory::Change::PutDefinition(definition));
    }
    let pending = commit(request, work).await?;
    Ok((row.into(), pending))
}

async fn update(request: &RequestContext, input: UpdatePersonaInput) -> Outcome<(Persona, Vec<StoreName>)> {
    let id = input::persona_id(&input.id, &["input", "id"])?;
    let before: entity::persona::Model = current(request, id, &["input", "id"], "persona").await?;
    expect_version(input.expected_version, before.version)?;
    let mut after = before.clone();
    if let Some(handle) = input.handle {
        check_handle(&["input", "handle"], &handle)?;
        after.handle = handle;
    }
    if let Some(name) = input.name {
        check_text(&["input", "name"], &name, MAX_NAME)?;
        after.name = name;
    }
    if let Some(status) = input.status {
        after.status = status.into();
    }
    input::change(&mut after.avatar_asset_id, input.avatar_id, |id| input::asset_id(&id, AVATAR))?;
    let avatar = input::new_reference(before.avatar_asset_id, after.avatar_asset_id, AVATAR);
    input::known::<entity::asset::Model>(request, "asset", avatar.as_slice()).await?;
    if after == before {
        return Ok((before.into(), Vec::new()));
    }
    after.version += 1;
    after.updated_at = now(request);
    let mut work = unit(request, "updatePersona");
    work.update(&before, &after);
    let pending = commit(request, work).await?;
    Ok((after.into(), pending))
}

async fn define(request: &RequestContext, input: DefinePersonaInput) -> Outcome<(Definition, Vec<StoreName>)> {
    let id = input::persona_id(&input.id, &["input", "id"])?;
    let before: entity::persona::Model = current(request, id, &["input", "id"], "persona").await?;
    let now = now(request);
    // The definition shares the persona's version, so that two definitions at once cannot both win.
    let after = entity::persona::Model { version: before.version + 1, updated_at: now, ..before.clone() };
    let definition = read_definition(id, after.version, now, input.definition, &["input", "definition"])?;
    let mut work = unit(request, "definePersona");
    work.update(&before, &after);
    work.remember("Definition", id, after.version, &memory::Change::PutDefinition(definition.clone()));
    let pending = commit(request, work).await?;
    Ok((definition.into(), pending))
}

fn check_handle(field: &[&str], handle: &str) -> Outcome<()> {
    entity::persona::check_handle(handle).map_err(|rule| UserError::invalid(field, rule).into())
}

fn read_definition(
    persona_id: Uuid,
    version: i64,
    updated_at: chrono::DateTime<chrono::Utc>,
    input: DefinitionInput,
    field: &[&str],
) -> Outcome<memory::Definition> {
    let at = |name: &'static str| [field, &[name]].concat();
    check_text(&at("bio"), &input.bio, 16_384)?;
    check_text(&at("voice"), &input.voice, 4_096)?;
    for (name, list, max) in [("traits", &input.traits, 128), ("directives", &input.directives, 1_024)] {
        if list.len() > 64 {
            return Err(UserError::invalid(
                &at(name),
                format!("this has {} items; at most 64 are accepted", list.len()),
            )
            .into());
        }
        for text in list {
            check_text(&at(name), text, max)?;
        }
    }
    let DefinitionInput { bio, voice, traits, directives } = input;
    Ok(memory::Definition { persona_id, version, bio, voice, traits, directives, updated_at })
}
