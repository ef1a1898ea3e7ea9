//! The product's parts over stores that a bench needs: embedded ones in a folder of their own, or a PostgreSQL, and
//! before all of them, when asked for, stubs that answer from memory.

use crate::{
    data::{self, Rows},
    stub::{self, Service},
};
use async_trait::async_trait;
use chimera::{
    app,
    config::{Raw, Settings},
    graphql::context::Shared,
    relay::Relay,
    seed,
    stores::Stores,
};
use chimera_stores::{
    Address, Clock, Guard, ManualClock, Principal, Result, Role, Scope, Store,
    episodic::{EmbeddedEpisodic, Episodic},
    guard::{FaultPlan, GuardSettings, StoreMetrics},
    ledger::{Ledger, embedded::EmbeddedLedger},
    media::{FolderMedia, Media},
    memory::{
        Memory,
        embedded::EmbeddedMemory,
        embedder::{Embedder, Model},
    },
    relational::{PostgresOptions, Relational, SqlRelational},
    search::{Search, embedded::EmbeddedSearch},
    telemetry::{Policies, SqliteTelemetry, Telemetry},
};
use chrono::{TimeZone, Utc};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use std::{path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;

/// An installation with the demo data and, beside it, rows to list.
pub struct Installation {
    /// What requests share.
    pub shared: Arc<Shared>,
    /// Its settings.
    pub settings: Settings,
    /// Its metrics.
    pub registry: Arc<Mutex<Registry>>,
    _folder: TempDir,
}

/// What an installation is to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rows beside the demo data; none when they are there.
    pub rows: Option<Rows>,
    /// A PostgreSQL with the schema; an embedded database when absent.
    pub postgres: Option<String>,
    /// Answers from memory, each after this time.
    pub stub: Option<Duration>,
}

impl Installation {
    /// Opens and fills it.
    ///
    /// # Errors
    /// What a store says.
    pub async fn open(plan: &Plan) -> Result<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(folder.path());
        let clock: Arc<dyn Clock> =
            Arc::new(ManualClock::new(Utc.with_ymd_and_hms(2026, 1, 2, 12, 0, 0).single().expect("a time")));
        let mut registry = Registry::default();
        let metrics = StoreMetrics::register(&mut registry);
        let guards = |deadline: Duration| {
            let metrics = metrics.clone();
            move |store| {
                let settings = GuardSettings { deadline, ..GuardSettings::default() };
                Guard::new(store, settings, metrics.clone(), FaultPlan::default())
            }
        };
        let (patient, usual) = (guards(Duration::from_secs(600)), guards(GuardSettings::default().deadline));
        let raw = Handles::open(folder.path(), plan.postgres.as_deref(), &clock).await?;
        let stores = raw.stores(&patient);
        if let Some(rows) = plan.rows {
            seed::seed(&stores, &Relay::new(stores.clone(), clock.clone()), &clock).await?;
            data::fill(&stores, rows, clock.now()).await?;
        }
        let stores = match plan.stub {
            Some(time) => stub::over(&raw, &stores, Service::of(time), &usual),
            None => raw.stores(&usual),
        };
        let shared = Arc::new(app::shared(stores, clock, &[7; 32], &settings));
        Ok(Self { shared, settings, registry: Arc::new(Mutex::new(registry)), _folder: folder })
    }

    /// The demo principal.
    pub fn scope(&self) -> Scope {
        let demo = seed::demo();
        Scope::new(demo.organization_id, Principal::User(demo.user_id), Role::Admin)
    }
}

/// The product's defaults on a free port, with one worker.
fn settings(folder: &Path) -> Settings {
    let line = [
        ("data.dir", folder.display().to_string()),
        ("server.listen", "127.0.0.1:0".to_owned()),
        ("server.workers", "1".to_owned()),
    ];
    let raw = Raw::gather(None, [], &line).expect("settings");
    Settings::read(&raw).expect("settings")
}

/// The adapters that are opened; the relational one apart, since its handle knows row types only.
pub struct Handles {
    /// The relational adapter.
    pub relational: Arc<SqlRelational>,
    memory: Arc<EmbeddedMemory>,
    episodic: Arc<EmbeddedEpisodic>,
    telemetry: Arc<SqliteTelemetry>,
    ledger: Arc<EmbeddedLedger>,
    media: Arc<FolderMedia>,
    search: Arc<EmbeddedSearch>,
}

impl Handles {
    async fn open(folder: &Path, postgres: Option<&str>, clock: &Arc<dyn Clock>) -> Result<Self> {
        let relational = match postgres {
            Some(url) => {
                let options = PostgresOptions { deadline: Duration::from_secs(60), ..PostgresOptions::default() };
                SqlRelational::open_postgres(&Address::new(url.to_owned()), options, clock.clone()).await?
            }
            None => SqlRelational::open_sqlite(&folder.join("chimera.db"), clock.clone()).await?,
        };
        Ok(Self {
            relational: Arc::new(relational),
            memory: Arc::new(EmbeddedMemory::open(&folder.join("memory"), Arc::new(Letters::new()), clock.clone())?),
            episodic: Arc::new(EmbeddedEpisodic::open(&folder.join("episodic.redb"), clock.clone())?),
            telemetry: Arc::new(
                SqliteTelemetry::open(&folder.join("telemetry.db"), Policies::default(), clock.clone()).await?,
            ),
            ledger: Arc::new(EmbeddedLedger::open(&folder.join("ledger"), clock.clone())?),
            media: Arc::new(FolderMedia::open(&folder.join("media"), [7; 32], clock.clone())?),
            search: Arc::new(EmbeddedSearch::open(&folder.join("search"), clock.clone())?),
        })
    }

    fn stores(&self, guard: &dyn Fn(Store) -> Guard) -> Stores {
        Stores::new(Relational::new(guard(Store::Relational), self.relational.clone()))
            .with_memory(Memory::new(guard(Store::Memory), self.memory.clone()))
            .with_episodic(Episodic::new(guard(Store::Episodic), self.episodic.clone()))
            .with_telemetry(Telemetry::new(guard(Store::Telemetry), self.telemetry.clone()))
            .with_ledger(Ledger::new(guard(Store::Ledger), self.ledger.clone()))
            .with_media(Media::new(guard(Store::Media), self.media.clone()))
            .with_search(Search::new(guard(Store::Search), self.search.clone()))
    }
}

/// An embedder that counts letters: benches measure the server, not the model, which is the store's own time.
struct Letters(Model);

impl Letters {
    fn new() -> Self {
        Self(Model { name: "letters".to_owned(), dimensions: 26 })
    }
}

#[async_trait]
impl Embedder for Letters {
    fn model(&self) -> &Model {
        &self.0
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let vector = |text: &String| {
            let mut counts = [1.0_f32; 26];
            for letter in text.bytes().map(|byte| byte.to_ascii_lowercase()).filter(u8::is_ascii_lowercase) {
                counts[usize::from(letter - b'a')] += 1.0;
            }
            let length = counts.iter().map(|count| count * count).sum::<f32>().sqrt();
            counts.iter().map(|count| count / length).collect()
        };
        Ok(texts.iter().map(vector).collect())
    }
}
