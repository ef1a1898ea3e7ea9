//! Every mutation once as it should go, and what callers get wrong. The clock stands still throughout.

use crate::support::TestApp;
use chimera_stores::{Principal, Role, Scope};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Asks with one `input` and answers the payload.
pub async fn mutate(test: &TestApp, name: &str, input_type: &str, input: Value, fields: &str) -> Value {
    let document = format!(
        "mutation($input: {input_type}!) {{ {name}(input: $input) {{ {fields} userErrors {{ code field message }} }} }}"
    );
    test.ask(&document, json!({ "input": input })).await.data()[name].clone()
}

/// The same, which must succeed.
pub async fn done(test: &TestApp, name: &str, input_type: &str, input: Value, fields: &str) -> Value {
    let payload = mutate(test, name, input_type, input, fields).await;
    assert_eq!(payload["userErrors"], json!([]), "{name}");
    payload
}

/// The same, which must be refused: the code and the path.
pub async fn refused(test: &TestApp, name: &str, input_type: &str, input: Value) -> (String, String) {
    let payload = mutate(test, name, input_type, input, "__typename").await;
    let error = &payload["userErrors"][0];
    let path =
        error["field"].as_array().map(|parts| parts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("."));
    (error["code"].as_str().unwrap_or_default().to_owned(), path.unwrap_or_default())
}

pub fn because(code: &str, path: &str) -> (String, String) {
    (code.to_owned(), path.to_owned())
}

const NOBODY: &str = "persona_00000000000000000000000000000063";

async fn persona(test: &TestApp, handle: &str) -> Value {
    let input = json!({ "handle": handle, "name": "Somebody" });
    done(test, "createPersona", "CreatePersonaInput", input, "persona { id }").await["persona"]["id"].clone()
}

pub async fn audit_count(test: &TestApp, action: &str) -> usize {
    let document =
        "query($action: String!) { auditLog(filter: { action: [$action] }, first: 100) { nodes { action } } }";
    test.ask(document, json!({ "action": action })).await.data()["auditLog"]["nodes"].as_array().unwrap().len()
}

#[tokio::test]
async fn memories_are_remembered_changed_forgotten_and_remembered_again() {
    let test = TestApp::demo().await;
    let persona = persona(&test, "rememberer").await;
    let fields = "memories { id text version importance kind } pendingStores";
    let remember = async |text: &str| {
        let input = json!({ "personaId": persona, "memories": [{ "text": text, "externalId": "x", "tags": ["a"] }] });
        done(&test, "rememberMemories", "RememberMemoriesInput", input, fields).await
    };
    let texts = async || {
        let document = "query($id: ID!) { node(id: $id) { ... on Persona { memories { nodes { id text } } } } }";
        test.ask(document, json!({ "id": persona })).await.data()["node"]["memories"]["nodes"].clone()
    };
    let first = remember("one").await;
    assert_eq!(first["pendingStores"], json!([]));
    let id = first["memories"][0]["id"].clone();
    assert_eq!(remember("one").await, first, "a repeat changes nothing");
    assert_eq!(audit_count(&test, "rememberMemories").await, 1, "and writes nothing");
    let second = remember("two").await;
    assert_eq!(second["memories"][0]["id"], id);
    assert_eq!(texts().await, json!([{ "id": id, "text": "two" }]));
    let forgotten = done(&test, "forgetMemories", "ForgetMemoriesInput", json!({ "ids": [id] }), "forgottenIds").await;
    assert_eq!(forgotten["forgottenIds"], json!([id]));
    assert_eq!(texts().await, json!([]));
    let again = refused(&test, "forgetMemories", "ForgetMemoriesInput", json!({ "ids": [id] })).await;
    assert_eq!(again, because("NOT_FOUND", "input.ids.0"));
    remember("three").await;
    assert_eq!(texts().await, json!([{ "id": id, "text": "three" }]), "what was forgotten can come back");

    let twice = json!({ "personaId": persona, "memories": [{ "text": "a", "externalId": "y" }, { "text": "b", "externalId": "y" }] });
    let twice = refused(&test, "rememberMemories", "RememberMemoriesInput", twice).await;
    assert_eq!(twice, because("INVALID", "input.memories.1.externalId"));
    let nobody = json!({ "personaId": NOBODY, "memories": [{ "text": "a" }] });
    let nobody = refused(&test, "rememberMemories", "RememberMemoriesInput", nobody).await;
    assert_eq!(nobody, because("NOT_FOUND", "input.personaId"));
    let heavy = json!({ "personaId": persona, "memories": [{ "text": "a", "importance": 1.5 }] });
    let heavy = refused(&test, "rememberMemories", "RememberMemoriesInput", heavy).await;
    assert_eq!(heavy, because("INVALID", "input.memories.0.importance"));

    let talk = json!({ "personaId": persona, "interactions": [{ "channel": "mail", "counterparty": "a@b", "outbound": true, "text": "hi" }] });
    done(&test, "recordInteractions", "RecordInteractionsInput", talk, "interactions { text occurredAt }").await;
    let document = "query($id: ID!) { node(id: $id) { ... on Persona { interactions { nodes { text outbound } } } } }";
    let heard = test.ask(document, json!({ "id": persona })).await;
    assert_eq!(heard.data()["node"]["interactions"]["nodes"], json!([{ "text": "hi", "outbound": true }]));
}

