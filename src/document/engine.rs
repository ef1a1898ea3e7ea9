//! From a document's text to an execution, deciding once per text what can be decided once.
//!
//! A text seen for the first time is scanned, parsed, held against the limits and validated in full. What passed is
//! kept, cut into its operations, in a cache bounded by memory; what did not is remembered as refused. Two schemas are
//! built from one builder:
//!
//! - the **validator** applies every rule and executes nothing: an extension stands before its executor;
//! - the **runner** is in `ValidationMode::Fast` and only ever sees an operation that passed the validator, with
//!   variables that passed [`super::values`] in this very request. An unvalidated document must not reach it: unknown
//!   fields would silently be null.
//!
//! Variables are not part of what is cached: each request's are checked against their declared types, defaults are
//! filled in (the executor would not, for `@skip` and `@include`) and the complexity they lead to is computed.

use super::order::Shape;
use super::{
    absent,
    limits::{Exceeded, Limits, MAX_NESTING, MAX_OPERATIONS},
    measure::{self, Walk},
    merge, outcome,
    refusal::{Refusal, Stage},
    stats::CacheStats,
    tokens,
    values::{self, Declared, Place},
};
use async_graphql::{
    Data, Name, ObjectType, Request, Response, Schema, SchemaBuilder, SchemaEnv, ServerError, SubscriptionType,
    ValidationMode, Variables,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute},
    parser::{
        parse_query,
        types::{DocumentOperations, ExecutableDocument, OperationDefinition, OperationType},
    },
};
use futures_util::{FutureExt, future::BoxFuture, stream::BoxStream};
use quick_cache::{Weighter, sync::Cache};
use std::{
    collections::HashSet,
    sync::{Arc, OnceLock},
};

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OperationKind {
    /// Reads.
    Query,
    /// Writes.
    Mutation,
    /// Listens.
    Subscription,
}

impl OperationKind {
    /// Lower-case name, for metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            OperationKind::Query => "query",
            OperationKind::Mutation => "mutation",
            OperationKind::Subscription => "subscription",
        }
    }
}

/// An operation that passed every check, ready to run once.
pub struct Prepared {
    request: Request,
    /// What it does.
    pub kind: OperationKind,
    /// Its name in the document.
    pub name: Option<Name>,
    /// Its estimated complexity with this request's variables.
    pub complexity: u64,
    /// Levels of fields.
    pub depth: u64,
    operation: Arc<Operation>,
}

/// What a transport needs of an engine, whatever its schema.
pub trait Api: Send + Sync + 'static {
    /// Checks a document and its variables.
    ///
    /// # Errors
    /// Why it must not be executed.
    fn prepare(&self, text: &str, operation: Option<&str>, variables: Variables) -> Result<Prepared, Refusal>;

    /// Executes a query or mutation.
    fn execute(&self, prepared: Prepared, data: Data) -> BoxFuture<'_, Response>;

    /// Executes a subscription; a query or mutation answers once.
    fn stream(&self, prepared: Prepared, data: Data) -> BoxStream<'static, Response>;
}

/// One operation of a validated document.
#[derive(Debug)]
pub(super) struct Operation {
    name: Option<Name>,
    kind: OperationKind,
    /// This operation alone, with the fragments it uses.
    pub(super) document: ExecutableDocument,
    variables: Vec<Declared>,
    shape: Shape,
    depth: u64,
    cost: Arc<super::cost::Cost>,
}

struct Document {
    operations: Vec<Arc<Operation>>,
    bytes: u64,
}

#[derive(Clone)]
struct ByMemory;

impl Weighter<Box<str>, Arc<Document>> for ByMemory {
    fn weight(&self, text: &Box<str>, document: &Arc<Document>) -> u64 {
        text.len() as u64 + document.bytes
    }
}

impl Weighter<Box<str>, Arc<Refusal>> for ByMemory {
    fn weight(&self, text: &Box<str>, refusal: &Arc<Refusal>) -> u64 {
        text.len() as u64 + refusal.errors.len() as u64 * 512
    }
}

