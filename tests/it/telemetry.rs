//! Statistics of renders as clients ask for them: zones, calendars, points, the period before, rankings, what is kept.

use crate::support::TestApp;
use chimera_stores::Store;
use serde_json::{Value, json};

fn stats(args: &str, selection: &str) -> String {
    format!("{{ renderStats(args: {{ {args} }}) {{ {selection} }} }}")
}

/// A range in GraphQL.
fn range(from: &str, to: &str) -> String {
    format!("range: {{ from: \"{from}\", to: \"{to}\" }}")
}

fn week() -> String {
    range("2025-12-27T00:00:00Z", "2026-01-03T00:00:00Z")
}

fn starts(answer: &Value) -> Vec<&str> {
    answer["renderStats"]["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| bucket["start"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_in_words() {
    let test = TestApp::demo().await;
    let (week, back) = (week(), range("2026-01-03T00:00:00Z", "2026-01-01T00:00:00Z"));
    let cases = [
        (format!("{week}, bucket: \"P1D\", unit: DAY"), "at most one of `bucket`, `unit` and `maxPoints`"),
        (format!("{week}, unit: DAY, maxPoints: 3"), "at most one of `bucket`, `unit` and `maxPoints`"),
        (format!("{week}, bucket: \"P1D\", maxPoints: 3"), "at most one of `bucket`, `unit` and `maxPoints`"),
        (format!("{week}, timeZone: \"Europe/Atlantis\""), "`timeZone`"),
        (format!("{week}, unit: DAY, timeZone: \"\""), "`timeZone`"),
        (format!("{week}, maxPoints: 0"), "`maxPoints` lies between 1 and 10000"),
        (format!("{week}, maxPoints: -1"), "`maxPoints` lies between 1 and 10000"),
        (format!("{week}, maxPoints: 10001"), "`maxPoints` lies between 1 and 10000"),
        (format!("{week}, bucket: \"PT0.5S\""), "at least one second"),
        (format!("{week}, bucket: \"PT1S\""), "more than 10000 buckets"),
        (back.clone(), "ends before it begins"),
        (format!("{back}, maxPoints: 5"), "ends before it begins"),
    ];
    for (args, message) in cases {
        let errors = test.ask(&stats(&args, "total { count }"), json!({})).await;
        let text = errors.body["errors"][0]["message"].as_str().unwrap_or_default();
        assert!(text.contains(message), "{args}: {}", errors.body);
        assert_eq!(errors.body["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{args}");
        assert!(!errors.calls.keys().any(|(store, _)| *store == Store::Telemetry), "{args}: the store was asked");
    }
    for (args, first) in
        [(format!("{week}, by: STAGE"), 0), (format!("{week}, by: STAGE"), 101), (format!("{back}, by: STAGE"), 1)]
    {
        let document = format!("{{ renderRanking(args: {{ {args} }}, first: {first}) {{ resolution }} }}");
        let answer = test.ask(&document, json!({})).await;
        assert_eq!(answer.body["errors"][0]["extensions"]["code"], "BAD_USER_INPUT", "{args} {first}");
    }
    test.app.stop().await;
}

#[tokio::test]
async fn days_begin_at_midnight_of_the_zone() {
    let test = TestApp::demo().await;
    let berlin =
        format!("{}, unit: DAY, timeZone: \"Europe/Berlin\"", range("2026-03-28T23:00:00Z", "2026-03-30T22:00:00Z"));
    let answer = test.ask(&stats(&berlin, "buckets { start }"), json!({})).await;
    assert_eq!(starts(answer.data()), ["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"]);
    let hours = berlin.replace("unit: DAY", "bucket: \"PT12H\"");
    let answer = test.ask(&stats(&hours, "buckets { start }"), json!({})).await;
    let expected = ["2026-03-28T23:00:00Z", "2026-03-29T10:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T10:00:00Z"];
    assert_eq!(starts(answer.data()), expected);
    let utc = stats(&format!("{}, unit: WEEK", week()), "buckets { start }");
    assert_eq!(starts(test.ask(&utc, json!({})).await.data()), ["2025-12-22T00:00:00Z", "2025-12-29T00:00:00Z"]);
    // A width in UTC is counted from the epoch, whatever the calendar says.
    let width = stats(&format!("{}, bucket: \"P7D\"", week()), "buckets { start }");
    assert_eq!(starts(test.ask(&width, json!({})).await.data()), ["2025-12-25T00:00:00Z", "2026-01-01T00:00:00Z"]);
    test.app.stop().await;
}

#[tokio::test]
async fn points_are_no_more_than_asked_for_and_add_up() {
    let test = TestApp::demo().await;
    for (points, count) in [(200, 168), (30, 28), (7, 7), (6, 2), (1, 1)] {
        let document =
            stats(&format!("{}, maxPoints: {points}", week()), "buckets { aggregate { count } } total { count }");
        let answer = test.ask(&document, json!({})).await;
        let answer = &answer.data()["renderStats"];
        let buckets = answer["buckets"].as_array().unwrap();
        assert_eq!(buckets.len(), count, "{points}");
        let sum: u64 = buckets.iter().map(|bucket| bucket["aggregate"]["count"].as_u64().unwrap()).sum();
        assert!(sum > 0 && answer["total"]["count"] == sum, "{points}");
    }
    test.app.stop().await;
}

#[tokio::test]
async fn the_period_before_comes_in_the_same_batch() {
    let test = TestApp::demo().await;
    let day = range("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let selection = "buckets { start aggregate { count sum } } total { count sum p95 } costMicros";
    for cut in ["unit: DAY", "bucket: \"PT3H\"", "maxPoints: 5", "unit: DAY, fill: PREVIOUS"] {
        let both = stats(&format!("{day}, {cut}"), &format!("{selection} previous {{ {selection} }}"));
        let both = test.ask(&both, json!({})).await;
        assert_eq!(both.calls.get(&(Store::Telemetry, "stats")), Some(&1), "{cut}");
        let before = range("2025-12-31T00:00:00Z", "2026-01-01T00:00:00Z");
        let alone = test.ask(&stats(&format!("{before}, {cut}"), selection), json!({})).await;
        assert_eq!(both.data()["renderStats"]["previous"], alone.data()["renderStats"], "{cut}");
        assert!(both.data()["renderStats"]["total"] != alone.data()["renderStats"]["total"], "{cut}");
    }
    // For many objects the same: one call whatever their number.
    let document = format!(
        "{{ personas(first: 3) {{ nodes {{ renderStats(args: {{ {day} }}) {{ total {{ count }} previous {{ total {{ count }} }} }} }} }} }}"
    );
    let answer = test.ask(&document, json!({})).await;
    assert_eq!(answer.data()["personas"]["nodes"].as_array().unwrap().len(), 3);
    assert_eq!(answer.calls.get(&(Store::Telemetry, "stats")), Some(&1));
    // Further back there is another one.
    let months = format!("{}, unit: MONTH", range("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"));
    let document = stats(
        &months,
        "availableRange { to } previous { availableRange { from to } previous { availableRange { from to } } }",
    );
    let answer = test.ask(&document, json!({})).await;
    let previous = &answer.data()["renderStats"]["previous"];
    let span = |from: &str, to: &str| json!({ "from": from, "to": to });
    assert_eq!(previous["availableRange"], span("2025-12-01T00:00:00Z", "2025-12-03T00:00:00Z"));
    assert_eq!(previous["previous"]["availableRange"], span("2025-11-01T00:00:00Z", "2025-11-03T00:00:00Z"));
    test.app.stop().await;
}

#[tokio::test]
async fn rankings_name_what_they_rank_without_further_calls() {
    let test = TestApp::demo().await;
    let args = |by: &str| {
        format!("args: {{ {}, by: {by}, orderBy: COUNT }}", range("2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z"))
    };
    let nodes = "nodes { persona { handle } campaign { name } stage aggregate { count } }";
    let document = format!(
        "{{ personas: renderRanking({}, first: 2) {{ {nodes} }} campaigns: renderRanking({}) {{ {nodes} }} stages: renderRanking({}) {{ {nodes} freshTo resolution percentileError }} }}",
        args("PERSONA"),
        args("CAMPAIGN"),
        args("STAGE")
    );
    let answer = test.ask(&document, json!({})).await;
    let data = answer.data();
    assert_eq!(answer.calls.get(&(Store::Telemetry, "rankings")), Some(&1));
    assert_eq!(answer.calls.get(&(Store::Relational, "get_persona")), Some(&1));
    assert_eq!(answer.calls.get(&(Store::Relational, "get_campaign")), Some(&1));
    let (personas, campaigns) =
        (data["personas"]["nodes"].as_array().unwrap(), data["campaigns"]["nodes"].as_array().unwrap());
    assert_eq!((personas.len(), campaigns.len()), (2, 2));
    assert!(personas.iter().all(|node| node["persona"]["handle"].is_string() && node["stage"].is_null()));
    assert!(campaigns.iter().all(|node| node["campaign"]["name"].is_string() && node["persona"].is_null()));
    let count = |node: &Value| node["aggregate"]["count"].as_u64().unwrap();
    assert!(personas.is_sorted_by(|a, b| count(a) >= count(b)));
    // All stages have as many steps: ties are in the order of stages.
    let stages: Vec<_> = data["stages"]["nodes"].as_array().unwrap().iter().map(|node| &node["stage"]).collect();
    assert_eq!(stages, ["SCRIPT", "VOICE", "RENDER", "ENCODE", "UPLOAD"]);
    assert_eq!(data["stages"]["freshTo"], "2026-01-02T12:00:00Z");
    assert_eq!((&data["stages"]["resolution"], &data["stages"]["percentileError"]), (&json!("RAW"), &json!(0.0)));
    // Below objects: one call for all of them, and one for all that they name.
    let below = [
        ("personas", "CAMPAIGN", "campaign { name }", "get_campaign"),
        ("campaigns", "PERSONA", "persona { handle }", "get_persona"),
    ];
    for (list, by, named, call) in below {
        let ranking = format!("renderRanking({}) {{ nodes {{ {named} }} }}", args(by));
        let document = format!("{{ {list}(first: 3) {{ nodes {{ {ranking} }} }} }}");
        let answer = test.ask(&document, json!({})).await;
        assert!(answer.data()[list]["nodes"].as_array().unwrap().len() > 1, "{list}");
        assert_eq!(answer.calls.get(&(Store::Telemetry, "rankings")), Some(&1), "{list}");
        assert_eq!(answer.calls.get(&(Store::Relational, call)), Some(&1), "{list}");
    }
    test.app.stop().await;
}

#[tokio::test]
async fn what_is_no_longer_kept_is_told() {
    let test = TestApp::with(&[("telemetry.retain_raw", "30d")]).await;
    let selection = "freshTo availableRange { from to } resolution percentileError";
    let ask = |range: String| {
        let document = stats(&range, selection);
        let test = &test;
        async move { test.ask(&document, json!({})).await.data()["renderStats"].clone() }
    };
    // The clock stands at noon of 2 January 2026.
    let part = ask(range("2025-01-01T00:00:00Z", "2026-02-01T00:00:00Z")).await;
    assert_eq!(part["availableRange"], json!({ "from": "2025-12-03T12:00:00Z", "to": "2026-02-01T00:00:00Z" }));
    assert_eq!(part["freshTo"], "2026-01-02T12:00:00Z");
    let past = ask(range("2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z")).await;
    assert_eq!((&past["availableRange"], &past["freshTo"]), (&Value::Null, &json!("2025-02-01T00:00:00Z")));
    let whole = ask(week()).await;
    assert_eq!(whole["availableRange"], json!({ "from": "2025-12-27T00:00:00Z", "to": "2026-01-03T00:00:00Z" }));
    let service = "{ service { telemetryStorage { bytes compression { bytesAfter } policies { compressAfter retainRaw retainMinutes retainHours } rollUps { resolution } jobs { name every lastSuccess failures } } } }";
    let answer = test.ask(service, json!({})).await;
    let storage = &answer.data()["service"]["telemetryStorage"];
    assert!(storage["bytes"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    let policies = json!({ "compressAfter": null, "retainRaw": "P30D", "retainMinutes": null, "retainHours": null });
    assert_eq!((&storage["policies"], &storage["compression"]), (&policies, &Value::Null));
    assert_eq!((&storage["rollUps"], &storage["jobs"][0]["name"]), (&json!([]), &json!("retention")));
    assert_eq!((&storage["jobs"][0]["every"], &storage["jobs"][0]["failures"]), (&json!("PT1H"), &json!(0)));
    test.app.stop().await;
}
