//! What the fourteen kinds have in common for SQL: which entity a kind is, and which of its rows an organisation sees.

use super::fields::Fields;
use crate::relational::{Kind, Record, Row};
use sea_orm::{
    DbErr, EntityTrait, QueryResult,
    sea_query::{Expr, ExprTrait, Query},
};
use uuid::Uuid;

/// An entity whose rows cross the port.
pub(super) trait Table: EntityTrait<Model: Record + Fields> {
    /// Its kind.
    const KIND: Kind = <Self::Model as Record>::KIND;

    /// The table's name.
    fn name() -> &'static str {
        Self::default().table_name()
    }

    /// Every column, seen through `alias`.
    fn columns(alias: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
        Self::Model::COLUMNS.iter().map(move |column| (alias, *column))
    }

    /// Whether the row called `alias` exists for this organisation.
    fn visible(alias: &'static str, organization: Uuid) -> Expr {
        match Self::KIND {
            Kind::Organization => Expr::col((alias, "id")).eq(organization),
            Kind::User => Expr::exists(
                Query::select()
                    .expr(Expr::cust("1"))
                    .from("membership")
                    .and_where(Expr::col(("membership", "organization_id")).eq(organization))
                    .and_where(Expr::col(("membership", "user_id")).equals((alias, "id")))
                    .take(),
            ),
            _ => Expr::col((alias, "organization_id")).eq(organization),
        }
    }

    /// A row of an answer that selected [`Table::columns`] from `first` on.
    fn row(result: &QueryResult, first: usize) -> Result<Row, DbErr> {
        Ok(Self::Model::decode(result, first)?.into_row())
    }
}

impl<E: EntityTrait<Model: Record + Fields>> Table for E {}

/// Runs an expression with `$entity` standing for the entity of a kind.
macro_rules! for_kind {
    ($kind:expr, $entity:ident => $body:expr) => {
        for_kind!(@match $kind, $entity => $body,
            Organization organization, User user, Membership membership, ApiKey api_key, Persona persona,
            Campaign campaign, CampaignPersona campaign_persona, Post post, Video video, Asset asset, Wallet wallet,
            BillingRecord billing_record, AuditEntry audit_entry, Budget budget)
    };
    (@match $kind:expr, $entity:ident => $body:expr, $($variant:ident $module:ident),*) => {
        match $kind {
            $($crate::relational::Kind::$variant => {
                type $entity = entity::$module::Entity;
                $body
            })*
        }
    };
}

pub(super) use for_kind;
