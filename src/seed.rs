//! The demo data: a small organisation with something in each of the seven stores, so that the first query answers.
//!
//! Everything is written through the same doors as a client's writes. Ids are derived from the place in the story, so
//! a seed repeated on the same folder adds only what has expired since: the last hour's conversation.

mod story;

use self::story::{BILLS, CAMPAIGNS, CHARACTERS, Character};
use crate::{relay::Relay, stores::Stores, write::UnitOfWork};
use alloy_primitives::U256;
use bytes::Bytes;
use chimera_stores::{
    Clock, ErrorKind, Result, Scope,
    episodic::{NewTask, Turn, TurnRole},
    ledger::{self, Address, Operation, Submission, Token, embedded::local_address},
    media::UploadSpec,
    memory::{self, Definition, Interaction, MemoryRecord},
    relational::Committed,
    telemetry::{RenderEvent, Stage},
};
use chrono::{DateTime, TimeDelta, Utc};
use entity::{
    Strings, asset, billing_record, campaign, campaign_persona, membership, organization, persona, post, user, video,
    wallet,
};
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// Handle of the demo organisation.
pub const ORGANIZATION: &str = "demo";

/// Who the demo principal is: the fixed user of the demo organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demo {
    /// The organisation.
    pub organization_id: Uuid,
    /// Its administrator.
    pub user_id: Uuid,
}

/// The ids of the demo organisation, known without asking a store.
pub fn demo() -> Demo {
    Demo { organization_id: id("organization", 0), user_id: id("user", 0) }
}

/// Ids of the story: the same at every seed, and, being UUIDv7, in the order of the story within a kind.
fn id(kind: &str, number: usize) -> Uuid {
    let digest = Sha256::digest(format!("chimera demo {kind} {number}"));
    let mut random = [0; 10];
    for (to, from) in random.iter_mut().zip(digest) {
        *to = from;
    }
    uuid::Builder::from_unix_timestamp_millis(EPOCH_MS + number as u64, &random).into_uuid()
}

/// 2026-01-01T00:00:00Z: the time inside the ids of the story.
const EPOCH_MS: u64 = 1_767_225_600_000;

/// Writes the demo data and waits until the derived stores have it.
///
/// # Errors
/// What a store says; a repeat goes on where it stopped.
pub async fn seed(stores: &Stores, relay: &Relay, clock: &Arc<dyn Clock>) -> Result<()> {
    let seed = Seed { stores, scope: Scope::system(demo().organization_id), now: clock.now() };
    seed.organization().await?;
    seed.catalogue().await?;
    relay.drain().await?;
    seed.ledger().await?;
    seed.telemetry().await?;
    seed.episodic().await
}

struct Seed<'a> {
    stores: &'a Stores,
    scope: Scope,
    now: DateTime<Utc>,
}

