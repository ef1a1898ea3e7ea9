//! Lists of tasks, newest first, by persona, campaign, queue and state.
//!
//! A page walks the shortest list that holds all it could show, from where the page begins, and skips what the other
//! filters exclude; it never sorts and never looks at more of the list than it must.

use super::{
    super::{TaskPageQuery, TaskState},
    task::Entry,
};
use crate::{
    error::{Result, Store, StoreError},
    page::{Page, Position, SortValue},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
    iter::Peekable,
    ops::Bound,
};
use uuid::Uuid;

/// A task's place: when it was made, in microseconds, and its id.
type Place = (i64, Uuid);
type List = BTreeSet<Place>;

/// The lists of one organisation.
#[derive(Default)]
pub(super) struct Lists {
    all: List,
    personas: HashMap<Uuid, List>,
    campaigns: HashMap<Uuid, List>,
    queues: HashMap<String, List>,
    states: BTreeMap<TaskState, List>,
}

impl Lists {
    pub(super) fn insert(&mut self, entry: &Entry) {
        let (body, place) = (&*entry.body, entry.place());
        self.all.insert(place);
        self.queues.entry(body.queue.clone()).or_default().insert(place);
        self.states.entry(entry.progress.state).or_default().insert(place);
        if let Some(id) = body.persona_id {
            self.personas.entry(id).or_default().insert(place);
        }
        if let Some(id) = body.campaign_id {
            self.campaigns.entry(id).or_default().insert(place);
        }
    }

    pub(super) fn remove(&mut self, entry: &Entry) {
        let (body, place) = (&*entry.body, entry.place());
        self.all.remove(&place);
        remove(&mut self.queues, &body.queue, place);
        if let Some(list) = self.states.get_mut(&entry.progress.state) {
            list.remove(&place);
        }
        if let Some(id) = &body.persona_id {
            remove(&mut self.personas, id, place);
        }
        if let Some(id) = &body.campaign_id {
            remove(&mut self.campaigns, id, place);
        }
    }

    /// The page that `query` asks for; `find` gives the task of an id.
    pub(super) fn page<'a>(
        &self,
        query: &TaskPageQuery,
        find: impl Fn(&Uuid) -> Option<&'a Entry>,
    ) -> Result<Page<Entry>> {
        let slice = &query.slice;
        let (after, before) = (place(slice.after.as_ref())?, place(slice.before.as_ref())?);
        let bound = |place: Option<Place>| place.map_or(Bound::Unbounded, Bound::Excluded);
        let (low, high) = (bound(before), bound(after));
        let mut page = Page::empty();
        if before.zip(after).is_some_and(|(low, high)| low >= high) {
            // The two cursors overlap or cross: nothing lies between them, and a set panics at such a range.
            (page.has_previous, page.has_next) = (true, true);
            return Ok(page);
        }
        let walks = self.shortest(query).into_iter().map(|list| list.range((low, high)));
        let fits = |place: &Place| find(&place.1).filter(|entry| matches(query, entry)).cloned();
        let limit = slice.limit as usize;
        let take = |walk: &mut dyn Iterator<Item = Place>| -> (Vec<Entry>, bool) {
            let mut found = walk.filter_map(|place| fits(&place));
            (found.by_ref().take(limit).collect(), found.next().is_some())
        };
        if slice.backward {
            let mut merged = Merged::new(walks.map(Iterator::copied), |a, b| a < b);
            (page.items, page.has_previous) = take(&mut merged);
            page.items.reverse();
            page.has_previous |= after.is_some();
            page.has_next = before.is_some();
        } else {
            let mut merged = Merged::new(walks.map(|walk| walk.copied().rev()), |a, b| a > b);
            (page.items, page.has_next) = take(&mut merged);
            page.has_next |= before.is_some();
            page.has_previous = after.is_some();
        }
        Ok(page)
    }

    /// The lists that together hold all tasks of `query` and as few others as possible.
    fn shortest(&self, query: &TaskPageQuery) -> Vec<&List> {
        let length = |lists: &Vec<&List>| lists.iter().map(|list| list.len()).sum::<usize>();
        let wanted: BTreeSet<TaskState> = query.states.iter().copied().collect();
        [
            Some(vec![&self.all]),
            query.persona_id.as_ref().map(|id| self.personas.get(id).into_iter().collect()),
            query.campaign_id.as_ref().map(|id| self.campaigns.get(id).into_iter().collect()),
            query.queue.as_ref().map(|name| self.queues.get(name).into_iter().collect()),
            (!wanted.is_empty()).then(|| wanted.iter().filter_map(|state| self.states.get(state)).collect()),
        ]
        .into_iter()
        .flatten()
        .min_by_key(length)
        .unwrap_or_default()
    }
}

fn remove<K: Hash + Eq>(lists: &mut HashMap<K, List>, key: &K, place: Place) {
    if let Some(list) = lists.get_mut(key) {
        list.remove(&place);
        if list.is_empty() {
            lists.remove(key);
        }
    }
}

fn matches(query: &TaskPageQuery, entry: &Entry) -> bool {
    let body = &*entry.body;
    query.persona_id.is_none_or(|id| body.persona_id == Some(id))
        && query.campaign_id.is_none_or(|id| body.campaign_id == Some(id))
        && query.queue.as_ref().is_none_or(|name| body.queue == *name)
        && (query.states.is_empty() || query.states.contains(&entry.progress.state))
}

fn place(position: Option<&Position>) -> Result<Option<Place>> {
    position
        .map(|position| match position.value {
            SortValue::Int(micros) => Ok((micros, position.id)),
            _ => Err(StoreError::invalid(Store::Episodic, "the cursor is not one of a list of tasks")),
        })
        .transpose()
}

/// Several ordered walks as one.
struct Merged<I: Iterator<Item = Place>> {
    walks: Vec<Peekable<I>>,
    first: fn(&Place, &Place) -> bool,
}

impl<I: Iterator<Item = Place>> Merged<I> {
    fn new(walks: impl Iterator<Item = I>, first: fn(&Place, &Place) -> bool) -> Self {
        Self { walks: walks.map(Iterator::peekable).collect(), first }
    }
}

impl<I: Iterator<Item = Place>> Iterator for Merged<I> {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        let mut best: Option<(Place, &mut Peekable<I>)> = None;
        for walk in &mut self.walks {
            if let Some(place) = walk.peek().copied()
                && best.as_ref().is_none_or(|(first, _)| (self.first)(&place, first))
            {
                best = Some((place, walk));
            }
        }
        best.and_then(|(_, walk)| walk.next())
    }
}
