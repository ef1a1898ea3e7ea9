//! What the document cache counts, in Prometheus' terms.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Lookup {
    result: &'static str,
}

/// Counters of the document cache. Cheap to clone; the clones count together.
#[derive(Clone, Debug, Default)]
pub struct CacheStats {
    lookups: Family<Lookup, Counter>,
    documents: Gauge,
    bytes: Gauge,
}

const HIT: Lookup = Lookup { result: "hit" };
const MISS: Lookup = Lookup { result: "miss" };
const REFUSED: Lookup = Lookup { result: "refused" };

impl CacheStats {
    /// Adds the counters to what `/metrics` shows.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "chimera_document_cache_lookups",
            "Documents found validated (hit), found refused (refused), or new (miss)",
            self.lookups.clone(),
        );
        registry.register(
            "chimera_document_cache_documents",
            "Validated documents in the cache",
            self.documents.clone(),
        );
        registry.register("chimera_document_cache_bytes", "Memory of the validated documents", self.bytes.clone());
    }

    /// Look-ups that found a validated document.
    pub fn hits(&self) -> u64 {
        self.lookups.get_or_create(&HIT).get()
    }

    /// Look-ups of a new text.
    pub fn misses(&self) -> u64 {
        self.lookups.get_or_create(&MISS).get()
    }

    /// Look-ups that found a document refused before.
    pub fn refused(&self) -> u64 {
        self.lookups.get_or_create(&REFUSED).get()
    }

    /// Validated documents held, and their memory.
    pub fn held(&self) -> (i64, i64) {
        (self.documents.get(), self.bytes.get())
    }

    pub(super) fn hit(&self) {
        self.lookups.get_or_create(&HIT).inc();
    }

    pub(super) fn miss(&self) {
        self.lookups.get_or_create(&MISS).inc();
    }

    pub(super) fn refused_again(&self) {
        self.lookups.get_or_create(&REFUSED).inc();
    }

    pub(super) fn size(&self, documents: usize, bytes: u64) {
        self.documents.set(i64::try_from(documents).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