/// Share of the cache's memory for refused documents.
const REFUSED_SHARE: u64 = 16;
/// Memory of one token of a parsed document, measured: names, positions, vectors and their spare capacity.
const BYTES_PER_TOKEN: u64 = 160;

/// The engine of one schema. Share it in an `Arc`.
pub struct Engine<Q, M, S> {
    validator: Schema<Q, M, S>,
    runner: Schema<Q, M, S>,
    types: SchemaEnv,
    limits: Limits,
    introspection: bool,
    accepted: Cache<Box<str>, Arc<Document>, ByMemory>,
    refused: Cache<Box<str>, Arc<Refusal>, ByMemory>,
    stats: CacheStats,
}

impl<Q, M, S> Engine<Q, M, S>
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    /// An engine over the schema that `build` describes; it is called twice and must give the same each time. Limits of
    /// the builder itself are not needed: `limits` covers them.
    ///
    /// # Errors
    /// When the schema cannot even be asked for its own type, which only a defect can do.
    pub fn new(
        build: impl Fn() -> SchemaBuilder<Q, M, S>,
        limits: Limits,
        introspection: bool,
    ) -> Result<Self, Refusal> {
        let prepare = || {
            let builder = build().limit_recursive_depth(MAX_NESTING as usize);
            if introspection { builder } else { builder.disable_introspection().disable_suggestions() }
        };
        let types = Arc::new(OnceLock::new());
        let validator =
            prepare().validation_mode(ValidationMode::Strict).extension(ValidateOnly(Arc::clone(&types))).finish();
        let runner = prepare().validation_mode(ValidationMode::Fast).finish();
        // Nothing but the extension sees the registry, so one document goes through it.
        let answer = validator.execute("{ __typename }").now_or_never();
        let types = types.get().cloned().ok_or_else(|| {
            Refusal::plain(Stage::Internal, format!("the schema does not answer for its type: {answer:?}"))
        })?;
        let refused = (limits.document_cache_bytes / REFUSED_SHARE).max(1);
        Ok(Self {
            validator,
            runner,
            types,
            introspection,
            accepted: Cache::with_weighter(1024, limits.document_cache_bytes.max(1), ByMemory),
            refused: Cache::with_weighter(256, refused, ByMemory),
            limits,
            stats: CacheStats::default(),
        })
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The document cache's counters.
    pub fn stats(&self) -> &CacheStats {
        &self.stats
    }

    fn document(&self, text: &str) -> Result<Arc<Document>, Arc<Refusal>> {
        if let Some(document) = self.accepted.get(text) {
            self.stats.hit();
            return Ok(document);
        }
        if let Some(refusal) = self.refused.get(text) {
            self.stats.refused_again();
            return Err(refusal);
        }
        self.stats.miss();
        let result = match self.first_sight(text) {
            Ok(document) => {
                let document = Arc::new(document);
                self.accepted.insert(text.into(), Arc::clone(&document));
                Ok(document)
            }
            Err(refusal) => {
                let refusal = Arc::new(refusal);
                if refusal.stage != Stage::Internal {
                    self.refused.insert(text.into(), Arc::clone(&refusal));
                }
                Err(refusal)
            }
        };
        self.stats.size(self.accepted.len(), self.accepted.weight());
        result
    }

    /// Everything that depends on the text alone.
    fn first_sight(&self, text: &str) -> Result<Document, Refusal> {
        let scan = tokens::scan(text, self.limits.max_tokens);
        if scan.tokens > self.limits.max_tokens {
            return Err(Exceeded::Tokens.refuse(self.limits.max_tokens, None, None));
        }
        if scan.nesting > MAX_NESTING {
            return Err(Exceeded::Nesting.refuse(MAX_NESTING.into(), Some(scan.nesting.into()), None));
        }
        let parsed = parse_query(text).map_err(|error| Refusal::new(Stage::Parse, parse_error(error)))?;
        let mut walk = Walk::new(&self.types.registry, &parsed, &self.limits, self.introspection);
        walk.fragments()?;
        let operations = parsed.operations.iter().len();
        if operations > MAX_OPERATIONS {
            return Err(Exceeded::Operations.refuse(MAX_OPERATIONS as u64, Some(operations as u64), None));
        }
        let mut measured = Vec::with_capacity(operations);
        for (_, operation) in parsed.operations.iter() {
            measured.push(walk.operation(operation)?);
        }
        let misfits = walk.misfits;
        self.validate(&parsed)?;
        if !misfits.is_empty() {
            return Err(Refusal::many(Stage::Validate, misfits));
        }
        merge::check(&self.types.registry, &parsed, &self.limits)?;
        let operations: Vec<_> = parsed
            .operations
            .iter()
            .zip(measured)
            .map(|((name, operation), measured)| {
                Arc::new(Operation {
                    name: name.cloned(),
                    kind: match operation.node.ty {
                        OperationType::Query => OperationKind::Query,
                        OperationType::Mutation => OperationKind::Mutation,
                        OperationType::Subscription => OperationKind::Subscription,
                    },
                    document: alone(&parsed, operation),
                    variables: values::declared(&operation.node, &|name| measured.not_null.contains(name)),
                    shape: Shape::of(&parsed, &operation.node.selection_set.node),
                    depth: measured.depth,
                    cost: measured.cost,
                })
            })
            .collect();
        let bytes = scan.tokens * BYTES_PER_TOKEN * operations.len().max(1) as u64;
        Ok(Document { operations, bytes })
    }

    /// All rules of validation, without variables: what depends on them is checked in every request.
    fn validate(&self, document: &ExecutableDocument) -> Result<(), Refusal> {
        let mut request = Request::new("");
        // Any name does; the rules look at every operation.
        request.operation_name = document.operations.iter().next().and_then(|(name, _)| name.map(ToString::to_string));
        request.set_parsed_query(document.clone());
        let answer = self.validator.execute(request).now_or_never();
        match answer {
            Some(answer) if answer.errors.is_empty() => Ok(()),
            Some(answer) => Err(Refusal::many(Stage::Validate, answer.errors)),
            // The validator awaits nothing.
            None => Err(Refusal::plain(Stage::Internal, "validation did not end")),
        }
    }

    fn operation<'a>(document: &'a Document, name: Option<&str>) -> Result<&'a Arc<Operation>, Refusal> {
        let mut operations = document.operations.iter();
        match name {
            // Clients send an empty name for none.
            None | Some("") => match (operations.next(), operations.next()) {
                (Some(only), None) => Ok(only),
                _ => Err(Refusal::plain(
                    Stage::Operation,
                    "the document has several operations; `operationName` must name one",
                )),
            },
            Some(name) => operations.find(|operation| operation.name.as_deref() == Some(name)).ok_or_else(|| {
                let name: String = name.chars().take(64).collect();
                Refusal::plain(Stage::Operation, format!("the document has no operation named \"{name}\""))
            }),
        }
    }

    /// The variables an operation declares, checked and completed, and whether some were left out.
    fn variables(&self, operation: &Operation, mut given: Variables) -> Result<(Variables, bool), Refusal> {
        let (mut complete, mut absent, mut errors) = (Variables::default(), false, Vec::new());
        for declared in &operation.variables {
            let name = &declared.name;
            let Some(value) = given.remove(name).or_else(|| declared.default.clone()) else {
                if declared.ty.ends_with('!') {
                    let message = format!("the variable \"${name}\" of type {} is required", declared.ty);
                    errors.push(ServerError::new(message, None));
                }
                absent = true;
                continue;
            };
            let place = Place { ty: &declared.ty, default: false };
            let fits = values::check(&self.types.registry, place, &value, &mut |_, _| {});
            let fits = fits.map_err(|misfit| misfit.describe(name));
            if let Err(reason) = fits {
                errors.push(ServerError::new(format!("the variable \"${name}\" does not fit: {reason}"), None));
            } else if value == async_graphql::Value::Null && !declared.nullable {
                let message = format!("the variable \"${name}\" is used where null may not stand");
                errors.push(ServerError::new(message, None));
            } else {
                complete.insert(name.clone(), value);
            }
        }
        if errors.is_empty() { Ok((complete, absent)) } else { Err(Refusal::many(Stage::Variables, errors)) }
    }
}

