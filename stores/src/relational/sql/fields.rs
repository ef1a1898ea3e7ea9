//! The columns of each kind in one order, and its rows out of an answer that selected them in that order.
//!
//! By place, because by name every value of every row costs a look-up of its column.

use sea_orm::{DbErr, QueryResult};

/// A model whose fields are read by their place in the answer.
pub(super) trait Fields: Sized {
    /// The columns, named as the fields.
    const COLUMNS: &'static [&'static str];

    /// The model whose columns begin at `first`.
    fn decode(result: &QueryResult, first: usize) -> Result<Self, DbErr>;
}

macro_rules! fields {
    ($($module:ident { $($field:ident),* $(,)? })*) => { $(
        impl Fields for entity::$module::Model {
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field)),*];

            fn decode(result: &QueryResult, first: usize) -> Result<Self, DbErr> {
                let mut places = first..;
                let mut next = || places.next().unwrap_or(usize::MAX);
                // Fields of a literal are made in the order in which they are written.
                Ok(Self { $($field: result.try_get_by_index(next())?),* })
            }
        }
    )* };
}

fields! {
    organization { id, handle, name, created_at, updated_at, version }
    user { id, email, name, created_at, updated_at, version }
    membership { id, organization_id, user_id, role, created_at, updated_at, version }
    api_key {
        id, organization_id, user_id, name, prefix, hash, role, expires_at, revoked_at, created_at,
        updated_at, version
    }
    persona { id, organization_id, external_id, handle, name, status, avatar_asset_id, created_at, updated_at, version }
    campaign {
        id, organization_id, external_id, name, objective, status, starts_at, ends_at, budget_minor, currency,
        created_at, updated_at, version
    }
    campaign_persona { id, organization_id, campaign_id, persona_id, created_at, updated_at, version }
    post {
        id, organization_id, external_id, persona_id, campaign_id, video_id, text, topics, platform, status,
        scheduled_at, published_at, url, created_at, updated_at, version
    }
    video {
        id, organization_id, external_id, persona_id, campaign_id, title, description, status, category, tags,
        duration_ms, asset_id, thumbnail_asset_id, published_at, created_at, updated_at, version
    }
    asset {
        id, organization_id, kind, status, content_type, size_bytes, sha256, file_name, metadata,
        source_asset_id, created_at, updated_at, version
    }
    wallet { id, organization_id, persona_id, chain, address, label, created_at, updated_at, version }
    billing_record {
        id, organization_id, external_id, campaign_id, persona_id, kind, amount_minor, currency, description,
        occurred_at, created_at, updated_at, version
    }
    audit_entry {
        id, organization_id, actor, action, entity_type, entity_id, request_id, before_hash, after_hash,
        created_at
    }
    budget {
        id, organization_id, campaign_id, starts_at, ends_at, amount_minor, currency, created_at, updated_at,
        version
    }
}
