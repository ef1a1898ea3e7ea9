//! What reading answers: batches, tenants, order, pages, sums and proofs.

use super::*;
use chimera_stores::ledger::{Proof, ProofStep};
use chrono::Duration;
use sha2::{Digest, Sha256};

pub async fn nothing_is_known_of_what_was_never_written(world: World<Ledger>) {
    let unknown = EntryId { chain: Chain::Local, transaction: Default::default(), index: 0 };
    let nothing = async |world: &World<Ledger>, unknown: &EntryId| {
        let (handle, scope) = (&world.handle, &world.scope);
        assert!(handle.balances(scope, &[wallet(9)]).await.unwrap().remove(0).unwrap().is_empty());
        assert_eq!(handle.entries(scope, std::slice::from_ref(unknown)).await.unwrap(), [None]);
        assert_eq!(handle.proofs(scope, std::slice::from_ref(unknown)).await.unwrap(), [None]);
        assert!(page(world, query(&[9], Slice::first(5))).await.items.is_empty());
        assert!(handle.outflows(scope, &[outflow(&[9])]).await.unwrap().remove(0).is_empty());
    };
    nothing(&world, &unknown).await;
    let found = world.handle.verify(&world.scope, Chain::Local).await.unwrap();
    assert_eq!((found.blocks, found.entries, found.head, found.fault), (0, 0, None, None));
    let receipt = submit(&world, "a", vec![mint(1, 10)]).await.unwrap();
    nothing(&world, &unknown).await;
    nothing(&world, &EntryId { index: 1, ..receipt.entries[0].clone() }).await;
    nothing(&world, &EntryId { chain: Chain::Ethereum, ..receipt.entries[0].clone() }).await;
}

pub async fn empty_batches_are_empty(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 10)]).await.unwrap();
    let (handle, scope) = (&world.handle, &world.scope);
    assert!(handle.balances(scope, &[]).await.unwrap().is_empty());
    assert!(handle.entries(scope, &[]).await.unwrap().is_empty());
    assert!(handle.entry_pages(scope, &[]).await.unwrap().is_empty());
    assert!(handle.outflows(scope, &[]).await.unwrap().is_empty());
    assert!(handle.proofs(scope, &[]).await.unwrap().is_empty());
    assert!(page(&world, query(&[], Slice::first(5))).await.items.is_empty(), "no wallets have no entries");
    assert!(handle.outflows(scope, &[outflow(&[])]).await.unwrap().remove(0).is_empty());
}

pub async fn duplicate_keys_are_answered_each(world: World<Ledger>) {
    let receipt = submit(&world, "a", vec![mint(1, 10), transfer(1, 2, 4)]).await.unwrap();
    let (handle, scope) = (&world.handle, &world.scope);
    let balances = handle.balances(scope, &[wallet(1), wallet(2), wallet(1)]).await.unwrap();
    let amounts: Vec<U256> = balances.into_iter().map(|found| found.unwrap()[0].amount).collect();
    assert_eq!(amounts, [U256::from(6), U256::from(4), U256::from(6)]);
    let ids = [receipt.entries[1].clone(), receipt.entries[0].clone(), receipt.entries[1].clone()];
    let found = entries(&world, &ids).await;
    assert_eq!(found.iter().map(|entry| entry.id.clone()).collect::<Vec<_>>(), ids);
    let proofs: Vec<Proof> = handle.proofs(scope, &ids).await.unwrap().into_iter().map(Option::unwrap).collect();
    assert!(proofs[0] == proofs[2] && proofs[0].leaf != proofs[1].leaf);
    let one = query(&[1], Slice::first(5));
    let pages = handle.entry_pages(scope, &[one.clone(), query(&[2], Slice::first(5)), one]).await.unwrap();
    assert!(pages[0] == pages[2] && pages[0].items.len() == 2 && pages[1].items.len() == 1);
    let twice = query(&[1, 1], Slice::first(5));
    assert_eq!(page(&world, twice).await, pages[0], "a wallet named twice counts once");
    let sums = handle.outflows(scope, &[outflow(&[1, 1]), outflow(&[1])]).await.unwrap();
    assert_eq!(sums[0], sums[1]);
    assert_eq!(sums[0][0].amount, U256::from(4));
}

