//! What the server says of itself: whether this store can work on it at all, and what its operator should know.

use super::{
    connection::{Call, Script, Server, script},
    fault, reply,
};
use crate::{
    Finding, Result,
    error::{ErrorKind, Store, StoreError},
};

static PROBE: Script = script!("probe.lua");

/// The oldest version whose commands this store uses (`SET … NX GET`, `ZRANGE … BYSCORE` in scripts).
const OLDEST: (u32, u32) = (7, 0);
/// A share of the memory, in percent, above which its operator should know.
const FULL_PERCENT: u64 = 90;

/// What one node says of itself. What the access list hides is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Node {
    version: String,
    mode: String,
    is_replica: bool,
    appends: bool,
    /// Whether an appended write is on the disk before it is answered.
    syncs: Option<bool>,
    saves: Option<bool>,
    eviction: String,
    used_bytes: u64,
    max_bytes: u64,
    write_failed: bool,
}

impl Node {
    /// From the text of `INFO` and of `CONFIG GET save appendfsync`.
    fn read(info: &str, config: Option<&str>) -> Self {
        let field = |name| line(info, name).unwrap_or_default();
        let setting = |name| config.and_then(|config| line(config, name));
        let number = |name| field(name).parse().unwrap_or(0);
        Self {
            version: field("redis_version").to_owned(),
            mode: field("redis_mode").to_owned(),
            is_replica: field("role") == "slave",
            appends: field("aof_enabled") == "1",
            syncs: setting("appendfsync").map(|policy| policy == "always"),
            saves: setting("save").map(|save| !save.is_empty()),
            eviction: field("maxmemory_policy").to_owned(),
            used_bytes: number("used_memory"),
            max_bytes: number("maxmemory"),
            write_failed: field("aof_last_write_status") == "err" || field("rdb_last_bgsave_status") == "err",
        }
    }

    /// Whether what it acknowledged outlasts its being killed. A policy that syncs once a second is not enough: while the
    /// disk is slow, the server answers up to two seconds before it writes.
    fn is_durable(&self) -> bool {
        self.appends && self.syncs == Some(true)
    }

    fn is_old(&self) -> bool {
        let mut parts = self.version.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < OLDEST
    }
}

/// What follows a name and a colon in a text of lines.
fn line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// What all nodes that take writes say of themselves; `None` when the access list hides it.
pub(super) async fn nodes(server: &Server) -> Result<Option<Vec<Node>>> {
    let mut config = ::redis::cmd("CONFIG");
    config.arg("GET").arg("save").arg("appendfsync");
    let Some(infos) = server.each_node(::redis::cmd("INFO")).await? else { return Ok(None) };
    let configs = server.each_node(config).await.ok().flatten().unwrap_or_default();
    // The nodes may answer in another order the second time; they are set up alike, or a finding is one node off.
    let configs = configs.iter().map(|config| Some(config.as_str())).chain(std::iter::repeat(None));
    Ok(Some(infos.iter().zip(configs).map(|(info, config)| Node::read(info, config)).collect()))
}

/// Writes `text` to a key by a script and reads it.
pub(super) async fn probe(server: &Server, key: &str, text: &str) -> Result<()> {
    let read = server.one(Call::script(&PROBE, key).with(text)).await?;
    if reply::text(read)?.as_deref() == Some(text) { Ok(()) } else { Err(fault::senseless()) }
}

/// Refuses a server that this store cannot work on.
///
/// # Errors
/// `Unsupported` for one that is too old, `Invalid` when the URL names a node of a cluster as a server alone.
pub(super) fn check(nodes: &[Node], is_cluster: bool) -> Result<()> {
    if let Some(old) = nodes.iter().find(|node| node.is_old()) {
        let (major, minor) = OLDEST;
        let message = format!("the redis server has version {}; {major}.{minor} is the oldest supported", old.version);
        let error = StoreError::new(Store::Episodic, ErrorKind::Unsupported, message);
        return Err(error.with_advice(format!("upgrade it to {major}.{minor} or newer")));
    }
    if !is_cluster && nodes.iter().any(|node| node.mode == "cluster") {
        let advice = "write redis-cluster:// (or rediss-cluster://) in episodic.url";
        return Err(fault::wrong("the redis server is a node of a cluster").with_advice(advice));
    }
    Ok(())
}

/// Whether all nodes have an acknowledged write on their disk's file before they answer, so that it survives their being
/// killed. A snapshot alone does not do that.
pub(super) fn is_durable(nodes: Option<&[Node]>) -> bool {
    nodes.is_some_and(|nodes| !nodes.is_empty() && nodes.iter().all(Node::is_durable))
}

