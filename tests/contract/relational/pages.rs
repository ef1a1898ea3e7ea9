//! Lists: which rows, in which order, cut where.

use super::fixtures::*;
use chimera_stores::{
    ErrorKind, Page, Position, Scope, Slice, SortValue,
    relational::{Column, Edge, Order, PageQuery, Predicate, Record, Value},
};
use chrono::{DateTime, Duration, Utc};
use entity::{asset, campaign, persona, post, video};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use uuid::Uuid;

/// Posts of a persona with few different values, so that every order has ties.
fn assorted(scope: &Scope, persona: &persona::Model, count: usize) -> Vec<post::Model> {
    let platforms = ["fediverse", "Fediverse", "", "ö", "z"];
    let statuses = [post::Status::Draft, post::Status::Published, post::Status::Failed];
    let posts = (0..count).map(|number| post::Model {
        organization_id: scope.organization_id(),
        platform: platforms[number * 7 % platforms.len()].to_owned(),
        status: statuses[number * 5 % statuses.len()],
        created_at: noon() + Duration::microseconds((number * 11 % 4) as i64 * 500_000),
        published_at: (number % 3 == 0).then(noon),
        ..post(persona, &format!("text {}", number * 13 % 6))
    });
    posts.collect()
}

fn position(row: &post::Model, column: Column) -> Position {
    let value = match column {
        Column::Id => SortValue::Text(row.id.to_string()),
        Column::CreatedAt => SortValue::Int(row.created_at.timestamp_micros()),
        Column::Platform => SortValue::Text(row.platform.clone()),
        Column::Status => SortValue::Text(format!("{:?}", row.status).to_uppercase()),
        Column::PersonaId => SortValue::Text(row.persona_id.to_string()),
        column => panic!("{column:?} is not ordered by here"),
    };
    Position { value, id: row.id }
}

const COLUMNS: [Column; 5] = [Column::Id, Column::CreatedAt, Column::Platform, Column::Status, Column::PersonaId];

/// A random question: an order, a slice cut at two random rows, and one of these predicates.
fn questions(rows: usize) -> impl Strategy<Value = (usize, bool, u32, bool, Option<usize>, Option<usize>, usize)> {
    let cut = || proptest::option::of(0..rows);
    (0..COLUMNS.len(), any::<bool>(), 1..12_u32, any::<bool>(), cut(), cut(), 0..4_usize)
}

fn predicate(number: usize) -> (Vec<Predicate>, fn(&post::Model) -> bool) {
    match number {
        0 => (Vec::new(), |_| true),
        1 => {
            let values = vec![Value::Text("DRAFT".to_owned()), Value::Text("FAILED".to_owned())];
            (vec![Predicate::In(Column::Status, values)], |row| row.status != post::Status::Published)
        }
        2 => {
            let from = noon() + Duration::microseconds(500_000);
            (vec![Predicate::Range(Column::CreatedAt, Some(Value::Time(from)), None)], |row| row.created_at > noon())
        }
        _ => (vec![Predicate::Contains(Column::Platform, "FEDI".to_owned())], |row| {
            row.platform.to_lowercase().contains("fedi")
        }),
    }
}

pub async fn a_page_is_a_slice_of_the_sorted_list(world: Relations) {
    let (ada, bob) = seed(&world).await;
    let mut posts = assorted(&world.scope, &ada, 40);
    posts.extend(assorted(&world.scope, &bob, 7));
    insert(&world, &world.scope, posts.iter().map(|post| post.clone().into_row())).await;
    let parents = [ada.id, bob.id];
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    let runtime = tokio::runtime::Handle::current();
    let property =
        |(column, descending, limit, backward, after, before, number): (usize, bool, u32, bool, _, _, usize)| {
            let column = COLUMNS[column];
            let cut = |index: Option<usize>| index.map(|index| position(&posts[index], column));
            let slice = Slice { limit, after: cut(after), before: cut(before), backward };
            let (predicates, keep) = predicate(number);
            let query = PageQuery {
                predicates,
                order: Order { column, descending },
                slice: slice.clone(),
                total: true,
                ..list::<post::Model>(Some(Edge::Column(Column::PersonaId)))
            };
            let pages = runtime.block_on(world.handle.pages::<post::Model>(&world.scope, &query, &parents)).unwrap();
            for (parent, page) in parents.iter().zip(pages) {
                let mut rows: Vec<_> =
                    posts.iter().filter(|row| row.persona_id == *parent && keep(row)).cloned().collect();
                rows.sort_by(|a, b| position(a, column).compare(&position(b, column)));
                if descending {
                    rows.reverse();
                }
                prop_assert_eq!(page.total, Some(rows.len() as u64));
                let expected = slice.apply(rows, descending, |row| position(row, column));
                prop_assert_eq!(ids(&page.items), ids(&expected.items));
                // The other end may be answered by whether there is a cursor at all.
                if !backward && slice.before.is_none() {
                    prop_assert_eq!(page.has_next, expected.has_next);
                }
                if backward && slice.after.is_none() {
                    prop_assert_eq!(page.has_previous, expected.has_previous);
                }
                prop_assert!(page.has_next || !expected.has_next);
                prop_assert!(page.has_previous || !expected.has_previous);
            }
            Ok(())
        };
    tokio::task::block_in_place(|| runner.run(&questions(posts.len()), property)).unwrap();
}

