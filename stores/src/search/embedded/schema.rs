//! The fields of the index, and how a change becomes a document of the index.
//!
//! A removal is a document too, a *tombstone*: its key and version, and no organisation. Every search asks for an
//! organisation first, so a tombstone never matches.

use super::analysis::ANALYZER;
use crate::search::{Document, DocumentType, FacetField};
use std::collections::BTreeSet;
use tantivy::{
    TantivyDocument, Term,
    schema::{
        BytesOptions, Field, IndexRecordOption, NumericOptions, STORED, Schema, SchemaBuilder, TextFieldIndexing,
        TextOptions,
    },
};
use uuid::Uuid;

/// Names of the columns that are read for every match.
pub mod column {
    /// The upper and lower halves of the organisation's id; set on tombstones as well.
    pub const ORGANIZATION: (&str, &str) = ("organization_high", "organization_low");
    /// The upper and lower halves of the entity's id.
    pub const ID: (&str, &str) = ("id_high", "id_low");
    /// The entity's version.
    pub const VERSION: &str = "version";
    /// Microseconds since the Unix epoch.
    pub const CREATED_AT: &str = "created_at";
    /// Microseconds since the Unix epoch; absent when not published.
    pub const PUBLISHED_AT: &str = "published_at";
    /// The document's type by its stable name.
    pub const TYPE: &str = "type";
    /// One value a tag.
    pub const TAG: &str = "tag";
}

/// Handles of the fields.
#[derive(Clone, Debug)]
pub struct Fields {
    /// The schema they belong to.
    pub schema: Schema,
    /// Which tenant; what every search asks for.
    pub organization: Field,
    /// Organisation, type and id in one: what a new version replaces.
    pub key: Field,
    organization_halves: (Field, Field),
    id_halves: (Field, Field),
    version: Field,
    /// Searched; weighs most.
    pub title: Field,
    /// Searched.
    pub handle: Field,
    /// Searched.
    pub text: Field,
    /// Tags as words; searched.
    pub tags: Field,
    /// The document's type as one value.
    pub document_type: Field,
    tag: Field,
    status: Field,
    category: Field,
    platform: Field,
    /// Whose.
    pub persona_id: Field,
    /// For which campaign.
    pub campaign_id: Field,
    created_at: Field,
    published_at: Field,
}

impl Fields {
    /// The fields of a new index.
    pub fn new() -> Self {
        let mut builder = Schema::builder();
        let id = || BytesOptions::default().set_indexed();
        let column = || NumericOptions::default().set_fast();
        let organization = builder.add_bytes_field("organization", id());
        let key = builder.add_bytes_field("key", id());
        let mut halves =
            |(high, low): (&str, &str)| (builder.add_u64_field(high, column()), builder.add_u64_field(low, column()));
        let organization_halves = halves(column::ORGANIZATION);
        let id_halves = halves(column::ID);
        Self {
            organization,
            key,
            organization_halves,
            id_halves,
            version: builder.add_i64_field(column::VERSION, column()),
            title: words(&mut builder, "title"),
            handle: words(&mut builder, "handle"),
            text: words(&mut builder, "text"),
            tags: words(&mut builder, "tags"),
            document_type: value(&mut builder, column::TYPE),
            tag: value(&mut builder, column::TAG),
            status: value(&mut builder, "status"),
            category: value(&mut builder, "category"),
            platform: value(&mut builder, "platform"),
            persona_id: builder.add_bytes_field("persona_id", id()),
            campaign_id: builder.add_bytes_field("campaign_id", id()),
            created_at: builder.add_i64_field(column::CREATED_AT, column()),
            published_at: builder.add_i64_field(column::PUBLISHED_AT, column()),
            schema: builder.build(),
        }
    }

    /// The field that holds the values of a facet.
    pub fn facet(&self, facet: FacetField) -> Field {
        match facet {
            FacetField::Type => self.document_type,
            FacetField::Tags => self.tag,
            FacetField::Status => self.status,
            FacetField::Category => self.category,
            FacetField::Platform => self.platform,
        }
    }

