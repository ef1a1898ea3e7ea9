//! What a failure of Redis means to the port, and what its operator can do about it. The server's own words go into the
//! source, never into the message.

use crate::error::{ErrorKind, Store, StoreError};
use ::redis::{ErrorKind as DriverKind, RedisError};
use std::{error::Error, sync::Arc};

const STORE: Store = Store::Episodic;

const ACL: &str = "let the user of the URL run the commands this store needs, on its keys and channels: ACL SETUSER \
                   <user> ~<prefix>* &<prefix>* +@read +@write +@scripting +@pubsub +@connection +info +config|get \
                   +cluster|slots +cluster|nodes";
const PASSWORD: &str = "check the user and the password in episodic.url; a server with a password alone has the user \
                        `default`";
const MEMORY: &str = "raise maxmemory of the server or give it more memory; with the policy noeviction nothing that was \
                      acknowledged is lost";
const CLUSTER: &str = "if episodic.url begins with redis: (or rediss:), write redis-cluster: (or rediss-cluster:); with \
                       a cluster's URL this passes when the node that is meant is back, or another has taken over";
const PREFIX: &str = "give this installation a key prefix of its own by episodic.prefix, or a database of its own";

/// What a server says that takes no more connections.
const CLIENTS: &str = "max number of clients reached";

/// What a failure is: its kind, its message, and the advice where there is one.
type Meaning = (ErrorKind, &'static str, Option<&'static str>);

/// Any failure of a command or a connection.
pub(super) fn of(error: RedisError) -> StoreError {
    let (kind, message, advice) = meaning(&error);
    let fault = StoreError::with_source(STORE, kind, message, error);
    match advice {
        Some(advice) => fault.with_advice(advice),
        None => fault,
    }
}

/// What a failure says of the connection, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doubt {
    /// Perhaps it leads to the wrong server, or was refused when it was made.
    Refused,
    /// It is broken, or could not be made.
    Broken,
    /// Nothing came over it in time.
    Silent,
}

/// What a failure says of the connection, if anything.
pub(super) fn doubt(error: &RedisError) -> Option<Doubt> {
    if error.is_timeout() {
        return Some(Doubt::Silent);
    }
    match (error.kind(), error.code()) {
        (DriverKind::Io | DriverKind::AuthenticationFailed | DriverKind::RESP3NotSupported, _)
        | (_, Some("NOAUTH" | "WRONGPASS" | "NOPROTO")) => Some(Doubt::Broken),
        (_, Some("READONLY" | "MASTERDOWN" | "BUSY" | "LOADING" | "NOPERM")) => Some(Doubt::Refused),
        (_, Some("ERR")) if error.detail().is_some_and(|detail| detail.contains(CLIENTS)) => Some(Doubt::Refused),
        _ => None,
    }
}

/// Whether a script has to be sent whole.
pub(super) fn is_unknown_script(error: &RedisError) -> bool {
    error.code() == Some("NOSCRIPT")
}

