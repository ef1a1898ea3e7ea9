//! Stubs behind the seven handles: each question is put to the real adapter once, and answered from memory from then
//! on, after a fixed service time or at once.
//!
//! What a request costs here is the product's own: no store does any work. A stub answers key by key, so that another
//! batch of known keys is known too; a call that changes something answers what the first one of its kind gave.

use crate::{delay, installation::Handles};
use async_trait::async_trait;
use bytes::Bytes;
use chimera::stores::Stores;
use chimera_stores::{
    Guard, Page, Result, Scope, Store,
    episodic::{self, *},
    ledger::{self, *},
    media::{self, DownloadSpec, LocalMedia, Media, MediaAdapter, ObjectVersion, UploadSpec, UploadTarget},
    memory::{self, *},
    relational::{self, *},
    search::{self, *},
    telemetry::{self, *},
};
use chrono::{DateTime, Utc};
use entity::outbox_entry::Target;
use futures_util::stream::BoxStream;
use parking_lot::RwLock;
use std::{collections::HashMap, fmt::Debug, hash::Hash, sync::Arc, time::Duration};
use uuid::Uuid;

/// How long a stub takes.
#[derive(Clone, Copy, Debug)]
pub struct Service(Option<Duration>);

impl Service {
    /// Takes this long; not a moment when zero.
    pub fn of(time: Duration) -> Self {
        Self((!time.is_zero()).then_some(time))
    }

    async fn take(self) {
        if let Some(time) = self.0 {
            delay::precise(time).await;
        }
    }
}

/// Answers by key.
struct Kept<K, V>(RwLock<HashMap<K, V>>);

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Kept<K, V> {
    async fn answer<Q>(
        &self,
        service: Service,
        questions: &[Q],
        key: impl Fn(&Q) -> K,
        ask: impl AsyncFnOnce() -> Result<Vec<V>>,
    ) -> Result<Vec<V>> {
        let known: Option<Vec<V>> = {
            let kept = self.0.read();
            questions.iter().map(|question| kept.get(&key(question)).cloned()).collect()
        };
        let answers = match known {
            Some(answers) => answers,
            None => {
                let answers = ask().await?;
                self.0.write().extend(questions.iter().map(key).zip(answers.iter().cloned()));
                answers
            }
        };
        service.take().await;
        Ok(answers)
    }
}

/// The key of a question that holds floating-point numbers, or that nobody needed to compare.
fn text(question: &impl Debug) -> String {
    format!("{question:?}")
}

/// Stubs over adapters that are filled.
pub fn over(raw: &Handles, stores: &Stores, service: Service, guard: &dyn Fn(Store) -> Guard) -> Stores {
    let absent = "every store is there";
    let relational = RelationalStub {
        inner: raw.relational.clone(),
        service,
        rows: Kept::default(),
        found: Kept::default(),
        pages: Kept::default(),
        totals: Kept::default(),
        spend: Kept::default(),
    };
    let memory = MemoryStub {
        inner: stores.memory().expect(absent).clone(),
        service,
        definitions: Kept::default(),
        memories: Kept::default(),
        pages: Kept::default(),
        interactions: Kept::default(),
        recalled: Kept::default(),
    };
    let episodic = EpisodicStub {
        inner: stores.episodic().expect(absent).clone(),
        service,
        tasks: Kept::default(),
        pages: Kept::default(),
        queues: Kept::default(),
        windows: Kept::default(),
        enqueued: Kept::default(),
    };
    let telemetry = TelemetryStub {
        inner: stores.telemetry().expect(absent).clone(),
        service,
        events: Kept::default(),
        pages: Kept::default(),
        stats: Kept::default(),
        rankings: Kept::default(),
    };
    let ledger = LedgerStub {
        inner: stores.ledger().expect(absent).clone(),
        service,
        balances: Kept::default(),
        entries: Kept::default(),
        pages: Kept::default(),
        outflows: Kept::default(),
        proofs: Kept::default(),
    };
    let media = MediaStub { inner: stores.media().expect(absent).clone(), service, versions: Kept::default() };
    let search = SearchStub {
        inner: stores.search().expect(absent).clone(),
        service,
        results: Kept::default(),
        trends: Kept::default(),
    };
    Stores::new(Relational::new(guard(Store::Relational), Arc::new(relational)))
        .with_memory(Memory::new(guard(Store::Memory), Arc::new(memory)))
        .with_episodic(Episodic::new(guard(Store::Episodic), Arc::new(episodic)))
        .with_telemetry(Telemetry::new(guard(Store::Telemetry), Arc::new(telemetry)))
        .with_ledger(Ledger::new(guard(Store::Ledger), Arc::new(ledger)))
        .with_media(Media::new(guard(Store::Media), Arc::new(media)))
        .with_search(Search::new(guard(Store::Search), Arc::new(search)))
}