pub async fn another_organization_sees_nothing(world: World<Ledger>) {
    let receipt = submit(&world, "a", vec![mint(1, 10), transfer(1, 2, 4)]).await.unwrap();
    // Once without a chain of its own, once with one.
    for round in 0..2_u64 {
        let (handle, foreign) = (&world.handle, &world.foreign);
        assert!(handle.balances(foreign, &[wallet(1)]).await.unwrap().remove(0).unwrap().is_empty());
        assert_eq!(handle.entries(foreign, &receipt.entries).await.unwrap(), [None, None]);
        assert_eq!(handle.proofs(foreign, &receipt.entries).await.unwrap(), [None, None]);
        let listed = handle.entry_pages(foreign, &[query(&[1, 2], Slice::first(5))]).await.unwrap().remove(0);
        assert!(listed.items.is_empty() && !listed.has_next && !listed.has_previous);
        assert!(handle.outflows(foreign, &[outflow(&[1])]).await.unwrap().remove(0).is_empty());
        assert_eq!(handle.verify(foreign, Chain::Local).await.unwrap().entries, round);
        let spent = submit_as(&world, foreign, "spend", vec![transfer(1, 3, 1)]).await;
        assert_kind(spent, ErrorKind::Conflict);
        submit_as(&world, foreign, "a", vec![mint(5, 1)]).await.unwrap();
    }
    assert_eq!((held(&world, 1).await, held(&world, 5).await), (U256::from(6), U256::ZERO));
}

pub async fn balances_are_sorted_and_of_the_newest_block(world: World<Ledger>) {
    let minted = |symbol: &str, contract: Option<Address>| Operation::Mint {
        to: address(1),
        token: Token { contract, ..token(symbol) },
        amount: U256::from(1),
    };
    let contract = |digit: &str| Some(Address(format!("local:{}", digit.repeat(40))));
    let operations = vec![
        minted("WETH", None),
        minted("EUR", contract("b")),
        minted("USDC", None),
        minted("EUR", contract("a")),
        minted("EUR", None),
        minted("1INCH", None),
    ];
    submit(&world, "a", operations).await.unwrap();
    let newest = submit(&world, "b", vec![mint(2, 1)]).await.unwrap().block_number;
    let balances = world.handle.balances(&world.scope, &[wallet(1)]).await.unwrap().remove(0).unwrap();
    let order: Vec<_> =
        balances.iter().map(|balance| (balance.token.symbol.as_str(), balance.token.contract.clone())).collect();
    let (a, b) = (contract("a"), contract("b"));
    assert_eq!(order, [("1INCH", None), ("EUR", None), ("EUR", a), ("EUR", b), ("USDC", None), ("WETH", None)]);
    assert!(balances.iter().all(|balance| balance.block_number == newest));
}

pub async fn a_bad_key_fails_alone(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 10)]).await.unwrap();
    let elsewhere = WalletRef { chain: Chain::Solana, address: Address("So1ana".into()) };
    let malformed = WalletRef { chain: Chain::Local, address: Address("local:1".into()) };
    let wallets = [wallet(1), elsewhere, wallet(1), malformed];
    let mut found = world.handle.balances(&world.scope, &wallets).await.unwrap().into_iter();
    assert_eq!(found.next().unwrap().unwrap()[0].amount, U256::from(10));
    assert_kind(found.next().unwrap(), ErrorKind::Unsupported);
    assert_eq!(found.next().unwrap().unwrap()[0].amount, U256::from(10));
    assert_kind(found.next().unwrap(), ErrorKind::Invalid);
}

pub async fn entries_carry_everything_that_was_written(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 10)]).await.unwrap();
    world.clock.advance(Duration::seconds(90));
    let memo = json!({"campaignId": Uuid::from_u128(5)});
    let operations = vec![mint(3, 1), transfer_with(1, 2, 4, Some(memo.clone())), transfer(1, 2, 1)];
    let receipt = submit(&world, "b", operations).await.unwrap();
    let found = entries(&world, &receipt.entries).await;
    let entry = &found[1];
    assert_eq!(entry.id, EntryId { chain: Chain::Local, transaction: receipt.transaction, index: 1 });
    assert_eq!((entry.block_number, entry.block_index), (receipt.block_number, 1));
    assert_eq!(entry.at, chrono::DateTime::parse_from_rfc3339("2026-01-01T00:01:30Z").unwrap());
    assert_eq!((entry.kind, entry.amount), (EntryKind::Transfer, U256::from(4)));
    assert_eq!((entry.from.clone(), entry.to.clone()), (Some(address(1)), Some(address(2))));
    assert_eq!((entry.token.clone(), entry.event.clone()), (token("USDC"), None));
    assert_eq!((entry.data.clone(), found[2].data.clone()), (Some(memo), None));
    let head = world.handle.verify(&world.scope, Chain::Local).await.unwrap().head;
    assert_eq!(Some(entry.block_hash), head);
}

