//! Turns of conversations. Not audited: see the module above.

use super::{Outcome, UserError, editor, input, now, payload};
use crate::graphql::{
    context::RequestContext,
    scalars::DateTime,
    types::task::{Turn, TurnRole},
};
use async_graphql::{Context, ID, InputObject, Object, Result};
use chimera_stores::episodic;
use uuid::Uuid;

/// The most turns of one mutation.
const MAX_BATCH: usize = 100;

/// Turns of one persona's conversations.
#[derive(Clone, Debug, InputObject)]
pub struct AppendTurnsInput {
    /// The persona.
    pub persona_id: ID,
    /// What was said, oldest first: 1 to 100.
    pub turns: Vec<TurnInput>,
}

/// One utterance of a conversation.
#[derive(Clone, Debug, InputObject)]
pub struct TurnInput {
    /// Which conversation of the persona: 1 to 128 bytes.
    pub conversation: String,
    /// Who speaks.
    pub role: TurnRole,
    /// What was said: 1 to 16,384 bytes.
    pub text: String,
    /// Its size in tokens, as your model counts them; estimated when absent, as four thirds of its words.
    pub tokens: Option<u32>,
    /// When; now when absent, and at most a day ahead.
    pub at: Option<DateTime>,
}

payload! {
    /// What became of `appendTurns`.
    direct AppendTurnsPayload {
        /// The turns, in the order of the argument.
        turns: Vec<Turn>
    }
}

/// Mutations of conversations.
#[derive(Default)]
pub struct ConversationMutation;

#[Object]
impl ConversationMutation {
    /// Adds turns to a persona's conversations: all of them or none. Repeating it adds them again. Does not appear in the
    /// audit log.
    async fn append_turns(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The turns.")] input: AppendTurnsInput,
    ) -> Result<Option<AppendTurnsPayload>> {
        AppendTurnsPayload::of(append(editor(context)?, input).await)
    }
}

async fn append(request: &RequestContext, input: AppendTurnsInput) -> Outcome<(Vec<Turn>, Vec<UserError>)> {
    let persona_id = input::persona_id(&input.persona_id, &["input", "personaId"])?;
    input::check_count(&["input", "turns"], input.turns.len(), MAX_BATCH)?;
    let now = now(request);
    let mut turns = Vec::with_capacity(input.turns.len());
    for (index, turn) in input.turns.into_iter().enumerate() {
        let index = index.to_string();
        let at = |name| ["input", "turns", &index, name];
        let text = input::text(&at("text"), turn.text, 16_384)?;
        let said_at = turn.at.map_or(now, |at| at.0);
        if said_at > now + episodic::MAX_AHEAD {
            return Err(UserError::invalid(&at("at"), "this is more than a day in the future").into());
        }
        turns.push(episodic::Turn {
            id: Uuid::now_v7(),
            persona_id,
            conversation: input::text(&at("conversation"), turn.conversation, 128)?,
            role: turn.role.into(),
            tokens: turn.tokens.unwrap_or_else(|| estimate(&text)),
            text,
            at: said_at,
        });
    }
    let episodic = request.stores().episodic()?;
    let persona = input::reference(persona_id, &["input", "personaId"]);
    input::known::<entity::persona::Model>(request, "persona", &[persona]).await?;
    episodic.append_turns(request.scope(), &turns).await?;
    Ok((turns.into_iter().map(Turn::from).collect(), Vec::new()))
}

/// Four thirds of the words, rounded up: what subword tokenisers make of plain English.
fn estimate(text: &str) -> u32 {
    let words = text.split_whitespace().count();
    u32::try_from((words * 4).div_ceil(3)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::estimate;

    #[test]
    fn tokens_are_four_thirds_of_the_words_rounded_up() {
        for (text, tokens) in [("one", 2), ("one two", 3), ("one two three", 4), ("  one\n two ", 3)] {
            assert_eq!(estimate(text), tokens, "{text:?}");
        }
    }
}
