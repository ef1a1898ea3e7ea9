//! Counting facet values, disjunctively and in one pass.
//!
//! A facet's own filter does not apply to its counts. So filters on counted facets are not part of what is searched
//! for; they are checked here for every match of everything else. A match that fails none is a hit and counts for
//! every facet; one that fails the filter of a single facet counts for that facet alone; any other counts nowhere.

use super::schema::{column, type_name};
use crate::search::{DocumentType, FacetCount, FacetField, SearchFilter};
use std::collections::{HashMap, HashSet};
use tantivy::{DocId, SegmentReader, columnar::StrColumn};

/// The column that holds the values of a facet.
pub const fn column_of(facet: FacetField) -> &'static str {
    match facet {
        FacetField::Type => column::TYPE,
        FacetField::Tags => column::TAG,
        FacetField::Status => "status",
        FacetField::Category => "category",
        FacetField::Platform => "platform",
    }
}

/// The counts of one query so far.
pub struct Facets {
    /// Each asked for, once, with its counts.
    counts: Vec<(FacetField, HashMap<String, u64>)>,
    /// Conditions on counted facets.
    conditions: Vec<(FacetField, Vec<String>)>,
}

impl Facets {
    /// Nothing counted yet. Conditions on facets that are not counted are left to the search.
    pub fn new(asked: &[FacetField], filter: &SearchFilter) -> Self {
        let mut counts: Vec<(FacetField, HashMap<String, u64>)> = Vec::new();
        for facet in asked {
            if counts.iter().all(|(known, _)| known != facet) {
                counts.push((*facet, HashMap::new()));
            }
        }
        let conditions = filter.facets.iter().filter(|(facet, _)| asked.contains(facet)).cloned().collect();
        Self { counts, conditions }
    }

    /// Opens the columns of one segment.
    pub fn of_segment(&self, segment: &SegmentReader) -> tantivy::Result<SegmentFacets> {
        let mut columns = Vec::with_capacity(self.counts.len());
        for (facet, _) in &self.counts {
            let values = segment.fast_fields().str(column_of(*facet))?;
            let conditions = self.conditions.iter().filter(|(of, _)| of == facet);
            let mut admitted = Vec::new();
            for (_, wanted) in conditions {
                admitted.push(ordinals(values.as_ref(), wanted)?);
            }
            let terms = values.as_ref().map_or(0, |values| values.num_terms());
            columns.push(Column { values, admitted, counts: vec![0; terms] });
        }
        Ok(SegmentFacets(columns))
    }

    /// Adds what was counted in one segment.
    pub fn add(&mut self, segment: SegmentFacets) -> tantivy::Result<()> {
        for ((_, totals), column) in self.counts.iter_mut().zip(segment.0) {
            let Some(values) = column.values else { continue };
            for (ordinal, count) in (0_u64..).zip(column.counts).filter(|(_, count)| *count > 0) {
                let mut value = String::new();
                values.ord_to_str(ordinal, &mut value)?;
                *totals.entry(value).or_default() += count;
            }
        }
        Ok(())
    }

    /// The counts in the order asked for: most frequent first, then by value.
    pub fn finish(self, asked: &[FacetField], limit: u32) -> Vec<(FacetField, Vec<FacetCount>)> {
        let sorted = |counts: &HashMap<String, u64>| {
            let mut counts: Vec<FacetCount> =
                counts.iter().map(|(value, count)| FacetCount { value: value.clone(), count: *count }).collect();
            counts.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
            counts.truncate(limit as usize);
            counts
        };
        let counts_of = |facet| self.counts.iter().find(|(of, _)| *of == facet).map(|(_, counts)| sorted(counts));
        asked.iter().map(|facet| (*facet, counts_of(*facet).unwrap_or_default())).collect()
    }
}

/// Which ordinals of a column are among the wanted values.
fn ordinals(values: Option<&StrColumn>, wanted: &[String]) -> tantivy::Result<HashSet<u64>> {
    let mut ordinals = HashSet::new();
    if let Some(values) = values {
        for value in wanted {
            ordinals.extend(values.dictionary().term_ord(value.as_bytes())?);
        }
    }
    Ok(ordinals)
}

struct Column {
    values: Option<StrColumn>,
    /// One set for each condition on this facet; a document needs a value out of each.
    admitted: Vec<HashSet<u64>>,
    /// By ordinal.
    counts: Vec<u64>,
}

impl Column {
    fn admits(&self, doc: DocId) -> bool {
        self.admitted.iter().all(|admitted| {
            self.values.as_ref().is_some_and(|values| values.term_ords(doc).any(|ordinal| admitted.contains(&ordinal)))
        })
    }

    fn count(&mut self, doc: DocId) {
        for ordinal in self.values.iter().flat_map(|values| values.term_ords(doc)) {
            if let Some(count) = usize::try_from(ordinal).ok().and_then(|ordinal| self.counts.get_mut(ordinal)) {
                *count += 1;
            }
        }
    }
}

/// The facets of one segment.
pub struct SegmentFacets(Vec<Column>);

impl SegmentFacets {
    /// Counts a match of everything but the conditions on counted facets; tells whether it meets these as well.
    pub fn admit(&mut self, doc: DocId) -> bool {
        let mut failed = self.0.iter().enumerate().filter(|(_, column)| !column.admits(doc)).map(|(at, _)| at);
        match (failed.next(), failed.next()) {
            (None, _) => {
                self.0.iter_mut().for_each(|column| column.count(doc));
                true
            }
            (Some(only), None) => {
                if let Some(column) = self.0.get_mut(only) {
                    column.count(doc);
                }
                false
            }
            (Some(_), Some(_)) => false,
        }
    }
}

/// The stored values of the types asked for.
pub fn type_values(types: &[DocumentType]) -> Vec<String> {
    types.iter().map(|document_type| type_name(*document_type).to_owned()).collect()
}