/// What its operator should know.
pub(super) fn findings(nodes: Option<&[Node]>) -> Vec<Finding> {
    let Some(nodes) = nodes else {
        return vec![Finding::new(
            "the redis server does not say how it is set up, so neither its version nor its persistence is known",
            "let the user of episodic.url run INFO and CONFIG GET: ACL SETUSER <user> +info +config|get",
        )];
    };
    let any = |bad: fn(&Node) -> bool| nodes.iter().any(bad);
    let mut findings = Vec::new();
    let mut add = |message: &str, advice: &str| findings.push(Finding::new(message, advice));
    if any(|node| !node.eviction.is_empty() && node.eviction != "noeviction") {
        add(
            "the redis server evicts keys when its memory is full: tasks can vanish without a trace",
            "set maxmemory-policy to noeviction: a full server then refuses new tasks, and says so",
        );
    }
    if any(|node| !node.appends && node.saves == Some(false)) {
        add(
            "the redis server keeps nothing on disk: a restart loses all tasks, windows and sessions",
            "set appendonly to yes",
        );
    } else if any(|node| !node.appends) {
        add(
            "the redis server writes snapshots only: a crash loses what came after the last one",
            "set appendonly to yes",
        );
    }
    if any(|node| node.appends && node.syncs == Some(false)) {
        add(
            "the redis server may acknowledge a task before it is on its disk: a crash loses the last two seconds",
            "set appendfsync to always",
        );
    }
    if any(|node| node.write_failed) {
        add("the redis server could not write to its disk the last time", "see its log: the disk may be full");
    }
    if any(|node| {
        node.max_bytes > 0 && node.used_bytes.saturating_mul(100) >= node.max_bytes.saturating_mul(FULL_PERCENT)
    }) {
        add(
            "the redis server has used more than 90 percent of its memory",
            "raise its maxmemory before it refuses tasks",
        );
    }
    if any(|node| node.is_replica) {
        add("episodic.url names a replica, which takes no writes", "name the primary");
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nused_memory:1000\r\nmaxmemory:0\r\n\
                        maxmemory_policy:noeviction\r\naof_enabled:1\r\naof_last_write_status:ok\r\nrole:master\r\n";

    const SAFE: Option<&str> = Some("appendfsync:always\nsave:");

    fn node(change: (&str, &str), config: Option<&str>) -> Node {
        Node::read(&INFO.replace(change.0, change.1), config)
    }

    #[test]
    fn a_server_that_is_well_has_no_findings() {
        let well = node(("", ""), SAFE);
        assert_eq!(findings(Some(std::slice::from_ref(&well))), []);
        assert!(is_durable(Some(std::slice::from_ref(&well))) && check(&[well], false).is_ok());
    }

    #[test]
    fn what_can_lose_tasks_is_found() {
        let found = |node: Node| findings(Some(&[node])).into_iter().map(|found| found.message).collect::<String>();
        assert!(found(node(("noeviction", "allkeys-lru"), None)).contains("evicts"));
        assert!(found(node(("aof_enabled:1", "aof_enabled:0"), SAFE)).contains("nothing on disk"));
        assert!(found(node(("aof_enabled:1", "aof_enabled:0"), Some("save:3600 1"))).contains("snapshots"));
        let everysec = Some("save:\nappendfsync:everysec");
        assert!(found(node(("", ""), everysec)).contains("before it is on its disk"));
        assert!(!is_durable(Some(&[node(("", ""), everysec)])) && !is_durable(Some(&[node(("", ""), None)])));
        assert!(found(node(("write_status:ok", "write_status:err"), None)).contains("could not write"));
        assert!(found(node(("maxmemory:0", "maxmemory:1100"), None)).contains("90 percent"));
        assert!(found(node(("role:master", "role:slave"), None)).contains("replica"));
        assert_eq!(findings(None).len(), 1);
        let snapshots = node(("aof_enabled:1", "aof_enabled:0"), Some("save:3600 1"));
        assert!(!is_durable(Some(&[node(("", ""), SAFE), snapshots])) && !is_durable(None));
    }

    #[test]
    fn servers_that_do_not_fit_are_refused() {
        for (version, fits) in [("6.2.14", false), ("6.0", false), ("7.0.0", true), ("7.2.4", true), ("10.0.1", true)] {
            let checked = check(&[node(("7.0.15", version), None)], false);
            assert_eq!(checked.is_ok(), fits, "{version}");
            if let Err(error) = checked {
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                assert!(error.message().contains(version) && error.advice().is_some());
            }
        }
        let member = node(("standalone", "cluster"), None);
        assert!(check(std::slice::from_ref(&member), true).is_ok());
        assert_eq!(check(&[member], false).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