    /// What finds every version of one document.
    pub fn key_term(&self, key: Key) -> Term {
        let mut bytes = Vec::with_capacity(33);
        bytes.extend_from_slice(key.organization.as_bytes());
        bytes.push(key.document_type as u8);
        bytes.extend_from_slice(key.id.as_bytes());
        Term::from_field_bytes(self.key, &bytes)
    }

    /// The document of the index for one version; a tombstone without `document`.
    pub fn entry(&self, key: Key, version: i64, document: Option<&Document>) -> TantivyDocument {
        let mut entry = TantivyDocument::default();
        entry.add_bytes(self.key, self.key_term(key).serialized_value_bytes());
        let mut halves = |(high, low): (Field, Field), id: Uuid| {
            let (high_half, low_half) = id.as_u64_pair();
            entry.add_u64(high, high_half);
            entry.add_u64(low, low_half);
        };
        halves(self.organization_halves, key.organization);
        halves(self.id_halves, key.id);
        entry.add_i64(self.version, version);
        entry.add_text(self.document_type, type_name(key.document_type));
        if let Some(document) = document {
            entry.add_bytes(self.organization, key.organization.as_bytes());
            self.describe(&mut entry, document);
        }
        entry
    }

    fn describe(&self, entry: &mut TantivyDocument, document: &Document) {
        entry.add_text(self.title, &document.title);
        entry.add_text(self.text, &document.text);
        if let Some(handle) = &document.handle {
            entry.add_text(self.handle, handle);
        }
        for tag in &document.tags {
            entry.add_text(self.tags, tag);
        }
        // A tag given twice is one tag: a facet counts documents.
        for tag in document.tags.iter().collect::<BTreeSet<_>>() {
            entry.add_text(self.tag, tag);
        }
        let values =
            [(self.status, &document.status), (self.category, &document.category), (self.platform, &document.platform)];
        for (field, value) in values {
            if let Some(value) = value {
                entry.add_text(field, value);
            }
        }
        for (field, id) in [(self.persona_id, document.persona_id), (self.campaign_id, document.campaign_id)] {
            if let Some(id) = id {
                entry.add_bytes(field, id.as_bytes());
            }
        }
        entry.add_i64(self.created_at, document.created_at.timestamp_micros());
        if let Some(published_at) = document.published_at {
            entry.add_i64(self.published_at, published_at.timestamp_micros());
        }
    }
}

/// What one document is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Whose.
    pub organization: Uuid,
    /// Of which type.
    pub document_type: DocumentType,
    /// The entity's id.
    pub id: Uuid,
}

/// The stable name of a type, as clients filter by it.
pub const fn type_name(document_type: DocumentType) -> &'static str {
    match document_type {
        DocumentType::Persona => "PERSONA",
        DocumentType::Campaign => "CAMPAIGN",
        DocumentType::Post => "POST",
        DocumentType::Video => "VIDEO",
        DocumentType::Topic => "TOPIC",
    }
}

/// The type of a stable name.
pub fn type_of(name: &str) -> Option<DocumentType> {
    use DocumentType::{Campaign, Persona, Post, Topic, Video};
    [Persona, Campaign, Post, Video, Topic].into_iter().find(|document_type| type_name(*document_type) == name)
}

/// Analysed and stored; without positions, as nothing asks for phrases.
fn words(builder: &mut SchemaBuilder, name: &str) -> Field {
    let indexing = TextFieldIndexing::default().set_tokenizer(ANALYZER).set_index_option(IndexRecordOption::WithFreqs);
    builder.add_text_field(name, TextOptions::from(STORED).set_indexing_options(indexing))
}

/// One value as it is, to filter by and to count.
fn value(builder: &mut SchemaBuilder, name: &str) -> Field {
    let indexing = TextFieldIndexing::default()
        .set_tokenizer("raw")
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::Basic);
    builder.add_text_field(name, TextOptions::default().set_indexing_options(indexing).set_fast("raw"))
}
