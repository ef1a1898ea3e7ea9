//! The connections to the server or cluster, and how a batch of commands goes over them.
//!
//! Commands share one multiplexed connection (one a node of a cluster): a batch is one pipeline, so it costs one round
//! trip. Nothing that blocks goes over it, and subscribers have a connection of their own. A script is called by its
//! hash; a server that does not know it, being new or restarted, gets it whole in a second try.
//!
//! Every wait has an end well below the guard's deadline, so that a call can be tried again within it.

use super::{
    fault,
    link::{Connection, Link},
    target::{Target, no_server},
};
use crate::{
    Address, Result,
    error::{ErrorKind, Store, StoreError},
};
use ::redis::{
    Client, Cmd, ConnectionAddr, Pipeline, RedisError, RedisResult, ToRedisArgs, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
};
use futures_util::future::join_all;
use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

/// How long one try to connect may take.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_millis(600);
/// How long a server may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_millis(1500);
/// How long opening may take: a cluster is asked for its nodes first.
pub(super) const OPEN_WITHIN: Duration = Duration::from_secs(5);
const LEAST_PAUSE: Duration = Duration::from_millis(20);
const MOST_PAUSE: Duration = Duration::from_millis(200);

/// A script: its text, and the hash under which servers know it.
pub(super) struct Script {
    text: &'static str,
    hash: LazyLock<String>,
}

impl Script {
    /// A script of this text. The hash is worked out at the first use.
    pub(super) const fn new(text: &'static str, hash: fn() -> String) -> Self {
        Self { text, hash: LazyLock::new(hash) }
    }
}

/// Makes a script from files beside this one, put after each other.
macro_rules! script {
    ($($file:literal),+) => {
        $crate::episodic::redis::connection::Script::new(concat!($(include_str!(concat!("scripts/", $file))),+), || {
            ::redis::Script::new(concat!($(include_str!(concat!("scripts/", $file))),+)).get_hash().to_owned()
        })
    };
}
pub(super) use script;

/// One command of a batch.
pub(super) struct Call {
    command: Cmd,
    script: Option<&'static Script>,
    /// The key whose node gets it, when that cannot be seen from the command.
    near: Option<String>,
}

impl Call {
    /// A command, whose first argument is a key.
    pub(super) fn new(name: &str, key: &str) -> Self {
        let mut command = ::redis::cmd(name);
        command.arg(key);
        Self { command, script: None, near: None }
    }

    /// A script on the keys that begin with or are `key`.
    pub(super) fn script(script: &'static Script, key: &str) -> Self {
        let mut command = ::redis::cmd("EVALSHA");
        command.arg(script.hash.as_str()).arg(1).arg(key);
        Self { command, script: Some(script), near: None }
    }

    /// A message, sent through the node that has the key `near`: see [`Server::listening_node`].
    pub(super) fn publish(near: &str, channel: &str, message: &[u8]) -> Self {
        let mut command = ::redis::cmd("PUBLISH");
        command.arg(channel).arg(message);
        Self { command, script: None, near: Some(near.to_owned()) }
    }

    /// The same with one more argument.
    #[must_use]
    pub(super) fn with(mut self, argument: impl ToRedisArgs) -> Self {
        self.arg(argument);
        self
    }

    /// Adds one more argument.
    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.command.arg(argument);
        self
    }

    /// The same with the script's text in place of its hash.
    fn whole(&self) -> Option<Self> {
        let mut command = ::redis::cmd("EVAL");
        command.arg(self.script?.text);
        for argument in self.command.args_iter().skip(2) {
            if let ::redis::Arg::Simple(argument) = argument {
                command.arg(argument);
            }
        }
        Some(Self { command, script: None, near: None })
    }
}

/// The server, or the cluster.
pub(super) struct Server {
    link: Arc<Link>,
    target: Arc<Target>,
}