pub async fn events_name_contract_and_subject(world: World<Ledger>) {
    let receipt = submit(&world, "a", vec![event(9, Some(1)), event(9, None)]).await.unwrap();
    let found = entries(&world, &receipt.entries).await;
    for (entry, to) in found.iter().zip([Some(address(1)), None]) {
        assert_eq!((entry.kind, entry.amount), (EntryKind::ContractEvent, U256::ZERO));
        assert_eq!((entry.from.clone(), entry.to.clone()), (Some(address(9)), to));
        assert_eq!(entry.token.contract, Some(address(9)));
        assert_eq!((entry.event.as_deref(), &entry.data), (Some("Rated"), &Some(json!({"stars": 5}))));
    }
    assert_eq!(page(&world, query(&[1], Slice::first(5))).await.items.len(), 1);
    assert_eq!(page(&world, query(&[9], Slice::first(5))).await.items.len(), 2);
    assert!(world.handle.balances(&world.scope, &[wallet(9)]).await.unwrap().remove(0).unwrap().is_empty());
}

/// Twelve blocks, a second apart; wallets 1 to 4, of which 1 has an entry in each.
async fn history(world: &World<Ledger>) {
    submit(world, "0", vec![mint(1, 1_000), mint(2, 1_000), mint(3, 1_000)]).await.unwrap();
    for number in 1..12_u128 {
        world.clock.advance(Duration::seconds(1));
        let operations = match number % 3 {
            0 => vec![transfer(1, 2, 1), event(1, Some(4))],
            1 => vec![transfer(2, 1, 1), transfer(2, 3, 1)],
            _ => vec![mint(4, 5), transfer(1, 4, 1)],
        };
        submit(world, &number.to_string(), operations).await.unwrap();
    }
}

async fn whole(world: &World<Ledger>, wallets: &[u128]) -> Vec<Entry> {
    let page = page(world, query(wallets, Slice::first(1_000))).await;
    assert!(!page.has_next && !page.has_previous);
    page.items
}

pub async fn pages_are_newest_first_and_hold_each_entry_once(world: World<Ledger>) {
    history(&world).await;
    let one = whole(&world, &[1]).await;
    assert!(one.windows(2).all(|pair| position(&pair[0]).compare(&position(&pair[1])).is_gt()));
    assert!(one.iter().all(|entry| [&entry.from, &entry.to].contains(&&Some(address(1)))));
    let both = whole(&world, &[1, 2]).await;
    let mut ids: Vec<_> = both.iter().map(Entry::uuid).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), both.len(), "an entry between two of the wallets appears once");
    assert_eq!(whole(&world, &[1, 2, 3, 4]).await.len(), 25);
}

pub async fn paging_forward_is_slicing(world: World<Ledger>) {
    history(&world).await;
    let all = whole(&world, &[1, 2]).await;
    for limit in [1, 2, 3, 7, 100] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let slice = Slice { after: after.clone(), ..Slice::first(limit) };
            let page = page(&world, query(&[1, 2], slice)).await;
            assert!(page.items.len() <= limit as usize);
            seen.extend(page.items);
            assert_eq!(page.has_next, seen.len() < all.len());
            if !page.has_next {
                break;
            }
            after = seen.last().map(position);
        }
        assert_eq!(seen, all, "pages of {limit}");
    }
}

pub async fn paging_backward_is_slicing(world: World<Ledger>) {
    history(&world).await;
    let all = whole(&world, &[1, 4]).await;
    for limit in [1, 2, 3, 7, 100] {
        let (mut seen, mut before): (Vec<Entry>, _) = (Vec::new(), None);
        loop {
            let slice = Slice { before: before.clone(), ..Slice::last(limit) };
            let page = page(&world, query(&[1, 4], slice)).await;
            seen.splice(0..0, page.items);
            assert_eq!(page.has_previous, seen.len() < all.len());
            if !page.has_previous {
                break;
            }
            before = seen.first().map(position);
        }
        assert_eq!(seen, all, "pages of {limit}");
    }
    let between = Slice { after: Some(position(&all[2])), before: Some(position(&all[8])), ..Slice::last(3) };
    assert_eq!(page(&world, query(&[1, 4], between)).await.items, all[5..8]);
}

