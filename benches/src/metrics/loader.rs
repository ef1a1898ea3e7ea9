//! M6: 100 keys through a loader on an instant store, over asking the store directly.

use crate::{
    data::{self, Rows},
    figure::Figure,
    installation::{Installation, Plan},
};
use chimera::graphql::{context::RequestContext, keys::relational::ById};
use entity::persona;
use futures_util::future::join_all;
use std::time::{Duration, Instant};
use uuid::Uuid;

const KEYS: u32 = 100;
const ROUNDS: u32 = 2000;

/// M6.
pub async fn hundred_keys() -> Result<Vec<Figure>, String> {
    let plan = Plan { rows: Some(Rows::SMALL), stub: Some(Duration::ZERO), postgres: None };
    let installation = Installation::open(&plan).await.map_err(|error| error.to_string())?;
    let (shared, scope) = (installation.shared.clone(), installation.scope());
    let ids: Vec<Uuid> = (0..KEYS).map(data::persona_id).collect();
    // As in a request: a runtime of one thread.
    let measured = std::thread::spawn(move || {
        crate::process::pin_thread(crate::process::SERVER_CORE).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        runtime.block_on(async {
            let mut ratios = Vec::new();
            let (mut direct, mut loaded) = (Duration::ZERO, Duration::ZERO);
            for pair in 0..13 {
                let begun = Instant::now();
                for _ in 0..ROUNDS {
                    let rows = shared.stores.relational.get::<persona::Model>(&scope, &ids).await;
                    assert_eq!(rows.map_err(|error| error.to_string())?.len(), ids.len());
                }
                direct = begun.elapsed();
                let begun = Instant::now();
                for _ in 0..ROUNDS {
                    let request = RequestContext::new(shared.clone(), scope.clone(), "bench".to_owned());
                    let keys = ids.iter().map(|id| request.load(ById::<persona::Model>::new(*id)));
                    assert!(join_all(keys).await.into_iter().all(|row| matches!(row, Ok(Some(_)))));
                }
                loaded = begun.elapsed();
                if pair > 0 {
                    ratios.push(direct.as_secs_f64() / loaded.as_secs_f64());
                }
            }
            let micros = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(ROUNDS);
            Ok::<_, String>((ratios, format!("direct {:.1} µs, loaded {:.1} µs", micros(direct), micros(loaded))))
        })
    });
    let (ratios, seen) = measured.join().map_err(|_| "the measuring thread panicked".to_owned())??;
    let unit = "100 keys a second, through the loader over directly";
    Ok(vec![Figure::new("M6", "100 keys", "the store alone", unit, ratios).seen(seen)])
}
