//! Spend reports: what each way to group adds up to, and in which order.

use super::fixtures::*;
use chimera_stores::{
    ErrorKind, Scope,
    relational::{Column, MAX_SPEND_ROWS, Record, Row, SpendGroup, SpendQuery, SpendReport, SpendRow},
};
use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use entity::{
    billing_record::{self, Kind},
    campaign, persona,
};
use std::collections::BTreeMap;
use uuid::Uuid;

const EVERY_GROUP: [SpendGroup; 5] =
    [SpendGroup::Campaign, SpendGroup::Persona, SpendGroup::Kind, SpendGroup::Day, SpendGroup::Month];

/// Everything of the organisation in rows of one currency each.
fn ask(group_by: &[SpendGroup]) -> SpendQuery {
    SpendQuery { parent: None, from: None, to: None, group_by: group_by.to_vec(), limit: MAX_SPEND_ROWS }
}

fn row(currency: &str, amount_minor: i64, records: u64) -> SpendRow {
    SpendRow {
        campaign_id: None,
        persona_id: None,
        kind: None,
        start: None,
        currency: currency.to_owned(),
        amount_minor,
        records,
    }
}

fn day(month: u32, day: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, month, day, 0, 0, 0).unwrap()
}

fn bill(
    scope: &Scope,
    amount: i64,
    kind: Kind,
    at: DateTime<Utc>,
    campaign: Option<&campaign::Model>,
    persona: Option<&persona::Model>,
) -> billing_record::Model {
    billing_record::Model {
        campaign_id: campaign.map(|campaign| campaign.id),
        persona_id: persona.map(|persona| persona.id),
        kind,
        occurred_at: at,
        ..billing(scope, amount, "USD")
    }
}

async fn report(world: &Relations, query: SpendQuery) -> SpendReport {
    world.handle.spend_reports(&world.scope, &[query]).await.unwrap().pop().unwrap()
}

async fn rows(world: &Relations, query: SpendQuery) -> Vec<SpendRow> {
    let report = report(world, query).await;
    assert!(!report.has_more);
    report.rows
}