struct RelationalStub {
    inner: Arc<SqlRelational>,
    service: Service,
    rows: Kept<(Kind, Uuid), Option<Row>>,
    found: Kept<(Kind, Column, String), Option<Row>>,
    pages: Kept<(Kind, String), HashMap<Uuid, Page<Row>>>,
    totals: Kept<BillingKey, Vec<BillingTotal>>,
    spend: Kept<String, SpendReport>,
}

#[async_trait]
impl RelationalAdapter for RelationalStub {
    fn capabilities(&self) -> relational::Capabilities {
        self.inner.capabilities()
    }

    async fn health(&self) -> Result<()> {
        Ok(())
    }

    async fn get(&self, scope: &Scope, kind: Kind, ids: &[Uuid]) -> Result<Vec<Option<Row>>> {
        let ask = async || self.inner.get(scope, kind, ids).await;
        self.rows.answer(self.service, ids, |id| (kind, *id), ask).await
    }

    async fn find(&self, scope: &Scope, kind: Kind, column: Column, values: &[String]) -> Result<Vec<Option<Row>>> {
        let ask = async || self.inner.find(scope, kind, column, values).await;
        self.found.answer(self.service, values, |value| (kind, column, value.clone()), ask).await
    }

    async fn pages(&self, scope: &Scope, query: &PageQuery, parents: &[Uuid]) -> Result<Vec<Page<Row>>> {
        // One text a call: the question is the same for all parents.
        let key = (query.kind, text(query));
        let known: Option<Vec<Page<Row>>> = {
            let kept = self.pages.0.read();
            let pages = kept.get(&key);
            pages.and_then(|pages| parents.iter().map(|parent| pages.get(parent).cloned()).collect())
        };
        let answers = match known {
            Some(answers) => answers,
            None => {
                let answers = self.inner.pages(scope, query, parents).await?;
                let mut kept = self.pages.0.write();
                kept.entry(key).or_default().extend(parents.iter().copied().zip(answers.iter().cloned()));
                answers
            }
        };
        self.service.take().await;
        Ok(answers)
    }

    /// Nothing is written, and nothing is left for the relay to carry.
    async fn commit(&self, _: &Scope, _: &Transaction) -> Result<Committed> {
        self.service.take().await;
        Ok(Committed::default())
    }

    async fn billing_totals(&self, scope: &Scope, keys: &[BillingKey]) -> Result<Vec<Vec<BillingTotal>>> {
        let ask = async || self.inner.billing_totals(scope, keys).await;
        self.totals.answer(self.service, keys, Clone::clone, ask).await
    }

    async fn spend_reports(&self, scope: &Scope, queries: &[SpendQuery]) -> Result<Vec<SpendReport>> {
        let ask = async || self.inner.spend_reports(scope, queries).await;
        self.spend.answer(self.service, queries, text, ask).await
    }

    async fn outbox_due(&self, _: Target, _: u32) -> Result<Vec<entity::outbox_entry::Model>> {
        Ok(Vec::new())
    }

