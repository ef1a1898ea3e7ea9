//! The composition root: settings → adapters → handles → schema. The only file that names adapters.
//!
//! Order of a start: the data folder and its lock, the installation's secret, the seven stores, the demo data (of a new
//! folder only), then the relay and the housekeeping. Stopping goes the other way.

use crate::{
    access::KeyRing,
    api,
    config::{Place, Settings},
    document::Refusal,
    graphql::{context::Shared, cursor::CursorKey, types::service::Limits},
    http::{HttpSettings, Parts},
    readiness::StoreHealth,
    rebuild::rebuild_search,
    relay::Relay,
    seed,
    stores::Stores,
};
use chimera_stores::{
    Clock, ErrorKind, Finding, Guard, Result as StoreResult, Scope, Store, StoreError, SystemClock,
    episodic::{EmbeddedEpisodic, Episodic, RedisEpisodic},
    guard::{FaultPlan, StoreMetrics},
    ledger::{Ledger, embedded::EmbeddedLedger},
    media::{FolderMedia, Media},
    memory::{
        Memory,
        embedded::EmbeddedMemory,
        embedder::{BundledEmbedder, Embedder, HttpEmbedder},
    },
    relational::{PostgresOptions, Relational, RelationalAdapter, SqlRelational},
    search::{Search, embedded::EmbeddedSearch},
    telemetry::{SqliteTelemetry, Telemetry, TimescaleSettings, TimescaleTelemetry},
};
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use sha2::{Digest, Sha256};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// Why the program cannot start: one line, and exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder.
    #[error("{0}")]
    Folder(String),
    /// A store.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// The parts of a running installation.
pub struct App {
    /// What requests share.
    pub shared: Arc<Shared>,
    /// All metrics.
    pub registry: Arc<Mutex<Registry>>,
    /// Faults to inject; empty unless a test or a rehearsal fills it.
    pub faults: FaultPlan,
    folder: Arc<DataFolder>,
    jobs: Vec<JoinHandle<()>>,
}

impl App {
    /// Opens everything `settings` name.
    ///
    /// # Errors
    /// The first part that cannot be opened.
    pub async fn open(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let folder = Arc::new(DataFolder::open(&settings.data_dir)?);
        let secret = folder.secret(settings)?;
        let mut registry = Registry::default();
        let faults = FaultPlan::default();
        let opener = Opener {
            settings,
            folder: folder.path.clone(),
            secret,
            clock: clock.clone(),
            metrics: StoreMetrics::register(&mut registry),
            faults: faults.clone(),
            search_is_empty: AtomicBool::new(false),
        };
        let stores = opener.stores().await?;
        let search_is_empty = opener.search_is_empty.load(Ordering::Relaxed);
        if search_is_empty && !stores.relational.organizations().await?.is_empty() {
            folder.mark(UNFILLED)?;
        }
        let shared = Arc::new(shared(stores, clock, &secret, settings));
        Ok(Self { shared, registry: Arc::new(Mutex::new(registry)), faults, folder, jobs: Vec::new() })
    }

    /// Opens with the machine's clock.
    ///
    /// # Errors
    /// As [`App::open`].
    pub async fn open_now(settings: &Settings) -> Result<Self, StartError> {
        Self::open(settings, Arc::new(SystemClock)).await
    }

    /// Writes the demo data when the folder is new, or when an earlier seed did not end, but never beside what others
    /// keep in a shared database. Answers whether it did.
    ///
    /// # Errors
    /// What a store says.
    pub async fn seed_new_folder(&self) -> Result<bool, StartError> {
        if !self.folder.marked(UNSEEDED) {
            return Ok(false);
        }
        let demo = seed::demo().organization_id;
        if self.shared.stores.relational.organizations().await?.iter().any(|organization| *organization != demo) {
            self.skip_seed()?;
            return Ok(false);
        }
        self.seed().await?;
        Ok(true)
    }

    /// Writes the demo data. Repeating it changes nothing.
    ///
    /// # Errors
    /// What a store says.
    pub async fn seed(&self) -> Result<(), StartError> {
        seed::seed(&self.shared.stores, &self.shared.relay, &self.shared.clock).await?;
        self.folder.unmark(UNSEEDED)
    }

