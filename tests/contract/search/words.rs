//! What a query finds, how well, and where it shows.

use super::{feed, found, numbers, owned, post, query, search};
use crate::World;
use chimera_stores::{
    ErrorKind,
    search::{Document, Highlight, Search, SearchQuery},
};
use proptest::{prelude::*, test_runner::TestRunner};

pub async fn a_typo_finds_the_title(world: World<Search>) {
    feed(&world.handle, &world.scope, [post(1, "Northern lights over Iceland"), post(2, "Southern beaches")]).await;
    for text in ["lihgts ", "ligts ", "lighxts ", "nothern ", "notrhern ", "Icelnad", "northen ligths"] {
        assert_eq!(found(&world, text).await, [1], "{text}");
    }
    for text in ["lxgxts ", "nxrtxexn ", "Notrhen ", "iceberg"] {
        assert_eq!(found(&world, text).await, [0_u128; 0], "{text}");
    }
}

pub async fn short_words_have_no_typos(world: World<Search>) {
    feed(&world.handle, &world.scope, [post(1, "the cat sat"), post(2, "the cart went")]).await;
    assert_eq!(found(&world, "cot ").await, [0_u128; 0]);
    assert_eq!(found(&world, "cat ").await, [1], "one typo away from cart, but only from four letters on");
    assert_eq!(found(&world, "card ").await, [2]);
}

pub async fn the_last_word_is_a_prefix(world: World<Search>) {
    feed(&world.handle, &world.scope, [post(1, "photography workshop"), post(2, "photo album"), post(3, "workout")])
        .await;
    assert_eq!(found(&world, "ph").await, [1, 2]);
    assert_eq!(found(&world, "photogra").await, [1]);
    assert_eq!(found(&world, "photography wo").await, [1]);
    assert_eq!(found(&world, "wo photo").await, [0_u128; 0], "only the last word");
    assert_eq!(found(&world, "fotogr").await, [0_u128; 0], "two typos in six letters");
    assert_eq!(found(&world, "photogr").await, [1]);
    assert_eq!(found(&world, "phtogr").await, [1], "a prefix may have a typo");
}

pub async fn case_and_accents(world: World<Search>) {
    let documents =
        [post(1, "Crème Brûlée"), post(2, "SMØRREBRØD på STRASSE"), post(3, "cafe\u{301} noir"), post(4, "ПРИВЕТ мир")];
    feed(&world.handle, &world.scope, documents).await;
    for (text, number) in [
        ("creme brulee", 1),
        ("CRÈME", 1),
        ("smorrebrod", 2),
        ("straße ", 2),
        ("café", 3),
        ("cafe\u{301}", 3),
        ("привет", 4),
    ] {
        assert_eq!(found(&world, text).await, [number], "{text}");
    }
}

pub async fn every_word_must_match(world: World<Search>) {
    let spread = Document {
        handle: Some("@nova_prime".to_owned()),
        text: "She climbs in winter".to_owned(),
        tags: owned(&["Ice climbing", "alps"]),
        ..post(1, "Glacier diaries")
    };
    feed(&world.handle, &world.scope, [spread, post(2, "Glacier melting"), post(3, "winter alps")]).await;
    assert_eq!(found(&world, "glacier").await, [1, 2]);
    assert_eq!(found(&world, "glacier winter alps nova").await, [1]);
    assert_eq!(found(&world, "alps winter").await, [1, 3], "in any order");
    assert_eq!(found(&world, "glacier desert").await, [0_u128; 0]);
    assert_eq!(found(&world, "glacier glacier").await, [1, 2]);
    assert_eq!(found(&world, "@nova_prime").await, [1]);
}