    async fn outbox_settle(&self, _: &[(i64, Settlement)]) -> Result<()> {
        Ok(())
    }

    async fn outbox_left(&self, _: &[i64]) -> Result<Vec<i64>> {
        Ok(Vec::new())
    }

    async fn outbox_depth(&self) -> Result<Vec<(Target, u64)>> {
        self.inner.outbox_depth().await
    }

    async fn authenticate(&self, key_hash: &str) -> Result<Option<Scope>> {
        self.inner.authenticate(key_hash).await
    }

    async fn live_keys(&self) -> Result<u64> {
        self.inner.live_keys().await
    }

    async fn organizations(&self) -> Result<Vec<Uuid>> {
        self.inner.organizations().await
    }

    async fn organization_by_handle(&self, handle: &str) -> Result<Option<entity::organization::Model>> {
        self.inner.organization_by_handle(handle).await
    }
}

struct MemoryStub {
    inner: Memory,
    service: Service,
    definitions: Kept<Uuid, Option<Definition>>,
    memories: Kept<(Uuid, Uuid), Option<MemoryRecord>>,
    pages: Kept<String, Page<MemoryRecord>>,
    interactions: Kept<String, Page<Interaction>>,
    recalled: Kept<String, Result<Vec<Recalled>>>,
}

#[async_trait]
impl MemoryAdapter for MemoryStub {
    fn capabilities(&self) -> memory::Capabilities {
        self.inner.capabilities()
    }

    async fn health(&self) -> Result<()> {
        Ok(())
    }

    async fn apply(&self, _: &Scope, changes: &[memory::Change]) -> Result<Vec<Result<()>>> {
        self.service.take().await;
        Ok(vec![Ok(()); changes.len()])
    }

    async fn definitions(&self, scope: &Scope, persona_ids: &[Uuid]) -> Result<Vec<Option<Definition>>> {
        let ask = async || self.inner.definitions(scope, persona_ids).await;
        self.definitions.answer(self.service, persona_ids, |id| *id, ask).await
    }

    async fn memories(&self, scope: &Scope, keys: &[(Uuid, Uuid)]) -> Result<Vec<Option<MemoryRecord>>> {
        let ask = async || self.inner.memories(scope, keys).await;
        self.memories.answer(self.service, keys, |key| *key, ask).await
    }

    async fn memory_pages(&self, scope: &Scope, queries: &[MemoryPageQuery]) -> Result<Vec<Page<MemoryRecord>>> {
        let ask = async || self.inner.memory_pages(scope, queries).await;
        self.pages.answer(self.service, queries, text, ask).await
    }

    async fn interaction_pages(
        &self,
        scope: &Scope,
        queries: &[InteractionPageQuery],
    ) -> Result<Vec<Page<Interaction>>> {
        let ask = async || self.inner.interaction_pages(scope, queries).await;
        self.interactions.answer(self.service, queries, text, ask).await
    }

    async fn recall(&self, scope: &Scope, queries: &[RecallQuery]) -> Result<Vec<Result<Vec<Recalled>>>> {
        let ask = async || self.inner.recall(scope, queries).await;
        self.recalled.answer(self.service, queries, text, ask).await
    }
}

/// Only questions are stubbed; what holds a queue together goes to the store.
struct EpisodicStub {
    inner: Episodic,
    service: Service,
    tasks: Kept<Uuid, Option<Task>>,
    pages: Kept<TaskPageQuery, Page<Task>>,
    queues: Kept<String, QueueStats>,
    windows: Kept<String, Vec<Turn>>,
    enqueued: Kept<(), Vec<Result<Enqueued>>>,
}