    /// Notes that the folder is in use without demo data, so that a later start does not seed it.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn skip_seed(&self) -> Result<(), StartError> {
        self.folder.unmark(UNSEEDED)
    }

    /// Starts the relay and the housekeeping.
    pub fn start_jobs(&mut self, retain_raw: Option<TimeDelta>) {
        self.jobs.extend(self.shared.relay.run());
        self.jobs.push(tokio::spawn(housekeeping(self.shared.clone(), retain_raw)));
        if self.folder.marked(UNFILLED) {
            self.jobs.push(tokio::spawn(rebuild(self.shared.clone(), self.folder.clone())));
        }
    }

    /// Stops the jobs and closes the databases. What the relay has not carried waits in the outbox for the next start.
    pub async fn stop(mut self) {
        for job in self.jobs.drain(..) {
            job.abort();
            // An aborted job ends with a cancellation, which is what was asked for.
            let _ = job.await;
        }
        let stores = &self.shared.stores;
        stores.relational.close().await;
        if let Ok(telemetry) = stores.telemetry() {
            telemetry.close().await;
        }
    }
}

/// What requests share, over stores that are open.
pub fn shared(stores: Stores, clock: Arc<dyn Clock>, secret: &[u8; 32], settings: &Settings) -> Shared {
    Shared {
        relay: Relay::new(stores.clone(), clock.clone()),
        stores,
        clock,
        cursor_key: CursorKey::new(secret),
        public_url: settings.public_url.clone(),
        outbox_wait: settings.outbox_wait,
        limits: limits(settings),
    }
}

/// What the HTTP layer needs to answer from `shared`.
///
/// # Errors
/// When the schema is broken, which only a defect can cause.
pub fn parts(shared: &Arc<Shared>, registry: &Arc<Mutex<Registry>>, settings: &Settings) -> Result<Parts, Refusal> {
    let engine = Arc::new(api::engine(settings)?);
    engine.stats().register(&mut registry.lock());
    let stores = &shared.stores;
    let of_request = shared.clone();
    Ok(Parts {
        api: engine,
        authenticator: Arc::new(KeyRing::new(stores.clone(), settings.demo.then(seed::demo))),
        readiness: Arc::new(StoreHealth::new(stores.clone())),
        make_data: Arc::new(move |scope, id| api::request_data(&of_request, scope, id.to_string())),
        media: stores.media().ok().and_then(|media| media.local()),
        registry: registry.clone(),
        settings: HttpSettings {
            listen: settings.listen,
            workers: settings.workers,
            public_url: settings.public_url.clone(),
            shutdown_timeout: settings.shutdown_timeout,
            cors_origins: settings.cors_origins.clone(),
            graphiql: settings.graphiql,
            limits: settings.limits.clone(),
        },
    })
}

/// An index that was lost, or never made, is filled from the rows.
async fn rebuild(shared: Arc<Shared>, folder: Arc<DataFolder>) {
    match rebuild_search(&shared.stores).await {
        Ok(documents) => {
            if documents > 0 {
                tracing::info!(documents, "the empty search index was filled from the relational store");
            }
            if let Err(error) = folder.unmark(UNFILLED) {
                tracing::warn!(%error, "the search index will be filled once more at the next start");
            }
        }
        Err(error) => {
            tracing::warn!(error = %error.chain(), "the search index could not be filled; the next start tries again");
        }
    }
}

/// How often old events and abandoned uploads are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(3600);
/// Uploads older than this can no longer be completed: no signed address lives longer.
const ABANDONED: TimeDelta = TimeDelta::days(8);

async fn housekeeping(shared: Arc<Shared>, retain_raw: Option<TimeDelta>) {
    let scope = Scope::system(Uuid::nil());
    loop {
        let now = shared.clock.now();
        let stores = &shared.stores;
        let sweep = async { stores.media()?.sweep(&scope, now - ABANDONED).await };
        report("abandoned uploads", sweep.await);
        // An age beyond the calendar keeps everything.
        // By whole minutes, so that no roll-up of a minute is cut.
        let minute = |time: DateTime<Utc>| time.duration_trunc(TimeDelta::minutes(1)).ok();
        if let Some(before) = retain_raw.and_then(|age| now.checked_sub_signed(age)).and_then(minute) {
            let retain = async { stores.telemetry()?.retain(&scope, before).await };
            report("old render events", retain.await);
        }
        tokio::time::sleep(HOUSEKEEPING).await;
    }
}