/// Whether the user of the URL may not run a command.
pub(super) fn is_not_permitted(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

/// An answer that no script of ours gives.
pub(super) fn senseless() -> StoreError {
    StoreError::new(STORE, ErrorKind::BadResponse, "the redis server's answer makes no sense")
}

/// A stored value that this store did not write.
pub(super) fn corrupt(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::with_source(STORE, ErrorKind::Corrupt, "a stored record makes no sense", source).with_advice(PREFIX)
}

/// A value of ours that could not be written as JSON.
pub(super) fn unencodable(error: serde_json::Error) -> StoreError {
    StoreError::with_source(STORE, ErrorKind::Internal, "a record could not be encoded", error)
}

/// A call that took longer than this adapter waits.
pub(super) fn late() -> StoreError {
    StoreError::new(STORE, ErrorKind::Timeout, "the redis server did not answer in time")
}

/// A wrong URL or setting; the URL itself is in no message.
pub(super) fn wrong(message: impl Into<String>) -> StoreError {
    StoreError::invalid(STORE, message)
}

/// The same with what the system said.
pub(super) fn wrong_because(
    message: impl Into<String>,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError::with_source(STORE, ErrorKind::Invalid, message, source)
}

fn meaning(error: &RedisError) -> Meaning {
    if let Some(meaning) = error.code().and_then(|code| of_code(code, error.detail().unwrap_or_default())) {
        return meaning;
    }
    if error.is_timeout() {
        return (ErrorKind::Timeout, "the redis server did not answer in time", None);
    }
    match error.kind() {
        DriverKind::AuthenticationFailed => AUTHENTICATION,
        DriverKind::Io if let Some(tls) = tls(error) => of_tls(tls),
        DriverKind::Io => (ErrorKind::Unavailable, "the redis server cannot be reached", None),
        DriverKind::ClusterConnectionNotFound => {
            (ErrorKind::Unavailable, "no node of the redis cluster can be reached", None)
        }
        DriverKind::Parse | DriverKind::UnexpectedReturnType => {
            (ErrorKind::BadResponse, "the redis server's answer makes no sense", None)
        }
        DriverKind::InvalidClientConfig => (ErrorKind::Invalid, "the redis server's URL is wrong", None),
        DriverKind::RESP3NotSupported => OLD,
        DriverKind::Client => (ErrorKind::Unavailable, "the connection to the redis server was given up", None),
        _ => (ErrorKind::BadResponse, "the redis server refused a command", None),
    }
}

/// What TLS itself objects to.
fn tls(error: &RedisError) -> Option<&rustls::Error> {
    let shared = error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    shared.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref()
}

fn of_tls(error: &rustls::Error) -> Meaning {
    let (message, advice) = match error {
        rustls::Error::InvalidCertificate(_) => ("the redis server's certificate is not trusted", AUTHORITY),
        rustls::Error::AlertReceived(_) => ("the redis server refuses the certificate it is shown, or none", SHOWN),
        _ => ("the redis server does not speak TLS as it should", PLAIN),
    };
    (ErrorKind::Unavailable, message, Some(advice))
}

const AUTHORITY: &str = "name the authority that it comes from by sslrootcert=FILE in the query of episodic.url, and the \
                         server as its certificate does";
const SHOWN: &str =
    "name a certificate and key that it accepts by sslcert=FILE and sslkey=FILE in the query of episodic.url";
const PLAIN: &str = "check that the port of episodic.url is the one for TLS";
const AUTHENTICATION: Meaning =
    (ErrorKind::Unavailable, "the redis server refuses the user or password", Some(PASSWORD));
const FORBIDDEN: Meaning =
    (ErrorKind::Unavailable, "the redis server does not permit what this store needs", Some(ACL));
const OLD: Meaning = (ErrorKind::Unsupported, "the redis server is older than 7.0", Some("upgrade it to 7.0 or newer"));

/// What the server says in the first word of a refusal.
fn of_code(code: &str, detail: &str) -> Option<Meaning> {
    let unavailable = |message, advice| Some((ErrorKind::Unavailable, message, advice));
    match code {
        "LOADING" => unavailable("the redis server is loading its data", None),
        "OOM" => Some((ErrorKind::Overloaded, "the redis server has no memory left", Some(MEMORY))),
        "BUSY" | "UNKILLABLE" => Some((
            ErrorKind::Overloaded,
            "the redis server is busy with a script",
            Some("find who runs it (SLOWLOG GET) and end it by SCRIPT KILL"),
        )),
        "NOAUTH" | "WRONGPASS" => Some(AUTHENTICATION),
        "NOPERM" => Some(FORBIDDEN),
        "READONLY" => unavailable(
            "the redis server is a replica and takes no writes",
            Some("point episodic.url at the primary; after a fail-over this passes by itself"),
        ),
        "MASTERDOWN" => unavailable("the redis server has lost its primary", None),
        "NOREPLICAS" => unavailable("the redis server has fewer replicas than it must write to", None),
        "MISCONF" => unavailable(
            "the redis server cannot save its data and takes no writes",
            Some("see the server's log: its disk is full, or its folder cannot be written"),
        ),
        "CLUSTERDOWN" => unavailable("the redis cluster does not serve all of its slots", None),
        "TRYAGAIN" => unavailable("the redis cluster moves the slot just now", None),
        "MOVED" | "ASK" => {
            unavailable("the redis server sends the call on to another node of its cluster", Some(CLUSTER))
        }
        "CROSSSLOT" => Some((ErrorKind::Internal, "keys of one command lie in several slots", None)),
        "WRONGTYPE" => Some((ErrorKind::Corrupt, "a key of this store is of another type", Some(PREFIX))),
        "NOPROTO" => Some(OLD),
        "ERR" => of_text(detail),
        _ => None,
    }
}

/// What has no code of its own is told apart by the words that the server has used since 7.0.
fn of_text(detail: &str) -> Option<Meaning> {
    let detail = detail.to_ascii_lowercase();
    if detail.contains("cluster support disabled") {
        return Some((
            ErrorKind::Invalid,
            "the redis server is not a node of a cluster",
            Some("write redis:// (or rediss://) in episodic.url"),
        ));
    }
    // What a script meets, in place of NOPERM.
    if detail.contains("user executing the script can't") {
        return Some(FORBIDDEN);
    }
    if detail.contains("without any password configured") {
        return Some(AUTHENTICATION);
    }
    if detail.contains("db index is out of range") || detail.contains("select is not allowed") {
        return Some((ErrorKind::Invalid, "the redis server has no database of this number", None));
    }
    if detail.contains(CLIENTS) {
        return Some((
            ErrorKind::Overloaded,
            "the redis server has too many connections",
            Some("raise maxclients of the server"),
        ));
    }
    if detail.contains("unknown command") {
        return Some((
            ErrorKind::Unavailable,
            "the redis server does not know a command that this store needs",
            Some("use a server of version 7.0 or newer on which no commands are renamed or switched off"),
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: &str, detail: &str) -> StoreError {
        of(::redis::make_extension_error(code.to_owned(), Some(detail.to_owned())))
    }

    #[test]
    fn every_refusal_has_a_kind_and_no_words_of_the_server() {
        for (code, detail, kind) in [
            ("LOADING", "Redis is loading the dataset in memory", ErrorKind::Unavailable),
            ("OOM", "command not allowed when used memory > 'maxmemory'.", ErrorKind::Overloaded),
            ("BUSY", "Redis is busy running a script.", ErrorKind::Overloaded),
            ("NOAUTH", "Authentication required.", ErrorKind::Unavailable),
            ("WRONGPASS", "invalid username-password pair or user is disabled.", ErrorKind::Unavailable),
            ("NOPERM", "User app has no permissions to run the 'evalsha' command", ErrorKind::Unavailable),
            ("READONLY", "You can't write against a read only replica.", ErrorKind::Unavailable),
            ("MISCONF", "Redis is configured to save RDB snapshots", ErrorKind::Unavailable),
            ("CLUSTERDOWN", "The cluster is down", ErrorKind::Unavailable),
            ("MOVED", "3999 127.0.0.1:6381", ErrorKind::Unavailable),
            ("WRONGTYPE", "Operation against a key holding the wrong kind of value", ErrorKind::Corrupt),
            ("ERR", "This instance has cluster support disabled", ErrorKind::Invalid),
            ("ERR", "DB index is out of range", ErrorKind::Invalid),
            ("ERR", "max number of clients reached", ErrorKind::Overloaded),
            ("ERR", "unknown command 'EVALSHA'", ErrorKind::Unavailable),
            ("ERR", "The user executing the script can't run this command or subcommand", ErrorKind::Unavailable),
            ("SOMETHING", "new", ErrorKind::BadResponse),
        ] {
            let error = said(code, detail);
            assert_eq!(error.kind(), kind, "{code} {detail}");
            assert!(!error.to_string().contains(detail), "{error}");
            assert!(error.chain().contains(detail), "the log has them: {}", error.chain());
        }
    }

    #[test]
    fn a_failure_that_may_be_the_connections_puts_it_in_doubt() {
        let of = |code: &str| doubt(&::redis::make_extension_error(code.to_owned(), None));
        assert_eq!((of("WRONGPASS"), of("READONLY")), (Some(Doubt::Broken), Some(Doubt::Refused)));
        assert_eq!((of("OOM"), of("WRONGTYPE"), of("NOSCRIPT")), (None, None, None));
        let io = |kind: std::io::ErrorKind| doubt(&std::io::Error::from(kind).into());
        assert_eq!(io(std::io::ErrorKind::TimedOut), Some(Doubt::Silent));
        assert_eq!(io(std::io::ErrorKind::ConnectionRefused), Some(Doubt::Broken));
    }

    #[test]
    fn what_an_operator_can_mend_has_advice() {
        for code in ["OOM", "BUSY", "NOAUTH", "WRONGPASS", "NOPERM", "READONLY", "MISCONF", "MOVED", "WRONGTYPE"] {
            assert!(said(code, "x").advice().is_some(), "{code}");
        }
    }
}
