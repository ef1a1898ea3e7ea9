//! Answers one search on one snapshot of the index: what matches, how well, in which order, counted how.
//!
//! Conditions are looked up by the engine; words are scored here, by the document and the query alone. No statistic of
//! the collection goes in (unlike BM25), so that another organisation's documents, a merge in the background or an
//! unrelated change never move a hit between two pages.

use super::{
    facets::{Facets, type_values},
    highlight::{Stored, highlights},
    order::{Best, Kept, Match},
    schema::{Fields, column, type_of},
    words::{Word, Words},
};
use crate::{
    ErrorKind, Result, Store, StoreError,
    search::{FacetField, Hit, SearchFilter, SearchQuery, SearchResult},
};
use chrono::{DateTime, Utc};
use tantivy::{
    DocAddress, DocId, DocSet, Searcher, SegmentReader, TERMINATED, TantivyDocument, Term,
    columnar::Column,
    postings::Postings,
    query::{BooleanQuery, EmptyQuery, EnableScoring, Occur, Query, TermQuery, TermSetQuery, Weight},
    schema::{Field, IndexRecordOption, Value},
};
use uuid::Uuid;

/// The searched fields: each one's weight, and the length in words at which a document of it is neither favoured nor
/// disfavoured.
fn searched(fields: &Fields) -> [(Field, f64, f64); 4] {
    [(fields.title, 3.0, 6.0), (fields.handle, 1.0, 2.0), (fields.tags, 1.0, 6.0), (fields.text, 1.0, 80.0)]
}

/// A driver's error in the port's words.
pub fn unreadable(error: tantivy::TantivyError) -> StoreError {
    use tantivy::TantivyError::{DataCorruption, IncompatibleIndex, OpenReadError};
    let kind = match error {
        DataCorruption(_) | IncompatibleIndex(_) | OpenReadError(_) => ErrorKind::Corrupt,
        _ => ErrorKind::Unavailable,
    };
    StoreError::with_source(Store::Search, kind, "the search index cannot be read", error)
}

/// What must hold besides the words: the organisation always, and every term condition that is not left to `facets`.
pub fn conditions(fields: &Fields, organization: Uuid, types: Vec<String>) -> Vec<Box<dyn Query>> {
    let organization = Term::from_field_bytes(fields.organization, organization.as_bytes());
    let mut all: Vec<Box<dyn Query>> = vec![Box::new(TermQuery::new(organization, IndexRecordOption::Basic))];
    if !types.is_empty() {
        all.push(one_of(fields.document_type, &types));
    }
    all
}

fn one_of(field: Field, values: &[String]) -> Box<dyn Query> {
    if values.is_empty() {
        return Box::new(EmptyQuery);
    }
    Box::new(TermSetQuery::new(values.iter().map(|value| Term::from_field_text(field, value))))
}

fn filters(fields: &Fields, filter: &SearchFilter, counted: &[FacetField]) -> Vec<Box<dyn Query>> {
    let facets = filter.facets.iter().filter(|(facet, _)| !counted.contains(facet));
    let mut all: Vec<_> = facets.map(|(facet, values)| one_of(fields.facet(*facet), values)).collect();
    for (field, id) in [(fields.persona_id, filter.persona_id), (fields.campaign_id, filter.campaign_id)] {
        if let Some(id) = id {
            let term = Term::from_field_bytes(field, id.as_bytes());
            all.push(Box::new(TermQuery::new(term, IndexRecordOption::Basic)));
        }
    }
    all
}

/// Compiles conditions for a snapshot.
pub fn all_of(searcher: &Searcher, conditions: Vec<Box<dyn Query>>) -> tantivy::Result<Box<dyn Weight>> {
    let query = BooleanQuery::new(conditions.into_iter().map(|condition| (Occur::Must, condition)).collect());
    query.weight(EnableScoring::disabled_from_searcher(searcher))
}