impl Server {
    /// Connects.
    ///
    /// # Errors
    /// `Invalid` for a wrong URL, `Unavailable` when nobody answers or the password is wrong.
    pub(super) async fn connect(address: &Address) -> Result<Self> {
        if address.scheme().starts_with("rediss") {
            // The first provider of the process wins, whoever installs it.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let target = Arc::new(Target::read(address)?);
        let connect = async {
            if target.is_cluster {
                return cluster(&target).await.map(Connection::Cluster);
            }
            let client = target.nodes.first().cloned().ok_or_else(no_server)?;
            let manager = ConnectionManager::new_with_config(client, patience()).await;
            manager.map(Connection::Single).map_err(fault::of)
        };
        let connection = tokio::time::timeout(OPEN_WITHIN, connect).await.map_err(|_| fault::late())??;
        Ok(Self { link: Arc::new(Link::new(connection, target.clone())), target })
    }

    /// Whether it is a cluster.
    pub(super) fn is_cluster(&self) -> bool {
        self.target.is_cluster
    }

    /// Where to listen to messages that are sent through the node that has the key `near`.
    ///
    /// In a cluster every node passes all messages on to all others, but takes its time for it: a listener elsewhere may
    /// hear two messages in the wrong order, or one from before it came. So whoever listens and whoever sends meet at one
    /// node. Where that one cannot be found or reached, which the odd `attempts` are for, any node named in the URL will do.
    pub(super) async fn listening_node(&self, near: &str, attempts: usize) -> Result<Client> {
        let named =
            || self.target.nodes.get(attempts / 2 % self.target.nodes.len().max(1)).cloned().ok_or_else(no_server);
        let (_, Connection::Cluster(connection)) = self.link.present() else { return named() };
        if attempts % 2 == 1 {
            return named();
        }
        let mut command = ::redis::cmd("CLUSTER");
        command.arg("NODES");
        let answer = to_node_of(connection, command, near).await.map_err(fault::of)?;
        let node = named()?;
        let Some((host, port)) = own_address(&flat(answer)) else { return Ok(node) };
        let info = node.get_connection_info();
        let addr = match info.addr().clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        Client::open(info.clone().set_addr(addr)).map_err(fault::of)
    }

    /// Sends all calls at once and answers one result for each, in order.
    pub(super) async fn run(&self, calls: &[Call]) -> Vec<Result<Value>> {
        let mut answers = self.send(calls).await;
        let unknown: Vec<(usize, Call)> = answers
            .iter()
            .zip(calls)
            .enumerate()
            .filter(|(_, (answer, _))| answer.as_ref().is_err_and(fault::is_unknown_script))
            .filter_map(|(at, (_, call))| Some((at, call.whole()?)))
            .collect();
        if !unknown.is_empty() {
            let (places, whole): (Vec<usize>, Vec<Call>) = unknown.into_iter().unzip();
            for (at, answer) in places.into_iter().zip(self.send(&whole).await) {
                if let Some(place) = answers.get_mut(at) {
                    *place = answer;
                }
            }
        }
        answers.into_iter().map(|answer| answer.map_err(fault::of)).collect()
    }

    /// Sends one call.
    pub(super) async fn one(&self, call: Call) -> Result<Value> {
        self.run(std::slice::from_ref(&call)).await.pop().unwrap_or_else(|| Err(fault::senseless()))
    }

    /// Asks every node that takes writes, by a command without keys. A refusal by the access list is `None`.
    pub(super) async fn each_node(&self, command: Cmd) -> Result<Option<Vec<String>>> {
        let (number, connection) = self.link.present();
        let answer = match connection {
            Connection::Single(mut manager) => command.query_async::<Value>(&mut manager).await,
            Connection::Cluster(mut connection) => {
                let routing = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                connection.route_command(command, routing).await
            }
        };
        self.link.judge(number, answer.as_ref().err().into_iter());
        let answers = answer.and_then(|answer| match answer {
            // One for each node; its refusal stands among the answers.
            Value::Map(nodes) if self.is_cluster() => {
                nodes.into_iter().map(|(_, answer)| answer.extract_error()).collect()
            }
            answer => Ok(vec![answer]),
        });
        match answers {
            Err(error) if fault::is_not_permitted(&error) => Ok(None),
            answers => Ok(Some(answers.map_err(fault::of)?.into_iter().map(flat).collect())),
        }
    }

    async fn send(&self, calls: &[Call]) -> Vec<RedisResult<Value>> {
        let (number, connection) = self.link.present();
        let answers = match connection {
            Connection::Single(mut manager) => pipeline(&mut manager, calls).await,
            // The driver sends what comes at the same time to each node together, and follows slots that move.
            Connection::Cluster(connection) => join_all(calls.iter().map(|call| route(connection.clone(), call))).await,
        };
        self.link.judge(number, answers.iter().filter_map(|answer| answer.as_ref().err()));
        answers
    }
}

async fn pipeline(manager: &mut ConnectionManager, calls: &[Call]) -> Vec<RedisResult<Value>> {
    match calls {
        [] => Vec::new(),
        [call] => vec![call.command.query_async(manager).await],
        calls => {
            let mut pipeline = Pipeline::with_capacity(calls.len());
            for call in calls {
                pipeline.add_command(call.command.clone());
            }
            let answers: RedisResult<Vec<RedisResult<Value>>> = pipeline.ignore_errors().query_async(manager).await;
            answers.unwrap_or_else(|error| calls.iter().map(|_| Err(error.clone())).collect())
        }
    }
}

async fn route(mut connection: ClusterConnection, call: &Call) -> RedisResult<Value> {
    match &call.near {
        None => call.command.query_async(&mut connection).await,
        Some(key) => to_node_of(connection, call.command.clone(), key).await,
    }
}

async fn to_node_of(mut connection: ClusterConnection, command: Cmd, key: &str) -> RedisResult<Value> {
    let route = Route::with_key(key, SlotAddr::Master);
    connection.route_command(command, RoutingInfo::SingleNode(SingleNodeRoutingInfo::SpecificNode(route))).await
}

/// The host and port of the node that gave this list of nodes: `id host:port@bus,name flags …`.
fn own_address(list: &str) -> Option<(String, u16)> {
    let own = list.lines().find(|line| line.split(' ').nth(2).is_some_and(|flags| flags.contains("myself")))?;
    let (address, bus) = own.split(' ').nth(1)?.split_once('@')?;
    let (ip, port) = address.rsplit_once(':')?;
    let name = bus.split(',').nth(1).filter(|name| !name.is_empty());
    let host = name.or(Some(ip)).filter(|host| !host.is_empty())?;
    Some((host.to_owned(), port.parse().ok()?))
}

/// How a connection to one server waits.
pub(super) fn patience() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_WITHIN))
        .set_response_timeout(Some(ANSWER_WITHIN))
        .set_number_of_retries(1)
        .set_min_delay(LEAST_PAUSE)
        .set_max_delay(MOST_PAUSE)
}

