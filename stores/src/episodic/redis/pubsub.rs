//! Live events across processes: one connection of this process hears all topics that anybody here listens to, and hands
//! each event to its subscribers. A subscriber has a bounded place in a ring; one that falls behind loses the oldest.
//!
//! Nothing is stored. While the connection is away events are lost; subscribers stay, and hear what comes after it is
//! back. A subscription is answered when the server has it, so that nothing published afterwards is missed.
//!
//! Published is here as well, so that sender and listener agree on the node of a cluster where they meet.

use super::{
    super::LiveEvent,
    connection::{Call, Server},
    fault,
};
use crate::Result;
use ::redis::{
    Msg, RedisResult,
    aio::{PubSubSink, PubSubStream},
};
use futures_util::{FutureExt, StreamExt, stream, stream::BoxStream};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc, oneshot,
    },
    time::{Instant, interval_at, sleep, timeout},
};

/// Events a subscriber may lag behind before it loses the oldest.
const CAPACITY: usize = 256;
/// How long connecting, subscribing or a sign of life may take.
const ANSWER_WITHIN: Duration = Duration::from_millis(1000);
/// How long a subscriber waits for all of it.
const SUBSCRIBE_WITHIN: Duration = Duration::from_millis(1500);
/// A connection from which nothing comes is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(5);
const LEAST_PAUSE: Duration = Duration::from_millis(50);
const MOST_PAUSE: Duration = Duration::from_secs(2);

type Senders = Mutex<HashMap<String, broadcast::Sender<Arc<LiveEvent>>>>;
type Heard = oneshot::Sender<Result<()>>;

enum Ask {
    Listen(String, Heard),
    Leave(String),
}

/// The topics that are listened to in this process.
pub(super) struct Topics {
    server: Arc<Server>,
    /// The key whose node is the place to meet.
    near: String,
    senders: Arc<Senders>,
    asks: mpsc::UnboundedSender<Ask>,
}

/// A subscriber. It holds no sender, so its stream ends with the store.
struct Subscription {
    events: broadcast::Receiver<Arc<LiveEvent>>,
    senders: Weak<Senders>,
    asks: mpsc::UnboundedSender<Ask>,
    channel: String,
}

impl Topics {
    /// Meets others at the node that has the key `near`; listens there when somebody subscribes.
    pub(super) fn new(server: Arc<Server>, near: String) -> Self {
        let senders = Arc::<Senders>::default();
        let (asks, asked) = mpsc::unbounded_channel();
        let listener = Listener {
            server: server.clone(),
            near: near.clone(),
            attempts: 0,
            asked,
            senders: Arc::downgrade(&senders),
            wanted: HashSet::new(),
        };
        tokio::spawn(listener.run());
        Self { server, near, senders, asks }
    }

    /// Tells everybody who listens to a channel.
    pub(super) async fn publish(&self, channel: &str, event: &LiveEvent) -> Result<()> {
        let message = serde_json::to_vec(event).map_err(fault::unencodable)?;
        self.server.one(Call::publish(&self.near, channel, &message)).await.map(drop)
    }

    /// Tells nobody anything, to see whether this may be done at all.
    pub(super) async fn probe(&self) -> Result<()> {
        self.server.one(Call::publish(&self.near, &self.near, b"")).await.map(drop)
    }