fn report(what: &str, removed: StoreResult<u64>) {
    match removed {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "{what} removed"),
        // A store that is off has nothing to remove.
        Err(error) if error.kind() == ErrorKind::Unavailable => {}
        Err(error) => tracing::warn!(error = %error.chain(), "{what} could not be removed"),
    }
}

fn limits(settings: &Settings) -> Limits {
    let limits = &settings.limits;
    Limits {
        max_body_bytes: limits.max_body_bytes as u64,
        max_variables_bytes: limits.max_variables_bytes as u64,
        max_tokens: limits.max_tokens,
        max_depth: limits.max_depth,
        max_selections: limits.max_selections,
        max_aliases: limits.max_aliases,
        max_root_fields: limits.max_root_fields,
        max_directives: limits.max_directives,
        max_complexity: limits.max_complexity,
        max_batch: limits.max_batch as u64,
        request_timeout_ms: u64::try_from(limits.request_timeout.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Opens stores one by one, so that `doctor` can try each.
pub struct Opener<'a> {
    settings: &'a Settings,
    folder: PathBuf,
    secret: [u8; 32],
    clock: Arc<dyn Clock>,
    metrics: StoreMetrics,
    faults: FaultPlan,
    search_is_empty: AtomicBool,
}

impl<'a> Opener<'a> {
    /// An opener for one-off commands: no metrics, no faults.
    ///
    /// # Errors
    /// The data folder.
    pub fn detached(settings: &'a Settings, folder: &DataFolder) -> Result<Self, StartError> {
        Ok(Self {
            settings,
            folder: folder.path.clone(),
            secret: folder.secret(settings)?,
            clock: Arc::new(SystemClock),
            metrics: StoreMetrics::register(&mut Registry::default()),
            faults: FaultPlan::default(),
            search_is_empty: AtomicBool::new(false),
        })
    }

    fn guard(&self, store: Store) -> Guard {
        Guard::new(store, self.settings.guard.clone(), self.metrics.clone(), self.faults.clone())
    }

    fn path(&self, store: Store, name: &str) -> Option<PathBuf> {
        match self.settings.place(store) {
            Place::Off => None,
            Place::Embedded => Some(self.folder.join(name)),
            Place::Path(path) => Some(path),
            // Only stores that have no server are asked for their path.
            Place::Server(_) => None,
        }
    }

    /// Opens all stores that are not off.
    ///
    /// # Errors
    /// The first that cannot be opened.
    pub async fn stores(&self) -> StoreResult<Stores> {
        let mut stores = Stores::new(self.relational().await?);
        if let Some(memory) = self.memory().await? {
            stores = stores.with_memory(memory);
        }
        if let Some(episodic) = self.episodic().await? {
            stores = stores.with_episodic(episodic);
        }
        if let Some(telemetry) = self.telemetry().await? {
            stores = stores.with_telemetry(telemetry);
        }
        if let Some(ledger) = self.ledger().await? {
            stores = stores.with_ledger(ledger);
        }
        if let Some(media) = self.media().await? {
            stores = stores.with_media(media);
        }
        if let Some(search) = self.search().await? {
            stores = stores.with_search(search);
        }
        Ok(stores)
    }

    /// Opens one store and asks it whether it can be used, and what its operator should know; `None` when it is off.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn check(&self, store: Store) -> StoreResult<Option<Vec<Finding>>> {
        let scope = Scope::system(Uuid::nil());
        // The handles are of seven types; the last word is what else they are asked.
        macro_rules! check {
            ($handle:expr, findings) => {{
                let Some(handle) = $handle else { return Ok(None) };
                handle.health(&scope).await?;
                handle.findings(&scope).await.map(Some)
            }};
            ($handle:expr) => {{
                let Some(handle) = $handle else { return Ok(None) };
                handle.health(&scope).await.map(|()| Some(Vec::new()))
            }};
        }
        match store {
            Store::Relational => check!(Some(self.relational().await?), findings),
            Store::Episodic => check!(self.episodic().await?, findings),
            Store::Telemetry => check!(self.telemetry().await?, findings),
            Store::Memory => check!(self.memory().await?),
            Store::Ledger => check!(self.ledger().await?),
            Store::Media => check!(self.media().await?),
            Store::Search => check!(self.search().await?),
        }
    }

    /// The relational store.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub async fn relational(&self) -> StoreResult<Relational> {
        let adapter = self.sql().await?;
        Ok(Relational::new(self.guard(Store::Relational), Arc::new(adapter)))
    }

    async fn sql(&self) -> StoreResult<SqlRelational> {
        let clock = self.clock.clone();
        match self.settings.place(Store::Relational) {
            Place::Server(address) => {
                let options = PostgresOptions {
                    connections: self.settings.relational_pool,
                    deadline: self.settings.guard.deadline,
                };
                let store = SqlRelational::open_postgres(&address, options, clock).await?;
                match &self.settings.relational_replica {
                    Some(replica) => store.with_replica(replica, options, self.settings.relational_replica_max_lag),
                    None => Ok(store),
                }
            }
            Place::Path(path) => SqlRelational::open_sqlite(&path, clock).await,
            // The settings do not let it be off.
            Place::Embedded | Place::Off => SqlRelational::open_sqlite(&self.folder.join("chimera.db"), clock).await,
        }
    }

    /// Brings the relational store to this version's schema, or undoes the newest migrations; what was done, in lines.
    ///
    /// # Errors
    /// Why it cannot be opened or changed.
    pub async fn migrate(&self, down: Option<u32>) -> StoreResult<Vec<String>> {
        let adapter = self.sql().await?;
        let place = adapter.capabilities().place;
        match down {
            None => Ok(vec![format!("the relational store {place} is at this version's schema")]),
            Some(steps) => {
                adapter.rollback(steps).await?;
                Ok(vec![format!("{steps} migrations of {place} were undone; any other command applies them again")])
            }
        }
    }

    async fn memory(&self) -> StoreResult<Option<Memory>> {
        let Some(folder) = self.path(Store::Memory, "memory") else { return Ok(None) };
        let embedder: Arc<dyn Embedder> = match &self.settings.embedder {
            None => {
                let bundled = BundledEmbedder::new();
                // Loading takes longer than a call may: no request must be the one that waits for it.
                bundled.warm().await?;
                Arc::new(bundled)
            }
            Some(endpoint) => {
                let key = endpoint.key.as_ref().map(|key| key.expose().to_owned());
                Arc::new(HttpEmbedder::new(endpoint.url.as_str(), key, &endpoint.model, endpoint.dimensions)?)
            }
        };
        let clock = self.clock.clone();
        let adapter = blocking(Store::Memory, move || EmbeddedMemory::open(&folder, embedder, clock)).await?;
        Ok(Some(Memory::new(self.guard(Store::Memory), Arc::new(adapter))))
    }

    async fn episodic(&self) -> StoreResult<Option<Episodic>> {
        if let Place::Server(address) = self.settings.place(Store::Episodic) {
            let prefix = &self.settings.episodic_prefix;
            let adapter = RedisEpisodic::open(&address, prefix, self.clock.clone()).await?;
            return Ok(Some(Episodic::new(self.guard(Store::Episodic), Arc::new(adapter))));
        }
        let Some(path) = self.path(Store::Episodic, "episodic.redb") else { return Ok(None) };
        let clock = self.clock.clone();
        let adapter = blocking(Store::Episodic, move || EmbeddedEpisodic::open(&path, clock)).await?;
        Ok(Some(Episodic::new(self.guard(Store::Episodic), Arc::new(adapter))))
    }

    async fn telemetry(&self) -> StoreResult<Option<Telemetry>> {
        let clock = self.clock.clone();
        let guard = self.guard(Store::Telemetry);
        if let Place::Server(address) = self.settings.place(Store::Telemetry) {
            let settings = TimescaleSettings {
                pool: self.settings.telemetry_pool,
                policies: self.settings.telemetry,
                ..TimescaleSettings::default()
            };
            let adapter = TimescaleTelemetry::open(&address, settings, clock).await?;
            return Ok(Some(Telemetry::new(guard, Arc::new(adapter))));
        }
        let Some(path) = self.path(Store::Telemetry, "telemetry.db") else { return Ok(None) };
        let adapter = SqliteTelemetry::open(&path, self.settings.telemetry, clock).await?;
        Ok(Some(Telemetry::new(guard, Arc::new(adapter))))
    }

    async fn ledger(&self) -> StoreResult<Option<Ledger>> {
        let Some(folder) = self.path(Store::Ledger, "ledger") else { return Ok(None) };
        let clock = self.clock.clone();
        let adapter = blocking(Store::Ledger, move || EmbeddedLedger::open(&folder, clock)).await?;
        Ok(Some(Ledger::new(self.guard(Store::Ledger), Arc::new(adapter))))
    }

    async fn media(&self) -> StoreResult<Option<Media>> {
        let Some(folder) = self.path(Store::Media, "media") else { return Ok(None) };
        let (clock, secret) = (self.clock.clone(), self.secret);
        let adapter = blocking(Store::Media, move || FolderMedia::open(&folder, secret, clock)).await?;
        Ok(Some(Media::new(self.guard(Store::Media), Arc::new(adapter))))
    }

    async fn search(&self) -> StoreResult<Option<Search>> {
        let Some(folder) = self.path(Store::Search, "search") else { return Ok(None) };
        let clock = self.clock.clone();
        let adapter = blocking(Store::Search, move || EmbeddedSearch::open(&folder, clock)).await?;
        self.search_is_empty.store(adapter.is_empty(), Ordering::Relaxed);
        Ok(Some(Search::new(self.guard(Store::Search), Arc::new(adapter))))
    }
}

