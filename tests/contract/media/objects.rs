//! Completed objects: versions, downloads, removal, tenancy.

use super::*;
use chimera_stores::SystemClock;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

pub async fn what_was_put_is_downloaded(world: MediaWorld) {
    let object = put(&world, &world.scope, 1, "hellø 🦀").await;
    assert_eq!((object.size_bytes, object.latest), (11, true));
    assert_eq!(object.sha256, sha256("hellø 🦀".as_bytes()));
    let url = world.handle.sign_download(&world.scope, &newest(1)).unwrap();
    let download = open(&world, &url, None).await.unwrap();
    assert_eq!((&download.object, download.offset, download.length), (&object, 0, 11));
    assert_eq!(download.file_name, None);
    assert_eq!(bytes_of(download).await, "hellø 🦀".as_bytes());
}

pub async fn versions_are_newest_first(world: MediaWorld) {
    let mut put_in = Vec::new();
    for text in ["one", "two", "three", "one"] {
        put_in.push(put(&world, &world.scope, 1, text).await);
    }
    // What is the newest already is no new version.
    assert_eq!(put(&world, &world.scope, 1, "one").await, put_in[3]);
    let found = versions(&world, &world.scope, 1).await;
    let names = |objects: &[ObjectVersion]| objects.iter().map(|object| object.version.clone()).collect::<Vec<_>>();
    put_in.reverse();
    assert_eq!(names(&found), names(&put_in));
    let latest: Vec<bool> = found.iter().map(|object| object.latest).collect();
    assert_eq!(latest, [true, false, false, false]);
}

pub async fn an_older_version_can_be_downloaded(world: MediaWorld) {
    let old = put(&world, &world.scope, 1, "old").await;
    put(&world, &world.scope, 1, "new").await;
    let version = |version: &str| DownloadSpec { version: Some(version.to_owned()), ..newest(1) };
    assert_eq!(fetch(&world, &world.scope, &version(&old.version)).await.unwrap(), "old");
    assert_eq!(fetch(&world, &world.scope, &newest(1)).await.unwrap(), "new");
    for absent in ["", "nonsense", "../../media.redb"] {
        assert_eq!(kind(fetch(&world, &world.scope, &version(absent)).await), ErrorKind::NotFound);
    }
    // A version belongs to its asset.
    put(&world, &world.scope, 2, "other").await;
    let foreign = DownloadSpec { asset_id: id(2), ..version(&old.version) };
    assert_eq!(kind(fetch(&world, &world.scope, &foreign).await), ErrorKind::NotFound);
}

pub async fn a_url_without_a_version_follows_the_newest(world: MediaWorld) {
    let url = world.handle.sign_download(&world.scope, &newest(1)).unwrap();
    for text in ["one", "two"] {
        put(&world, &world.scope, 1, text).await;
        assert_eq!(bytes_of(open(&world, &url, None).await.unwrap()).await, text.as_bytes());
    }
}

pub async fn restore_makes_an_old_version_the_newest(world: MediaWorld) {
    let old = put(&world, &world.scope, 1, "old").await;
    put(&world, &world.scope, 1, "new").await;
    let restored = world.handle.restore(&world.scope, id(1), &old.version).await.unwrap();
    assert!(restored.latest);
    assert_eq!((&restored.sha256, restored.size_bytes), (&old.sha256, 3));
    assert_eq!(fetch(&world, &world.scope, &newest(1)).await.unwrap(), "old");
    let found = versions(&world, &world.scope, 1).await;
    assert_eq!(found[0], restored);
    assert_eq!(found.iter().filter(|object| object.latest).count(), 1);
    assert!(found.iter().any(|object| object.sha256 == sha256(b"new")));
    // Restoring the newest changes nothing.
    assert_eq!(world.handle.restore(&world.scope, id(1), &restored.version).await.unwrap(), restored);
    assert_eq!(versions(&world, &world.scope, 1).await, found);
    let world = world.reopen().await;
    assert_eq!(versions(&world, &world.scope, 1).await, found);
}

pub async fn restoring_what_is_not_there_is_not_found(world: MediaWorld) {
    let object = put(&world, &world.scope, 1, "hello").await;
    for (asset, version) in [(1, "nonsense"), (1, ""), (2, object.version.as_str())] {
        assert_eq!(kind(world.handle.restore(&world.scope, id(asset), version).await), ErrorKind::NotFound);
    }
}

