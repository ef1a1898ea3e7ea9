//! The load: connections that are kept open, each with one request under way, in a closed loop (for saturation) or at
//! fixed times of arrival (for latency).
//!
//! Every answer's status and length are looked at, and every [`CHECKED`]th answer's bytes: one that differs from what the
//! same body was answered first ends the run, as does one with `errors`.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, sync::Notify};

/// One in so many answers is compared byte by byte.
pub const CHECKED: u64 = 16;

/// A body and its expected answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What is sent.
    pub body: Bytes,
    /// What must come back.
    pub answer: Bytes,
}

/// Asks each body once, and holds what is answered for right unless it has errors.
///
/// # Errors
/// The first answer that is an error.
pub async fn learn(port: u16, bodies: &[String]) -> Result<Vec<Exchange>, String> {
    let mut connection = connect(port).await?;
    let mut exchanges = Vec::new();
    for body in bodies {
        let body = Bytes::from(body.clone());
        let answer = ask(&mut connection, &body).await?;
        let text = String::from_utf8_lossy(&answer);
        if text.contains("\"errors\"") || !text.contains("\"data\"") {
            return Err(format!("an error was answered: {}", text.chars().take(400).collect::<String>()));
        }
        exchanges.push(Exchange { body, answer });
    }
    Ok(exchanges)
}

async fn connect(port: u16) -> Result<SendRequest<Full<Bytes>>, String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| format!("port {port}: {error}"))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (send, connection) = handshake.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        // Ended by dropping the sender, or with an error that the request tells too.
        let _ = connection.await;
    });
    Ok(send)
}

async fn ask(connection: &mut SendRequest<Full<Bytes>>, body: &Bytes) -> Result<Bytes, String> {
    let request = Request::post("/graphql")
        .header("host", "127.0.0.1")
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .body(Full::new(body.clone()))
        .map_err(|error| error.to_string())?;
    // A connection takes the next request only after it has come to rest from the one before.
    connection.ready().await.map_err(|error| error.to_string())?;
    let response = connection.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let answer = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    if status.is_success() { Ok(answer) } else { Err(format!("status {status}: {}", String::from_utf8_lossy(&answer))) }
}

async fn exchange(
    connection: &mut SendRequest<Full<Bytes>>,
    exchanges: &[Exchange],
    number: u64,
) -> Result<(), String> {
    let index = usize::try_from(number).unwrap_or_default() % exchanges.len();
    let expected = &exchanges[index];
    let answer = ask(connection, &expected.body).await?;
    let whole = number % CHECKED < exchanges.len() as u64;
    if answer.len() != expected.answer.len() || (whole && answer != expected.answer) {
        return Err(format!(
            "an answer differs: {}",
            String::from_utf8_lossy(&answer).chars().take(400).collect::<String>()
        ));
    }
    Ok(())
}

/// As many requests as come through in `time` over so many connections; the answers and the time they took.
///
/// # Errors
/// The first wrong answer.
pub async fn closed(
    port: u16,
    exchanges: &[Exchange],
    connections: usize,
    time: Duration,
) -> Result<(u64, Duration), String> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(connect(port).await?);
    }
    let (begun, number) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let end = begun + time;
    let tasks: Vec<_> = open
        .into_iter()
        .map(|mut connection| {
            let (number, exchanges) = (number.clone(), exchanges.to_vec());
            tokio::spawn(async move {
                while Instant::now() < end {
                    exchange(&mut connection, &exchanges, number.fetch_add(1, Ordering::Relaxed)).await?;
                }
                Ok::<_, String>(())
            })
        })
        .collect();
    for task in tasks {
        task.await.map_err(|error| error.to_string())??;
    }
    Ok((number.load(Ordering::Relaxed), begun.elapsed()))
}

/// Requests that arrive `rate` times a second for `time`, whatever the server does; the time of each from the moment it
/// should have been sent, so that a server that stalls pays for all that wait.
///
/// # Errors
/// The first wrong answer.
pub async fn open(port: u16, exchanges: &[Exchange], rate: f64, time: Duration) -> Result<Vec<Duration>, String> {
    let waiting = Arc::new((parking_lot::Mutex::new(VecDeque::new()), Notify::new()));
    let left = Arc::new(AtomicUsize::new(1));
    let mut tasks = Vec::new();
    for _ in 0..256 {
        let mut connection = connect(port).await?;
        let (waiting, left, exchanges) = (waiting.clone(), left.clone(), exchanges.to_vec());
        tasks.push(tokio::spawn(async move {
            let mut times = Vec::new();
            loop {
                let next = waiting.0.lock().pop_front();
                let Some((number, due)) = next else {
                    if left.load(Ordering::Acquire) == 0 {
                        return Ok::<_, String>(times);
                    }
                    waiting.1.notified().await;
                    continue;
                };
                exchange(&mut connection, &exchanges, number).await?;
                times.push(Instant::duration_since(&Instant::now(), due));
            }
        }));
    }
    let (begun, step) = (Instant::now(), Duration::from_secs_f64(1.0 / rate));
    let count = (rate * time.as_secs_f64()) as u32;
    for number in 0..count {
        let due = begun + step * number;
        // The last fraction of a millisecond is waited for by yielding: timers are coarser.
        if let Some(rest) = due.checked_duration_since(Instant::now() + Duration::from_millis(1)) {
            tokio::time::sleep(rest).await;
        }
        while Instant::now() < due {
            tokio::task::yield_now().await;
        }
        waiting.0.lock().push_back((u64::from(number), due));
        waiting.1.notify_one();
    }
    left.store(0, Ordering::Release);
    let mut times = Vec::new();
    for task in tasks {
        while !task.is_finished() {
            waiting.1.notify_waiters();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.extend(task.await.map_err(|error| error.to_string())??);
    }
    times.sort_unstable();
    Ok(times)
}

/// One connection, for requests one after the other.
pub struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn open(port: u16) -> Result<Self, String> {
        connect(port).await.map(Self)
    }

    /// Asks.
    ///
    /// # Errors
    /// A status that is no success.
    pub async fn ask(&mut self, body: &str) -> Result<Bytes, String> {
        ask(&mut self.0, &Bytes::from(body.to_owned())).await
    }
}

/// Sends one body so many times over so many connections.
///
/// # Errors
/// An answer with errors.
pub async fn repeat(port: u16, body: &str, connections: usize, times: u64) -> Result<(), String> {
    let (number, body) = (Arc::new(AtomicU64::new(0)), Bytes::from(body.to_owned()));
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let mut connection = connect(port).await?;
        let (number, body) = (number.clone(), body.clone());
        tasks.push(tokio::spawn(async move {
            while number.fetch_add(1, Ordering::Relaxed) < times {
                let answer = ask(&mut connection, &body).await?;
                let text = String::from_utf8_lossy(&answer);
                if text.contains("\"errors\"") || !text.contains("\"userErrors\":[]") {
                    return Err(text.chars().take(400).collect());
                }
            }
            Ok::<_, String>(())
        }));
    }
    for task in tasks {
        task.await.map_err(|error| error.to_string())??;
    }
    Ok(())
}
