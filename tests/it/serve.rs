//! The server as a process: what it prints, whom it lets in, how it ends, and what a `kill -9` leaves.

use crate::start::Place;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Stdio},
};

/// A running server.
struct Served {
    child: Child,
    address: String,
    printed: String,
}

impl Served {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        Self::start_with(place, arguments, &[])
    }

    fn start_with(place: &Place, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut all = vec!["--listen", "127.0.0.1:0"];
        all.extend_from_slice(arguments);
        let mut command = place.command(&all);
        command.envs(environment.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut printed = String::new();
        // The table of the stores comes last, and the search store last in it.
        while !printed.lines().any(|line| line.starts_with("search ")) {
            assert!(lines.read_line(&mut printed).unwrap() > 0, "the server ended: {printed}");
        }
        let start = printed.find("http://").unwrap() + "http://".len();
        let address = printed[start..].split('/').next().unwrap().to_owned();
        Self { child, address, printed }
    }

    /// Sends one request; the status and the body.
    fn send(&self, head: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        write!(stream, "{head}host: {}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}", self.address)
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    fn ask(&self, token: Option<&str>, query: &str) -> (u16, Value) {
        let bearer = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        self.ask_with(&bearer, query)
    }

    /// With these lines in the head.
    fn ask_with(&self, more: &str, query: &str) -> (u16, Value) {
        let head = format!("POST /graphql HTTP/1.1\r\ncontent-type: application/json\r\n{more}");
        let (status, body) = self.send(&head, &json!({ "query": query }).to_string());
        (status, serde_json::from_str(&body).unwrap_or_else(|_| panic!("{status} {body}")))
    }

    fn signal(&self, signal: &str) {
        let sent = std::process::Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_tells_where_it_is_answers_and_ends_in_order() {
    let place = Place::seeded();
    let mut served = Served::start(&place, &[]);
    assert!(served.printed.contains("/graphql\n"), "{}", served.printed);
    for store in ["relational", "memory", "episodic", "telemetry", "ledger", "media", "search"] {
        assert!(served.printed.lines().any(|line| line.starts_with(store)), "{} lacks {store}", served.printed);
    }
    let (status, answer) = served.ask(None, "{ viewer { role } organization { handle } }");
    assert_eq!((status, &answer["data"]["organization"]["handle"]), (200, &json!("demo")));
    assert_eq!(served.send("GET /live HTTP/1.1\r\n", "").0, 200);
    let (status, ready) = served.send("GET /ready HTTP/1.1\r\n", "");
    assert_eq!(status, 200, "{ready}");
    let ready: Value = serde_json::from_str(&ready).unwrap();
    assert_eq!(ready["stores"].as_array().unwrap().len(), 7);
    let (_, metrics) = served.send("GET /metrics HTTP/1.1\r\n", "");
    for metric in ["chimera_operations_total", "chimera_store_calls_total", "chimera_store_breaker"] {
        assert!(metrics.contains(metric), "{metric}");
    }
    // Beside the server, which holds the data folder.
    let address = served.address.clone();
    let unspecified = address.replace("127.0.0.1", "0.0.0.0");
    let health = ["health", "--no-demo", "--listen", &unspecified];
    assert_eq!(place.run(&health).good(), "the server is ready\n");
    assert_eq!(place.run(&["health", "--live", "--listen", &address]).good(), "the server runs\n");
    served.signal("-TERM");
    assert_eq!(served.child.wait().unwrap().code(), Some(0));
    let gone = place.command(&health).output().unwrap();
    assert_eq!((gone.status.code(), gone.stdout.is_empty()), (Some(1), true), "{gone:?}");
    assert!(String::from_utf8_lossy(&gone.stderr).contains(&format!("nothing answers at {address}/ready")), "{gone:?}");
}

#[test]
fn a_server_that_is_not_ready_is_told_from_one_that_is_not_there() {
    let place = Place::new();
    for (answer, words) in [
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "answers 503"),
        ("220 mail.example.org ESMTP\r\n", "does not speak HTTP"),
    ] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            // A socket that is closed with bytes unread takes its answer with it.
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let asked = place.command(&["health", "--listen", &address]).output().unwrap();
        server.join().unwrap();
        assert_eq!(asked.status.code(), Some(1), "{asked:?}");
        assert!(String::from_utf8_lossy(&asked.stderr).contains(words), "{asked:?}");
    }
}

#[test]
fn a_busy_port_is_one_line() {
    let place = Place::seeded();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    place.run(&["--listen", &address]).refused(&[&address, "another program listens there"]);
}

#[test]
fn nobody_is_let_in_unless_it_was_meant() {
    let place = Place::seeded();
    place.run(&["--listen", "0.0.0.0:0"]).refused(&["demo mode", "loopback", "--no-demo"]);
    place.run(&["--listen", "127.0.0.1:0", "--no-demo"]).refused(&["no API key", "chimera key"]);

    let token = place.run(&["key", "dashboard", "--role", "viewer"]).good().trim().to_owned();
    let served = Served::start(&place, &["--no-demo"]);
    let query = "{ viewer { role apiKey { name } } }";
    let (status, answer) = served.ask(None, query);
    assert_eq!((status, &answer["errors"][0]["extensions"]["code"]), (401, &json!("UNAUTHENTICATED")), "{answer}");
    let (status, _) = served.ask(Some("chim_wrong"), query);
    assert_eq!(status, 401);
    let (status, answer) = served.ask(Some(&token), query);
    assert_eq!(status, 200);
    assert_eq!(answer["data"]["viewer"], json!({ "role": "VIEWER", "apiKey": { "name": "dashboard" } }));
    let (_, answer) = served
        .ask(Some(&token), "mutation { createPersona(input: { handle: \"x\", name: \"X\" }) { persona { id } } }");
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer}");
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let place = Place::seeded();
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let mut served = Served::start(&place, &[]);
        for number in 0..12 {
            // No handle is the beginning of another: the last word of a search is a prefix. An exact word comes first.
            let handle = format!("survivor{round}x{number:02}");
            let document = format!(
                "mutation {{ createPersona(input: {{ handle: \"{handle}\", name: \"Survivor {round} {number}\", definition: {{ bio: \"b\", voice: \"v\" }} }}) {{ persona {{ id }} userErrors {{ message }} }}
                  enqueueTasks(input: {{ tasks: [{{ queue: \"{handle}\", kind: \"k\", payload: {{}} }}] }}) {{ userErrors {{ message }} }} }}"
            );
            let (status, answer) = served.ask(None, &document);
            assert_eq!(status, 200, "{answer}");
            assert!(answer["data"]["createPersona"]["persona"]["id"].is_string(), "{answer}");
            acknowledged.push((handle, format!("Survivor {round} {number}")));
        }
        served.signal("-KILL");
        served.child.wait().unwrap();
    }
    let served = Served::start(&place, &[]);
    for (handle, name) in &acknowledged {
        // The relay may have had a moment's work left when the process was killed.
        let found = (0..100).any(|_| {
            let query = format!(
                "{{ persona(handle: \"{handle}\") {{ definition {{ bio }} }} queue(name: \"{handle}\") {{ ready }} search(query: \"{handle}\", types: [PERSONA], first: 1) {{ nodes {{ title }} }} }}"
            );
            let (_, answer) = served.ask(None, &query);
            let data = &answer["data"];
            assert!(data["persona"].is_object(), "{handle} is lost: {answer}");
            assert_eq!(data["queue"]["ready"], 1, "{handle}: {answer}");
            let derived = data["persona"]["definition"]["bio"] == "b" && data["search"]["nodes"][0]["title"] == name.as_str();
            if !derived {
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            derived
        });
        assert!(found, "{handle} did not reach memory and search");
    }
}

/// The replica stops replaying, so that what it answers can be told from what the primary answers.
#[test]
fn queries_may_lag_and_mutations_and_those_that_ask_do_not() {
    use test_servers::{Flavour, Postgres, have};
    if !have("postgres", Postgres::found(Flavour::Plain)) {
        return;
    }
    let primary = Postgres::start(Flavour::Plain);
    let url = primary.owned("chimera");
    let replica = primary.replica();
    let place = Place::new();
    let environment = [
        ("CHIMERA_RELATIONAL_URL", url.as_str()),
        ("CHIMERA_RELATIONAL_REPLICA_URL", &url.replace(&primary.port().to_string(), &replica.port().to_string())),
        // Far longer than this test: it is the pause that is seen, not the bound.
        ("CHIMERA_RELATIONAL_REPLICA_MAX_LAG", "10m"),
        ("CHIMERA_GUARD_DEADLINE", "20s"),
        ("CHIMERA_LIMITS_REQUEST_TIMEOUT", "60s"),
    ];
    let served = Served::start_with(&place, &[], &environment);
    let query = "{ persona(handle: \"luna.vega\") { id name version } }";
    let name = |head: &str| served.ask_with(head, query).1["data"]["persona"]["name"].as_str().unwrap().to_owned();
    let id = served.ask(None, query).1["data"]["persona"]["id"].as_str().unwrap().to_owned();
    let rename = |name: &str| {
        let mutation = format!(
            "mutation {{ updatePersona(input: {{ id: \"{id}\", name: \"{name}\" }}) {{ persona {{ name version }} userErrors {{ code }} }} }}"
        );
        let (_, answer) = served.ask(None, &mutation);
        let payload = &answer["data"]["updatePersona"];
        assert_eq!((&payload["userErrors"], &payload["persona"]["name"]), (&json!([]), &json!(name)), "{answer}");
        payload["persona"]["version"].as_i64().unwrap()
    };
    // Until the replica has been measured the primary answers.
    let mut round = 0;
    let stale = loop {
        replica.sql("chimera", "SELECT pg_wal_replay_pause()");
        let new = format!("Round {round}");
        rename(&new);
        let seen = name("");
        if seen != new {
            break seen;
        }
        replica.sql("chimera", "SELECT pg_wal_replay_resume()");
        round += 1;
        assert!(round < 100, "the replica answers nothing");
        std::thread::sleep(std::time::Duration::from_millis(200));
    };
    assert_eq!(name("x-chimera-fresh: 1\r\n"), format!("Round {round}"), "who asks for the latest gets it");
    // Each finds the row as the one before has left it, which the replica does not know yet.
    let first = rename("First");
    assert_eq!(rename("Second"), first + 1);
    assert_eq!(name(""), stale, "and the replica still answers what need not be new");
    replica.sql("chimera", "SELECT pg_wal_replay_resume()");
    assert!((0..300).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        name("") == "Second"
    }));
}
