//! A whole installation in a folder of its own, with demo data and a clock that stands still.

pub mod sdl;

use chimera::{
    api::{self, Api},
    app::App,
    config::{Raw, Settings},
    document::Api as _,
    seed,
    write::UnitOfWork,
};
use chimera_stores::{ManualClock, Principal, Role, Scope, Store, guard::CallCounter};
use chrono::{TimeZone, Utc};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// An installation under test.
pub struct TestApp {
    pub app: App,
    pub api: Api,
    pub clock: Arc<ManualClock>,
    pub settings: Settings,
    pub folder: tempfile::TempDir,
}

/// An answer with the store calls it took.
pub struct Answer {
    pub body: Value,
    pub calls: BTreeMap<(Store, &'static str), u32>,
    pub elapsed: Duration,
}

impl Answer {
    /// The data of an answer that must have no errors.
    pub fn data(&self) -> &Value {
        assert!(self.body.get("errors").is_none(), "{:#}", self.body);
        &self.body["data"]
    }

    /// The path (joined by dots) and code of each error, in order of the paths.
    pub fn errors(&self) -> Vec<(String, String)> {
        let path = |error: &Value| {
            let parts = error["path"].as_array().cloned().unwrap_or_default();
            parts.iter().map(|part| part.as_str().map_or(part.to_string(), str::to_owned)).collect::<Vec<_>>().join(".")
        };
        let code = |error: &Value| error["extensions"]["code"].as_str().unwrap_or("none").to_owned();
        let all = self.body["errors"].as_array().cloned().unwrap_or_default();
        let mut errors: Vec<_> = all.iter().map(|error| (path(error), code(error))).collect();
        errors.sort();
        errors
    }
}

/// Settings over a folder, with these besides.
pub fn settings(folder: &std::path::Path, more: &[(&'static str, &str)]) -> Settings {
    let mut line = vec![("data.dir", folder.display().to_string())];
    line.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
    Settings::read(&Raw::gather(None, [], &line).unwrap()).unwrap()
}

impl TestApp {
    /// With demo data.
    pub async fn demo() -> Self {
        Self::with(&[]).await
    }

    /// With demo data and these settings.
    pub async fn with(more: &[(&'static str, &str)]) -> Self {
        let mut test = Self::without_jobs(more).await;
        test.app.start_jobs(None);
        test
    }

    /// The same, without a relay and housekeeping.
    pub async fn without_jobs(more: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A test machine may be busy; only the tests of time-outs want short ones.
        let mut all = vec![("guard.deadline", "20s"), ("limits.request_timeout", "60s"), ("outbox.wait", "10s")];
        all.extend_from_slice(more);
        let settings = settings(folder.path(), &all);
        let clock = Arc::new(ManualClock::new(Utc.with_ymd_and_hms(2026, 1, 2, 12, 0, 0).unwrap()));
        let app = App::open(&settings, clock.clone()).await.unwrap();
        assert!(app.seed_new_folder().await.unwrap());
        let api = api::engine(&settings).unwrap();
        Self { app, api, clock, settings, folder }
    }

    /// The demo principal.
    pub fn scope(&self) -> Scope {
        let demo = seed::demo();
        Scope::new(demo.organization_id, Principal::User(demo.user_id), Role::Admin)
    }

    /// An administrator of another organisation.
    pub fn foreign(&self) -> Scope {
        Scope::new(Uuid::from_u128(99), Principal::User(Uuid::from_u128(98)), Role::Admin)
    }

    /// Asks as the demo principal.
    pub async fn ask(&self, document: &str, variables: Value) -> Answer {
        self.ask_as(&self.scope(), document, variables).await
    }

    /// Asks as anybody.
    pub async fn ask_as(&self, scope: &Scope, document: &str, variables: Value) -> Answer {
        let calls = Arc::new(CallCounter::default());
        let scope = scope.for_request(Instant::now() + self.settings.limits.request_timeout, calls.clone());
        let started = Instant::now();
        let body = match self.api.prepare(document, None, async_graphql::Variables::from_json(variables)) {
            Ok(prepared) => {
                let data = api::request_data(&self.app.shared, scope, "test".to_owned());
                serde_json::to_value(self.api.execute(prepared, data).await).unwrap()
            }
            Err(refusal) => json!({ "errors": refusal.errors }),
        };
        Answer { body, calls: calls.snapshot(), elapsed: started.elapsed() }
    }

    /// Commits as `scope` and waits until the derived stores show it.
    pub async fn write(&self, scope: &Scope, work: UnitOfWork) {
        let shared = &self.app.shared;
        let committed = work.commit(&shared.stores, scope).await.unwrap();
        assert_eq!(shared.relay.wait(&committed.outbox, Duration::from_secs(60)).await, []);
    }
}

/// The UUID at the end of a global id.
pub fn uuid_of(id: &Value) -> Uuid {
    Uuid::try_parse(id.as_str().unwrap().rsplit('_').next().unwrap()).unwrap()
}