async fn page(world: &Relations, query: &PageQuery, parent: Uuid) -> Page<post::Model> {
    world.handle.pages::<post::Model>(&world.scope, query, &[parent]).await.unwrap().remove(0)
}

pub async fn walking_visits_every_row_once(world: Relations) {
    let (ada, _) = seed(&world).await;
    let posts = assorted(&world.scope, &ada, 23);
    insert(&world, &world.scope, posts.iter().map(|post| post.clone().into_row())).await;
    for column in COLUMNS {
        for descending in [false, true] {
            let mut expected = posts.clone();
            expected.sort_by(|a, b| position(a, column).compare(&position(b, column)));
            if descending {
                expected.reverse();
            }
            let order = Order { column, descending };
            let base = PageQuery { order, ..list::<post::Model>(Some(Edge::Column(Column::PersonaId))) };
            let (mut forward, mut after) = (Vec::new(), None);
            loop {
                let slice = Slice { after: after.clone(), ..Slice::first(5) };
                let page = page(&world, &PageQuery { slice, ..base.clone() }, ada.id).await;
                assert_eq!(page.has_previous, after.is_some());
                after = page.items.last().map(|row| position(row, column));
                forward.extend(ids(&page.items));
                if !page.has_next {
                    break;
                }
            }
            assert_eq!(forward, ids(&expected), "{column:?}");
            let (mut backward, mut before) = (Vec::new(), None);
            loop {
                let slice = Slice { before: before.clone(), ..Slice::last(4) };
                let page = page(&world, &PageQuery { slice, ..base.clone() }, ada.id).await;
                assert_eq!(page.has_next, before.is_some());
                before = page.items.first().map(|row| position(row, column));
                backward.splice(0..0, ids(&page.items));
                if !page.has_previous {
                    break;
                }
            }
            assert_eq!(backward, ids(&expected), "{column:?}");
        }
    }
}

pub async fn walking_is_stable_under_insert(world: Relations) {
    let (ada, _) = seed(&world).await;
    let at = |seconds| noon() + Duration::seconds(seconds);
    let made = |seconds| post::Model { created_at: at(seconds), ..post(&ada, "row") };
    let posts: Vec<_> = (0..6).map(|number| made(number * 10)).collect();
    insert(&world, &world.scope, posts.iter().map(|post| post.clone().into_row())).await;
    let order = Order { column: Column::CreatedAt, descending: true };
    let base =
        PageQuery { order, slice: Slice::first(3), ..list::<post::Model>(Some(Edge::Column(Column::PersonaId))) };
    let first = page(&world, &base, ada.id).await;
    assert_eq!(ids(&first.items), [posts[5].id, posts[4].id, posts[3].id]);
    // One row before the cursor, one after it, and the cursor's own row goes.
    let (newer, older) = (made(45), made(15));
    insert(&world, &world.scope, [newer.into_row(), older.clone().into_row()]).await;
    commit(&world, &world.scope, vec![chimera_stores::relational::Change::Delete(post::Model::KIND, posts[3].id)])
        .await
        .unwrap();
    let slice = Slice { after: Some(position(&posts[3], Column::CreatedAt)), ..Slice::first(10) };
    let rest = page(&world, &PageQuery { slice, ..base }, ada.id).await;
    assert_eq!(ids(&rest.items), [posts[2].id, older.id, posts[1].id, posts[0].id]);
    assert!(!rest.has_next);
}