pub async fn delete_removes_all_versions(world: MediaWorld) {
    for text in ["one", "two"] {
        put(&world, &world.scope, 1, text).await;
    }
    put(&world, &world.scope, 2, "other").await;
    // Absent ones and repeats are fine.
    world.handle.delete(&world.scope, &[id(1), id(9), id(1)]).await.unwrap();
    world.handle.delete(&world.scope, &[id(1)]).await.unwrap();
    world.handle.delete(&world.scope, &[]).await.unwrap();
    assert_absent(&world, &spec(1, b"two")).await;
    assert_eq!(fetch(&world, &world.scope, &newest(2)).await.unwrap(), "other");
    let world = world.reopen().await;
    assert_absent(&world, &spec(1, b"two")).await;
    put(&world, &world.scope, 1, "again").await;
    assert_eq!(fetch(&world, &world.scope, &newest(1)).await.unwrap(), "again");
}

pub async fn delete_keeps_bytes_that_others_use(world: MediaWorld) {
    put(&world, &world.scope, 1, "shared").await;
    put(&world, &world.scope, 2, "shared").await;
    put(&world, &world.foreign, 1, "shared").await;
    put(&world, &world.scope, 1, "own").await;
    world.handle.delete(&world.scope, &[id(1)]).await.unwrap();
    assert_eq!(fetch(&world, &world.scope, &newest(2)).await.unwrap(), "shared");
    let world = world.reopen().await;
    world.handle.delete(&world.scope, &[id(2)]).await.unwrap();
    assert_eq!(fetch(&world, &world.foreign, &newest(1)).await.unwrap(), "shared");
    world.handle.delete(&world.foreign, &[id(1)]).await.unwrap();
    assert_eq!(kind(fetch(&world, &world.foreign, &newest(1)).await), ErrorKind::NotFound);
    put(&world, &world.scope, 3, "shared").await;
    assert_eq!(fetch(&world, &world.scope, &newest(3)).await.unwrap(), "shared");
}

pub async fn bytes_are_never_lost_between_delete_and_put(world: MediaWorld) {
    for round in 0..10_u128 {
        put(&world, &world.scope, 1, "shared").await;
        let (handle, scope) = (world.handle.clone(), world.scope.clone());
        let delete = tokio::spawn(async move { handle.delete(&scope, &[id(1)]).await.unwrap() });
        put(&world, &world.foreign, round, "shared").await;
        delete.await.unwrap();
        assert_eq!(fetch(&world, &world.foreign, &newest(round)).await.unwrap(), "shared");
        world.handle.delete(&world.foreign, &[id(round)]).await.unwrap();
    }
}

pub async fn a_deleted_version_does_not_come_back(world: MediaWorld) {
    let object = put(&world, &world.scope, 1, "old").await;
    let old = DownloadSpec { version: Some(object.version.clone()), ..newest(1) };
    world.handle.delete(&world.scope, &[id(1)]).await.unwrap();
    let world = world.reopen().await;
    put(&world, &world.scope, 1, "new").await;
    assert_eq!(kind(fetch(&world, &world.scope, &old).await), ErrorKind::NotFound);
    assert_eq!(kind(world.handle.restore(&world.scope, id(1), &object.version).await), ErrorKind::NotFound);
    // A repeat of the old completion does not bring it back either.
    let again = world.handle.complete(&world.scope, &spec(1, b"old")).await;
    assert_eq!(kind(again), ErrorKind::NotFound);
}

