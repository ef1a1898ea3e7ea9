//! What survives: restarts, jumps of the clock, callers that give up, damage that must be found.

use super::*;
use chimera_stores::ledger::Verification;
use chrono::Duration;
use futures_util::FutureExt;

async fn verify(world: &World<Ledger>) -> Verification {
    world.handle.verify(&world.scope, Chain::Local).await.unwrap()
}

pub async fn everything_is_there_after_reopening(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 100), event(9, Some(1))]).await.unwrap();
    let receipt = submit(&world, "b", vec![transfer(1, 2, 30), transfer(2, 3, 10)]).await.unwrap();
    submit_as(&world, &world.foreign, "a", vec![mint(1, 7)]).await.unwrap();
    let look = async |world: &World<Ledger>| {
        let (handle, scope) = (&world.handle, &world.scope);
        (
            handle
                .balances(scope, &[wallet(1), wallet(2), wallet(3)])
                .await
                .unwrap()
                .into_iter()
                .map(Result::unwrap)
                .collect::<Vec<_>>(),
            page(world, query(&[1, 2, 3], Slice::first(50))).await,
            handle.outflows(scope, &[outflow(&[1])]).await.unwrap(),
            handle.proofs(scope, &receipt.entries).await.unwrap(),
            verify(world).await,
            handle.balances(&world.foreign, &[wallet(1)]).await.unwrap().remove(0).unwrap(),
        )
    };
    let before = look(&world).await;
    let world = world.reopen().await;
    assert_eq!(look(&world).await, before);
    let next = submit(&world, "c", vec![transfer(1, 2, 1)]).await.unwrap();
    assert_eq!(next.block_number, receipt.block_number + 1);
    let world = world.reopen().await;
    assert_eq!(held(&world, 1).await, U256::from(69));
    assert_eq!(verify(&world).await.fault, None);
}

pub async fn keys_are_remembered_after_reopening(world: World<Ledger>) {
    let first = submit(&world, "a", vec![mint(1, 100)]).await.unwrap();
    let world = world.reopen().await;
    assert_eq!(submit(&world, "a", vec![mint(1, 100)]).await.unwrap(), first);
    assert_kind(submit(&world, "a", vec![mint(1, 101)]).await, ErrorKind::Conflict);
    assert_eq!(held(&world, 1).await, U256::from(100));
}

pub async fn the_clock_never_turns_a_chain_back(world: World<Ledger>) {
    let mut times = Vec::new();
    for (number, jump) in [0, 3_600, -7_200, -86_400, 10, 200_000].into_iter().enumerate() {
        world.clock.advance(Duration::seconds(jump));
        let receipt = submit(&world, &number.to_string(), vec![mint(1, 1)]).await.unwrap();
        times.push(entries(&world, &receipt.entries).await.remove(0).at);
    }
    assert!(times.is_sorted(), "{times:?}");
    assert!(times[0] < times[1] && times[4] < times[5], "a clock that goes on is followed");
    assert_eq!(times[1], times[3]);
    assert_eq!(verify(&world).await.fault, None);
    let world = world.reopen().await;
    world.clock.advance(Duration::days(-30));
    let receipt = submit(&world, "last", vec![mint(1, 1)]).await.unwrap();
    assert_eq!(entries(&world, &receipt.entries).await.remove(0).at, times[5]);
}

pub async fn verify_counts_what_it_checked(world: World<Ledger>) {
    let first = submit(&world, "a", vec![mint(1, 100), event(9, Some(1))]).await.unwrap();
    let hash = entries(&world, &first.entries).await[0].block_hash;
    let expected = Verification { blocks: 1, entries: 2, head: Some(hash), fault: None };
    assert_eq!(verify(&world).await, expected);
    submit(&world, "b", vec![transfer(1, 2, 30)]).await.unwrap();
    let found = verify(&world).await;
    assert_eq!((found.blocks, found.entries, found.fault), (2, 3, None));
    assert_ne!(found.head, Some(hash));
}

/// For adapters that keep files: one byte in the middle of the second half of what they keep.
pub async fn verify_finds_damage_on_disk(world: World<Ledger>) {
    for number in 0..6 {
        submit(&world, &number.to_string(), vec![mint(1, 1)]).await.unwrap();
    }
    let name = format!("{}.chain", world.scope.organization_id());
    let path = world.folder().join(name);
    let mut bytes = std::fs::read(&path).expect("the adapter keeps a chain file for each organisation");
    let middle = bytes.len() * 3 / 4;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let found = verify(&world).await;
    let (block, why) = found.fault.expect("the changed byte is found");
    assert_eq!((block, found.blocks), (5, 4), "{why}");
    assert!(!why.is_empty());
    assert_eq!(held(&world, 1).await, U256::from(6), "what was acknowledged is still answered");
}

pub async fn an_abandoned_submission_happens_once_or_not_at_all(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 100)]).await.unwrap();
    for number in 0..20 {
        let key = format!("pay {number}");
        {
            let mut submitted = Box::pin(submit(&world, &key, vec![transfer(1, 2, 1)]));
            // Polled once, so it is on its way, then dropped.
            let _ = submitted.as_mut().now_or_never();
        }
        if number % 2 == 0 {
            submit(&world, &key, vec![transfer(1, 2, 1)]).await.unwrap();
        }
    }
    let world = world.reopen().await;
    let paid = held(&world, 2).await.to::<u64>();
    assert!((10..=20).contains(&paid), "{paid} were paid");
    for number in 0..20 {
        submit(&world, &format!("pay {number}"), vec![transfer(1, 2, 1)]).await.unwrap();
    }
    assert_eq!(held(&world, 2).await, U256::from(20));
    assert_eq!(verify(&world).await.fault, None);
}

pub async fn readers_see_whole_transactions_only(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 1_000)]).await.unwrap();
    let world = Arc::new(world);
    let writer = tokio::spawn({
        let world = world.clone();
        async move {
            for number in 0..40 {
                let operations = vec![transfer(1, 2, 5), transfer(2, 3, 5), transfer(3, 1, 5), transfer(1, 4, 1)];
                submit(&world, &format!("round {number}"), operations).await.unwrap();
            }
        }
    });
    let mut looks = 0;
    while !writer.is_finished() {
        let pages = page(&world, query(&[1, 2, 3, 4], Slice::first(1_000))).await;
        assert_eq!(pages.items.len() % 4, 1, "a transaction is seen in part");
        assert_eq!((held(&world, 2).await, held(&world, 3).await), (U256::ZERO, U256::ZERO));
        assert_eq!(verify(&world).await.fault, None, "verifying while somebody writes");
        looks += 1;
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert!(looks > 0);
    assert_eq!(held(&world, 4).await, U256::from(40));
}

pub async fn the_store_is_healthy_and_says_what_it_can(world: World<Ledger>) {
    world.handle.health(&world.scope).await.unwrap();
    let can = world.handle.capabilities();
    assert!(can.mint && can.proofs && can.chains.contains(&Chain::Local), "{can:?}");
    assert!(can.place.contains(world.folder().to_str().unwrap()));
    assert_eq!(local_address(Uuid::from_u128(1)), address(1));
    assert_ne!(address(1), address(2));
    submit(&world, "a", vec![mint(1, 1)]).await.expect("an address made from a wallet's id is one of the chain's");
}