#[tokio::test]
async fn campaigns_are_made_and_changed_and_personas_come_and_go() {
    let test = TestApp::demo().await;
    let (one, two) = (persona(&test, "one").await, persona(&test, "two").await);
    let input = json!({
        "name": "Launch", "objective": "reach", "personaIds": [one], "externalId": "c1",
        "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2026-02-01T00:00:00Z",
        "budget": { "amountMinor": "12345", "currency": "EUR" },
    });
    let fields = "campaign { id version budget { amountMinor currency } personas { nodes { id } } }";
    let made = done(&test, "createCampaign", "CreateCampaignInput", input.clone(), fields).await;
    let id = made["campaign"]["id"].clone();
    assert_eq!(made["campaign"]["personas"]["nodes"], json!([{ "id": one }]));
    assert_eq!(
        refused(&test, "createCampaign", "CreateCampaignInput", input).await.0,
        "CONFLICT",
        "the external id is taken"
    );

    let pair = json!({ "campaignId": id, "personaIds": [one, two, two] });
    let added = done(&test, "addCampaignPersonas", "CampaignPersonasInput", pair.clone(), fields).await;
    assert_eq!(added["campaign"]["personas"]["nodes"].as_array().unwrap().len(), 2);
    let before = audit_count(&test, "addCampaignPersonas").await;
    done(&test, "addCampaignPersonas", "CampaignPersonasInput", pair, fields).await;
    assert_eq!(audit_count(&test, "addCampaignPersonas").await, before, "nothing changed, nothing is written");
    let gone = json!({ "campaignId": id, "personaIds": [one] });
    let left = done(&test, "removeCampaignPersonas", "CampaignPersonasInput", gone, fields).await;
    assert_eq!(left["campaign"]["personas"]["nodes"], json!([{ "id": two }]));
    let nobody = json!({ "campaignId": id, "personaIds": [two, NOBODY] });
    let nobody = refused(&test, "addCampaignPersonas", "CampaignPersonasInput", nobody).await;
    assert_eq!(nobody, because("NOT_FOUND", "input.personaIds.1"));

    let change = json!({ "id": id, "expectedVersion": 1, "budget": null, "endsAt": null, "status": "ACTIVE" });
    let changed = done(
        &test,
        "updateCampaign",
        "UpdateCampaignInput",
        change.clone(),
        "campaign { version budget { currency } endsAt startsAt }",
    )
    .await;
    assert_eq!(
        changed["campaign"],
        json!({ "version": 2, "budget": null, "endsAt": null, "startsAt": "2026-01-01T00:00:00Z" })
    );
    let stale = refused(&test, "updateCampaign", "UpdateCampaignInput", change).await;
    assert_eq!(stale, because("CONFLICT", "input.expectedVersion"));
    let backwards = json!({ "id": id, "endsAt": "2025-01-01T00:00:00Z" });
    assert_eq!(
        refused(&test, "updateCampaign", "UpdateCampaignInput", backwards).await,
        because("INVALID", "input.endsAt")
    );
    let negative = json!({ "id": id, "budget": { "amountMinor": "-1", "currency": "EUR" } });
    let negative = refused(&test, "updateCampaign", "UpdateCampaignInput", negative).await;
    assert_eq!(negative, because("INVALID", "input.budget.amountMinor"));
}

