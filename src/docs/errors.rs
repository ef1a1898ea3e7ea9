//! Every code a client can meet, in `errors[].extensions.code`. Codes are stable; messages are for people.
//!
//! Each error also carries `extensions.requestId`. An error of a store carries `extensions.store`.
//!
//! # Of a field
//!
//! The field is null, the rest of the answer stands, the status is 200. From [`crate::graphql::error`] and
//! [`chimera_stores::ErrorKind`].
//!
//! | code | meaning | what to do |
//! |---|---|---|
//! | `BAD_USER_INPUT` | an argument is wrong; the message names it | change it |
//! | `NOT_FOUND` | what was named does not exist, or not for you | |
//! | `CONFLICT` | a unique key, a version or a state stands in the way | read again, then decide |
//! | `FORBIDDEN` | your role does not permit it | |
//! | `UNSUPPORTED_BY_STORE` | the configured store cannot do it | |
//! | `STORE_UNAVAILABLE` | the store refuses connections, rests after failures, or is switched off | try again later |
//! | `STORE_TIMEOUT` | the store did not answer inside its budget | try again |
//! | `STORE_OVERLOADED` | too many calls of the store are under way | try again after a pause |
//! | `STORE_BAD_RESPONSE` | the store answered nonsense | tell the operator |
//! | `STORE_CORRUPT` | what the store holds is damaged | tell the operator |
//! | `SUPERSEDED` | a newer change is in the store already | nothing; it is newer |
//! | `INTERNAL_ERROR` | a defect of this program | report it with the request id |
//!
//! # Of a mutation
//!
//! What a caller can put right is no error but an entry of the payload's `userErrors`, with a `code`, the `field` it
//! is about and a `message`: `INVALID`, `NOT_FOUND`, `CONFLICT` or `REFUSED`. What would have been made or changed is
//! then null.
//!
//! # Of a document
//!
//! Nothing was executed; the answer has no `data`. The status is 400 for `application/graphql-response+json`, and 200
//! for `application/json`, as GraphQL over HTTP has it.
//!
//! | code | meaning |
//! |---|---|
//! | `GRAPHQL_PARSE_FAILED` | the document is not GraphQL |
//! | `GRAPHQL_VALIDATION_FAILED` | the document does not fit the schema |
//! | `OPERATION_RESOLUTION_FAILURE` | the operation named does not exist, or none of several was named |
//! | `INTROSPECTION_DISABLED` | the schema was asked for, and `server.introspection` is off |
//! | `OPERATION_NOT_SUPPORTED` | a subscription |
//! | `BAD_USER_INPUT` | a variable is missing or does not fit |
//!
//! ## Limits
//!
//! From [`crate::document::Exceeded`]. The message says how much is allowed and which setting moves it. What is
//! decided about the document also has `extensions.limit`, `extensions.actual` where it was counted, and
//! `extensions.setting`; body, variables and batch are decided before and have the message alone.
//!
//! | code | counts | setting |
//! |---|---|---|
//! | `BODY_LIMIT_EXCEEDED` | bytes in the request (413; by GET 414) | `limits.max_body_bytes` |
//! | `VARIABLES_LIMIT_EXCEEDED` | bytes in the request besides the document (413) | `limits.max_variables_bytes` |
//! | `TOKEN_LIMIT_EXCEEDED` | tokens in the document | `limits.max_tokens` |
//! | `DEPTH_LIMIT_EXCEEDED` | levels of fields | `limits.max_depth` |
//! | `NESTING_LIMIT_EXCEEDED` | levels of nesting, fragments included | fixed at 64 |
//! | `INTROSPECTION_LIMIT_EXCEEDED` | lists of the schema inside each other | fixed at 2 |
//! | `SELECTION_LIMIT_EXCEEDED` | selections with fragments put in place | `limits.max_selections` |
//! | `ALIAS_LIMIT_EXCEEDED` | aliases | `limits.max_aliases` |
//! | `ROOT_FIELD_LIMIT_EXCEEDED` | fields at the root | `limits.max_root_fields` |
//! | `DIRECTIVE_LIMIT_EXCEEDED` | directives | `limits.max_directives` |
//! | `OPERATION_LIMIT_EXCEEDED` | operations in the document | fixed at 25 |
//! | `COMPLEXITY_LIMIT_EXCEEDED` | points of complexity | `limits.max_complexity` |
//! | `BATCH_LIMIT_EXCEEDED` | requests in one body | `limits.max_batch` |
//!
//! # Of HTTP
//!
//! No GraphQL was reached, or it came to no answer. The body has the same form.
//!
//! | status | code | meaning |
//! |---|---|---|
//! | 400 | `BAD_REQUEST` | the body or query string is not a GraphQL request |
//! | 400 | `BATCHING_DISABLED` | several requests in one body, and `limits.max_batch` is 0 |
//! | 400 | `PERSISTED_QUERY_NOT_SUPPORTED` | a hash without its document; send the document |
//! | 401 | `UNAUTHENTICATED` | no API key, or one that is not valid |
//! | 403 | `FORBIDDEN` | the API key may not be used here |
//! | 403 | `HOST_NOT_ALLOWED` | the server listens on a loopback address and `Host` is neither local nor that of `server.public_url` |
//! | 403 | `ORIGIN_NOT_ALLOWED` | pages of this origin may not call; see `server.cors_origins` |
//! | 403 | `CSRF_PREVENTED` | a GET that a link or form could have made; add a header |
//! | 404 | `NOT_FOUND` | nothing is at this address |
//! | 405 | `METHOD_NOT_ALLOWED` | `Allow` says which are; a mutation by GET is one |
//! | 406 | `NOT_ACCEPTABLE` | `Accept` takes neither of the two media types |
//! | 408 | `BODY_TIMEOUT` | the body did not arrive in time |
//! | 411 | `LENGTH_REQUIRED` | an upload without `Content-Length` |
//! | 415 | `UNSUPPORTED_MEDIA_TYPE` | a POST that is not JSON in UTF-8 |
//! | 500 | `INTERNAL_ERROR` | a defect of this program; report it with the request id |
//! | 503 | `SHUTTING_DOWN` | the server ends; `Retry-After` says when to try again |
//! | 503 | `STORE_UNAVAILABLE` | who asks cannot be found out now |
//! | 504 | `REQUEST_TIMEOUT` | the request took longer than `limits.request_timeout` |