pub async fn better_matches_come_first(world: World<Search>) {
    let documents = [
        Document { text: "a story about rockets and more".to_owned(), ..post(1, "something else") },
        post(2, "rockets"),
        post(3, "pockets"),
        post(4, "rocketship"),
        Document { text: "pockets".to_owned(), ..post(5, "trousers") },
    ];
    feed(&world.handle, &world.scope, documents).await;
    let result = search(&world, query("rockets ")).await;
    assert_eq!(numbers(&result), [2, 4, 1, 3, 5], "exact before prefix before typo, title before text");
    let scores: Vec<f64> = result.hits.iter().map(|hit| hit.score).collect();
    assert!(scores.windows(2).all(|pair| pair[0] > pair[1]), "{scores:?}");
    assert_eq!(
        numbers(&search(&world, query("rocket")).await)[..2],
        [2, 4][..],
        "of two that begin with it, the one that is nearer"
    );
    let both = search(&world, query("rockets story")).await;
    assert_eq!(numbers(&both), [1]);
}

pub async fn a_blank_query(world: World<Search>) {
    feed(&world.handle, &world.scope, (1..=3).map(|number| post(number, "anything"))).await;
    for text in ["", " ", "\t\n", "\u{3000}"] {
        let result = search(&world, SearchQuery { highlights: true, ..query(text) }).await;
        assert_eq!(numbers(&result), [3, 2, 1], "{text:?}");
        assert!(result.hits.iter().all(|hit| hit.score == 0.0 && hit.highlights.is_empty()));
    }
}

pub async fn there_is_no_query_syntax(world: World<Search>) {
    feed(
        &world.handle,
        &world.scope,
        [post(1, "title and more"), post(2, "C++ (advanced) \"quoted\""), post(3, "a*b")],
    )
    .await;
    for (text, numbers) in [
        ("title:more", vec![1]),
        ("title AND more", vec![1]),
        ("title OR quoted", vec![]),
        ("NOT title", vec![]),
        ("-title", vec![1]),
        ("+quoted^2", vec![]),
        ("\"quoted advanced\"", vec![2]),
        ("(((advanced", vec![2]),
        ("advanced]}) \\", vec![2]),
        ("[a TO z]", vec![]),
        ("*", vec![]),
        ("!!!", vec![]),
        ("a*b", vec![3]),
        ("/title/ ~1", vec![]),
    ] {
        assert_eq!(found(&world, text).await, numbers, "{text}");
    }
}

pub async fn unspaced_scripts_and_emoji(world: World<Search>) {
    let documents = [
        post(1, "東京都の夜景"),
        post(2, "京都の寺"),
        post(3, "黒猫"),
        post(4, "สวัสดีชาวโลก"),
        post(5, "launch 🚀 day"),
    ];
    feed(&world.handle, &world.scope, documents).await;
    for (text, numbers) in [
        ("東京", vec![1]),
        ("京都", vec![1, 2]),
        ("京", vec![1, 2]),
        ("猫", vec![3]),
        ("猫 黒", vec![3]),
        ("夜景 東京都", vec![1]),
        ("สวัสดี", vec![4]),
        ("🚀", vec![5]),
        ("🎉", vec![]),
        ("launch 🚀", vec![5]),
    ] {
        assert_eq!(found(&world, text).await, numbers, "{text}");
    }
}

pub async fn long_queries(world: World<Search>) {
    let title: Vec<String> = (0..200).map(|number| format!("w{number:03}")).collect();
    feed(&world.handle, &world.scope, [post(1, &title.join(" ")), post(2, &"z".repeat(1024))]).await;
    assert_eq!(found(&world, &title.join(" ")).await, [1], "a query of two hundred words");
    assert_eq!(found(&world, &"z".repeat(1024)).await, [2]);
    assert_eq!(found(&world, &"é".repeat(512)).await, [0_u128; 0]);
    let error = world.handle.search(&world.scope, &[query(&"z".repeat(1025))]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

pub async fn no_query_can_break_the_store(world: World<Search>) {
    let texts = ["mountains and lakes", "東京タワー", "🚀🚀 to the moon", "naïve café", "a-b_c.d"];
    feed(&world.handle, &world.scope, (1..).zip(texts).map(|(number, text)| post(number, text))).await;
    let strategy = proptest::collection::vec("\\PC{0,40}|[a-z+\\-\\\"*(){}\\[\\]:^~ ]{0,60}|.{0,20}", 1..6);
    let outcome = TestRunner::new(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })
        .run(&strategy, |texts| {
            let queries: Vec<SearchQuery> =
                texts.iter().map(|text| SearchQuery { highlights: true, ..query(text) }).collect();
            let answers = tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(world.handle.search(&world.scope, &queries))
            });
            for answer in answers.unwrap() {
                let answer = answer.unwrap();
                prop_assert_eq!(answer.total, answer.hits.len() as u64);
            }
            Ok(())
        });
    outcome.unwrap();
}