/// Calls `found` with every living document of a segment that meets the conditions.
pub fn for_each(
    conditions: &dyn Weight,
    segment: &SegmentReader,
    mut found: impl FnMut(DocId) -> Result<()>,
) -> Result<()> {
    let mut docs = conditions.scorer(segment, 1.0).map_err(unreadable)?;
    while docs.doc() != TERMINATED {
        if !segment.is_deleted(docs.doc()) {
            found(docs.doc())?;
        }
        docs.advance();
    }
    Ok(())
}

/// Answers a query.
pub fn search(searcher: &Searcher, fields: &Fields, organization: Uuid, query: &SearchQuery) -> Result<SearchResult> {
    let words = Words::of(&query.query);
    let mut best = Best::new(query.order, &query.slice)?;
    let mut facets = Facets::new(&query.facets, &query.filter);
    let mut total = 0;
    let mut all = conditions(fields, organization, type_values(&query.types));
    all.extend(filters(fields, &query.filter, &query.facets));
    let all = all_of(searcher, all).map_err(unreadable)?;
    for (segment, number) in searcher.segment_readers().iter().zip(0..) {
        let columns = Columns::of(segment, &query.filter).map_err(unreadable)?;
        let mut counted = facets.of_segment(segment).map_err(unreadable)?;
        let mut found = |doc: DocId, score: f64| {
            if columns.admit(doc) && counted.admit(doc) {
                total += 1;
                best.offer(columns.of_match(score, DocAddress::new(number, doc)))?;
            }
            Ok(())
        };
        match &words {
            Words::Everything => for_each(&*all, segment, |doc| found(doc, 0.0))?,
            Words::All(words) => {
                let scored = scores(words, fields, segment).map_err(unreadable)?;
                let mut docs = all.scorer(segment, 1.0).map_err(unreadable)?;
                for (doc, score) in scored {
                    if docs.doc() < doc {
                        docs.seek(doc);
                    }
                    if docs.doc() == doc && !segment.is_deleted(doc) {
                        found(doc, score)?;
                    }
                }
            }
        }
        facets.add(counted).map_err(unreadable)?;
    }
    let Kept { found, has_previous, has_next } = best.finish();
    let hits = found.into_iter().map(|found| hit(searcher, fields, query, &words, found)).collect::<Result<_>>()?;
    Ok(SearchResult { hits, has_previous, has_next, total, facets: facets.finish(&query.facets, query.facet_limit) })
}

/// The columns that are read for every match.
struct Columns {
    id: (Option<Column<u64>>, Option<Column<u64>>),
    created_at: Option<Column<i64>>,
    from: i64,
    to: i64,
}

impl Columns {
    fn of(segment: &SegmentReader, filter: &SearchFilter) -> tantivy::Result<Self> {
        let columns = segment.fast_fields();
        let micros = |time: Option<DateTime<Utc>>, unbounded| time.map_or(unbounded, |time| time.timestamp_micros());
        Ok(Self {
            id: (columns.column_opt(column::ID.0)?, columns.column_opt(column::ID.1)?),
            created_at: columns.column_opt(column::CREATED_AT)?,
            from: micros(filter.created_from, i64::MIN),
            // Exclusive; no time is as late as this one.
            to: micros(filter.created_to, i64::MAX),
        })
    }

    fn created_at(&self, doc: DocId) -> i64 {
        self.created_at.as_ref().and_then(|column| column.first(doc)).unwrap_or_default()
    }

    fn admit(&self, doc: DocId) -> bool {
        (self.from == i64::MIN && self.to == i64::MAX) || (self.from..self.to).contains(&self.created_at(doc))
    }

    fn of_match(&self, score: f64, address: DocAddress) -> Match {
        let half = |column: &Option<Column<u64>>| {
            column.as_ref().and_then(|column| column.first(address.doc_id)).unwrap_or_default()
        };
        let id = Uuid::from_u64_pair(half(&self.id.0), half(&self.id.1));
        Match { score, created_at: self.created_at(address.doc_id), id, address }
    }
}