impl<Q, M, S> Api for Engine<Q, M, S>
where
    Q: ObjectType + 'static,
    M: ObjectType + 'static,
    S: SubscriptionType + 'static,
{
    fn prepare(&self, text: &str, operation: Option<&str>, variables: Variables) -> Result<Prepared, Refusal> {
        let document = self.document(text).map_err(|refusal| Refusal::clone(&refusal))?;
        let operation = Self::operation(&document, operation)?;
        let (variables, some_absent) = self.variables(operation, variables)?;
        let complexity = operation.cost.evaluate(&variables);
        if complexity > self.limits.max_complexity {
            return Err(Exceeded::Complexity.refuse(self.limits.max_complexity, Some(complexity), None));
        }
        let mut parsed = operation.document.clone();
        if some_absent {
            absent::remove(&mut parsed, &|name| !variables.contains_key(name));
        }
        let mut request = Request::new("").variables(variables);
        request.set_parsed_query(parsed);
        Ok(Prepared {
            request,
            kind: operation.kind,
            name: operation.name.clone(),
            complexity,
            depth: operation.depth,
            operation: Arc::clone(operation),
        })
    }

    fn execute(&self, prepared: Prepared, data: Data) -> BoxFuture<'_, Response> {
        async move {
            let Prepared { mut request, operation, .. } = prepared;
            request.data = data;
            let mut response = self.runner.execute(request).await;
            outcome::complete(&self.types.registry, &operation.document, &mut response);
            operation.shape.apply(&mut response.data);
            response
        }
        .boxed()
    }

    fn stream(&self, prepared: Prepared, data: Data) -> BoxStream<'static, Response> {
        use futures_util::StreamExt;
        let Prepared { mut request, operation, .. } = prepared;
        request.data = data;
        let types = self.types.clone();
        self.runner
            .execute_stream(request)
            .map(move |mut response| {
                outcome::complete(&types.registry, &operation.document, &mut response);
                operation.shape.apply(&mut response.data);
                response
            })
            .boxed()
    }
}