pub async fn spend_is_told_apart_by_what_is_asked(world: Relations) {
    let (ada, bob) = seed(&world).await;
    let scope = &world.scope;
    let (launch, other) = (campaign(scope, "Launch"), campaign(scope, "Other"));
    let bills = [
        bill(scope, 100, Kind::Render, day(1, 1), Some(&launch), Some(&ada)),
        bill(scope, 50, Kind::Render, day(1, 1) + TimeDelta::hours(23), Some(&launch), Some(&bob)),
        bill(scope, -30, Kind::Credit, day(1, 2), Some(&launch), Some(&ada)),
        bill(scope, 500, Kind::Promotion, day(2, 1), Some(&other), Some(&ada)),
        bill(scope, 7, Kind::Storage, day(2, 3), None, None),
        billing_record::Model { currency: "EUR".to_owned(), ..bill(scope, 9, Kind::Render, day(1, 1), None, None) },
    ];
    let campaigns = [launch.clone().into_row(), other.clone().into_row()];
    insert(&world, scope, campaigns.into_iter().chain(bills.map(Record::into_row))).await;

    assert_eq!(rows(&world, ask(&[])).await, [row("EUR", 9, 1), row("USD", 627, 5)]);

    let of = |row: SpendRow, campaign: Option<&campaign::Model>| SpendRow {
        campaign_id: campaign.map(|campaign| campaign.id),
        ..row
    };
    let by_campaign = [
        row("EUR", 9, 1),
        of(row("USD", 500, 1), Some(&other)),
        of(row("USD", 120, 3), Some(&launch)),
        row("USD", 7, 1),
    ];
    assert_eq!(rows(&world, ask(&[SpendGroup::Campaign])).await, by_campaign);

    let by = |row: SpendRow, persona: &persona::Model| SpendRow { persona_id: Some(persona.id), ..row };
    let by_persona = [row("EUR", 9, 1), by(row("USD", 570, 3), &ada), by(row("USD", 50, 1), &bob), row("USD", 7, 1)];
    assert_eq!(rows(&world, ask(&[SpendGroup::Persona])).await, by_persona);

    let of_kind = |row: SpendRow, kind| SpendRow { kind: Some(kind), ..row };
    let by_kind = [
        of_kind(row("EUR", 9, 1), Kind::Render),
        of_kind(row("USD", 500, 1), Kind::Promotion),
        of_kind(row("USD", 150, 2), Kind::Render),
        of_kind(row("USD", 7, 1), Kind::Storage),
        of_kind(row("USD", -30, 1), Kind::Credit),
    ];
    assert_eq!(rows(&world, ask(&[SpendGroup::Kind])).await, by_kind);

    let since = |row: SpendRow, start| SpendRow { start: Some(start), ..row };
    let by_day = [
        since(row("EUR", 9, 1), day(1, 1)),
        since(row("USD", 150, 2), day(1, 1)),
        since(row("USD", -30, 1), day(1, 2)),
        since(row("USD", 500, 1), day(2, 1)),
        since(row("USD", 7, 1), day(2, 3)),
    ];
    assert_eq!(rows(&world, ask(&[SpendGroup::Day])).await, by_day);
    let by_month = [
        since(row("EUR", 9, 1), day(1, 1)),
        since(row("USD", 120, 3), day(1, 1)),
        since(row("USD", 507, 2), day(2, 1)),
    ];
    assert_eq!(rows(&world, ask(&[SpendGroup::Month])).await, by_month);

    // Several at once, asked in any order and with repeats.
    let groups = [SpendGroup::Month, SpendGroup::Campaign, SpendGroup::Persona, SpendGroup::Campaign];
    let both = [
        since(row("EUR", 9, 1), day(1, 1)),
        by(of(since(row("USD", 70, 2), day(1, 1)), Some(&launch)), &ada),
        by(of(since(row("USD", 50, 1), day(1, 1)), Some(&launch)), &bob),
        by(of(since(row("USD", 500, 1), day(2, 1)), Some(&other)), &ada),
        since(row("USD", 7, 1), day(2, 1)),
    ];
    assert_eq!(rows(&world, ask(&groups)).await, both);
}

pub async fn spend_of_a_batch_keeps_its_questions_apart(world: Relations) {
    let (ada, bob) = seed(&world).await;
    let scope = &world.scope;
    let launch = campaign(scope, "Launch");
    let mut all = vec![launch.clone().into_row()];
    for (amount, at, persona) in [(1, day(1, 1), &ada), (2, day(1, 2), &bob), (4, day(1, 3), &ada)] {
        all.push(bill(scope, amount, Kind::Api, at, Some(&launch), Some(persona)).into_row());
    }
    insert(&world, scope, all).await;
    // What another organisation was billed at the same time is no part of it.
    insert(&world, &world.foreign, [bill(&world.foreign, 1000, Kind::Api, day(1, 2), None, None).into_row()]).await;

    let of_persona = |id| Some((Column::PersonaId, id));
    let queries = [
        SpendQuery { parent: of_persona(ada.id), ..ask(&[]) },
        ask(&[SpendGroup::Kind]),
        SpendQuery { parent: Some((Column::CampaignId, launch.id)), ..ask(&[SpendGroup::Persona]) },
        SpendQuery { parent: of_persona(Uuid::from_u128(99)), ..ask(&[SpendGroup::Day]) },
        SpendQuery { from: Some(day(1, 2)), to: Some(day(1, 3)), ..ask(&[]) },
        SpendQuery { parent: of_persona(ada.id), from: Some(day(1, 2)), ..ask(&[SpendGroup::Day]) },
        SpendQuery { from: Some(DateTime::<Utc>::MIN_UTC), to: Some(DateTime::<Utc>::MAX_UTC), ..ask(&[]) },
        SpendQuery { to: Some(day(1, 1)), ..ask(&[]) },
        SpendQuery { parent: of_persona(ada.id), ..ask(&[]) },
    ];
    let of = |persona: &persona::Model, row: SpendRow| SpendRow { persona_id: Some(persona.id), ..row };
    let expected = [
        vec![row("USD", 5, 2)],
        vec![SpendRow { kind: Some(Kind::Api), ..row("USD", 7, 3) }],
        vec![of(&ada, row("USD", 5, 2)), of(&bob, row("USD", 2, 1))],
        vec![],
        vec![row("USD", 2, 1)],
        vec![SpendRow { start: Some(day(1, 3)), ..row("USD", 4, 1) }],
        vec![row("USD", 7, 3)],
        vec![],
        vec![row("USD", 5, 2)],
    ]
    .map(|rows| SpendReport { rows, has_more: false });
    assert_eq!(world.handle.spend_reports(scope, &queries).await.unwrap(), expected);
    assert_eq!(world.handle.spend_reports(scope, &[]).await.unwrap(), []);
    let theirs = world.handle.spend_reports(&world.foreign, &queries[..2]).await.unwrap();
    assert_eq!(theirs[0].rows, [], "a persona of another organisation is as an absent one");
    assert_eq!(theirs[1].rows, [SpendRow { kind: Some(Kind::Api), ..row("USD", 1000, 1) }]);
}

