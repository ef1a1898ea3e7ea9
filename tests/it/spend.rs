//! Spend reports through the API: one store call whatever is asked, and the sums of the demo data's bills.

use crate::support::TestApp;
use chimera_stores::Store;
use serde_json::{Value, json};

/// The bills of the demo data, read one by one.
async fn bills(test: &TestApp) -> Vec<Value> {
    let document = "{ billingRecords(first: 100) { nodes { kind occurredAt campaign { name } persona { handle }
        amount { amountMinor currency } } pageInfo { hasNextPage } } }";
    let answer = test.ask(document, json!({})).await;
    let list = &answer.data()["billingRecords"];
    assert_eq!(list["pageInfo"]["hasNextPage"], false);
    list["nodes"].as_array().unwrap().clone()
}

fn minor(amount: &Value) -> i64 {
    assert_eq!(amount["currency"], "USD", "the demo bills are in dollars");
    amount["amountMinor"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_report_sums_what_the_bills_say() {
    let test = TestApp::demo().await;
    let bills = bills(&test).await;
    assert!(bills.len() >= 6, "{}", bills.len());
    let document = "{
        all: spendReport(groupBy: []) { rows { amount { amountMinor currency } records campaign { name } persona { handle } kind start } hasMore }
        kinds: spendReport(groupBy: [KIND]) { rows { kind amount { amountMinor currency } records } hasMore }
        days: spendReport(groupBy: [DAY, CAMPAIGN]) { rows { start campaign { name } amount { amountMinor currency } records } }
        campaigns(first: 10) { nodes { name spendReport(groupBy: [KIND]) { rows { kind amount { amountMinor currency } } } } }
        personas(first: 10) { nodes { handle spendReport(groupBy: []) { rows { amount { amountMinor currency } records } } } }
    }";
    let answer = test.ask(document, json!({})).await;
    let data = answer.data();

    let total: i64 = bills.iter().map(|bill| minor(&bill["amount"])).sum();
    let nothing = Value::Null;
    let row = json!({ "amount": { "amountMinor": total.to_string(), "currency": "USD" }, "records": bills.len(),
        "campaign": nothing, "persona": nothing, "kind": nothing, "start": nothing });
    assert_eq!(data["all"], json!({ "rows": [row], "hasMore": false }));

    let sum_of = |matches: &dyn Fn(&Value) -> bool| -> (i64, usize) {
        let of: Vec<_> = bills.iter().filter(|bill| matches(bill)).collect();
        (of.iter().map(|bill| minor(&bill["amount"])).sum(), of.len())
    };
    let mut seen = 0;
    for row in data["kinds"]["rows"].as_array().unwrap() {
        let (sum, count) = sum_of(&|bill| bill["kind"] == row["kind"]);
        assert_eq!((minor(&row["amount"]), &row["records"]), (sum, &json!(count)), "{row}");
        seen += count;
    }
    assert_eq!(seen, bills.len(), "every bill is in one group");
    for row in data["days"]["rows"].as_array().unwrap() {
        let day = row["start"].as_str().unwrap().split_once("T00:00:00").expect("a day begins at midnight").0;
        let (sum, count) = sum_of(&|bill| {
            bill["campaign"]["name"] == row["campaign"]["name"] && bill["occurredAt"].as_str().unwrap().starts_with(day)
        });
        assert_eq!((minor(&row["amount"]), &row["records"]), (sum, &json!(count)), "{row}");
    }
    for campaign in data["campaigns"]["nodes"].as_array().unwrap() {
        for row in campaign["spendReport"]["rows"].as_array().unwrap() {
            let (sum, _) = sum_of(&|bill| bill["kind"] == row["kind"] && bill["campaign"]["name"] == campaign["name"]);
            assert_eq!(minor(&row["amount"]), sum, "{campaign}");
        }
    }
    for persona in data["personas"]["nodes"].as_array().unwrap() {
        let (sum, count) = sum_of(&|bill| bill["persona"]["handle"] == persona["handle"]);
        let rows = persona["spendReport"]["rows"].as_array().unwrap();
        let found: Vec<_> = rows.iter().map(|row| (minor(&row["amount"]), row["records"].clone())).collect();
        let expected: Vec<_> = (count > 0).then(|| (sum, json!(count))).into_iter().collect();
        assert_eq!(found, expected, "{persona}");
    }
    test.app.stop().await;
}

#[tokio::test]
async fn all_reports_of_a_level_are_one_call() {
    let test = TestApp::demo().await;
    let document = "{ day: spendReport(groupBy: [DAY]) { rows { records } } month: spendReport(groupBy: [MONTH, PERSONA]) { rows { records persona { handle } } }
        again: spendReport(groupBy: [PERSONA, MONTH, PERSONA]) { rows { records persona { handle } } } }";
    let answer = test.ask(document, json!({})).await;
    answer.data();
    assert_eq!(answer.calls.get(&(Store::Relational, "spend_reports")), Some(&1), "{:?}", answer.calls);
    assert_eq!(answer.calls.values().sum::<u32>(), 2, "one more for the personas: {:?}", answer.calls);
    test.app.stop().await;
}

#[tokio::test]
async fn a_report_is_cut_or_refused_in_words() {
    let test = TestApp::demo().await;
    let cut = test.ask("{ spendReport(groupBy: [KIND], first: 1) { rows { kind } hasMore } }", json!({})).await;
    let report = &cut.data()["spendReport"];
    assert_eq!((report["rows"].as_array().unwrap().len(), &report["hasMore"]), (1, &json!(true)));

    let range = |from: &str, to: &str| format!("range: {{ from: \"{from}\", to: \"{to}\" }}, groupBy: []");
    for (arguments, words) in [
        ("groupBy: [DAY, MONTH]".to_owned(), "by day or by month"),
        ("groupBy: [], first: 0".to_owned(), "`first` is 0"),
        ("groupBy: [], first: 1001".to_owned(), "1 to 1000"),
        (range("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"), "ends before it begins"),
    ] {
        // The bad report fails alone, though both would go out in one batch.
        let document =
            format!("{{ bad: spendReport({arguments}) {{ hasMore }} good: spendReport(groupBy: []) {{ hasMore }} }}");
        let answer = test.ask(&document, json!({})).await;
        assert_eq!(answer.errors(), [("bad".to_owned(), "BAD_USER_INPUT".to_owned())], "{arguments}");
        let message = answer.body["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
        assert_eq!(answer.body["data"], json!({ "bad": null, "good": { "hasMore": false } }));
    }
    test.app.stop().await;
}

#[tokio::test]
async fn a_report_costs_what_it_may_answer() {
    let test = TestApp::with(&[("limits.max_complexity", "2000")]).await;
    // 1 + rows × (rows + kind + records): the default is a hundred rows.
    test.ask("{ spendReport(groupBy: [KIND]) { rows { kind records } } }", json!({})).await.data();
    let refused = test.ask("{ spendReport(groupBy: [KIND], first: 1000) { rows { kind records } } }", json!({})).await;
    let code = &refused.body["errors"][0]["extensions"]["code"];
    assert!(code.as_str().unwrap().contains("COMPLEX"), "{code}");
    test.app.stop().await;
}