async fn blocking<T: Send + 'static>(
    store: Store,
    open: impl FnOnce() -> StoreResult<T> + Send + 'static,
) -> StoreResult<T> {
    tokio::task::spawn_blocking(open).await.unwrap_or_else(|error| {
        Err(StoreError::with_source(store, ErrorKind::Internal, "the store could not be opened", error))
    })
}

/// The data folder, held by one process at a time.
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

/// Present while the folder has never been seeded to the end.
const UNSEEDED: &str = "unseeded";
/// Present from the moment the search index is found empty until it has been filled to the end.
const UNFILLED: &str = "search-unfilled";

impl DataFolder {
    /// Makes the folder when it is missing, and takes its lock.
    ///
    /// # Errors
    /// When it cannot be written, or another process holds it.
    pub fn open(path: &Path) -> Result<Self, StartError> {
        let error = |error: &std::io::Error| {
            StartError::Folder(format!("the data folder {} cannot be used: {error}", path.display()))
        };
        let new = !path.join("secret").exists() && !path.join("chimera.db").exists();
        std::fs::create_dir_all(path).map_err(|e| error(&e))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(|e| error(&e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "the data folder {} is in use by another process of Chimera; stop it, or choose another folder with --data",
                    path.display()
                );
                return Err(StartError::Folder(message));
            }
            Err(TryLockError::Error(e)) => return Err(error(&e)),
        }
        let folder = Self { path: path.to_owned(), _lock: lock };
        if new {
            folder.mark(UNSEEDED)?;
        }
        Ok(folder)
    }

    fn marked(&self, mark: &str) -> bool {
        self.path.join(mark).exists()
    }

    fn mark(&self, mark: &str) -> Result<(), StartError> {
        File::create(self.path.join(mark)).map(drop).map_err(|error| {
            StartError::Folder(format!("the data folder {} cannot be written: {error}", self.path.display()))
        })
    }

    fn unmark(&self, mark: &str) -> Result<(), StartError> {
        match std::fs::remove_file(self.path.join(mark)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StartError::Folder(format!("the data folder {} cannot be written: {error}", self.path.display())))
            }
            _ => Ok(()),
        }
    }

    /// The installation's secret: from the settings, else from the folder, made on first use.
    fn secret(&self, settings: &Settings) -> Result<[u8; 32], StartError> {
        if let Some(secret) = &settings.secret {
            return Ok(Sha256::digest(secret.expose()).into());
        }
        let path = self.path.join("secret");
        let error = |error: std::io::Error| StartError::Folder(format!("{} cannot be used: {error}", path.display()));
        let mut secret = [0; 32];
        match File::open(&path) {
            Ok(mut file) => file.read_exact(&mut secret).map_err(error)?,
            Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => {
                secret = rand::random();
                write_private(&path, &secret).map_err(error)?;
            }
            Err(other) => return Err(error(other)),
        }
        Ok(secret)
    }
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(temporary, path)
}