pub async fn a_long_spend_report_is_cut_and_says_so(world: Relations) {
    let (ada, bob) = seed(&world).await;
    let scope = &world.scope;
    let records: Vec<Row> = (1..=28)
        .flat_map(|date| [(&ada, i64::from(date)), (&bob, 100)].map(|(persona, amount)| (date, persona, amount)))
        .map(|(date, persona, amount)| bill(scope, amount, Kind::Api, day(1, date), None, Some(persona)).into_row())
        .collect();
    insert(&world, scope, records).await;
    let groups = [SpendGroup::Day, SpendGroup::Persona];
    let whole = report(&world, ask(&groups)).await;
    assert_eq!((whole.rows.len(), whole.has_more), (56, false));
    for limit in [1, 2, 55, 56, 57] {
        let cut = report(&world, SpendQuery { limit, ..ask(&groups) }).await;
        let rows = whole.rows.iter().take(limit as usize).cloned().collect();
        assert_eq!(cut, SpendReport { rows, has_more: limit < 56 }, "{limit}");
    }
    // Each question of a batch has a limit of its own.
    let queries = [3, 1].map(|limit| SpendQuery { limit, ..ask(&groups) });
    let lengths: Vec<usize> =
        world.handle.spend_reports(scope, &queries).await.unwrap().iter().map(|report| report.rows.len()).collect();
    assert_eq!(lengths, [3, 1]);
}