pub async fn each_parent_has_its_own_page(world: Relations) {
    let (ada, bob) = seed(&world).await;
    let cleo = persona(&world.scope, "cleo");
    insert(&world, &world.scope, [cleo.clone().into_row()]).await;
    let (of_ada, of_bob) = (assorted(&world.scope, &ada, 5), assorted(&world.scope, &bob, 1));
    insert(&world, &world.scope, of_ada.iter().chain(&of_bob).map(|post| post.clone().into_row())).await;
    let query =
        PageQuery { slice: Slice::first(2), total: true, ..list::<post::Model>(Some(Edge::Column(Column::PersonaId))) };
    let parents = [bob.id, ada.id, Uuid::from_u128(99), cleo.id, ada.id];
    let pages = world.handle.pages::<post::Model>(&world.scope, &query, &parents).await.unwrap();
    let full = Page { items: of_ada[..2].to_vec(), has_previous: false, has_next: true, total: Some(5) };
    let none = Page { total: Some(0), ..Page::empty() };
    let single = Page { items: of_bob, total: Some(1), ..Page::empty() };
    assert_eq!(pages, [single, full.clone(), none.clone(), none, full]);
    let largest = PageQuery { slice: Slice::first(u32::MAX), ..query };
    assert_eq!(page(&world, &largest, ada.id).await.items.len(), 5);
}

