//! The rows that are asked for: an organisation of personas with videos, campaigns and posts, the same every time.

use chimera::{seed, stores::Stores};
use chimera_stores::{
    Result, Scope,
    relational::{Change, Record, Transaction},
};
use chrono::{DateTime, TimeDelta, Utc};
use entity::{campaign, campaign_persona, persona, post, video};
use uuid::Uuid;

/// How many rows.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// Personas.
    pub personas: u32,
    /// Videos of each persona.
    pub videos: u32,
    /// Personas that take part in campaigns: the newest.
    pub in_campaigns: u32,
    /// Campaigns of each of these, with 8 posts each.
    pub campaigns: u32,
    /// Posts of some 800 bytes of each persona.
    pub long_posts: u32,
}

impl Rows {
    /// What the metrics are asked of.
    pub const FULL: Self = Self { personas: 100, videos: 100, in_campaigns: 20, campaigns: 10, long_posts: 100 };
    /// What instructions are counted on: the lists are as long, and what nobody lists is left out.
    pub const SMALL: Self = Self { personas: 100, videos: 10, in_campaigns: 20, campaigns: 10, long_posts: 0 };
    /// What nested pages are asked of: more personas than requests under way list.
    pub const NESTED: Self = Self { personas: 640, videos: 0, in_campaigns: 640, campaigns: 10, long_posts: 0 };
}

/// Posts of a campaign.
const POSTS: u32 = 8;
/// Changes of one transaction.
const CHUNK: usize = 1000;

/// An id above those of the demo data, so that these rows come first in the default order, newest first.
fn id(kind: u8, number: u32) -> Uuid {
    Uuid::from_u128(0xffff_0000_0000_7000_8000_0000_0000_0000 | (u128::from(kind) << 48) | u128::from(number))
}

/// The id of a persona.
pub fn persona_id(number: u32) -> Uuid {
    id(1, number)
}

/// The handle of a persona.
pub fn handle(number: u32) -> String {
    format!("zz-persona-{number:05}")
}

/// Writes the rows beside the demo data.
///
/// # Errors
/// What the store says.
pub async fn fill(stores: &Stores, rows: Rows, now: DateTime<Utc>) -> Result<()> {
    let organization_id = seed::demo().organization_id;
    let scope = Scope::system(organization_id);
    let mut changes = Vec::new();
    let mut insert = |row: chimera_stores::relational::Row| changes.push(Change::Insert(row));
    let at = |number: u32| now - TimeDelta::minutes(i64::from(number));
    for p in 0..rows.personas {
        insert(
            persona::Model {
                id: persona_id(p),
                organization_id,
                external_id: None,
                handle: handle(p),
                name: format!("Persona number {p}"),
                status: persona::Status::Active,
                avatar_asset_id: None,
                created_at: at(p),
                updated_at: at(p),
                version: 1,
            }
            .into_row(),
        );
    }
    for (p, v) in pairs(rows.personas, rows.videos) {
        insert(
            video::Model {
                id: id(2, v * rows.personas + p),
                organization_id,
                external_id: None,
                persona_id: persona_id(p),
                campaign_id: None,
                title: format!("How persona {p} made the video with the number {v}"),
                description: None,
                status: video::Status::Ready,
                category: Some("people".to_owned()),
                tags: Default::default(),
                duration_ms: Some(30_000),
                asset_id: None,
                thumbnail_asset_id: None,
                published_at: None,
                created_at: at(v),
                updated_at: at(v),
                version: 1,
            }
            .into_row(),
        );
    }
    let with_campaigns = rows.personas.min(rows.in_campaigns);
    // The newest personas are listed first: they are the ones with campaigns.
    let first = rows.personas - with_campaigns;
    for (p, c) in pairs(with_campaigns, rows.campaigns) {
        let number = p * rows.campaigns + c;
        insert(campaign(organization_id, number, at(c)).into_row());
        let (campaign_id, persona_id) = (id(3, number), persona_id(first + p));
        let (created_at, updated_at) = (at(c), at(c));
        insert(
            campaign_persona::Model {
                id: id(4, number),
                organization_id,
                campaign_id,
                persona_id,
                created_at,
                updated_at,
                version: 1,
            }
            .into_row(),
        );
        for n in 0..POSTS {
            let text = format!("Post {n} of campaign {number}: a new video is out");
            insert(
                post(organization_id, id(5, number * POSTS + n), persona_id, Some(campaign_id), text, at(n)).into_row(),
            );
        }
    }
    for (p, n) in pairs(rows.personas, rows.long_posts) {
        let text = format!("Post {n} of persona {p}. {}", "All work and no play makes a dull persona. ".repeat(18));
        insert(post(organization_id, id(6, n * rows.personas + p), persona_id(p), None, text, at(n)).into_row());
    }
    for chunk in changes.chunks(CHUNK) {
        let transaction = Transaction { changes: chunk.to_vec(), ..Transaction::default() };
        stores.relational.commit(&scope, &transaction).await?;
    }
    Ok(())
}

fn pairs(outer: u32, inner: u32) -> impl Iterator<Item = (u32, u32)> {
    (0..outer).flat_map(move |o| (0..inner).map(move |i| (o, i)))
}

fn campaign(organization_id: Uuid, number: u32, at: DateTime<Utc>) -> campaign::Model {
    campaign::Model {
        id: id(3, number),
        organization_id,
        external_id: None,
        name: format!("zz campaign {number}"),
        objective: "To be seen".to_owned(),
        status: campaign::Status::Active,
        starts_at: None,
        ends_at: None,
        budget_minor: None,
        currency: "USD".to_owned(),
        created_at: at,
        updated_at: at,
        version: 1,
    }
}

fn post(
    organization_id: Uuid,
    id: Uuid,
    persona_id: Uuid,
    campaign_id: Option<Uuid>,
    text: String,
    at: DateTime<Utc>,
) -> post::Model {
    post::Model {
        id,
        organization_id,
        external_id: None,
        persona_id,
        campaign_id,
        video_id: None,
        text,
        topics: Default::default(),
        platform: "bench".to_owned(),
        status: post::Status::Published,
        scheduled_at: None,
        published_at: None,
        url: None,
        created_at: at,
        updated_at: at,
        version: 1,
    }
}