/// Connects to the nodes of a cluster.
pub(super) async fn cluster(target: &Target) -> Result<ClusterConnection> {
    let millis = |pause: Duration| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    let mut builder = ClusterClient::builder(target.infos());
    if let Some(certificates) = &target.certificates {
        builder = builder.certs(certificates.clone());
    }
    let client = builder
        .retries(4)
        .min_retry_wait(millis(LEAST_PAUSE))
        .max_retry_wait(millis(MOST_PAUSE))
        .connection_timeout(CONNECT_WITHIN)
        .response_timeout(ANSWER_WITHIN)
        .overall_response_timeout(Some(ANSWER_WITHIN))
        .build()
        .map_err(fault::of)?;
    client.get_async_connection().await.map_err(|error: RedisError| match error.kind() {
        // What the driver says when it has tried every node and none has answered.
        ::redis::ErrorKind::Io | ::redis::ErrorKind::ClusterConnectionNotFound => {
            let message = "no node of the redis cluster can be reached";
            StoreError::with_source(Store::Episodic, ErrorKind::Unavailable, message, error)
        }
        _ => fault::of(error),
    })
}

/// An answer of names and values, or of text, as lines of text.
fn flat(value: Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::SimpleString(text) => text,
        Value::VerbatimString { text, .. } => text,
        Value::Array(items) => items.into_iter().map(flat).collect::<Vec<_>>().join("\n"),
        Value::Map(pairs) => pairs
            .into_iter()
            .map(|(name, value)| format!("{}:{}", flat(name), flat(value)))
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_finds_itself_in_a_list() {
        let of = |own: &str| {
            format!(
                "aa 10.0.0.1:6379@16379 master - 0 1 1 connected 0-5\nbb {own} myself,master - 0 0 2 connected 6-9\n"
            )
        };
        let address = |host: &str| Some((host.to_owned(), 7000));
        assert_eq!(own_address(&of("10.0.0.2:7000@17000")), address("10.0.0.2"));
        assert_eq!(own_address(&of("10.0.0.2:7000@17000,redis-2.example,shard-id=x")), address("redis-2.example"));
        assert_eq!(own_address(&of("::1:7000@17000,")), address("::1"));
        assert_eq!(own_address(&of(":7000@17000")), None, "it does not know its own address yet");
        assert_eq!(own_address("nonsense"), None);
    }
}