pub async fn another_organisation_sees_nothing(world: MediaWorld) {
    let old = put(&world, &world.scope, 1, "old").await;
    let new = put(&world, &world.scope, 1, "new").await;
    let waiting = spec(2, b"waiting");
    let target = world.handle.sign_upload(&world.scope, &waiting).unwrap();
    send(&world, &target, b"waiting").await.unwrap();
    let foreign = &world.foreign;
    assert_eq!(versions(&world, foreign, 1).await, []);
    assert_eq!(kind(fetch(&world, foreign, &newest(1)).await), ErrorKind::NotFound);
    let version = DownloadSpec { version: Some(old.version.clone()), ..newest(1) };
    assert_eq!(kind(fetch(&world, foreign, &version).await), ErrorKind::NotFound);
    assert_eq!(kind(world.handle.restore(foreign, id(1), &old.version).await), ErrorKind::NotFound);
    assert_eq!(kind(world.handle.complete(foreign, &waiting).await), ErrorKind::NotFound);
    assert_eq!(kind(world.handle.complete(foreign, &spec(1, b"new")).await), ErrorKind::NotFound);
    world.handle.delete(foreign, &[id(1), id(2)]).await.unwrap();
    let names: Vec<_> = versions(&world, &world.scope, 1).await.into_iter().map(|object| object.version).collect();
    assert_eq!(names, [new.version, old.version]);
    world.handle.complete(&world.scope, &waiting).await.unwrap();
    assert_eq!(fetch(&world, &world.scope, &newest(2)).await.unwrap(), "waiting");
}

pub async fn batches_are_answered_in_order(world: MediaWorld) {
    put(&world, &world.scope, 1, "one").await;
    put(&world, &world.scope, 2, "two").await;
    let ids = [2, 9, 1, 2].map(id);
    let found = world.handle.versions(&world.scope, &ids).await.unwrap();
    let sizes: Vec<usize> = found.iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 0, 1, 1]);
    assert_eq!(found[0], found[3]);
    assert_eq!(found[0][0].sha256, sha256(b"two"));
    assert_eq!(found[2][0].sha256, sha256(b"one"));
    assert!(world.handle.versions(&world.scope, &[]).await.unwrap().is_empty());
}

pub async fn ranges_are_served(world: MediaWorld) {
    put(&world, &world.scope, 1, "0123456789").await;
    let url = world.handle.sign_download(&world.scope, &newest(1)).unwrap();
    let served = [
        ((0, None), 0, "0123456789"),
        ((4, None), 4, "456789"),
        ((4, Some(6)), 4, "456"),
        ((9, Some(9)), 9, "9"),
        ((8, Some(100)), 8, "89"),
        ((0, Some(u64::MAX)), 0, "0123456789"),
    ];
    for (range, offset, text) in served {
        let download = open(&world, &url, Some(range)).await.unwrap();
        assert_eq!((download.offset, download.length, download.object.size_bytes), (offset, text.len() as u64, 10));
        assert_eq!(bytes_of(download).await, text.as_bytes(), "{range:?}");
    }
    for range in [(10, None), (10, Some(12)), (6, Some(5)), (u64::MAX, None)] {
        assert_eq!(kind(open(&world, &url, Some(range)).await), ErrorKind::Invalid, "{range:?}");
    }
}

pub async fn a_file_name_is_offered(world: MediaWorld) {
    put(&world, &world.scope, 1, "hello").await;
    let named = |name: &str| DownloadSpec { file_name: Some(name.to_owned()), ..newest(1) };
    for name in ["hello.txt", "größe \"1\" – 画像.txt", "..", &"é".repeat(127)] {
        let url = world.handle.sign_download(&world.scope, &named(name)).unwrap();
        assert_eq!(open(&world, &url, None).await.unwrap().file_name.as_deref(), Some(name));
    }
    for name in ["", "a/b", "a\\b", "a\r\nset-cookie: x", "a\0", &"x".repeat(256)] {
        assert_eq!(kind(world.handle.sign_download(&world.scope, &named(name))), ErrorKind::Invalid, "{name:?}");
    }
}

pub async fn downloads_are_signed_without_looking(world: MediaWorld) {
    let url = world.handle.sign_download(&world.scope, &newest(1)).unwrap();
    assert_eq!(kind(open(&world, &url, None).await), ErrorKind::NotFound);
    put(&world, &world.scope, 1, "hello").await;
    assert_eq!(bytes_of(open(&world, &url, None).await.unwrap()).await, b"hello");
    world.handle.delete(&world.scope, &[id(1)]).await.unwrap();
    assert_eq!(kind(open(&world, &url, None).await), ErrorKind::NotFound);
}

pub async fn times_are_the_clocks_and_order_is_not(world: MediaWorld) {
    let first = put(&world, &world.scope, 1, "first").await;
    assert_eq!(first.created_at, world.clock.now());
    assert!(
        (first.created_at - SystemClock.now()).abs() > TimeDelta::hours(1),
        "the world's clock is not the machine's"
    );
    world.clock.advance(TimeDelta::days(-1));
    let second = put(&world, &world.scope, 1, "second").await;
    assert_eq!(second.created_at, world.clock.now());
    let world = world.reopen().await;
    let found = versions(&world, &world.scope, 1).await;
    assert_eq!(found[0], second);
    assert_eq!(found[1].version, first.version);
}