/// Every document of a segment that all words match, ascending, with the sum of what each word is worth in it.
fn scores(words: &[Word], fields: &Fields, segment: &SegmentReader) -> tantivy::Result<Vec<(DocId, f64)>> {
    let mut matched: Option<Vec<(DocId, f64)>> = None;
    for word in words {
        let worth = worth(word, fields, segment)?;
        let of = |doc: DocId| worth.get(doc as usize).copied().unwrap_or_default();
        matched = Some(match matched {
            None => (0..).zip(&worth).filter(|(_, worth)| **worth > 0.0).map(|(doc, worth)| (doc, *worth)).collect(),
            Some(matched) => {
                let both = matched.into_iter().map(|(doc, score)| (doc, score, of(doc)));
                both.filter(|(_, _, worth)| *worth > 0.0).map(|(doc, score, worth)| (doc, score + worth)).collect()
            }
        });
        if matched.as_ref().is_some_and(Vec::is_empty) {
            break;
        }
    }
    Ok(matched.unwrap_or_default())
}

/// What a word is worth in each document of a segment: its best match in any field.
fn worth(word: &Word, fields: &Fields, segment: &SegmentReader) -> tantivy::Result<Vec<f64>> {
    let mut worth = vec![0.0; segment.max_doc() as usize];
    for (field, boost, usual_length) in searched(fields) {
        let index = segment.inverted_index(field)?;
        let lengths = segment.get_fieldnorms_reader(field)?;
        word.expand(index.terms(), |quality, term| {
            let mut docs = index.read_postings_from_terminfo(term, IndexRecordOption::WithFreqs)?;
            while docs.doc() != TERMINATED {
                if let Some(best) = worth.get_mut(docs.doc() as usize) {
                    let length = f64::from(lengths.fieldnorm(docs.doc()));
                    let share = weight(f64::from(docs.term_freq()), length / usual_length);
                    *best = f64::max(*best, boost * quality * share);
                }
                docs.advance();
            }
            Ok(())
        })?;
    }
    Ok(worth)
}

/// Between 0.8 and 1: more for a word that comes often, less in a long text (the saturation of BM25). The narrow range
/// keeps frequency from outweighing exactness.
fn weight(frequency: f64, relative_length: f64) -> f64 {
    let saturation = 1.2 * (0.25 + 0.75 * relative_length);
    0.8 + 0.2 * frequency / (frequency + saturation)
}

fn hit(searcher: &Searcher, fields: &Fields, query: &SearchQuery, words: &Words, found: Match) -> Result<Hit> {
    let stored: TantivyDocument = searcher.doc(found.address).map_err(unreadable)?;
    let texts = |field| stored.get_all(field).filter_map(|value| value.as_str().map(str::to_owned));
    let stored = Stored {
        title: texts(fields.title).next().unwrap_or_default(),
        handle: texts(fields.handle).next(),
        text: texts(fields.text).next().unwrap_or_default(),
        tags: texts(fields.tags).collect(),
    };
    let segment = searcher.segment_reader(found.address.segment_ord);
    let types = segment.fast_fields().str(column::TYPE).map_err(unreadable)?;
    let mut name = String::new();
    if let Some((types, ordinal)) =
        types.as_ref().and_then(|types| Some((types, types.ords().first(found.address.doc_id)?)))
    {
        types.ord_to_str(ordinal, &mut name).map_err(|error| unreadable(error.into()))?;
    }
    let damaged = || StoreError::new(Store::Search, ErrorKind::Corrupt, "a search document has no known type");
    Ok(Hit {
        document_type: type_of(&name).ok_or_else(damaged)?,
        id: found.id,
        score: found.score,
        position: found.position(query.order),
        highlights: if query.highlights { highlights(words, &stored) } else { Vec::new() },
        title: stored.title,
    })
}