pub async fn a_batch_answers_each_query(world: World<Search>) {
    feed(&world.handle, &world.scope, (1..=9).map(|number| post(number, &format!("number{number} all")))).await;
    let queries: Vec<SearchQuery> = ["number3 ", "all", "number3 ", "absent", ""].map(query).to_vec();
    let answers = world.handle.search(&world.scope, &queries).await.unwrap();
    let totals: Vec<u64> = answers.iter().map(|answer| answer.as_ref().unwrap().total).collect();
    // A digit is a letter for typos: number3 is one away from the others.
    assert_eq!(totals, [9, 9, 9, 0, 9]);
    assert_eq!(answers[0].as_ref().unwrap(), answers[2].as_ref().unwrap());
    assert_eq!(answers[0].as_ref().unwrap().hits[0].id.as_u128(), 3);
}

fn marked(highlight: &Highlight) -> Vec<&str> {
    highlight.matches.iter().map(|(from, to)| &highlight.fragment[*from..*to]).collect()
}

pub async fn highlights_cover_what_matched(world: World<Search>) {
    let document = Document {
        handle: Some("mountain_goat".to_owned()),
        text: format!("{} The highest mountains <b>bold</b> of all", "far away ".repeat(40)),
        tags: owned(&["lakes", "Mountaineering", "mountain"]),
        ..post(1, "Móuntain tales")
    };
    feed(&world.handle, &world.scope, [document]).await;
    let with = |text: &str| SearchQuery { highlights: true, ..query(text) };
    let hit = search(&world, with("mountian")).await.hits.remove(0);
    let shown: Vec<(&str, Vec<&str>)> = hit.highlights.iter().map(|one| (one.field, marked(one))).collect();
    let expected = [
        ("title", vec!["Móuntain"]),
        ("handle", vec!["mountain"]),
        ("text", vec!["mountains"]),
        ("tags", vec!["Mountaineering"]),
        ("tags", vec!["mountain"]),
    ];
    assert_eq!(shown, expected);
    let text = &hit.highlights[2].fragment;
    assert!(text.contains("<b>bold</b>") && text.chars().count() <= 200, "{text}");
    let two = search(&world, with("tales lakes")).await.hits.remove(0);
    assert_eq!(two.highlights.iter().map(|one| one.field).collect::<Vec<_>>(), ["title", "tags"]);
    assert!(search(&world, query("mountain")).await.hits[0].highlights.is_empty(), "only when asked for");
}

pub async fn highlights_lie_on_characters(world: World<Search>) {
    let texts = [
        "東京都に行く東京",
        "👩‍🚀 é́ rocket 🚀🚀",
        "naïveté — “rocket”",
        "ßrocket rocket\u{301}",
        "ｒｏｃｋｅｔ ＲＯＣＫＥＴ",
    ];
    let documents = (1..).zip(texts).map(|(number, text)| Document { text: text.repeat(30), ..post(number, text) });
    feed(&world.handle, &world.scope, documents).await;
    let mut seen = 0;
    for text in ["rocket", "rockte", "東京", "都", "🚀", "é", "naivete"] {
        for hit in search(&world, SearchQuery { highlights: true, ..query(text) }).await.hits {
            assert!(!hit.highlights.is_empty(), "{text} matched {} somewhere", hit.title);
            for highlight in hit.highlights {
                let mut end = 0;
                for (from, to) in &highlight.matches {
                    assert!(*from >= end && from < to && highlight.fragment.get(*from..*to).is_some(), "{highlight:?}");
                    end = *to;
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 20, "{seen}");
}