#[tokio::test]
async fn posts_go_out_once() {
    let test = TestApp::demo().await;
    let persona = persona(&test, "poster").await;
    let input = json!({ "personaId": persona, "text": "Look up!", "topics": ["#Moon", "moon "], "platform": "x" });
    let made = done(&test, "createPost", "CreatePostInput", input.clone(), "post { id topics status }").await;
    assert_eq!(made["post"]["topics"], json!(["moon"]));
    let id = made["post"]["id"].clone();
    for (change, reason) in [
        (json!({ "id": id, "status": "SCHEDULED" }), because("INVALID", "input.scheduledAt")),
        (json!({ "id": id, "status": "PUBLISHED" }), because("REFUSED", "input.status")),
        (json!({ "id": id, "campaignId": NOBODY }), because("INVALID", "input.campaignId")),
        (
            json!({ "id": id, "videoId": "video_00000000000000000000000000000063" }),
            because("NOT_FOUND", "input.videoId"),
        ),
        (json!({ "id": id, "text": " " }), because("INVALID", "input.text")),
    ] {
        assert_eq!(refused(&test, "updatePost", "UpdatePostInput", change.clone()).await, reason, "{change}");
    }
    let plan = json!({ "id": id, "status": "SCHEDULED", "scheduledAt": "2026-03-01T00:00:00Z" });
    done(&test, "updatePost", "UpdatePostInput", plan, "post { status }").await;
    let out = json!({ "id": id, "url": "https://example.org/1" });
    let out_payload =
        done(&test, "publishPost", "PublishPostInput", out.clone(), "post { status publishedAt url version }").await;
    let expected = json!({ "status": "PUBLISHED", "publishedAt": "2026-01-02T12:00:00Z", "url": "https://example.org/1", "version": 3 });
    assert_eq!(out_payload["post"], expected);
    assert_eq!(refused(&test, "publishPost", "PublishPostInput", out).await, because("REFUSED", "input.id"));
    let back = json!({ "id": id, "status": "DRAFT" });
    assert_eq!(refused(&test, "updatePost", "UpdatePostInput", back).await, because("REFUSED", "input.status"));
}

#[tokio::test]
async fn videos_and_the_telemetry_of_their_renders() {
    let test = TestApp::demo().await;
    let persona = persona(&test, "filmer").await;
    let input = json!({ "personaId": persona, "title": "Stars", "duration": "PT1M30S", "tags": ["a"] });
    let made = done(&test, "createVideo", "CreateVideoInput", input, "video { id duration publishedAt }").await;
    let id = made["video"]["id"].clone();
    assert_eq!(made["video"]["duration"], json!("PT1M30S"));
    let change = json!({ "id": id, "status": "PUBLISHED", "duration": null });
    let changed =
        done(&test, "updateVideo", "UpdateVideoInput", change, "video { duration publishedAt version }").await;
    assert_eq!(changed["video"], json!({ "duration": null, "publishedAt": "2026-01-02T12:00:00Z", "version": 2 }));
    let ghost = json!({ "id": id, "thumbnailId": "asset_00000000000000000000000000000063" });
    assert_eq!(
        refused(&test, "updateVideo", "UpdateVideoInput", ghost).await,
        because("NOT_FOUND", "input.thumbnailId")
    );

    let event = json!({ "id": "018f4e9a-0000-7000-8000-000000000001", "videoId": id, "stage": "RENDER", "at": "2026-01-02T11:00:00Z", "duration": "PT2S", "costMicros": "1500", "frames": "48", "gpuSeconds": 1.5 });
    let batch = json!({ "events": [event, event] });
    let stored =
        done(&test, "recordRenderEvents", "RecordRenderEventsInput", batch.clone(), "inserted duplicates").await;
    assert_eq!((&stored["inserted"], &stored["duplicates"]), (&json!(1), &json!(1)));
    let stored = done(&test, "recordRenderEvents", "RecordRenderEventsInput", batch, "inserted duplicates").await;
    assert_eq!((&stored["inserted"], &stored["duplicates"]), (&json!(0), &json!(2)));
    let document =
        "query($id: ID!) { node(id: $id) { ... on Video { renderEvents { nodes { costMicros persona { id } } } } } }";
    let seen = test.ask(document, json!({ "id": id })).await;
    assert_eq!(
        seen.data()["node"]["renderEvents"]["nodes"],
        json!([{ "costMicros": "1500", "persona": { "id": persona } }])
    );
    let mut stray = event.clone();
    stray["videoId"] = json!("video_00000000000000000000000000000063");
    let stray = json!({ "events": [event, stray] });
    let stray = refused(&test, "recordRenderEvents", "RecordRenderEventsInput", stray).await;
    assert_eq!(stray, because("NOT_FOUND", "input.events.1.videoId"));
}

