//! HTTP: GraphQL over POST and GET, health, metrics, media bytes, GraphiQL, and an orderly end.
//!
//! A thin layer of our own over actix-web, after the GraphQL-over-HTTP specification: the stock integration answers 200 to
//! everything and lets GET mutate. It knows no schema ([`document::Api`](crate::document::Api)), no store and no way to
//! authenticate: the application hands those in as [`Parts`].
//!
//! Every error answer is JSON with `errors[].message`, `errors[].extensions.code` and `errors[].extensions.requestId`,
//! also where no GraphQL was reached.

mod answer;
mod envelope;
pub mod graphiql;
mod graphql;
mod health;
mod media;
mod metrics;
mod negotiate;
mod origin;
mod parts;
mod request;
mod server;
mod shutdown;

#[cfg(test)]
mod tests;

pub use parts::{AuthError, Authenticator, HttpSettings, MakeData, Parts, Readiness, RequestId, StoreStatus};
pub use server::{Bound, ServeError, bind, serve};