pub async fn personas_and_campaigns_meet_through_links(world: Relations) {
    let (ada, bob) = seed(&world).await;
    let campaigns: Vec<_> = (0..3).map(|number| campaign(&world.scope, &format!("Campaign {number}"))).collect();
    insert(&world, &world.scope, campaigns.iter().map(|campaign| campaign.clone().into_row())).await;
    // Linked out of order: pages are ordered by the rows, not by the links.
    let links = [(2, &ada), (0, &ada), (1, &bob), (1, &ada)];
    insert(&world, &world.scope, links.map(|(number, persona)| link(&campaigns[number], persona).into_row())).await;
    let query = PageQuery { total: true, ..list::<campaign::Model>(Some(Edge::CampaignPersona)) };
    let pages = world.handle.pages::<campaign::Model>(&world.scope, &query, &[bob.id, ada.id]).await.unwrap();
    assert_eq!(ids(&pages[0].items), [campaigns[1].id]);
    assert_eq!(ids(&pages[1].items), ids(&campaigns));
    assert_eq!((pages[0].total, pages[1].total), (Some(1), Some(3)));
    let query = list::<persona::Model>(Some(Edge::CampaignPersona));
    let keys = [campaigns[1].id, campaigns[0].id, ada.id];
    let pages = world.handle.pages::<persona::Model>(&world.scope, &query, &keys).await.unwrap();
    assert_eq!(ids(&pages[0].items), [ada.id, bob.id]);
    assert_eq!(ids(&pages[1].items), [ada.id]);
    assert!(pages[2].items.is_empty());
    let query = list::<post::Model>(Some(Edge::CampaignPersona));
    let error = world.handle.pages::<post::Model>(&world.scope, &query, &[ada.id]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

pub async fn predicates_select_rows(world: Relations) {
    let (ada, bob) = seed(&world).await;
    let made = |text: &str, status, published: Option<i64>, persona: &persona::Model| post::Model {
        status,
        published_at: published.map(|seconds| noon() + Duration::seconds(seconds)),
        url: published.map(|seconds| format!("https://example.org/{seconds}")),
        ..post(persona, text)
    };
    use post::Status::{Draft, Failed, Published};
    let posts = [
        made("Straße 100%", Draft, None, &ada),
        made("hello WORLD", Published, Some(0), &ada),
        made("Hello_world", Published, Some(10), &bob),
        made("", Failed, Some(20), &ada),
    ];
    insert(&world, &world.scope, posts.iter().map(|post| post.clone().into_row())).await;
    let at = |seconds| Some(Value::Time(noon() + Duration::seconds(seconds)));
    let word = |text: &str| Value::Text(text.to_owned());
    use Predicate::{Contains, In, IsNull, Range};
    let cases: Vec<(Vec<Predicate>, &[usize])> = vec![
        (vec![], &[0, 1, 2, 3]),
        (vec![In(Column::Status, vec![word("PUBLISHED"), word("FAILED"), word("FAILED")])], &[1, 2, 3]),
        (vec![In(Column::Status, vec![])], &[]),
        (vec![In(Column::Status, vec![word("published")])], &[]),
        (vec![In(Column::PersonaId, vec![Value::Uuid(bob.id), Value::Uuid(Uuid::nil())])], &[2]),
        (vec![In(Column::Id, posts.iter().map(|post| Value::Uuid(post.id)).collect())], &[0, 1, 2, 3]),
        (vec![In(Column::PublishedAt, vec![at(10).unwrap(), at(11).unwrap()])], &[2]),
        (vec![Range(Column::PublishedAt, at(0), at(20))], &[1, 2]),
        (vec![Range(Column::PublishedAt, at(10), None)], &[2, 3]),
        (vec![Range(Column::PublishedAt, None, at(10))], &[1]),
        (vec![Range(Column::PublishedAt, None, None)], &[1, 2, 3]),
        (vec![Range(Column::PublishedAt, Some(Value::Time(DateTime::<Utc>::MIN_UTC)), None)], &[1, 2, 3]),
        (vec![Range(Column::PublishedAt, None, Some(Value::Time(DateTime::<Utc>::MAX_UTC)))], &[1, 2, 3]),
        (vec![Range(Column::Id, Some(Value::Uuid(posts[2].id)), None)], &[2, 3]),
        (vec![Range(Column::Status, Some(word("E")), Some(word("PUBLISHED")))], &[3]),
        (vec![IsNull(Column::PublishedAt, true)], &[0]),
        (vec![IsNull(Column::PublishedAt, false)], &[1, 2, 3]),
        (vec![IsNull(Column::Status, true)], &[]),
        (vec![Contains(Column::Platform, "FEDI".to_owned())], &[0, 1, 2, 3]),
        (vec![Contains(Column::Platform, String::new())], &[0, 1, 2, 3]),
        (vec![Contains(Column::Platform, "x".repeat(200_000))], &[]),
        (vec![Contains(Column::Status, "lish".to_owned()), Range(Column::PublishedAt, at(5), None)], &[2]),
    ];
    for (predicates, expected) in cases {
        let query = PageQuery { predicates: predicates.clone(), ..list::<post::Model>(None) };
        let found = ids(&page(&world, &query, Uuid::nil()).await.items);
        assert_eq!(found, expected.iter().map(|index| posts[*index].id).collect::<Vec<_>>(), "{predicates:?}");
    }
    // Patterns of LIKE are plain text, and only ASCII letters are folded.
    let videos = ["100% sure", "100 sure", "a_b", "aXb", "STRASSE Ö", ""].map(|title| video(&ada, title));
    insert(&world, &world.scope, videos.iter().map(|video| video.clone().into_row())).await;
    for (needle, expected) in
        [("0% S", &[0][..]), ("A_B", &[2]), ("strasse", &[4]), ("ö", &[]), ("Ö", &[4]), ("\\", &[])]
    {
        let predicates = vec![Contains(Column::Title, needle.to_owned())];
        let query = PageQuery { predicates, ..list::<video::Model>(None) };
        let found = world.handle.pages::<video::Model>(&world.scope, &query, &[Uuid::nil()]).await.unwrap();
        let expected: Vec<_> = expected.iter().map(|index: &usize| videos[*index].id).collect();
        assert_eq!(ids(&found[0].items), expected, "{needle}");
    }
}

pub async fn predicates_of_the_wrong_type_are_refused(world: Relations) {
    seed(&world).await;
    let number = Value::Int(1);
    for predicate in [
        Predicate::In(Column::Status, vec![number.clone()]),
        Predicate::In(Column::PersonaId, vec![Value::Text("x".to_owned())]),
        Predicate::Range(Column::CreatedAt, Some(number.clone()), None),
        Predicate::Range(Column::Platform, None, Some(number)),
        Predicate::Contains(Column::CreatedAt, "2026".to_owned()),
        Predicate::Contains(Column::PersonaId, "a".to_owned()),
        Predicate::IsNull(Column::Email, true),
    ] {
        let query = PageQuery { predicates: vec![predicate.clone()], ..list::<post::Model>(None) };
        let error = world.handle.pages::<post::Model>(&world.scope, &query, &[Uuid::nil()]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{predicate:?}");
    }
    for edge in [Column::Status, Column::SourceAssetId] {
        let query = list::<post::Model>(Some(Edge::Column(edge)));
        let error = world.handle.pages::<post::Model>(&world.scope, &query, &[Uuid::nil()]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{edge:?}");
    }
}

pub async fn equal_sort_values_are_told_apart_by_id(world: Relations) {
    let (ada, _) = seed(&world).await;
    let posts: Vec<_> = (0..5).map(|_| post(&ada, "the same")).collect();
    // Written newest first, so that the order cannot come from the table.
    insert(&world, &world.scope, posts.iter().rev().map(|post| post.clone().into_row())).await;
    for (descending, expected) in [(false, [1, 2]), (true, [3, 2])] {
        let at = if descending { 4 } else { 0 };
        let slice = Slice { after: Some(position(&posts[at], Column::CreatedAt)), ..Slice::first(2) };
        let order = Order { column: Column::CreatedAt, descending };
        let query = PageQuery { order, slice, ..list::<post::Model>(None) };
        let found = ids(&page(&world, &query, Uuid::nil()).await.items);
        assert_eq!(found, expected.map(|index: usize| posts[index].id));
    }
}

pub async fn orders_and_cursors_that_make_no_sense_are_refused(world: Relations) {
    seed(&world).await;
    let error = async |query: PageQuery| {
        world.handle.pages::<post::Model>(&world.scope, &query, &[Uuid::nil()]).await.unwrap_err().kind()
    };
    let order = |column| PageQuery { order: Order { column, descending: false }, ..list::<post::Model>(None) };
    assert_eq!(error(order(Column::PublishedAt)).await, ErrorKind::Invalid, "it can be null");
    assert_eq!(error(order(Column::Handle)).await, ErrorKind::Invalid, "a post has none");
    let cut = |column, value| {
        let after = Some(Position { value, id: Uuid::nil() });
        PageQuery { slice: Slice { after, ..Slice::first(5) }, ..order(column) }
    };
    assert_eq!(error(cut(Column::CreatedAt, SortValue::Text("noon".to_owned()))).await, ErrorKind::Invalid);
    assert_eq!(error(cut(Column::CreatedAt, SortValue::Int(i64::MAX))).await, ErrorKind::Invalid);
    assert_eq!(error(cut(Column::Platform, SortValue::Int(1))).await, ErrorKind::Invalid);
    assert_eq!(error(cut(Column::Platform, SortValue::Float(1.0))).await, ErrorKind::Invalid);
    let nothing = PageQuery { slice: Slice::first(0), ..order(Column::Id) };
    assert_eq!(error(nothing).await, ErrorKind::Invalid);
    // In the order of ids only the position's id counts.
    let query = cut(Column::Id, SortValue::Int(7));
    assert!(world.handle.pages::<post::Model>(&world.scope, &query, &[Uuid::nil()]).await.is_ok());
    // The kind in the query is the kind that is asked for.
    let query = list::<asset::Model>(None);
    let error = world.handle.pages::<post::Model>(&world.scope, &query, &[Uuid::nil()]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

pub async fn totals_count_the_whole_list(world: Relations) {
    let (ada, _) = seed(&world).await;
    let posts = assorted(&world.scope, &ada, 9);
    insert(&world, &world.scope, posts.iter().map(|post| post.clone().into_row())).await;
    let slice = Slice { after: Some(position(&posts[3], Column::Id)), ..Slice::first(1) };
    let query = PageQuery { slice, total: true, ..list::<post::Model>(None) };
    assert_eq!(page(&world, &query, Uuid::nil()).await.total, Some(9), "the slice does not count");
    let predicates = vec![Predicate::IsNull(Column::PublishedAt, false)];
    let query = PageQuery { predicates, ..query };
    assert_eq!(page(&world, &query, Uuid::nil()).await.total, Some(3), "the predicates do");
    let query = PageQuery { total: false, ..query };
    assert_eq!(page(&world, &query, Uuid::nil()).await.total, None);
}

pub async fn the_default_order_is_newest_first(world: Relations) {
    let (ada, bob) = seed(&world).await;
    let query = PageQuery { order: Order::default(), ..list::<persona::Model>(None) };
    let page = world.handle.pages::<persona::Model>(&world.scope, &query, &[Uuid::nil()]).await.unwrap().remove(0);
    assert_eq!(ids(&page.items), [bob.id, ada.id]);
}