pub async fn cursors_stand_still_under_insert(world: World<Ledger>) {
    history(&world).await;
    let all = whole(&world, &[1]).await;
    let first = page(&world, query(&[1], Slice::first(4))).await;
    let after = first.items.last().map(position);
    submit(&world, "newer", vec![transfer(1, 2, 1), transfer(1, 3, 1)]).await.unwrap();
    let next = page(&world, query(&[1], Slice { after: after.clone(), ..Slice::first(4) })).await;
    assert_eq!(ids(&next.items), ids(&all[4..8]), "what is inserted on top moves nothing below");
    let world = world.reopen().await;
    let next = page(&world, query(&[1], Slice { after, ..Slice::first(4) })).await;
    assert_eq!(ids(&next.items), ids(&all[4..8]), "a cursor outlives a restart");
    let newer = page(&world, query(&[1], Slice { before: Some(position(&all[0])), ..Slice::last(9) })).await;
    assert_eq!(newer.items.len(), 2);
}

fn ids(entries: &[Entry]) -> Vec<EntryId> {
    entries.iter().map(|entry| entry.id.clone()).collect()
}

pub async fn pages_filter_by_kind_and_time(world: World<Ledger>) {
    history(&world).await;
    let all = whole(&world, &[1, 2]).await;
    let (from, to) = (all[15].at, all[4].at);
    for kinds in [vec![], vec![EntryKind::Transfer], vec![EntryKind::Mint, EntryKind::ContractEvent]] {
        for (from, to) in
            [(None, None), (Some(from), None), (None, Some(to)), (Some(from), Some(to)), (Some(to), Some(from))]
        {
            let matches = |entry: &&Entry| {
                (kinds.is_empty() || kinds.contains(&entry.kind))
                    && from.is_none_or(|from| entry.at >= from)
                    && to.is_none_or(|to| entry.at < to)
            };
            let expected: Vec<Entry> = all.iter().filter(matches).cloned().collect();
            let asked = EntryPageQuery { kinds: kinds.clone(), from, to, ..query(&[1, 2], Slice::first(100)) };
            let found = page(&world, asked.clone()).await;
            assert_eq!(found.items, expected, "{kinds:?} {from:?} {to:?}");
            assert!(!found.has_next);
            let cut = EntryPageQuery { slice: Slice::first(2), ..asked };
            let found = page(&world, cut).await;
            assert_eq!(
                (found.items.as_slice(), found.has_next),
                (&expected[..expected.len().min(2)], expected.len() > 2)
            );
        }
    }
}

pub async fn a_page_of_no_rows_is_invalid(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 10)]).await.unwrap();
    let asked = world.handle.entry_pages(&world.scope, &[query(&[1], Slice::first(0))]).await;
    assert_kind(asked, ErrorKind::Invalid);
}

pub async fn outflows_leave_out_payments_between_own_wallets(world: World<Ledger>) {
    let eur = |from, to, amount: u64| Operation::Transfer {
        from: address(from),
        to: address(to),
        token: token("EUR"),
        amount: U256::from(amount),
        memo: None,
    };
    let minted = Operation::Mint { to: address(2), token: token("EUR"), amount: U256::from(50) };
    submit(&world, "a", vec![mint(1, 1_000), minted]).await.unwrap();
    let operations =
        vec![transfer(1, 2, 100), transfer(1, 3, 20), transfer(2, 3, 5), transfer(3, 1, 7), transfer(1, 1, 9)];
    submit(&world, "b", operations).await.unwrap();
    submit(&world, "c", vec![eur(2, 3, 50), event(1, Some(3))]).await.unwrap();
    let asked = [outflow(&[1, 2]), outflow(&[1]), outflow(&[3]), outflow(&[4])];
    let found = world.handle.outflows(&world.scope, &asked).await.unwrap();
    let plain = |sums: &[chimera_stores::ledger::Outflow]| -> Vec<(String, U256, u64)> {
        sums.iter().map(|sum| (sum.token.symbol.clone(), sum.amount, sum.transfers)).collect()
    };
    let sum = |symbol: &str, amount: u64, transfers| (symbol.to_owned(), U256::from(amount), transfers);
    assert_eq!(plain(&found[0]), [sum("EUR", 50, 1), sum("USDC", 25, 2)]);
    assert_eq!(plain(&found[1]), [sum("USDC", 120, 2)]);
    assert_eq!(plain(&found[2]), [sum("USDC", 7, 1)]);
    assert!(found[3].is_empty());
}

