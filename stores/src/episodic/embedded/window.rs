//! The conversation turns of one organisation: the last hour of each persona, in the order in which they were said.
//!
//! A turn is forgotten when it has grown old, in memory and on disk; one that is too old when it comes is not kept.

use super::{
    super::{Turn, WindowQuery},
    WINDOW_SECONDS,
    journal::{Batch, TURN, earlier},
};
use chrono::{DateTime, Utc};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use uuid::Uuid;

/// A turn's place among its persona's: when, and its id.
type Place = (DateTime<Utc>, Uuid);

/// A turn and the number of the decision that wrote it.
struct Remembered {
    turn: Arc<Turn>,
    number: u64,
}

/// The turns of one persona, all and by conversation.
#[derive(Default)]
struct Persona {
    turns: BTreeMap<Place, Remembered>,
    conversations: HashMap<String, BTreeSet<Place>>,
}

/// The turns of one organisation.
#[derive(Default)]
pub(super) struct Windows {
    personas: HashMap<Uuid, Persona>,
    /// By turn: the decision that wrote it.
    numbers: HashMap<Uuid, u64>,
    ages: BTreeSet<(Place, Uuid)>,
}

impl Windows {
    pub(super) fn is_empty(&self) -> bool {
        self.ages.is_empty()
    }

    /// Takes in a turn read from disk.
    pub(super) fn load(&mut self, turn: Turn) {
        self.insert(turn, 0);
    }

    /// Forgets what is older than the window.
    pub(super) fn tick(&mut self, batch: &mut Batch) {
        let horizon = horizon(batch);
        while let Some(&((at, id), persona_id)) = self.ages.first() {
            if at >= horizon {
                return;
            }
            self.ages.pop_first();
            self.numbers.remove(&id);
            if let Some(persona) = self.personas.get_mut(&persona_id) {
                persona.take_out((at, id));
                if persona.turns.is_empty() {
                    self.personas.remove(&persona_id);
                }
            }
            batch.forget(TURN, id.as_bytes());
        }
    }

    /// See the port. `bytes` is the encoded turn, made before the lock was taken.
    pub(super) fn append(&mut self, batch: &mut Batch, turn: Turn, bytes: Vec<u8>) {
        if let Some(number) = self.numbers.get(&turn.id) {
            batch.tells_of(*number);
        } else if turn.at >= horizon(batch) {
            let number = batch.put(TURN, turn.id.as_bytes(), bytes);
            self.insert(turn, number);
        }
    }

    /// See the port.
    pub(super) fn window(&self, batch: &mut Batch, query: &WindowQuery) -> Vec<Arc<Turn>> {
        let Some(persona) = self.personas.get(&query.persona_id) else { return Vec::new() };
        let oldest = (earlier(batch.now, query.max_age), Uuid::nil());
        let newest: Box<dyn Iterator<Item = &Remembered>> = match &query.conversation {
            None => Box::new(persona.turns.range(oldest..).rev().map(|(_, remembered)| remembered)),
            Some(name) => {
                let places =
                    persona.conversations.get(name).into_iter().flat_map(|places| places.range(oldest..).rev());
                Box::new(places.filter_map(|place| persona.turns.get(place)))
            }
        };
        let mut room = query.max_tokens.map_or(u64::MAX, u64::from);
        let mut window = Vec::new();
        for Remembered { turn, number } in newest.take(query.max_turns as usize) {
            let Some(left) = room.checked_sub(turn.tokens.into()) else { break };
            room = left;
            batch.tells_of(*number);
            window.push(turn.clone());
        }
        window.reverse();
        window
    }

    fn insert(&mut self, turn: Turn, number: u64) {
        let place = (turn.at, turn.id);
        self.numbers.insert(turn.id, number);
        self.ages.insert((place, turn.persona_id));
        let persona = self.personas.entry(turn.persona_id).or_default();
        persona.conversations.entry(turn.conversation.clone()).or_default().insert(place);
        persona.turns.insert(place, Remembered { turn: turn.into(), number });
    }
}

impl Persona {
    fn take_out(&mut self, place: Place) {
        let Some(Remembered { turn, .. }) = self.turns.remove(&place) else { return };
        if let Some(places) = self.conversations.get_mut(&turn.conversation) {
            places.remove(&place);
            if places.is_empty() {
                self.conversations.remove(&turn.conversation);
            }
        }
    }
}

fn horizon(batch: &Batch) -> DateTime<Utc> {
    earlier(batch.now, Duration::from_secs(WINDOW_SECONDS))
}