/// The parser's message spans lines and quotes the document; one line is enough, the place is in `locations`.
fn parse_error(error: async_graphql::parser::Error) -> ServerError {
    let mut error = ServerError::from(error);
    let last =
        error.message.lines().rev().map(|line| line.trim().trim_start_matches("= ")).find(|line| !line.is_empty());
    error.message = match last {
        Some(reason) => format!("the document is not GraphQL: {reason}"),
        None => "the document is not GraphQL".to_owned(),
    };
    error
}

/// One operation with the fragments it reaches.
fn alone(
    document: &ExecutableDocument,
    operation: &async_graphql::Positioned<OperationDefinition>,
) -> ExecutableDocument {
    let mut reached = HashSet::new();
    measure::reach(document, &operation.node.selection_set.node, &mut reached);
    let fragments = document.fragments.iter().filter(|(name, _)| reached.contains(name.as_str()));
    ExecutableDocument {
        operations: DocumentOperations::Single(operation.clone()),
        fragments: fragments.map(|(name, fragment)| (name.clone(), fragment.clone())).collect(),
    }
}

/// Stands before the validator's executor, and hands out the registry.
struct ValidateOnly(Arc<OnceLock<SchemaEnv>>);

impl ExtensionFactory for ValidateOnly {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(ValidateOnly(Arc::clone(&self.0)))
    }
}

#[async_trait::async_trait]
impl Extension for ValidateOnly {
    async fn execute(&self, context: &ExtensionContext<'_>, _: Option<&str>, _: NextExecute<'_>) -> Response {
        let _ = self.0.set(context.schema_env.clone());
        Response::default()
    }
}