pub async fn outflows_filter_by_campaign_and_time(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 1_000)]).await.unwrap();
    let campaign = Uuid::from_u128(77);
    let memos = [
        Some(json!({"campaignId": campaign})),
        Some(json!({"campaignId": campaign, "note": "more"})),
        Some(json!({"campaignId": Uuid::from_u128(78)})),
        Some(json!({"campaign": campaign})),
        Some(json!({"campaignId": 77})),
        Some(json!([campaign])),
        None,
    ];
    let start = world.clock.clone();
    for (number, memo) in memos.into_iter().enumerate() {
        world.clock.advance(Duration::seconds(1));
        let operation = transfer_with(1, 2, 10_u64.pow(number as u32 % 3), memo);
        submit(&world, &number.to_string(), vec![operation]).await.unwrap();
    }
    let now = chimera_stores::Clock::now(&*start);
    let (first, second) = (now - Duration::seconds(6), now - Duration::seconds(5));
    let of_campaign = OutflowQuery { campaign_id: Some(campaign), ..outflow(&[1]) };
    let asked = [
        of_campaign.clone(),
        OutflowQuery { to: Some(second), ..of_campaign.clone() },
        OutflowQuery { from: Some(second), ..of_campaign.clone() },
        OutflowQuery { from: Some(first), to: Some(second), ..outflow(&[1]) },
        OutflowQuery { campaign_id: Some(Uuid::from_u128(79)), ..outflow(&[1]) },
        outflow(&[1]),
    ];
    let found = world.handle.outflows(&world.scope, &asked).await.unwrap();
    let sums: Vec<_> =
        found.iter().map(|sums| sums.first().map_or((0, 0), |sum| (sum.amount.to::<u64>(), sum.transfers))).collect();
    assert_eq!(sums, [(11, 2), (1, 1), (10, 1), (1, 1), (0, 0), (223, 7)]);
}

pub async fn every_entry_is_final_and_gains_confirmations(world: World<Ledger>) {
    let receipt = submit(&world, "a", vec![mint(1, 10)]).await.unwrap();
    for confirmations in 1..4 {
        let entry = entries(&world, &receipt.entries).await.remove(0);
        assert_eq!((entry.confirmations, entry.finality), (confirmations, Finality::Finalized));
        let final_only = EntryPageQuery { min_finality: Finality::Finalized, ..query(&[1], Slice::first(5)) };
        assert_eq!(page(&world, final_only).await.items.len(), 1);
        submit(&world, &confirmations.to_string(), vec![mint(2, 1)]).await.unwrap();
    }
}

pub async fn proofs_lead_to_the_root(world: World<Ledger>) {
    for count in [1, 2, 3, 5, 8, 13] {
        let receipt = submit(&world, &count.to_string(), vec![mint(1, 1); count]).await.unwrap();
        let proofs = world.handle.proofs(&world.scope, &receipt.entries).await.unwrap();
        let found = entries(&world, &receipt.entries).await;
        for (proof, entry) in proofs.into_iter().map(Option::unwrap).zip(found) {
            assert!(proof.verified);
            assert_eq!(proof.block_hash, entry.block_hash);
            // Worked out here from the standard alone: RFC 6962 hashes nodes behind a 1.
            let climb = |below: Vec<u8>, step: &ProofStep| {
                let (left, right) = if step.left { (step.hash.to_vec(), below) } else { (below, step.hash.to_vec()) };
                Sha256::digest([vec![1], left, right].concat()).to_vec()
            };
            assert_eq!(proof.path.iter().fold(proof.leaf.to_vec(), climb), proof.root.to_vec());
            assert_eq!(proof.path.is_empty(), count == 1);
        }
    }
}
