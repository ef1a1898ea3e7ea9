//! Every setting, once: its key, default, form and meaning. Parsing, `config show`, `config check`, `config table` and
//! with it the README all read this list.

use chimera_stores::Store;

/// The form of a setting's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// Any text.
    Text,
    /// `true` or `false`.
    Bool,
    /// A whole number between two bounds.
    Count(u64, u64),
    /// A length of time between two bounds, in milliseconds.
    Duration(u64, u64),
    /// A length of time, or nothing for ever.
    Retention,
    /// An address and a port.
    Listen,
    /// An absolute http or https URL, or nothing.
    OptionalUrl,
    /// Exact origins, separated by commas.
    Origins,
    /// A folder.
    Folder,
    /// At least 32 bytes, or nothing.
    Secret,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// The place of a store.
    Place(Store),
    /// A PostgreSQL server, or nothing.
    Replica,
    /// The RPC endpoints of a chain; served by a later release.
    Chain,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// `section.name`, as in the file; the environment variable is `CHIMERA_SECTION_NAME`.
    pub key: &'static str,
    /// What holds when nothing is said; empty means not set.
    pub default: &'static str,
    /// The form of its value.
    pub form: Form,
    /// What it is for, in one sentence.
    pub doc: &'static str,
}

impl Setting {
    /// Whether its value must not be shown.
    pub fn is_secret(&self) -> bool {
        self.form == Form::Secret || self.key == "embedder.key"
    }

    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("CHIMERA_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// What is accepted, in words.
    pub fn accepts(&self) -> String {
        match self.form {
            Form::Text => "any text".to_owned(),
            Form::Bool => "`true` or `false`".to_owned(),
            Form::Count(least, most) => format!("a whole number from {least} to {most}"),
            Form::Duration(least, most) => {
                format!("a duration from {least} ms to {most} ms, such as `500ms`, `2s` or `5m`",)
            }
            Form::Retention => "a duration such as `90d` or `36h`, or nothing to keep everything".to_owned(),
            Form::Listen => "an address and a port, such as `127.0.0.1:8080`".to_owned(),
            Form::OptionalUrl => "an absolute http or https URL".to_owned(),
            Form::Origins => "exact origins separated by commas, such as `https://app.example.com`".to_owned(),
            Form::Folder => "the path of a folder".to_owned(),
            Form::Secret => "at least 32 bytes".to_owned(),
            Form::OneOf(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
            Form::Place(store) => super::place::accepts(store).to_owned(),
            Form::Replica => "`postgres://USER:PASSWORD@HOST:PORT/DATABASE`, or nothing".to_owned(),
            Form::Chain => "nothing in this release (the embedded chain is used)".to_owned(),
        }
    }
}

const HOUR: u64 = 3_600_000;

macro_rules! settings {
    ($($key:literal = $default:literal, $form:expr, $doc:literal;)*) => {
        /// Every setting, in the order of the documentation.
        pub const SETTINGS: &[Setting] = &[$(Setting { key: $key, default: $default, form: $form, doc: $doc }),*];
    };
}

settings! {
    "server.listen" = "127.0.0.1:8080", Form::Listen, "Where the server listens.";
    "server.workers" = "0", Form::Count(0, 1024), "Threads that take requests; 0 is one a core.";
    "server.public_url" = "", Form::OptionalUrl, "Where clients reach the server, for signed media addresses; from `server.listen` when not set.";
    "server.shutdown_timeout" = "10s", Form::Duration(0, HOUR), "How long open requests may take to finish after a signal to stop.";
    "server.cors_origins" = "", Form::Origins, "Web origins that may call the API from a browser.";
    "server.introspection" = "true", Form::Bool, "Whether the schema can be asked for, and misspelt fields get suggestions.";
    "server.graphiql" = "true", Form::Bool, "Whether GraphiQL is served at /graphiql.";
    "data.dir" = "data", Form::Folder, "Where the embedded stores live.";
    "data.secret" = "", Form::Secret, "Signs cursors and media addresses; made on first start and kept in the data folder when not set. Replicas must share it.";
    "demo.enabled" = "true", Form::Bool, "Demo mode: demo data in a new folder and a fixed demo principal; refuses to listen on anything but a loopback address.";
    "relational.url" = "embedded:", Form::Place(Store::Relational), "Where organisations, campaigns and billing live.";
    "relational.pool" = "16", Form::Count(2, 1_000), "Connections to a PostgreSQL server at the most, for each replica.";
    "relational.replica_url" = "", Form::Replica, "A streaming replica of that PostgreSQL server, for queries: they may then miss the last moments' writes, unless the request has the header `X-Chimera-Fresh`.";
    "relational.replica_max_lag" = "5s", Form::Duration(100, HOUR), "How far behind the replica may be before its reads go to the primary.";
    "memory.url" = "embedded:", Form::Place(Store::Memory), "Where definitions and memories live.";
    "episodic.url" = "embedded:", Form::Place(Store::Episodic), "Where queues, windows and sessions live.";
    "telemetry.url" = "embedded:", Form::Place(Store::Telemetry), "Where render events live.";
    "ledger.url" = "embedded:", Form::Place(Store::Ledger), "Where the local chain lives.";
    "ledger.ethereum_url" = "", Form::Chain, "RPC endpoints of Ethereum.";
    "ledger.base_url" = "", Form::Chain, "RPC endpoints of Base.";
    "ledger.solana_url" = "", Form::Chain, "RPC endpoints of Solana.";
    "media.url" = "embedded:", Form::Place(Store::Media), "Where the bytes of media live.";
    "search.url" = "embedded:", Form::Place(Store::Search), "Where the search index lives.";
    "embedder.url" = "", Form::OptionalUrl, "An OpenAI-compatible endpoint that makes the vectors; the bundled model when not set.";
    "embedder.model" = "", Form::Text, "The model to ask that endpoint for.";
    "embedder.dimensions" = "0", Form::Count(0, 8192), "The dimensions of its vectors.";
    "embedder.key" = "", Form::Text, "The bearer key of that endpoint.";
    "telemetry.retain_raw" = "", Form::Retention, "How long render events are kept.";
    "outbox.wait" = "250ms", Form::Duration(0, 10_000), "How long a mutation waits for memory and search to show its change.";
    "limits.max_body_bytes" = "262144", Form::Count(1024, 67_108_864), "Size of a request's body at the most.";
    "limits.max_variables_bytes" = "196608", Form::Count(1024, 67_108_864), "Size of a request at the most, its document apart.";
    "limits.max_tokens" = "10000", Form::Count(10, 1_000_000), "Lexical tokens of a document at the most.";
    "limits.max_depth" = "15", Form::Count(1, 64), "Nesting of fields at the most.";
    "limits.max_selections" = "10000", Form::Count(10, 1_000_000), "Fields of a document at the most, fragments put in place.";
    "limits.max_aliases" = "100", Form::Count(0, 100_000), "Aliases of a document at the most.";
    "limits.max_root_fields" = "30", Form::Count(1, 10_000), "Fields at the root at the most.";
    "limits.max_directives" = "50", Form::Count(0, 10_000), "Directives of a document at the most.";
    "limits.max_complexity" = "50000", Form::Count(1, 100_000_000), "Estimated fields of an answer at the most.";
    "limits.max_batch" = "0", Form::Count(0, 100), "Requests in one body; 0 refuses batches.";
    "limits.document_cache_bytes" = "16777216", Form::Count(0, 1_073_741_824), "Memory for parsed documents.";
    "limits.request_timeout" = "5s", Form::Duration(10, HOUR), "How long a request may take.";
    "guard.deadline" = "2s", Form::Duration(1, HOUR), "How long one call of a store may take, retries included.";
    "guard.max_in_flight" = "64", Form::Count(1, 100_000), "Calls of one store under way at the most.";
    "guard.max_waiting" = "1024", Form::Count(0, 1_000_000), "Calls of one store that may wait for a place.";
    "guard.breaker_failures" = "8", Form::Count(1, 100_000), "Faults in a row that make a store rest.";
    "guard.breaker_open" = "2s", Form::Duration(1, HOUR), "How long a store rests before it is probed.";
    "guard.max_retries" = "2", Form::Count(0, 10), "Repeats of a read at the most.";
    "log.level" = "info", Form::OneOf(&["error", "warn", "info", "debug", "trace"]), "What is logged.";
    "log.format" = "text", Form::OneOf(&["text", "json"]), "How it is logged.";
}

/// The setting with this key.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
