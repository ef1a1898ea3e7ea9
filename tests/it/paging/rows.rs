//! Rows of everything, enough for several pages, many with equal values in what lists are ordered by.

use crate::support::{TestApp, uuid_of};
use alloy_primitives::U256;
use chimera::write::UnitOfWork;
use chimera_stores::{
    episodic::NewTask,
    ledger::{self, Address, Operation, Submission, Token},
    memory::{Change, Interaction, MemoryKind, MemoryRecord},
    telemetry::{RenderEvent, Stage},
};
use chrono::{DateTime, TimeDelta, Utc};
use entity::{
    Strings, asset, billing_record, campaign, campaign_persona, membership, persona, post, user, video, wallet,
};
use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

/// The ids of the demo data that rows hang on.
pub struct Parents {
    organization_id: Uuid,
    persona_id: Uuid,
    campaign_id: Uuid,
    video_id: Uuid,
    /// Of Luna's wallet and of the next one.
    addresses: [Address; 2],
    pub now: DateTime<Utc>,
}

impl Parents {
    pub async fn read(test: &TestApp) -> Self {
        let document = "{ luna: persona(handle: \"luna.vega\") { id wallets(last: 1) { nodes { address } } }
               marlo: persona(handle: \"chef.marlo\") { wallets(last: 1) { nodes { address } } }
               campaigns(filter: { nameContains: \"Dark Sky\" }) { nodes { id } }
               videos(filter: { titleContains: \"Andromeda\" }) { nodes { id } } }";
        let answer = test.ask(document, json!({})).await;
        let data = answer.data();
        let address = |who: &str| Address(data[who]["wallets"]["nodes"][0]["address"].as_str().unwrap().to_owned());
        Self {
            organization_id: test.scope().organization_id(),
            persona_id: uuid_of(&data["luna"]["id"]),
            campaign_id: uuid_of(&data["campaigns"]["nodes"][0]["id"]),
            video_id: uuid_of(&data["videos"]["nodes"][0]["id"]),
            addresses: [address("luna"), address("marlo")],
            now: test.app.shared.clock.now(),
        }
    }

    fn persona(&self, number: usize, name: String, updated_at: DateTime<Utc>) -> persona::Model {
        persona::Model {
            id: Uuid::now_v7(),
            organization_id: self.organization_id,
            external_id: None,
            handle: format!("walker-{}-{number}", number * 7 % 13),
            name,
            status: persona::Status::Draft,
            avatar_asset_id: None,
            created_at: self.now,
            updated_at,
            version: 1,
        }
    }

    fn campaign(&self, name: String, updated_at: DateTime<Utc>) -> campaign::Model {
        campaign::Model {
            id: Uuid::now_v7(),
            organization_id: self.organization_id,
            external_id: None,
            name,
            objective: "Walk".to_owned(),
            status: campaign::Status::Draft,
            starts_at: None,
            ends_at: None,
            budget_minor: None,
            currency: "USD".to_owned(),
            created_at: self.now,
            updated_at,
            version: 1,
        }
    }

    fn takes_part(&self, campaign_id: Uuid, persona_id: Uuid) -> campaign_persona::Model {
        campaign_persona::Model {
            id: Uuid::now_v7(),
            organization_id: self.organization_id,
            campaign_id,
            persona_id,
            created_at: self.now,
            updated_at: self.now,
            version: 1,
        }
    }

    pub fn video(&self, title: String, description: String, at: DateTime<Utc>) -> video::Model {
        video::Model {
            id: Uuid::now_v7(),
            organization_id: self.organization_id,
            external_id: None,
            persona_id: self.persona_id,
            campaign_id: Some(self.campaign_id),
            title,
            description: Some(description),
            status: video::Status::Ready,
            category: None,
            tags: Strings(Vec::new()),
            duration_ms: None,
            asset_id: None,
            thumbnail_asset_id: None,
            published_at: None,
            created_at: at,
            updated_at: at,
            version: 1,
        }
    }

    fn post(&self, text: String, updated_at: DateTime<Utc>) -> post::Model {
        post::Model {
            id: Uuid::now_v7(),
            organization_id: self.organization_id,
            external_id: None,
            persona_id: self.persona_id,
            campaign_id: Some(self.campaign_id),
            video_id: None,
            text,
            topics: Strings(Vec::new()),
            platform: "tiktok".to_owned(),
            status: post::Status::Draft,
            scheduled_at: None,
            published_at: None,
            url: None,
            created_at: self.now,
            updated_at,
            version: 1,
        }
    }

    fn asset(&self) -> asset::Model {
        asset::Model {
            id: Uuid::now_v7(),
            organization_id: self.organization_id,
            kind: asset::Kind::Audio,
            status: asset::Status::Pending,
            content_type: "audio/ogg".to_owned(),
            size_bytes: 1,
            sha256: "0".repeat(64),
            file_name: None,
            metadata: json!({}),
            source_asset_id: None,
            created_at: self.now,
            updated_at: self.now,
            version: 1,
        }
    }

    fn wallet(&self) -> wallet::Model {
        let id = Uuid::now_v7();
        wallet::Model {
            id,
            organization_id: self.organization_id,
            persona_id: self.persona_id,
            chain: wallet::Chain::Local,
            address: format!("local:00000000{}", id.simple()),
            label: None,
            created_at: self.now,
            updated_at: self.now,
            version: 1,
        }
    }

    fn bill(&self, amount_minor: i64, occurred_at: DateTime<Utc>) -> billing_record::Model {
        billing_record::Model {
            id: Uuid::now_v7(),
            organization_id: self.organization_id,
            external_id: None,
            campaign_id: Some(self.campaign_id),
            persona_id: Some(self.persona_id),
            kind: billing_record::Kind::Api,
            amount_minor,
            // Not the currency of the campaign's budget, which would not cover it.
            currency: "EUR".to_owned(),
            description: None,
            occurred_at,
            created_at: self.now,
            updated_at: self.now,
            version: 1,
        }
    }

    fn member(&self, work: &mut UnitOfWork, created_at: DateTime<Utc>) {
        let user_id = Uuid::now_v7();
        work.insert(&user::Model {
            id: user_id,
            email: format!("{}@example.com", user_id.simple()),
            name: "Walker".to_owned(),
            created_at,
            updated_at: created_at,
            version: 1,
        });
        work.insert(&membership::Model {
            id: Uuid::now_v7(),
            organization_id: self.organization_id,
            user_id,
            role: membership::Role::Viewer,
            created_at,
            updated_at: created_at,
            version: 1,
        });
    }

    pub fn key(&self) -> entity::api_key::Model {
        let id = Uuid::now_v7();
        entity::api_key::Model {
            id,
            organization_id: self.organization_id,
            user_id: None,
            name: "walker".to_owned(),
            prefix: "chm_walk".to_owned(),
            hash: format!("{0}{0}", id.simple()),
            role: membership::Role::Viewer,
            expires_at: None,
            revoked_at: None,
            created_at: self.now,
            updated_at: self.now,
            version: 1,
        }
    }

    fn remember(&self, work: &mut UnitOfWork, text: String, occurred_at: DateTime<Utc>) {
        let record = MemoryRecord {
            id: Uuid::now_v7(),
            persona_id: self.persona_id,
            version: 1,
            kind: MemoryKind::Episodic,
            text: text.clone(),
            importance: 0.5,
            source: None,
            tags: Vec::new(),
            occurred_at,
            created_at: self.now,
        };
        work.remember("Memory", record.id, 1, &Change::PutMemory(record));
        let interaction = Interaction {
            id: Uuid::now_v7(),
            persona_id: self.persona_id,
            version: 1,
            channel: "instagram".to_owned(),
            counterparty: "@walker".to_owned(),
            outbound: true,
            text,
            occurred_at,
        };
        work.remember("Interaction", interaction.id, 1, &Change::PutInteraction(interaction));
    }

    fn event(&self, at: DateTime<Utc>) -> RenderEvent {
        RenderEvent {
            id: Uuid::now_v7(),
            video_id: self.video_id,
            persona_id: self.persona_id,
            campaign_id: Some(self.campaign_id),
            stage: Stage::Encode,
            at,
            duration_ms: 1,
            cost_micros: 1,
            frames: 1,
            gpu_seconds: 0.0,
            succeeded: true,
        }
    }

    fn task(&self) -> NewTask {
        NewTask {
            id: Uuid::now_v7(),
            queue: "render".to_owned(),
            kind: "walk".to_owned(),
            priority: 0,
            payload: json!({}),
            persona_id: Some(self.persona_id),
            campaign_id: Some(self.campaign_id),
            delay: Duration::ZERO,
            max_attempts: 1,
            dedupe_key: None,
        }
    }

    fn payments(&self, count: usize) -> Submission {
        let pay = Operation::Transfer {
            from: self.addresses[0].clone(),
            to: self.addresses[1].clone(),
            token: Token { symbol: "USDC".to_owned(), decimals: 6, contract: None },
            amount: U256::ONE,
            memo: None,
        };
        let idempotency_key = Uuid::now_v7().to_string();
        Submission { chain: ledger::Chain::Local, operations: vec![pay; count], idempotency_key }
    }
}

/// Writes enough rows of everything for several pages, many with equal values in what lists are ordered by.
pub async fn fill(test: &TestApp) {
    let parents = Parents::read(test).await;
    let (scope, stores, now) = (test.scope(), &test.app.shared.stores, parents.now);
    let minutes = |number: usize| now - TimeDelta::minutes(i64::try_from(number).unwrap());

    let mut work = UnitOfWork::new("fill", None);
    for number in 0..47 {
        let persona = parents.persona(number, format!("Walker {}", number % 9), minutes(number % 11));
        work.insert(&persona);
        work.insert(&parents.takes_part(parents.campaign_id, persona.id));
    }
    for number in 0..37 {
        let campaign = parents.campaign(format!("Walk {}", number % 5), minutes(number % 7));
        work.insert(&campaign);
        work.insert(&parents.takes_part(campaign.id, parents.persona_id));
    }
    for number in 0..20 {
        parents.member(&mut work, minutes(100 - number));
    }
    for _ in 0..40 {
        work.insert(&parents.asset());
    }
    for _ in 0..18 {
        work.insert(&parents.wallet());
    }
    for _ in 0..19 {
        work.insert(&parents.key());
    }
    test.write(&scope, work).await;

    let mut work = UnitOfWork::new("fill", None);
    for number in 0..231 {
        // Upper and lower case, accents and lengths: titles are ordered by their bytes, hits by how much else they say.
        let title = format!("{} harbour {}", ["Old", "old", "Ärger", "ärger", "東京"][number % 5], number % 40);
        let description = "lanterns and gulls ".repeat(number % 23);
        work.insert(&parents.video(title, description, minutes(number % 25)));
    }
    for number in 0..60 {
        work.insert(&parents.post(format!("Walking {number}"), minutes(number % 10)));
        work.insert(&parents.bill(i64::try_from(number % 8).unwrap() + 2, minutes(number % 12)));
    }
    test.write(&scope, work).await;

    for chunk in 0..5 {
        let mut work = UnitOfWork::new("fill", None);
        for number in chunk * 26..(chunk + 1) * 26 {
            parents.remember(&mut work, format!("Walk {number}"), minutes(number % 31));
        }
        test.write(&scope, work).await;
    }
    let events: Vec<_> = (0..150).map(|number| parents.event(minutes(number % 43))).collect();
    stores.telemetry().unwrap().append(&scope, &events).await.unwrap();
    for _ in 0..13 {
        let tasks: Vec<_> = (0..10).map(|_| parents.task()).collect();
        for task in stores.episodic().unwrap().enqueue(&scope, &tasks).await.unwrap() {
            task.unwrap();
        }
        test.clock.advance(TimeDelta::seconds(1));
    }
    for _ in 0..12 {
        stores.ledger().unwrap().submit(&scope, &parents.payments(10)).await.unwrap();
        test.clock.advance(TimeDelta::seconds(1));
    }
}

/// Writes some more of everything: where it can be chosen, before the first and after the last row of every order.
pub async fn add(test: &TestApp, number: usize) {
    test.clock.advance(TimeDelta::seconds(1));
    let parents = Parents::read(test).await;
    let (scope, stores, now) = (test.scope(), &test.app.shared.stores, parents.now);
    let mut work = UnitOfWork::new("add", None);
    for (text, at, amount) in [("!", now - TimeDelta::days(400), 1), ("~", now + TimeDelta::hours(1), 1_000_000)] {
        let persona = persona::Model {
            handle: format!("{}{}", if amount == 1 { "." } else { "z" }, Uuid::now_v7()),
            ..parents.persona(number, text.to_owned(), at)
        };
        work.insert(&persona);
        work.insert(&parents.takes_part(parents.campaign_id, persona.id));
        let campaign = parents.campaign(text.to_owned(), at);
        work.insert(&campaign);
        work.insert(&parents.takes_part(campaign.id, parents.persona_id));
        work.insert(&parents.video(format!("{text} harbour"), text.to_owned(), at));
        work.insert(&parents.post(text.to_owned(), at));
        work.insert(&parents.bill(amount, at));
        parents.remember(&mut work, format!("{text} {}", Uuid::now_v7()), at);
        parents.member(&mut work, at);
        work.insert(&parents.asset());
        work.insert(&parents.key());
    }
    // The ledger's lists look at the newest hundred wallets.
    work.insert(&parents.wallet());
    test.write(&scope, work).await;
    let events = [parents.event(now - TimeDelta::days(400)), parents.event(now + TimeDelta::hours(1))];
    stores.telemetry().unwrap().append(&scope, &events).await.unwrap();
    for task in stores.episodic().unwrap().enqueue(&scope, &[parents.task()]).await.unwrap() {
        task.unwrap();
    }
    stores.ledger().unwrap().submit(&scope, &parents.payments(1)).await.unwrap();
}