pub async fn what_was_acknowledged_is_there_after_a_restart(world: MediaWorld) {
    for text in ["one", "two"] {
        put(&world, &world.scope, 1, text).await;
    }
    let before = versions(&world, &world.scope, 1).await;
    let url = world.handle.sign_download(&world.scope, &newest(1)).unwrap();
    let world = world.reopen().await;
    assert_eq!(versions(&world, &world.scope, 1).await, before);
    assert_eq!(bytes_of(open(&world, &url, None).await.unwrap()).await, b"two");
    let third = put(&world, &world.scope, 1, "three").await;
    assert_eq!(versions(&world, &world.scope, 1).await[0], third);
}

#[derive(Clone, Debug)]
enum Step {
    Put { foreign: bool, asset: u128, text: u8 },
    Restore { foreign: bool, asset: u128, age: usize },
    Delete { foreign: bool, asset: u128 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let put = (any::<bool>(), 0_u128..3, 0_u8..4).prop_map(|(foreign, asset, text)| Step::Put { foreign, asset, text });
    let restore =
        (any::<bool>(), 0_u128..3, 0_usize..4).prop_map(|(foreign, asset, age)| Step::Restore { foreign, asset, age });
    let delete = (any::<bool>(), 0_u128..3).prop_map(|(foreign, asset)| Step::Delete { foreign, asset });
    prop::collection::vec(prop_oneof![4 => put, 2 => restore, 1 => delete], 1..16)
}

/// One history in organisations of its own, against a list of texts for each asset.
async fn one_history(world: &MediaWorld, steps: Vec<Step>) {
    let scopes = [Scope::system(Uuid::now_v7()), Scope::system(Uuid::now_v7())];
    let mut model: [[Vec<String>; 3]; 2] = Default::default();
    for step in steps {
        match step {
            Step::Put { foreign, asset, text } => {
                let (scope, text) = (&scopes[usize::from(foreign)], format!("text {text}"));
                put(world, scope, asset, &text).await;
                let texts = &mut model[usize::from(foreign)][asset as usize];
                if texts.last() != Some(&text) {
                    texts.push(text);
                }
            }
            Step::Restore { foreign, asset, age } => {
                let scope = &scopes[usize::from(foreign)];
                let texts = &mut model[usize::from(foreign)][asset as usize];
                let Some(object) = versions(world, scope, asset).await.get(age).cloned() else {
                    assert!(age >= texts.len());
                    continue;
                };
                world.handle.restore(scope, id(asset), &object.version).await.unwrap();
                if age > 0 {
                    texts.push(texts[texts.len() - 1 - age].clone());
                }
            }
            Step::Delete { foreign, asset } => {
                world.handle.delete(&scopes[usize::from(foreign)], &[id(asset)]).await.unwrap();
                model[usize::from(foreign)][asset as usize].clear();
            }
        }
    }
    for (scope, assets) in scopes.iter().zip(&model) {
        for (asset, texts) in assets.iter().enumerate() {
            let found = versions(world, scope, asset as u128).await;
            assert_eq!(found.len(), texts.len());
            for (object, text) in found.iter().zip(texts.iter().rev()) {
                let spec = DownloadSpec { version: Some(object.version.clone()), ..newest(asset as u128) };
                assert_eq!(&fetch(world, scope, &spec).await.unwrap(), text);
            }
        }
    }
}

pub async fn any_history_equals_the_model(world: MediaWorld) {
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    let ran = runner.run(&steps(), |steps| {
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(one_history(&world, steps)));
        Ok(())
    });
    ran.unwrap();
}

pub async fn health_and_capabilities_are_told(world: MediaWorld) {
    world.handle.health(&world.scope).await.unwrap();
    let capabilities = world.handle.capabilities();
    assert!(capabilities.max_bytes >= 1 << 30);
    assert!(capabilities.max_expiry_seconds >= 3_600);
    assert!(capabilities.versions);
    assert_absent(&world, &spec(1, b"probe")).await;
}