#[tokio::test]
async fn a_task_lives_from_queue_to_replay() {
    let test = TestApp::demo().await;
    let persona = persona(&test, "worker").await;
    let input = json!({ "tasks": [
        { "queue": "it", "kind": "k", "personaId": persona, "dedupeKey": "d", "payload": { "n": 1 } },
        { "queue": "NOT A QUEUE", "kind": "k" },
        { "queue": "it", "kind": "k", "personaId": NOBODY },
        { "queue": "it", "kind": "k", "dedupeKey": "d" },
    ] });
    let fields = "tasks { task { id state maxAttempts persona { id } } deduplicated }";
    let payload = mutate(&test, "enqueueTasks", "EnqueueTasksInput", input, fields).await;
    let id = payload["tasks"][0]["task"]["id"].clone();
    assert_eq!(payload["tasks"][0]["deduplicated"], json!(false));
    assert_eq!((&payload["tasks"][1], &payload["tasks"][2]), (&Value::Null, &Value::Null));
    assert_eq!((&payload["tasks"][3]["deduplicated"], &payload["tasks"][3]["task"]["id"]), (&json!(true), &id));
    let errors: Vec<_> = payload["userErrors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["code"].clone(), error["field"].clone()))
        .collect();
    assert_eq!(
        errors,
        [
            (json!("INVALID"), json!(["input", "tasks", "1"])),
            (json!("NOT_FOUND"), json!(["input", "tasks", "2", "personaId"]))
        ]
    );

    let reserve = async || {
        let input = json!({ "queue": "it", "worker": "w" });
        let payload =
            done(&test, "reserveTasks", "ReserveTasksInput", input, "tasks { id state lease { token worker } }").await;
        payload["tasks"][0]["lease"]["token"].clone()
    };
    let token = reserve().await;
    let beat = json!({ "holds": [{ "taskId": id, "token": token, "progress": 0.5 }, { "taskId": id, "token": "018f4e9a-0000-7000-8000-000000000001" }] });
    let beats = mutate(&test, "heartbeatTasks", "HeartbeatTasksInput", beat, "tasks { progress }").await;
    assert_eq!(beats["tasks"], json!([{ "progress": 0.5 }, null]));
    assert_eq!(beats["userErrors"][0]["code"], json!("CONFLICT"));
    let fail = json!({ "holds": [{ "taskId": id, "token": token, "error": "no disk", "retryable": false }] });
    let failed = done(&test, "failTasks", "FailTasksInput", fail, "tasks { state lastError }").await;
    assert_eq!(failed["tasks"], json!([{ "state": "DEAD", "lastError": "no disk" }]));
    let replayed = done(&test, "replayTasks", "ReplayTasksInput", json!({ "ids": [id] }), "tasks { state }").await;
    assert_eq!(replayed["tasks"], json!([{ "state": "READY" }]));
    let token = reserve().await;
    let finish = json!({ "holds": [{ "taskId": id, "token": token, "result": { "ok": true } }] });
    let finished = done(&test, "completeTasks", "CompleteTasksInput", finish.clone(), "tasks { state result }").await;
    assert_eq!(finished["tasks"], json!([{ "state": "COMPLETED", "result": { "ok": true } }]));
    assert_eq!(
        refused(&test, "completeTasks", "CompleteTasksInput", finish).await,
        because("CONFLICT", "input.holds.0")
    );
    let turns =
        json!({ "personaId": persona, "turns": [{ "conversation": "c", "role": "USER", "text": "one two three" }] });
    let turns = done(&test, "appendTurns", "AppendTurnsInput", turns, "turns { tokens role }").await;
    assert_eq!(turns["turns"], json!([{ "tokens": 4, "role": "USER" }]));
    let future = |at: &str| json!({ "personaId": persona, "turns": [{ "conversation": "c", "role": "USER", "text": "one", "at": at }] });
    done(&test, "appendTurns", "AppendTurnsInput", future("2026-01-03T12:00:00Z"), "turns { at }").await;
    let refused = refused(&test, "appendTurns", "AppendTurnsInput", future("2026-01-03T12:00:00.001Z")).await;
    assert_eq!(refused, because("INVALID", "input.turns.0.at"));
    for silent in ["enqueueTasks", "completeTasks", "appendTurns"] {
        assert_eq!(audit_count(&test, silent).await, 0, "{silent}");
    }
}

#[tokio::test]
async fn uploads_are_requested_and_completed_only_with_their_bytes() {
    let test = TestApp::demo().await;
    let bytes = b"plain words";
    let input = json!({
        "kind": "OTHER", "contentType": "text/plain", "sizeBytes": bytes.len().to_string(),
        "sha256": hex::encode(Sha256::digest(bytes)), "fileName": "a.txt", "metadata": { "from": "test" },
    });
    let fields = "asset { id status url metadata } upload { url method headers { name value } expiresAt }";
    let made = done(&test, "requestUpload", "RequestUploadInput", input.clone(), fields).await;
    assert_eq!((&made["asset"]["status"], &made["asset"]["url"]), (&json!("PENDING"), &Value::Null));
    assert!(made["upload"]["url"].as_str().unwrap().starts_with("http"), "{made}");
    assert_eq!(made["upload"]["expiresAt"], json!("2026-01-02T12:15:00Z"));
    let id = json!({ "id": made["asset"]["id"] });
    assert_eq!(
        refused(&test, "completeUpload", "CompleteUploadInput", id.clone()).await.0,
        "NOT_FOUND",
        "nothing has arrived"
    );
    let old = json!({ "id": made["asset"]["id"], "version": "1" });
    assert_eq!(
        refused(&test, "restoreAssetVersion", "RestoreAssetVersionInput", old).await,
        because("REFUSED", "input.id")
    );

    let url = made["upload"]["url"].as_str().unwrap();
    let token = url.rsplit('/').next().unwrap();
    let media = test.app.shared.stores.media().unwrap();
    let body = Box::pin(futures_util::stream::iter([Ok(bytes::Bytes::from_static(bytes))]));
    media.local().unwrap().accept(token, Some("text/plain"), body).await.unwrap();
    let ready = done(
        &test,
        "completeUpload",
        "CompleteUploadInput",
        id.clone(),
        "asset { status version url versions { version } }",
    )
    .await;
    assert_eq!((&ready["asset"]["status"], &ready["asset"]["version"]), (&json!("READY"), &json!(2)));
    let again = done(&test, "completeUpload", "CompleteUploadInput", id, "asset { version }").await;
    assert_eq!(again["asset"]["version"], json!(2), "a repeat changes nothing");
    let version = ready["asset"]["versions"][0]["version"].clone();
    let restore = json!({ "id": made["asset"]["id"], "version": version });
    let restored = done(&test, "restoreAssetVersion", "RestoreAssetVersionInput", restore, "asset { version }").await;
    assert_eq!(restored["asset"]["version"], json!(2), "it was the newest already");
    let mut bad = input;
    bad["sizeBytes"] = json!("0");
    assert_eq!(refused(&test, "requestUpload", "RequestUploadInput", bad).await.0, "INVALID");
}

#[tokio::test]
async fn money_moves_between_registered_wallets_only() {
    let test = TestApp::demo().await;
    let persona = persona(&test, "payer").await;
    let wallet = async || {
        let input = json!({ "personaId": persona, "chain": "LOCAL", "label": "till" });
        done(&test, "createWallet", "CreateWalletInput", input, "wallet { id address }").await["wallet"].clone()
    };
    let (one, two) = (wallet().await, wallet().await);
    let token = json!({ "symbol": "CHIM", "decimals": 2 });
    let submission = |from: &Value, amount: &str, key: &str| {
        json!({ "chain": "LOCAL", "idempotencyKey": key, "operations": [
            { "mint": { "to": one["address"], "token": token, "amount": "100" } },
            { "transfer": { "from": from, "to": two["address"], "token": token, "amount": amount, "memo": { "why": "test" } } },
        ] })
    };
    let fields = "receipt { transaction blockNumber entries { kind amount } }";
    let good = submission(&one["address"], "30", "k1");
    let receipt = done(&test, "submitTransaction", "SubmitTransactionInput", good.clone(), fields).await;
    assert_eq!(
        receipt["receipt"]["entries"],
        json!([{ "kind": "MINT", "amount": "100" }, { "kind": "TRANSFER", "amount": "30" }])
    );
    assert_eq!(
        done(&test, "submitTransaction", "SubmitTransactionInput", good, fields).await,
        receipt,
        "the same key, the same receipt"
    );
    let stranger = json!(format!("local:{}", "0".repeat(40)));
    let stranger =
        refused(&test, "submitTransaction", "SubmitTransactionInput", submission(&stranger, "1", "k2")).await;
    assert_eq!(stranger, because("NOT_FOUND", "input.operations.1.transfer.from"));
    let greedy =
        refused(&test, "submitTransaction", "SubmitTransactionInput", submission(&one["address"], "100000", "k3"))
            .await;
    assert_eq!(greedy.0, "CONFLICT");
    assert_eq!(audit_count(&test, "submitTransaction").await, 3, "every request that reached the ledger, and no other");
    let elsewhere = json!({ "personaId": persona, "chain": "BASE" });
    assert_eq!(
        refused(&test, "createWallet", "CreateWalletInput", elsewhere).await,
        because("INVALID", "input.address")
    );

    let bill = json!({ "kind": "API", "amount": { "amountMinor": "250", "currency": "USD" }, "personaId": persona, "externalId": "b1" });
    let bill = done(
        &test,
        "createBillingRecord",
        "CreateBillingRecordInput",
        bill,
        "billingRecord { amount { amountMinor } persona { id } }",
    )
    .await;
    assert_eq!(bill["billingRecord"], json!({ "amount": { "amountMinor": "250" }, "persona": { "id": persona } }));
}

#[tokio::test]
async fn a_key_works_until_it_is_revoked() {
    let test = TestApp::demo().await;
    let input = json!({ "name": "worker", "role": "EDITOR" });
    let made =
        done(&test, "createApiKey", "CreateApiKeyInput", input, "token apiKey { id prefix role revokedAt }").await;
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with(made["apiKey"]["prefix"].as_str().unwrap()));
    let hash = chimera::token::hash_token(token);
    let relational = &test.app.shared.stores.relational;
    assert_eq!(relational.authenticate(&hash).await.unwrap().map(|scope| scope.role()), Some(Role::Editor));
    let id = json!({ "id": made["apiKey"]["id"] });
    let revoked = done(&test, "revokeApiKey", "RevokeApiKeyInput", id.clone(), "apiKey { revokedAt }").await;
    assert_eq!(revoked["apiKey"]["revokedAt"], json!("2026-01-02T12:00:00Z"));
    assert!(relational.authenticate(&hash).await.unwrap().is_none());
    assert_eq!(done(&test, "revokeApiKey", "RevokeApiKeyInput", id, "apiKey { revokedAt }").await, revoked);
    let past = json!({ "name": "late", "role": "VIEWER", "expiresAt": "2020-01-01T00:00:00Z" });
    assert_eq!(refused(&test, "createApiKey", "CreateApiKeyInput", past).await, because("INVALID", "input.expiresAt"));
}