#[async_trait]
impl QueueAdapter for EpisodicStub {
    async fn enqueue(&self, scope: &Scope, tasks: &[NewTask]) -> Result<Vec<Result<Enqueued>>> {
        let ask = async || Ok(vec![self.inner.enqueue(scope, tasks).await?]);
        let answers = self.enqueued.answer(self.service, &[()], |()| (), ask).await?;
        Ok(answers.into_iter().flatten().cycle().take(tasks.len()).collect())
    }

    async fn reserve(
        &self,
        scope: &Scope,
        queue: &str,
        worker: &str,
        count: u32,
        lease: Duration,
    ) -> Result<Vec<Task>> {
        self.inner.reserve(scope, queue, worker, count, lease).await
    }

    async fn heartbeat(
        &self,
        scope: &Scope,
        held: &[(Held, Option<f32>)],
        lease: Duration,
    ) -> Result<Vec<Result<Task>>> {
        self.inner.heartbeat(scope, held, lease).await
    }

    async fn settle(&self, scope: &Scope, outcomes: &[(Held, Outcome)]) -> Result<Vec<Result<Task>>> {
        self.inner.settle(scope, outcomes).await
    }

    async fn settle_and_reserve(
        &self,
        scope: &Scope,
        outcomes: &[(Held, Outcome)],
        next: &ReserveRequest,
    ) -> Result<(Vec<Result<Task>>, Vec<Task>)> {
        self.inner.settle_and_reserve(scope, outcomes, next).await
    }

    async fn replay(&self, scope: &Scope, task_ids: &[Uuid]) -> Result<Vec<Result<Task>>> {
        self.inner.replay(scope, task_ids).await
    }

    async fn tasks(&self, scope: &Scope, ids: &[Uuid]) -> Result<Vec<Option<Task>>> {
        let ask = async || self.inner.tasks(scope, ids).await;
        self.tasks.answer(self.service, ids, |id| *id, ask).await
    }

    async fn task_pages(&self, scope: &Scope, queries: &[TaskPageQuery]) -> Result<Vec<Page<Task>>> {
        let ask = async || self.inner.task_pages(scope, queries).await;
        self.pages.answer(self.service, queries, Clone::clone, ask).await
    }

    async fn queues(&self, scope: &Scope, names: &[String]) -> Result<Vec<QueueStats>> {
        if names.is_empty() {
            return self.inner.queues(scope, names).await;
        }
        let ask = async || self.inner.queues(scope, names).await;
        self.queues.answer(self.service, names, Clone::clone, ask).await
    }

    async fn configure_queue(&self, scope: &Scope, queue: &str, change: &QueueChange) -> Result<QueueSettings> {
        self.inner.configure_queue(scope, queue, change).await
    }
}

#[async_trait]
impl CounterAdapter for EpisodicStub {
    async fn counts(&self, scope: &Scope, requests: &[CounterRequest]) -> Result<Vec<Counted>> {
        self.inner.counts(scope, requests).await
    }
}

#[async_trait]
impl ConversationAdapter for EpisodicStub {
    async fn append_turns(&self, scope: &Scope, turns: &[Turn]) -> Result<()> {
        self.inner.append_turns(scope, turns).await
    }

    async fn windows(&self, scope: &Scope, queries: &[WindowQuery]) -> Result<Vec<Vec<Turn>>> {
        let ask = async || self.inner.windows(scope, queries).await;
        self.windows.answer(self.service, queries, text, ask).await
    }

    async fn put_session(&self, scope: &Scope, id: &str, data: &serde_json::Value, ttl: Duration) -> Result<Session> {
        self.inner.put_session(scope, id, data, ttl).await
    }

    async fn session(&self, scope: &Scope, id: &str, touch: Option<Duration>) -> Result<Option<Session>> {
        self.inner.session(scope, id, touch).await
    }

    async fn end_session(&self, scope: &Scope, id: &str) -> Result<()> {
        self.inner.end_session(scope, id).await
    }

    async fn publish(&self, scope: &Scope, topic: &str, payload: &serde_json::Value) -> Result<()> {
        self.inner.publish(scope, topic, payload).await
    }