impl Seed<'_> {
    /// Commits; rows that are there from an earlier seed are left as they are.
    async fn commit(&self, work: UnitOfWork) -> Result<()> {
        match work.commit(self.stores, &self.scope).await {
            Ok(Committed { .. }) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn work(&self) -> UnitOfWork {
        UnitOfWork::new("seed", None)
    }

    /// Rows are made a minute apart, so that lists have an order worth looking at.
    fn at(&self, minutes_ago: i64) -> DateTime<Utc> {
        self.now - TimeDelta::minutes(minutes_ago)
    }

    async fn organization(&self) -> Result<()> {
        let ids = demo();
        let (created_at, updated_at) = (self.at(60 * 24 * 30), self.at(60 * 24 * 30));
        // Apart from the rest: `chimera key` may have made the organisation before.
        let mut work = self.work();
        let (handle, name) = (ORGANIZATION.to_owned(), "Demo Studio".to_owned());
        work.insert(&organization::Model { id: ids.organization_id, handle, name, created_at, updated_at, version: 1 });
        self.commit(work).await?;
        let mut work = self.work();
        let (email, name) = ("demo@example.com".to_owned(), "Demo".to_owned());
        work.insert(&user::Model { id: ids.user_id, email, name, created_at, updated_at, version: 1 });
        work.insert(&membership::Model {
            id: id("membership", 0),
            organization_id: ids.organization_id,
            user_id: ids.user_id,
            role: membership::Role::Admin,
            created_at,
            updated_at,
            version: 1,
        });
        self.commit(work).await
    }

    async fn catalogue(&self) -> Result<()> {
        let mut work = self.work();
        for (index, character) in CHARACTERS.iter().enumerate() {
            let avatar = self.avatar(index, character).await?;
            work.insert(&avatar);
            work.insert(&self.persona(index, character, avatar.id));
            self.remember(&mut work, index, character);
        }
        for (index, entry) in CAMPAIGNS.iter().enumerate() {
            self.campaign(&mut work, index, entry);
        }
        for (index, character) in CHARACTERS.iter().enumerate() {
            self.publish(&mut work, index, character);
        }
        self.commit(work).await
    }

    async fn avatar(&self, index: usize, character: &Character) -> Result<asset::Model> {
        let initials: String = character.name.split(' ').filter_map(|word| word.chars().next()).collect();
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 64 64\"><rect width=\"64\" height=\"64\" fill=\"{}\"/>\
             <text x=\"32\" y=\"40\" font-family=\"sans-serif\" font-size=\"24\" fill=\"white\" text-anchor=\"middle\">{initials}</text></svg>",
            character.colour,
        );
        let sha256 = hex::encode(Sha256::digest(&svg));
        let asset_id = id("avatar", index);
        let spec = UploadSpec {
            asset_id,
            content_type: "image/svg+xml".to_owned(),
            size_bytes: svg.len() as u64,
            sha256: sha256.clone(),
            expires_in: Duration::from_secs(60),
        };
        let size_bytes = i64::try_from(svg.len()).unwrap_or_default();
        if let Ok(media) = self.stores.media() {
            media.put(&self.scope, &spec, Bytes::from(svg)).await?;
        }
        let at = self.at(60 * 24 * 29);
        Ok(asset::Model {
            id: asset_id,
            organization_id: self.scope.organization_id(),
            kind: asset::Kind::Image,
            status: asset::Status::Ready,
            content_type: spec.content_type,
            size_bytes,
            sha256,
            file_name: Some(format!("{}.svg", character.handle)),
            metadata: serde_json::json!({ "role": "avatar" }),
            source_asset_id: None,
            created_at: at,
            updated_at: at,
            version: 1,
        })
    }

    fn persona(&self, index: usize, character: &Character, avatar: Uuid) -> persona::Model {
        let at = self.at(60 * 24 * 28);
        persona::Model {
            id: id("persona", index),
            organization_id: self.scope.organization_id(),
            external_id: None,
            handle: character.handle.to_owned(),
            name: character.name.to_owned(),
            status: persona::Status::Active,
            avatar_asset_id: Some(avatar),
            created_at: at,
            updated_at: at,
            version: 1,
        }
    }

    fn remember(&self, work: &mut UnitOfWork, index: usize, character: &Character) {
        let persona_id = id("persona", index);
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let definition = Definition {
            persona_id,
            version: 1,
            bio: character.bio.to_owned(),
            voice: character.voice.to_owned(),
            traits: owned(character.traits),
            directives: owned(&["Never promise what the studio cannot keep.", "Say so when a post is paid for."]),
            updated_at: self.at(60 * 24 * 28),
        };
        work.remember("Definition", persona_id, 1, &memory::Change::PutDefinition(definition));
        for (number, (kind, importance, text)) in (0_i64..).zip(character.memories) {
            let record = MemoryRecord {
                id: id(&format!("memory {index}"), usize::try_from(number).unwrap_or_default()),
                persona_id,
                version: 1,
                kind: *kind,
                text: (*text).to_owned(),
                importance: *importance,
                source: Some("demo".to_owned()),
                tags: Vec::new(),
                occurred_at: self.at(60 * 24 * (20 - number)),
                created_at: self.now,
            };
            work.remember("Memory", record.id, 1, &memory::Change::PutMemory(record));
        }
        for (number, (role, text)) in (0_i64..).zip(character.talk) {
            let interaction = Interaction {
                id: id(&format!("interaction {index}"), usize::try_from(number).unwrap_or_default()),
                persona_id,
                version: 1,
                channel: "instagram".to_owned(),
                counterparty: "@stargazer_88".to_owned(),
                outbound: *role == TurnRole::Persona,
                text: (*text).to_owned(),
                occurred_at: self.at(30 - number),
            };
            work.remember("Interaction", interaction.id, 1, &memory::Change::PutInteraction(interaction));
        }
    }

    fn campaign(&self, work: &mut UnitOfWork, index: usize, entry: &(&str, &str, campaign::Status, i64, &[usize])) {
        let (name, objective, status, budget, personas) = *entry;
        let (organization_id, at) =
            (self.scope.organization_id(), self.at(60 * 24 * 14 - i64::try_from(index).unwrap_or_default()));
        let row = campaign::Model {
            id: id("campaign", index),
            organization_id,
            external_id: None,
            name: name.to_owned(),
            objective: objective.to_owned(),
            status,
            starts_at: Some(self.at(60 * 24 * 7)),
            ends_at: Some(self.now + TimeDelta::days(21)),
            budget_minor: Some(budget),
            currency: "USD".to_owned(),
            created_at: at,
            updated_at: at,
            version: 1,
        };
        work.insert(&row);
        for persona in personas {
            work.insert(&campaign_persona::Model {
                id: id(&format!("campaign persona {index}"), *persona),
                organization_id,
                campaign_id: row.id,
                persona_id: id("persona", *persona),
                created_at: at,
                updated_at: at,
                version: 1,
            });
        }
        for (number, (kind, amount, words)) in BILLS.iter().enumerate() {
            work.insert(&billing_record::Model {
                id: id(&format!("bill {index}"), number),
                organization_id,
                external_id: None,
                campaign_id: Some(row.id),
                persona_id: personas.first().map(|persona| id("persona", *persona)),
                kind: *kind,
                amount_minor: amount + i64::try_from(index).unwrap_or_default() * 100,
                currency: "USD".to_owned(),
                description: Some((*words).to_owned()),
                occurred_at: self.at(60 * 24 * 3 - i64::try_from(number).unwrap_or_default()),
                created_at: self.now,
                updated_at: self.now,
                version: 1,
            });
        }
    }

    fn publish(&self, work: &mut UnitOfWork, index: usize, character: &Character) {
        let organization_id = self.scope.organization_id();
        let campaign_id = (index < 2).then(|| id("campaign", index));
        for (number, (title, category, tags)) in (0_i64..).zip(character.videos) {
            let at = self.at(60 * 24 * 5 - number * 60 - i64::try_from(index).unwrap_or_default());
            work.insert(&video::Model {
                id: video_id(index, number),
                organization_id,
                external_id: None,
                persona_id: id("persona", index),
                campaign_id,
                title: (*title).to_owned(),
                description: Some(format!("{} shows how.", character.name)),
                status: if number == 0 { video::Status::Published } else { video::Status::Ready },
                category: Some((*category).to_owned()),
                tags: Strings(tags.iter().map(|tag| (*tag).to_owned()).collect()),
                duration_ms: Some(95_000 + number * 30_000),
                asset_id: None,
                thumbnail_asset_id: Some(id("avatar", index)),
                published_at: (number == 0).then_some(at),
                created_at: at,
                updated_at: at,
                version: 1,
            });
        }
        for (number, (text, topics)) in (0_i64..).zip(character.posts) {
            let at = self.at(20 * 60 - number * 300 - i64::try_from(index).unwrap_or_default());
            work.insert(&post::Model {
                id: id(&format!("post {index}"), usize::try_from(number).unwrap_or_default()),
                organization_id,
                external_id: None,
                persona_id: id("persona", index),
                campaign_id,
                video_id: (number == 0).then(|| video_id(index, 0)),
                text: (*text).to_owned(),
                topics: Strings(topics.iter().map(|topic| (*topic).to_owned()).collect()),
                platform: "tiktok".to_owned(),
                status: post::Status::Published,
                scheduled_at: None,
                published_at: Some(at),
                url: None,
                created_at: at,
                updated_at: at,
                version: 1,
            });
        }
        let wallet_id = id("wallet", index);
        work.insert(&wallet::Model {
            id: wallet_id,
            organization_id,
            persona_id: id("persona", index),
            chain: wallet::Chain::Local,
            address: address(index).0,
            label: Some("main".to_owned()),
            created_at: self.at(60 * 24 * 27),
            updated_at: self.at(60 * 24 * 27),
            version: 1,
        });
    }

    async fn ledger(&self) -> Result<()> {
        let Ok(ledger) = self.stores.ledger() else { return Ok(()) };
        let token = Token { symbol: "USDC".to_owned(), decimals: 6, contract: None };
        let mint = |index: usize| Operation::Mint {
            to: address(index),
            token: token.clone(),
            amount: U256::from(250_000_000_u64),
        };
        let pay = |from: usize, to: usize, amount: u64, campaign: usize| Operation::Transfer {
            from: address(from),
            to: address(to),
            token: token.clone(),
            amount: U256::from(amount),
            memo: Some(serde_json::json!({ "campaignId": id("campaign", campaign) })),
        };
        let event = Operation::Event {
            contract: address(99),
            subject: Some(address(0)),
            event: "SponsorshipSigned".to_owned(),
            data: serde_json::json!({ "sponsor": "Lumen Optics", "posts": 3 }),
        };
        let blocks = [
            ("mint", (0..CHARACTERS.len()).map(mint).collect()),
            ("props", vec![pay(0, 99, 12_500_000, 0), event]),
            ("market", vec![pay(1, 99, 8_250_000, 1)]),
            ("collab", vec![pay(0, 2, 5_000_000, 0)]),
        ];
        for (key, operations) in blocks {
            let idempotency_key = format!("demo-{key}");
            let submission = Submission { chain: ledger::Chain::Local, operations, idempotency_key };
            match ledger.submit(&self.scope, &submission).await {
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::Unsupported) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn telemetry(&self) -> Result<()> {
        let Ok(telemetry) = self.stores.telemetry() else { return Ok(()) };
        let mut events = Vec::new();
        for (index, character) in CHARACTERS.iter().enumerate() {
            for (video, _) in (0_i64..).zip(character.videos) {
                for (step, stage) in (0_i64..).zip(Stage::ALL) {
                    // Figures vary with their place, so that charts have a shape; nothing is random.
                    let turn = (video * 7 + step * 3 + i64::try_from(index).unwrap_or_default() * 5) % 11;
                    events.push(RenderEvent {
                        id: id(&format!("render {index} {video}"), usize::try_from(step).unwrap_or_default()),
                        video_id: video_id(index, video),
                        persona_id: id("persona", index),
                        campaign_id: (index < 2).then(|| id("campaign", index)),
                        stage,
                        at: self.at(60 * 23 - video * 180 - step * 12),
                        duration_ms: 4_000 + turn * 1_700,
                        cost_micros: 12_000 + turn * 3_500,
                        frames: if stage == Stage::Render { 2_400 + turn * 60 } else { 0 },
                        gpu_seconds: if stage == Stage::Render { 31.5 } else { 0.0 },
                        succeeded: turn != 10,
                    });
                }
            }
        }
        telemetry.append(&self.scope, &events).await.map(drop)
    }

    async fn episodic(&self) -> Result<()> {
        let Ok(episodic) = self.stores.episodic() else { return Ok(()) };
        let mut turns = Vec::new();
        let mut tasks = Vec::new();
        for (index, character) in CHARACTERS.iter().enumerate() {
            let persona_id = id("persona", index);
            for (number, (role, text)) in (0_i64..).zip(character.talk) {
                turns.push(Turn {
                    id: id(&format!("turn {index}"), usize::try_from(number).unwrap_or_default()),
                    persona_id,
                    conversation: "instagram:@stargazer_88".to_owned(),
                    role: *role,
                    text: (*text).to_owned(),
                    tokens: u32::try_from(text.split_whitespace().count() * 4 / 3).unwrap_or_default(),
                    at: self.now - TimeDelta::seconds(600 - number * 45),
                });
            }
            tasks.push(NewTask {
                id: id("task", index),
                queue: "render".to_owned(),
                kind: "render_video".to_owned(),
                priority: i32::try_from(index).unwrap_or_default() * 10,
                payload: serde_json::json!({ "title": character.videos.last().map(|video| video.0) }),
                persona_id: Some(persona_id),
                campaign_id: (index < 2).then(|| id("campaign", index)),
                delay: Duration::ZERO,
                max_attempts: 5,
                dedupe_key: None,
                dedupe_for: None,
            });
        }
        episodic.append_turns(&self.scope, &turns).await?;
        for result in episodic.enqueue(&self.scope, &tasks).await? {
            result?;
        }
        Ok(())
    }
}

fn video_id(index: usize, number: i64) -> Uuid {
    id(&format!("video {index}"), usize::try_from(number).unwrap_or_default())
}

fn address(index: usize) -> Address {
    local_address(id("wallet", index))
}
