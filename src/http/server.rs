//! Binds, routes, runs, ends.

use super::{
    answer::Fault,
    envelope::{self, request_id},
    graphql, health, media,
    metrics::HttpMetrics,
    negotiate::MediaType,
    parts::{Parts, StoreStatus},
    shutdown::{self, Drain, Remembered},
};
use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::Server,
    middleware::{Compress, from_fn},
    web,
};
use std::{fmt, io, net::SocketAddr, time::Duration};
use tokio::sync::mpsc;

/// What the handlers share.
pub(super) struct State {
    pub parts: Parts,
    pub metrics: HttpMetrics,
    pub drain: Drain,
    pub readiness: Remembered<Option<Vec<StoreStatus>>>,
}

/// How long `/ready` repeats its last answer.
const READY_FRESH: Duration = Duration::from_millis(500);
/// How long an idle connection stays.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// What is left for connections that keep open although nothing is under way.
const LAST_SECONDS: u64 = 1;

/// Why a server did not start, or did not end well.
#[derive(Debug)]
pub enum ServeError {
    /// The address cannot be listened on; the text says why and what to do.
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system failed while the server ran.
    Io(io::Error),
    /// Ended at once by a second signal; open requests were cut off.
    Interrupted,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Bind { address, source } => {
                let why = match source.kind() {
                    io::ErrorKind::AddrInUse => {
                        "another program listens there; stop it or choose another server.listen"
                    }
                    io::ErrorKind::PermissionDenied => "this user may not listen there; ports below 1024 are reserved",
                    io::ErrorKind::AddrNotAvailable => "this machine has no such address",
                    _ => return write!(f, "cannot listen on {address}: {source}"),
                };
                write!(f, "cannot listen on {address}: {why}")
            }
            ServeError::Io(source) => write!(f, "the server failed: {source}"),
            ServeError::Interrupted => f.write_str("ended at once by a second signal"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ServeError::Bind { source, .. } | ServeError::Io(source) => Some(source),
            ServeError::Interrupted => None,
        }
    }
}

/// A server that listens and does not answer yet.
pub struct Bound {
    server: Server,
    addresses: Vec<SocketAddr>,
    drain: Drain,
    timeout: Duration,
}

/// Listens, and answers until a signal.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(parts: Parts) -> Result<(), ServeError> {
    bind(parts)?.run().await
}

/// Listens. The address is taken when this returns, so that it can be told before anything is answered.
///
/// # Errors
/// [`ServeError::Bind`].
pub fn bind(parts: Parts) -> Result<Bound, ServeError> {
    let metrics = HttpMetrics::register(&mut parts.registry.lock());
    let drain = Drain::default();
    let super::HttpSettings { listen: address, workers, shutdown_timeout, graphiql, .. } = parts.settings;
    let state = web::Data::new(State { parts, metrics, drain: drain.clone(), readiness: Remembered::new(READY_FRESH) });
    let app = move || {
        App::new()
            .app_data(state.clone())
            .configure(|config| routes(config, graphiql))
            .default_service(web::to(not_found))
            .wrap(from_fn(envelope::small))
            .wrap(Compress::default())
            .wrap(from_fn(envelope::envelope))
    };
    let mut server = HttpServer::new(app)
        .disable_signals()
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_TIMEOUT)
        .tcp_nodelay(true)
        .shutdown_timeout(LAST_SECONDS);
    if workers > 0 {
        server = server.workers(workers);
    }
    let server = server.bind(address).map_err(|source| ServeError::Bind { address, source })?;
    Ok(Bound { addresses: server.addrs(), server: server.run(), drain, timeout: shutdown_timeout })
}

impl Bound {
    /// Where it listens; with the port the system chose when the setting was 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Answers until SIGINT or SIGTERM, then ends in order; a second signal ends at once.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn run(self) -> Result<(), ServeError> {
        let signals = shutdown::signals().map_err(ServeError::Io)?;
        self.run_until(signals).await
    }

    /// The same with the signals of somebody else; each message is one.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn run_until(self, mut signals: mpsc::UnboundedReceiver<()>) -> Result<(), ServeError> {
        let Self { mut server, drain, timeout, .. } = self;
        let handle = server.handle();
        tokio::select! {
            ended = &mut server => return ended.map_err(ServeError::Io),
            _ = signals.recv() => {}
        }
        tracing::info!(timeout_ms = timeout.as_millis() as u64, "shutting down: open requests may finish");
        drain.begin();
        let ended = tokio::select! {
            ended = &mut server => return ended.map_err(ServeError::Io),
            () = drain.idle() => Ok(true),
            () = tokio::time::sleep(timeout) => Ok(false),
            Some(()) = signals.recv() => Err(ServeError::Interrupted),
        };
        match ended {
            Ok(in_time) => {
                if !in_time {
                    tracing::warn!("some requests did not finish in time and are cut off");
                }
                let (_, ended) = tokio::join!(handle.stop(in_time), server);
                ended.map_err(ServeError::Io)
            }
            Err(error) => {
                let _ = tokio::join!(handle.stop(false), server);
                Err(error)
            }
        }
    }
}

fn routes(config: &mut web::ServiceConfig, graphiql: bool) {
    if graphiql {
        config
            .service(reading("/graphiql", super::graphiql::index))
            .service(reading("/graphiql/{path:.*}", super::graphiql::file));
    }
    config
        .service(
            web::resource("/graphql")
                .route(web::post().to(graphql::graphql))
                .route(web::get().to(graphql::graphql))
                .default_service(web::to(graphql::other_method)),
        )
        .service(reading("/", health::index))
        .service(reading("/live", health::live))
        .service(reading("/ready", health::ready))
        .service(reading("/metrics", health::metrics))
        .service(
            web::resource("/media/upload/{token}")
                .route(web::put().to(media::upload))
                .default_service(web::to(|http: HttpRequest| async move { only("PUT", &http) })),
        )
        .service(reading("/media/download/{token}", media::download));
}

/// A resource that is only read.
fn reading<F, A>(path: &str, handler: F) -> actix_web::Resource
where
    F: actix_web::Handler<A> + Clone,
    A: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    web::resource(path)
        .route(web::get().to(handler.clone()))
        .route(web::head().to(handler))
        .default_service(web::to(|http: HttpRequest| async move { only("GET, HEAD", &http) }))
}

fn only(allow: &'static str, http: &HttpRequest) -> HttpResponse {
    Fault::method(allow).response(&request_id(http), MediaType::Json)
}

async fn not_found(http: HttpRequest) -> HttpResponse {
    Fault::not_found().response(&request_id(&http), MediaType::Json)
}