pub async fn spend_reports_equal_the_sum_of_the_records(world: Relations) {
    let (ada, bob) = seed(&world).await;
    let scope = &world.scope;
    let unbounded = |name| campaign::Model { budget_minor: None, ..campaign(scope, name) };
    let campaigns = [unbounded("One"), unbounded("Two")];
    insert(&world, scope, campaigns.clone().map(Record::into_row)).await;
    // A small generator of its own, so that every run asks the same.
    let mut state = 7_u64;
    let mut next = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let kinds = [Kind::Render, Kind::Storage, Kind::Api, Kind::Credit];
    let mut records = Vec::new();
    for _ in 0..300 {
        let kind = kinds[next(4) as usize];
        let amount = i64::try_from(next(1_000_000)).unwrap() * if kind == Kind::Credit { -1 } else { 1 };
        let at = day(1, 1) + TimeDelta::seconds(i64::try_from(next(90 * 86_400)).unwrap());
        let campaign = campaigns.get(next(3) as usize);
        let persona = [&ada, &bob].get(next(3) as usize).copied();
        let currency = ["USD", "EUR", "JPY"][next(3) as usize].to_owned();
        records.push(billing_record::Model { currency, ..bill(scope, amount, kind, at, campaign, persona) });
    }
    insert(&world, scope, records.iter().cloned().map(Record::into_row)).await;

    type Key = (Option<Uuid>, Option<Uuid>, Option<Kind>, Option<DateTime<Utc>>, String);
    fn key(row: &SpendRow) -> Key {
        (row.campaign_id, row.persona_id, row.kind, row.start, row.currency.clone())
    }
    // Every way to group but those with both a day and a month.
    let ways = (0..32_usize).map(|bits| {
        EVERY_GROUP.into_iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, group)| group).collect()
    });
    let ways: Vec<Vec<SpendGroup>> = ways.filter(|groups: &Vec<_>| ask(groups).check().is_ok()).collect();
    assert_eq!(ways.len(), 24);
    let queries: Vec<SpendQuery> = ways.iter().map(|groups| ask(groups)).collect();
    let reports = world.handle.spend_reports(scope, &queries).await.unwrap();
    for (query, report) in queries.iter().zip(reports) {
        let mut expected: BTreeMap<String, (Key, i64, u64)> = BTreeMap::new();
        for record in &records {
            let by = |group, value: Option<Uuid>| value.filter(|_| query.groups_by(group));
            let date = record.occurred_at.date_naive();
            let start = if query.groups_by(SpendGroup::Day) {
                Some(date)
            } else {
                chrono::Datelike::with_day(&date, 1).filter(|_| query.groups_by(SpendGroup::Month))
            };
            let key: Key = (
                by(SpendGroup::Campaign, record.campaign_id),
                by(SpendGroup::Persona, record.persona_id),
                Some(record.kind).filter(|_| query.groups_by(SpendGroup::Kind)),
                start.map(|date| date.and_hms_opt(0, 0, 0).unwrap().and_utc()),
                record.currency.clone(),
            );
            let sum = expected.entry(format!("{key:?}")).or_insert((key, 0, 0));
            sum.1 += record.amount_minor;
            sum.2 += 1;
        }
        let found: BTreeMap<String, (Key, i64, u64)> = report
            .rows
            .iter()
            .map(|row| (format!("{:?}", key(row)), (key(row), row.amount_minor, row.records)))
            .collect();
        assert_eq!(found.len(), report.rows.len(), "no group comes twice: {:?}", query.group_by);
        assert_eq!(found, expected, "{:?}", query.group_by);
        let order = |row: &SpendRow| {
            let last = |id: Option<Uuid>| (id.is_none(), id);
            let kind = row.kind.map(|kind| serde_json::to_string(&kind).unwrap());
            let amount = std::cmp::Reverse(row.amount_minor);
            (row.start, row.currency.clone(), amount, kind, last(row.campaign_id), last(row.persona_id))
        };
        assert!(report.rows.is_sorted_by_key(order), "{:?}", query.group_by);
    }
}

pub async fn spend_questions_that_make_no_sense_are_refused(world: Relations) {
    seed(&world).await;
    let now = noon();
    for (query, words) in [
        (ask(&EVERY_GROUP), "day or by month"),
        (SpendQuery { limit: 0, ..ask(&[]) }, "1 to 1000"),
        (SpendQuery { limit: MAX_SPEND_ROWS + 1, ..ask(&[]) }, "1 to 1000"),
        (SpendQuery { from: Some(now), to: Some(now), ..ask(&[]) }, "ends before it begins"),
        (SpendQuery { parent: Some((Column::VideoId, Uuid::nil())), ..ask(&[]) }, "a campaign or a persona"),
    ] {
        let error = world.handle.spend_reports(&world.scope, &[ask(&[]), query]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(words), "{error}");
    }
}