    async fn subscribe(&self, scope: &Scope, topic: &str) -> Result<BoxStream<'static, LiveEvent>> {
        self.inner.subscribe(scope, topic).await
    }
}

#[async_trait]
impl EpisodicAdapter for EpisodicStub {
    fn capabilities(&self) -> episodic::Capabilities {
        self.inner.capabilities()
    }

    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    async fn health(&self) -> Result<()> {
        Ok(())
    }
}

struct TelemetryStub {
    inner: Telemetry,
    service: Service,
    events: Kept<Uuid, Option<RenderEvent>>,
    pages: Kept<String, Page<RenderEvent>>,
    stats: Kept<String, Stats>,
    rankings: Kept<String, Ranking>,
}

#[async_trait]
impl TelemetryAdapter for TelemetryStub {
    fn capabilities(&self) -> telemetry::Capabilities {
        self.inner.capabilities()
    }

    async fn health(&self) -> Result<()> {
        Ok(())
    }

    async fn append(&self, _: &Scope, events: &[RenderEvent]) -> Result<Appended> {
        self.service.take().await;
        Ok(Appended { inserted: events.len() as u64, duplicates: 0 })
    }

    async fn events(&self, scope: &Scope, ids: &[Uuid]) -> Result<Vec<Option<RenderEvent>>> {
        let ask = async || self.inner.events(scope, ids).await;
        self.events.answer(self.service, ids, |id| *id, ask).await
    }

    async fn event_pages(&self, scope: &Scope, queries: &[EventPageQuery]) -> Result<Vec<Page<RenderEvent>>> {
        let ask = async || self.inner.event_pages(scope, queries).await;
        self.pages.answer(self.service, queries, text, ask).await
    }

    async fn stats(&self, scope: &Scope, queries: &[StatsQuery]) -> Result<Vec<Stats>> {
        let ask = async || self.inner.stats(scope, queries).await;
        self.stats.answer(self.service, queries, text, ask).await
    }

    async fn rankings(&self, scope: &Scope, queries: &[RankingQuery]) -> Result<Vec<Ranking>> {
        let ask = async || self.inner.rankings(scope, queries).await;
        self.rankings.answer(self.service, queries, text, ask).await
    }

    async fn storage(&self) -> Result<Storage> {
        self.inner.storage(&Scope::system(Uuid::nil())).await
    }

    async fn retain(&self, _: DateTime<Utc>) -> Result<u64> {
        Ok(0)
    }
}

struct LedgerStub {
    inner: Ledger,
    service: Service,
    balances: Kept<String, Result<Vec<Balance>>>,
    entries: Kept<EntryId, Option<Entry>>,
    pages: Kept<EntryPageQuery, Page<Entry>>,
    outflows: Kept<OutflowQuery, Vec<Outflow>>,
    proofs: Kept<EntryId, Option<Proof>>,
}

#[async_trait]
impl LedgerAdapter for LedgerStub {
    fn capabilities(&self) -> ledger::Capabilities {
        self.inner.capabilities()
    }

    async fn health(&self) -> Result<()> {
        Ok(())
    }

    async fn balances(&self, scope: &Scope, wallets: &[WalletRef]) -> Result<Vec<Result<Vec<Balance>>>> {
        let ask = async || self.inner.balances(scope, wallets).await;
        self.balances.answer(self.service, wallets, text, ask).await
    }

    async fn entries(&self, scope: &Scope, ids: &[EntryId]) -> Result<Vec<Option<Entry>>> {
        let ask = async || self.inner.entries(scope, ids).await;
        self.entries.answer(self.service, ids, Clone::clone, ask).await
    }

    async fn entry_pages(&self, scope: &Scope, queries: &[EntryPageQuery]) -> Result<Vec<Page<Entry>>> {
        let ask = async || self.inner.entry_pages(scope, queries).await;
        self.pages.answer(self.service, queries, Clone::clone, ask).await
    }

