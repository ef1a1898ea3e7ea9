//! What only this adapter promises: what survives `kill -9`, which files are refused, retention by itself, and that
//! its statements use their indexes.

use super::*;
use crate::{
    ErrorKind, ManualClock, SystemClock,
    page::Slice,
    telemetry::{
        Fill, Measure, RankBy, RankOrder, Stage, Subject, TimeRange,
        edges::{Cut, Steps, Zone},
    },
};
use chrono::TimeZone;
use sea_orm::DbBackend;
use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::Duration,
};

const CHILD: &str = "CHIMERA_TELEMETRY_CRASH";

fn event(number: u128, at: DateTime<Utc>) -> RenderEvent {
    RenderEvent {
        id: Uuid::from_u128(number),
        video_id: Uuid::from_u128(1),
        persona_id: Uuid::from_u128(2),
        campaign_id: Some(Uuid::from_u128(3)),
        stage: Stage::Render,
        at,
        duration_ms: 1,
        cost_micros: 1,
        frames: 1,
        gpu_seconds: 0.1,
        succeeded: true,
    }
}

fn scope(number: u128) -> Scope {
    Scope::system(Uuid::from_u128(number))
}

/// The child of [`what_was_acknowledged_survives_a_kill`]; does nothing when run as a test.
#[tokio::test]
async fn crash_child() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let path = Path::new(&folder).join("telemetry.db");
    let store = SqliteTelemetry::open(&path, Policies::default(), Arc::new(SystemClock)).await.unwrap();
    let first: u128 = std::env::var("FIRST").unwrap().parse().unwrap();
    for batch in first.. {
        let events: Vec<_> = (0..3).map(|index| event(batch * 3 + index, Utc::now())).collect();
        store.append(&scope(1), &events).await.unwrap();
        println!("\nstored {batch} end");
        std::io::stdout().flush().unwrap();
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for _ in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "telemetry::sqlite::tests::crash_child", "--nocapture"])
            .env(CHILD, folder.path())
            .env("FIRST", (acknowledged + 1_000).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let batch = |line: String| line.strip_prefix("stored ")?.strip_suffix(" end")?.parse::<u128>().ok();
        let mut stored: Vec<u128> = vec![lines.by_ref().find_map(batch).expect("the child stores nothing")];
        tokio::time::sleep(Duration::from_millis(rand::random_range(5..120))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        stored.extend(lines.filter_map(batch));
        acknowledged = *stored.last().unwrap();
        let path = folder.path().join("telemetry.db");
        let store = SqliteTelemetry::open(&path, Policies::default(), Arc::new(SystemClock)).await.unwrap();
        let ids: Vec<Uuid> =
            stored.iter().flat_map(|batch| (0..3).map(move |index| Uuid::from_u128(batch * 3 + index))).collect();
        let found = store.events(&scope(1), &ids).await.unwrap();
        assert!(found.iter().all(Option::is_some), "an acknowledged event is gone");
        // A batch is there as a whole or not at all.
        let all = Slice::first(1_000_000);
        let query = EventPageQuery { subject: Subject::Organization, range: None, stages: vec![], slice: all };
        assert_eq!(store.event_pages(&scope(1), &[query]).await.unwrap()[0].items.len() % 3, 0);
    }
}