#[tokio::test]
async fn roles_bound_what_can_be_changed() {
    let test = TestApp::demo().await;
    let as_role = |role| Scope::new(test.scope().organization_id(), Principal::User(uuid::Uuid::from_u128(5)), role);
    let key = "mutation { createApiKey(input: { name: \"x\", role: VIEWER }) { token } }";
    let forget = "mutation { forgetMemories(input: { ids: [] }) { userErrors { code } } }";
    for (role, document, forbidden) in [
        (Role::Viewer, forget, true),
        (Role::Editor, forget, false),
        (Role::Editor, key, true),
        (Role::Admin, key, false),
    ] {
        let answer = test.ask_as(&as_role(role), document, json!({})).await;
        let codes: Vec<_> = answer.errors().into_iter().map(|(_, code)| code).collect();
        assert_eq!(codes.contains(&"FORBIDDEN".to_owned()), forbidden, "{role:?} {:#}", answer.body);
    }
}

#[tokio::test]
async fn another_organisation_changes_nothing_here() {
    let test = TestApp::demo().await;
    let persona = persona(&test, "mine").await;
    let document = "mutation($id: ID!) { updatePersona(input: { id: $id, name: \"stolen\" }) { userErrors { code } } }";
    let answer = test.ask_as(&test.foreign(), document, json!({ "id": persona })).await;
    assert_eq!(answer.data()["updatePersona"]["userErrors"], json!([{ "code": "NOT_FOUND" }]));
}
