//! Why a request was refused before anything was executed. The transport turns the stage into a status.

use async_graphql::ServerError;

/// Errors of one document shown to a client; the rest is only counted. Keeps an answer about a broken document small.
const MAX_ERRORS: usize = 10;

/// How far a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The document exceeds a limit.
    Limit,
    /// The document is not GraphQL.
    Parse,
    /// The document does not fit the schema.
    Validate,
    /// The operation named does not exist, or none was named.
    Operation,
    /// A variable is missing or does not fit.
    Variables,
    /// A defect of this program.
    Internal,
}

impl Stage {
    /// The code of errors that carry none of their own.
    pub const fn code(self) -> &'static str {
        match self {
            Stage::Limit => "LIMIT_EXCEEDED",
            Stage::Parse => "GRAPHQL_PARSE_FAILED",
            Stage::Validate => "GRAPHQL_VALIDATION_FAILED",
            Stage::Operation => "OPERATION_RESOLUTION_FAILURE",
            Stage::Variables => "BAD_USER_INPUT",
            Stage::Internal => "INTERNAL_ERROR",
        }
    }
}

/// A request that was not executed: the answer has errors and no data.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// How far it came.
    pub stage: Stage,
    /// At least one, each with a code.
    pub errors: Vec<ServerError>,
}

impl Refusal {
    /// One error.
    pub fn new(stage: Stage, error: ServerError) -> Self {
        Self::many(stage, vec![error])
    }

    /// One error without a place.
    pub fn plain(stage: Stage, message: impl Into<String>) -> Self {
        Self::new(stage, ServerError::new(message, None))
    }

    /// Several errors; those beyond the tenth are counted in a last one.
    pub fn many(stage: Stage, mut errors: Vec<ServerError>) -> Self {
        let more = errors.len().saturating_sub(MAX_ERRORS);
        if more > 0 {
            errors.truncate(MAX_ERRORS);
            errors.push(ServerError::new(format!("and {more} more errors"), None));
        }
        for error in &mut errors {
            let extensions = error.extensions.get_or_insert_default();
            if extensions.get("code").is_none() {
                extensions.set("code", stage.code());
            }
        }
        Self { stage, errors }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_errors_are_cut_and_each_has_a_code() {
        let errors = (0..500).map(|n| ServerError::new(format!("error {n}"), None)).collect();
        let refusal = Refusal::many(Stage::Validate, errors);
        assert_eq!(refusal.errors.len(), MAX_ERRORS + 1);
        assert_eq!(refusal.errors[MAX_ERRORS].message, "and 490 more errors");
        for error in &refusal.errors {
            assert_eq!(error.extensions.as_ref().unwrap().get("code"), Some(&"GRAPHQL_VALIDATION_FAILED".into()));
        }
    }
}