#[tokio::test]
async fn damaged_and_foreign_files_are_refused_as_they_lie_there() {
    let folder = tempfile::tempdir().unwrap();
    let clock = || Arc::new(SystemClock);
    let text = folder.path().join("text.db");
    std::fs::write(&text, "not a database, but long enough to be taken for one; ".repeat(100)).unwrap();
    let foreign = folder.path().join("foreign.db");
    let url = format!("sqlite://{}?mode=rwc", foreign.display());
    let other = sea_orm::Database::connect(url).await.unwrap();
    other.execute_unprepared("CREATE TABLE theirs (id INTEGER)").await.unwrap();
    other.close().await.unwrap();
    let damaged = folder.path().join("damaged.db");
    let store = SqliteTelemetry::open(&damaged, Policies::default(), clock()).await.unwrap();
    let events: Vec<_> = (0..2_000).map(|number| event(number, Utc::now())).collect();
    store.append(&scope(1), &events).await.unwrap();
    store.connections.readers.clone().close().await.unwrap();
    store.connections.writer.clone().close().await.unwrap();
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0xa5);
    std::fs::write(&damaged, bytes).unwrap();
    for path in [text, foreign, damaged] {
        let before = std::fs::read(&path).unwrap();
        let error = SqliteTelemetry::open(&path, Policies::default(), clock()).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        assert!(error.message().contains(&path.display().to_string()), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}

#[tokio::test]
async fn a_newer_file_and_an_absent_folder_have_their_own_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a folder # with % signs?").join("telemetry.db");
    let open = || SqliteTelemetry::open(&path, Policies::default(), Arc::new(SystemClock));
    assert_eq!(open().await.map(drop).unwrap_err().kind(), ErrorKind::Unavailable);
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    let store = open().await.unwrap();
    assert!(path.exists());
    store.connections.writer.execute_unprepared("PRAGMA user_version = 99").await.unwrap();
    drop(store);
    assert_eq!(open().await.map(drop).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn old_events_leave_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let start = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap();
    let clock = Arc::new(ManualClock::new(start));
    let path = folder.path().join("telemetry.db");
    let daily = Policies { retain_raw: Some(TimeDelta::days(1)), ..Policies::default() };
    let store = SqliteTelemetry::open(&path, daily, clock.clone()).await.unwrap();
    assert!(store.capabilities().retention);
    for organization in 1..=3 {
        store.append(&scope(organization), &[event(1, start), event(2, start - TimeDelta::hours(20))]).await.unwrap();
    }
    let too_old = store.append(&scope(1), &[event(9, start - TimeDelta::hours(25))]).await.unwrap_err();
    assert_eq!(too_old.kind(), ErrorKind::Invalid);
    assert!(too_old.message().contains("event 0"));
    clock.advance(TimeDelta::hours(5));
    store.append(&scope(1), &[event(3, clock.now())]).await.unwrap();
    let ids = [1, 2, 3].map(Uuid::from_u128);
    for organization in 1..=3 {
        let found = store.events(&scope(organization), &ids).await.unwrap();
        let there: Vec<bool> = found.iter().map(Option::is_some).collect();
        assert_eq!(there, [true, false, organization == 1], "organisation {organization}");
    }
    // A clock that jumps back does not put the removal off for longer than its period.
    clock.advance(TimeDelta::hours(-5));
    store.append(&scope(1), &[event(4, start - TimeDelta::hours(23))]).await.unwrap();
    clock.advance(TimeDelta::hours(2));
    store.append(&scope(1), &[event(5, start)]).await.unwrap();
    assert_eq!(store.events(&scope(1), &[Uuid::from_u128(4)]).await.unwrap(), [None]);
}

#[tokio::test]
async fn statements_use_their_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("telemetry.db");
    let store = SqliteTelemetry::open(&path, Policies::default(), Arc::new(SystemClock)).await.unwrap();
    let range = TimeRange { from: Utc::now(), to: Utc::now() + TimeDelta::hours(1) };
    let id = Uuid::from_u128(1);
    let subjects = [
        (Subject::Organization, "events_by_organization (organization_id=? AND "),
        (Subject::Persona(id), "events_by_persona (organization_id=? AND persona_id=? AND "),
        (Subject::Campaign(id), "events_by_campaign (organization_id=? AND campaign_id=? AND "),
        (Subject::Video(id), "events_by_video (organization_id=? AND video_id=? AND "),
    ];
    for (subject, index) in subjects {
        let page = EventPageQuery { subject, range: Some(range), stages: vec![Stage::Voice], slice: Slice::first(10) };
        let plan = self::plan(&store, queries::pages(id, &groups::group_pages(&[page])[0]).unwrap()).await;
        assert!(
            plan.contains(&format!("SEARCH r USING COVERING INDEX {index}(at,id)>(?,?) AND (at,id)<(?,?))")),
            "{plan}"
        );
        assert!(plan.contains("SEARCH e USING INTEGER PRIMARY KEY"), "{plan}");
        let cut = Cut::Width(Duration::from_secs(60));
        let edges = Steps::new(&range, cut, Zone::UTC).unwrap().edges(&range).unwrap();
        let stats = StatsQuery { subject, range, edges, fill: Fill::None, measure: Measure::Cost, stages: vec![] };
        let statement = aggregates::statistics(id, &groups::group_stats(&[stats])[0]);
        let plan = self::plan(&store, statement).await;
        assert!(plan.contains(&format!("SEARCH e USING INDEX {index}at>? AND at<?)")), "{plan}");
        for by in [RankBy::Persona, RankBy::Campaign, RankBy::Stage] {
            let order = RankOrder::Sum;
            let ranking = RankingQuery { subject, range, by, measure: Measure::Cost, order, stages: vec![], limit: 1 };
            let statement = aggregates::rankings(id, &groups::group_rankings(&[ranking])[0]);
            let plan = self::plan(&store, statement).await;
            assert!(plan.contains("SEARCH e USING INDEX events_by_"), "{plan}");
            assert!(plan.contains("at>? AND at<?)"), "{plan}");
        }
    }
    let plan = self::plan(&store, queries::by_ids(id, &[id])).await;
    assert!(plan.contains("SEARCH e USING INDEX sqlite_autoindex_events_1 (organization_id=? AND id=?)"), "{plan}");
    let plan = self::plan(&store, queries::remove_before(0, 1)).await;
    assert!(
        plan.contains("SEARCH e USING COVERING INDEX events_by_organization (organization_id=? AND at<?)"),
        "{plan}"
    );
}

async fn plan(store: &SqliteTelemetry, statement: Statement) -> String {
    let sql = format!("EXPLAIN QUERY PLAN {}", statement.sql);
    let explain = Statement::from_sql_and_values(DbBackend::Sqlite, sql, statement.values.unwrap().0);
    let rows = store.read(explain).await.unwrap();
    rows.iter().map(|row| row.try_get::<String>("", "detail").unwrap() + "\n").collect()
}

#[test]
fn queries_that_differ_in_the_subject_alone_share_a_statement() {
    let slice = Slice::first(10);
    let page = |subject, slice: &Slice| EventPageQuery { subject, range: None, stages: vec![], slice: slice.clone() };
    let video = |number| Subject::Video(Uuid::from_u128(number));
    let queries =
        [page(video(1), &slice), page(video(2), &slice), page(video(1), &slice), page(video(1), &Slice::first(11))];
    let groups = groups::group_pages(&queries);
    let shapes: Vec<_> = groups.iter().map(|group| (group.subjects.len(), group.members.clone())).collect();
    assert_eq!(shapes, [(2, vec![(0, 0), (1, 1), (2, 0)]), (1, vec![(3, 0)])]);
}