    /// Events of a channel from now on.
    pub(super) async fn subscribe(&self, channel: String) -> Result<BoxStream<'static, LiveEvent>> {
        let (heard, answer) = oneshot::channel();
        let mut subscription = {
            let mut senders = self.senders.lock();
            let sender = senders.entry(channel.clone()).or_insert_with(|| broadcast::channel(CAPACITY).0);
            let events = sender.subscribe();
            // Under the lock, so that the listener hears of comings and goings in their order.
            let _ = self.asks.send(Ask::Listen(channel.clone(), heard));
            Subscription { events, senders: Arc::downgrade(&self.senders), asks: self.asks.clone(), channel }
        };
        let answer = timeout(SUBSCRIBE_WITHIN, answer).await.map_err(|_| fault::late())?;
        answer.map_err(|_| fault::late())??;
        // From now on: what others heard meanwhile was published before.
        subscription.events = subscription.events.resubscribe();
        let events = stream::unfold(subscription, |mut subscription| async {
            loop {
                match subscription.events.recv().await {
                    Ok(event) => return Some(((*event).clone(), subscription)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        Ok(events.boxed())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(senders) = self.senders.upgrade() else { return };
        let mut senders = senders.lock();
        // Counted under the lock: this one is still among them, and no new one can come.
        if senders.get(&self.channel).is_some_and(|sender| sender.receiver_count() <= 1) {
            senders.remove(&self.channel);
            let _ = self.asks.send(Ask::Leave(self.channel.clone()));
        }
    }
}

/// The task that owns the connection.
struct Listener {
    server: Arc<Server>,
    near: String,
    /// Tries to connect that failed since the last that did not.
    attempts: usize,
    asked: mpsc::UnboundedReceiver<Ask>,
    senders: Weak<Senders>,
    wanted: HashSet<String>,
}

/// Why a connection was left.
enum End {
    /// It was lost.
    Lost,
    /// The store is closed.
    Closed,
}

impl Listener {
    async fn run(mut self) {
        let mut waiting: Vec<Heard> = Vec::new();
        let mut pause = LEAST_PAUSE;
        loop {
            // Nobody listens: no connection is needed.
            while self.wanted.is_empty() {
                let Some(ask) = self.asked.recv().await else { return };
                self.note(ask, &mut waiting);
            }
            match self.connect().await {
                Ok((sink, stream)) => {
                    waiting.drain(..).for_each(|heard| drop(heard.send(Ok(()))));
                    (pause, self.attempts) = (LEAST_PAUSE, 0);
                    match self.listen(sink, stream).await {
                        End::Lost => tracing::info!("the connection for live events was lost; it is made anew"),
                        End::Closed => return,
                    }
                }
                Err(error) => {
                    for heard in waiting.drain(..) {
                        let _ = heard.send(Err(error.clone()));
                    }
                    self.attempts = self.attempts.wrapping_add(1);
                    // Whoever subscribes meanwhile is told by the next try.
                    let end = sleep(pause);
                    tokio::pin!(end);
                    loop {
                        tokio::select! {
                            () = &mut end => break,
                            ask = self.asked.recv() => match ask {
                                Some(ask) => self.note(ask, &mut waiting),
                                None => return,
                            },
                        }
                    }
                    pause = (pause * 2).min(MOST_PAUSE);
                }
            }
        }
    }

    fn note(&mut self, ask: Ask, waiting: &mut Vec<Heard>) {
        match ask {
            Ask::Listen(channel, heard) => {
                self.wanted.insert(channel);
                waiting.push(heard);
            }
            Ask::Leave(channel) => drop(self.wanted.remove(&channel)),
        }
    }

    async fn connect(&self) -> Result<(PubSubSink, PubSubStream)> {
        let node = self.server.listening_node(&self.near, self.attempts).await?;
        let connection = within(node.get_async_pubsub()).await?;
        let (mut sink, stream) = connection.split();
        let channels: Vec<&String> = self.wanted.iter().collect();
        within(sink.subscribe(channels)).await?;
        Ok((sink, stream))
    }

    async fn listen(&mut self, mut sink: PubSubSink, mut stream: PubSubStream) -> End {
        let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        loop {
            tokio::select! {
                ask = self.asked.recv() => match ask {
                    None => return End::Closed,
                    Some(Ask::Listen(channel, heard)) => {
                        let done = if self.wanted.contains(&channel) {
                            within(sink.ping::<::redis::Value>()).await.map(drop)
                        } else {
                            within(sink.subscribe(&channel)).await
                        };
                        self.wanted.insert(channel);
                        // The server answers in order: what was published before lies here by now, and belongs to
                        // those who came before.
                        while let Some(Some(message)) = stream.next().now_or_never() {
                            self.pass_on(&message);
                        }
                        let failed = done.is_err();
                        let _ = heard.send(done);
                        if failed {
                            return End::Lost;
                        }
                    }
                    Some(Ask::Leave(channel)) => {
                        self.wanted.remove(&channel);
                        if within(sink.unsubscribe(&channel)).await.is_err() {
                            return End::Lost;
                        }
                    }
                },
                message = stream.next() => match message {
                    Some(message) => self.pass_on(&message),
                    None => return End::Lost,
                },
                _ = pings.tick() => {
                    if within(sink.ping::<::redis::Value>()).await.is_err() {
                        return End::Lost;
                    }
                }
            }
        }
    }

    fn pass_on(&self, message: &Msg) {
        let Some(senders) = self.senders.upgrade() else { return };
        let Some(sender) = senders.lock().get(message.get_channel_name()).cloned() else { return };
        match serde_json::from_slice::<LiveEvent>(message.get_payload_bytes()) {
            // The last subscriber may have gone just now; nobody listening is fine.
            Ok(event) => drop(sender.send(Arc::new(event))),
            Err(error) => tracing::warn!(%error, "a live event that this version cannot read was left out"),
        }
    }
}

async fn within<T>(act: impl Future<Output = RedisResult<T>>) -> Result<T> {
    timeout(ANSWER_WITHIN, act).await.map_err(|_| fault::late())?.map_err(fault::of)
}