    async fn outflows(&self, scope: &Scope, queries: &[OutflowQuery]) -> Result<Vec<Vec<Outflow>>> {
        let ask = async || self.inner.outflows(scope, queries).await;
        self.outflows.answer(self.service, queries, Clone::clone, ask).await
    }

    async fn proofs(&self, scope: &Scope, ids: &[EntryId]) -> Result<Vec<Option<Proof>>> {
        let ask = async || self.inner.proofs(scope, ids).await;
        self.proofs.answer(self.service, ids, Clone::clone, ask).await
    }

    async fn submit(&self, scope: &Scope, submission: &Submission) -> Result<Receipt> {
        self.inner.submit(scope, submission).await
    }

    async fn verify(&self, scope: &Scope, chain: Chain) -> Result<Verification> {
        self.inner.verify(scope, chain).await
    }
}

struct MediaStub {
    inner: Media,
    service: Service,
    versions: Kept<Uuid, Vec<ObjectVersion>>,
}

#[async_trait]
impl MediaAdapter for MediaStub {
    fn capabilities(&self) -> media::Capabilities {
        self.inner.capabilities()
    }

    async fn health(&self) -> Result<()> {
        Ok(())
    }

    fn sign_upload(&self, scope: &Scope, spec: &UploadSpec) -> Result<UploadTarget> {
        self.inner.sign_upload(scope, spec)
    }

    fn sign_download(&self, scope: &Scope, spec: &DownloadSpec) -> Result<String> {
        self.inner.sign_download(scope, spec)
    }

    async fn complete(&self, scope: &Scope, spec: &UploadSpec) -> Result<ObjectVersion> {
        self.inner.complete(scope, spec).await
    }

    async fn put(&self, scope: &Scope, spec: &UploadSpec, bytes: Bytes) -> Result<ObjectVersion> {
        self.inner.put(scope, spec, bytes).await
    }

    async fn versions(&self, scope: &Scope, asset_ids: &[Uuid]) -> Result<Vec<Vec<ObjectVersion>>> {
        let ask = async || self.inner.versions(scope, asset_ids).await;
        self.versions.answer(self.service, asset_ids, |id| *id, ask).await
    }

    async fn restore(&self, scope: &Scope, asset_id: Uuid, version: &str) -> Result<ObjectVersion> {
        self.inner.restore(scope, asset_id, version).await
    }

    async fn delete(&self, scope: &Scope, asset_ids: &[Uuid]) -> Result<()> {
        self.inner.delete(scope, asset_ids).await
    }

    async fn sweep(&self, _: DateTime<Utc>) -> Result<u64> {
        Ok(0)
    }

    fn local(&self) -> Option<Arc<dyn LocalMedia>> {
        self.inner.local()
    }
}

struct SearchStub {
    inner: Search,
    service: Service,
    results: Kept<String, Result<SearchResult>>,
    trends: Kept<String, Vec<Trend>>,
}

#[async_trait]
impl SearchAdapter for SearchStub {
    fn capabilities(&self) -> search::Capabilities {
        self.inner.capabilities()
    }

    async fn health(&self) -> Result<()> {
        Ok(())
    }

    async fn apply(&self, _: &Scope, changes: &[search::Change]) -> Result<Vec<Result<()>>> {
        self.service.take().await;
        Ok(vec![Ok(()); changes.len()])
    }

    async fn search(&self, scope: &Scope, queries: &[SearchQuery]) -> Result<Vec<Result<SearchResult>>> {
        let ask = async || self.inner.search(scope, queries).await;
        self.results.answer(self.service, queries, text, ask).await
    }

    async fn trending(&self, scope: &Scope, queries: &[TrendingQuery]) -> Result<Vec<Vec<Trend>>> {
        let ask = async || self.inner.trending(scope, queries).await;
        self.trends.answer(self.service, queries, text, ask).await
    }
}
