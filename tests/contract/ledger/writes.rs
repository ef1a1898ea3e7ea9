//! What may be written, what is refused and how, and that a transaction happens once and as a whole.

use super::*;
use futures_util::future::join_all;

pub async fn a_mint_is_read_back(world: World<Ledger>) {
    let receipt = submit(&world, "a", vec![mint(1, 500)]).await.unwrap();
    assert_eq!(receipt.entries.len(), 1);
    let balances = world.handle.balances(&world.scope, &[wallet(1)]).await.unwrap().remove(0).unwrap();
    assert_eq!(balances.len(), 1);
    assert_eq!((&balances[0].token, balances[0].amount), (&token("USDC"), U256::from(500)));
    assert_eq!(balances[0].block_number, receipt.block_number);
    let entry = entries(&world, &receipt.entries).await.remove(0);
    assert_eq!((entry.kind, entry.from, entry.to), (EntryKind::Mint, None, Some(address(1))));
}

pub async fn a_transfer_moves_and_conserves(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 500)]).await.unwrap();
    submit(&world, "b", vec![transfer(1, 2, 180)]).await.unwrap();
    submit(&world, "c", vec![transfer(2, 3, 180)]).await.unwrap();
    assert_eq!((held(&world, 1).await, held(&world, 2).await), (U256::from(320), U256::ZERO));
    assert_eq!(held(&world, 3).await, U256::from(180));
}

pub async fn operations_see_those_before_them(world: World<Ledger>) {
    let operations = vec![mint(1, 10), transfer(1, 2, 10), transfer(2, 3, 4)];
    let receipt = submit(&world, "a", operations).await.unwrap();
    let indexes: Vec<u32> = receipt.entries.iter().map(|id| id.index).collect();
    assert_eq!(indexes, [0, 1, 2]);
    assert_eq!((held(&world, 2).await, held(&world, 3).await), (U256::from(6), U256::from(4)));
}

pub async fn a_failed_operation_undoes_its_whole_transaction(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 10)]).await.unwrap();
    let before = world.handle.verify(&world.scope, Chain::Local).await.unwrap();
    let operations = vec![mint(2, 99), transfer(1, 2, 10), transfer(1, 2, 1)];
    assert_kind(submit(&world, "b", operations).await, ErrorKind::Conflict);
    assert_eq!((held(&world, 1).await, held(&world, 2).await), (U256::from(10), U256::ZERO));
    assert_eq!(world.handle.verify(&world.scope, Chain::Local).await.unwrap(), before);
}

pub async fn spending_more_than_there_is_conflicts(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 500)]).await.unwrap();
    let error = assert_kind(submit(&world, "b", vec![transfer(1, 2, 501)]).await, ErrorKind::Conflict);
    for part in ["insufficient balance", "USDC", "500"] {
        assert!(error.message().contains(part), "{} lacks {part}", error.message());
    }
    let error = assert_kind(submit(&world, "c", vec![transfer(3, 1, 1)]).await, ErrorKind::Conflict);
    assert!(error.message().contains("0 available"), "{}", error.message());
}

pub async fn a_transfer_to_oneself_needs_the_balance_and_changes_nothing(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 10)]).await.unwrap();
    let receipt = submit(&world, "b", vec![transfer(1, 1, 10)]).await.unwrap();
    assert_eq!(held(&world, 1).await, U256::from(10));
    assert_kind(submit(&world, "c", vec![transfer(1, 1, 11)]).await, ErrorKind::Conflict);
    let listed = page(&world, query(&[1], Slice::first(10))).await.items;
    assert_eq!(listed.iter().filter(|entry| entry.id == receipt.entries[0]).count(), 1);
}

pub async fn zero_amounts_are_invalid(world: World<Ledger>) {
    assert_kind(submit(&world, "a", vec![mint(1, 0)]).await, ErrorKind::Invalid);
    assert_kind(submit(&world, "b", vec![transfer(1, 2, 0)]).await, ErrorKind::Invalid);
}

pub async fn malformed_addresses_are_invalid(world: World<Ledger>) {
    let good = address(1).0;
    let digits = good.strip_prefix("local:").unwrap();
    for bad in [
        String::new(),
        digits.to_owned(),
        format!("0x{digits}"),
        format!("LOCAL:{digits}"),
        good.to_uppercase(),
        format!("local:{}", digits.replace(|digit: char| digit.is_ascii_digit(), "A")),
        format!("{good}0"),
        good[..good.len() - 1].to_owned(),
        format!(" {good}"),
        format!("local:{}", "é".repeat(20)),
    ] {
        let bad = || Address(bad.clone());
        let (token, amount) = (token("USDC"), U256::from(1));
        let (from, to) = (address(1), address(2));
        for operation in [
            Operation::Mint { to: bad(), token: token.clone(), amount },
            Operation::Transfer { from: bad(), to, token: token.clone(), amount, memo: None },
            Operation::Transfer { from: from.clone(), to: bad(), token: token.clone(), amount, memo: None },
            Operation::Mint { to: from, token: Token { contract: Some(bad()), ..token }, amount },
            Operation::Event { contract: bad(), subject: None, event: "E".into(), data: json!(1) },
            Operation::Event { contract: address(1), subject: Some(bad()), event: "E".into(), data: json!(1) },
        ] {
            assert_kind(submit(&world, "a", vec![operation]).await, ErrorKind::Invalid);
        }
    }
}

pub async fn malformed_tokens_are_invalid(world: World<Ledger>) {
    let mint = |symbol: &str, decimals| {
        let token = Token { symbol: symbol.to_owned(), decimals, contract: None };
        vec![Operation::Mint { to: address(1), token, amount: U256::from(1) }]
    };
    for symbol in ["", "usdc", "US DC", "US-DC", "ÄÖ", "ABCDEFGHIJKLMNOPQ", "U\0"] {
        assert_kind(submit(&world, "a", mint(symbol, 6)).await, ErrorKind::Invalid);
    }
    assert_kind(submit(&world, "a", mint("USDC", 37)).await, ErrorKind::Invalid);
    assert!(submit(&world, "a", mint("ABCDEFGHIJKLMN09", 36)).await.is_ok());
    assert!(submit(&world, "b", mint("X", 0)).await.is_ok());
}

pub async fn one_symbol_has_one_number_of_decimals(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 10)]).await.unwrap();
    let other = Token { decimals: 18, ..token("USDC") };
    let minted = Operation::Mint { to: address(1), token: other.clone(), amount: U256::from(1) };
    assert_kind(submit(&world, "b", vec![minted]).await, ErrorKind::Conflict);
    let (from, to, amount) = (address(1), address(2), U256::from(1));
    let moved = Operation::Transfer { from, to, token: other, amount, memo: None };
    assert_kind(submit(&world, "c", vec![moved]).await, ErrorKind::Conflict);
}

pub async fn tokens_of_one_symbol_differ_by_contract(world: World<Ledger>) {
    let contract = Token { contract: Some(address(9)), ..token("USDC") };
    let minted = Operation::Mint { to: address(1), token: contract.clone(), amount: U256::from(7) };
    submit(&world, "a", vec![mint(1, 5), minted]).await.unwrap();
    let balances = world.handle.balances(&world.scope, &[wallet(1)]).await.unwrap().remove(0).unwrap();
    let found: Vec<_> = balances.into_iter().map(|balance| (balance.token, balance.amount)).collect();
    assert_eq!(found, [(token("USDC"), U256::from(5)), (contract, U256::from(7))]);
    assert_kind(submit(&world, "b", vec![transfer(1, 2, 6)]).await, ErrorKind::Conflict);
}

pub async fn amounts_up_to_256_bits_never_wrap(world: World<Ledger>) {
    let all = |to| Operation::Mint { to: address(to), token: token("USDC"), amount: U256::MAX };
    submit(&world, "a", vec![all(1)]).await.unwrap();
    assert_eq!(held(&world, 1).await, U256::MAX);
    assert_kind(submit(&world, "b", vec![mint(1, 1)]).await, ErrorKind::Conflict);
    assert_kind(submit(&world, "c", vec![mint(2, 1)]).await, ErrorKind::Conflict);
    let (from, to) = (address(1), address(2));
    let moved = Operation::Transfer { from, to, token: token("USDC"), amount: U256::MAX, memo: None };
    submit(&world, "d", vec![moved]).await.unwrap();
    assert_eq!((held(&world, 1).await, held(&world, 2).await), (U256::ZERO, U256::MAX));
    let world = world.reopen().await;
    assert_eq!(held(&world, 2).await, U256::MAX);
}

pub async fn a_repeated_key_answers_with_the_first_receipt(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 10)]).await.unwrap();
    let first = submit(&world, "pay", vec![transfer(1, 2, 10)]).await.unwrap();
    submit(&world, "b", vec![mint(3, 1)]).await.unwrap();
    // The balance would no longer allow it: the answer is the first one all the same.
    assert_eq!(submit(&world, "pay", vec![transfer(1, 2, 10)]).await.unwrap(), first);
    assert_eq!(held(&world, 2).await, U256::from(10));
}

pub async fn a_key_with_other_operations_conflicts(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 10)]).await.unwrap();
    for other in [vec![mint(1, 11)], vec![mint(2, 10)], vec![mint(1, 10), mint(1, 10)], vec![event(1, None)]] {
        assert_kind(submit(&world, "a", other).await, ErrorKind::Conflict);
    }
    assert_eq!(held(&world, 1).await, U256::from(10));
    // Members of a memo have no order, so another spelling is the same operation.
    let memo = |text: &str| serde_json::from_str(text).unwrap();
    let first = submit(&world, "m", vec![transfer_with(1, 2, 1, memo(r#"{"a": 1, "b": [2]}"#))]).await.unwrap();
    let again = submit(&world, "m", vec![transfer_with(1, 2, 1, memo(r#"{"b":[2],"a":1}"#))]).await.unwrap();
    assert_eq!(first, again);
}

pub async fn a_refused_transaction_leaves_its_key_free(world: World<Ledger>) {
    assert_kind(submit(&world, "pay", vec![transfer(1, 2, 10)]).await, ErrorKind::Conflict);
    submit(&world, "a", vec![mint(1, 10)]).await.unwrap();
    submit(&world, "pay", vec![transfer(1, 2, 10)]).await.unwrap();
    assert_eq!(held(&world, 2).await, U256::from(10));
}

pub async fn equal_submissions_at_once_are_one_transaction(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 100)]).await.unwrap();
    let answers = join_all((0..20).map(|_| submit(&world, "pay", vec![transfer(1, 2, 30)]))).await;
    let first = answers[0].as_ref().unwrap();
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap() == first));
    assert_eq!(held(&world, 2).await, U256::from(30));
}

pub async fn keys_of_two_organizations_do_not_meet(world: World<Ledger>) {
    let own = submit(&world, "a", vec![mint(1, 1)]).await.unwrap();
    let foreign = submit_as(&world, &world.foreign, "a", vec![mint(1, 1)]).await.unwrap();
    assert_ne!(own.transaction, foreign.transaction, "the hash covers the organisation");
    submit_as(&world, &world.foreign, "b", vec![mint(2, 2)]).await.unwrap();
    submit(&world, "b", vec![mint(2, 3)]).await.unwrap();
    assert_eq!(held(&world, 2).await, U256::from(3));
}

pub async fn a_transaction_has_limits(world: World<Ledger>) {
    assert_kind(submit(&world, "a", vec![]).await, ErrorKind::Invalid);
    assert_kind(submit(&world, "a", vec![mint(1, 1); 101]).await, ErrorKind::Invalid);
    assert_kind(submit(&world, "", vec![mint(1, 1)]).await, ErrorKind::Invalid);
    assert_kind(submit(&world, &"k".repeat(129), vec![mint(1, 1)]).await, ErrorKind::Invalid);
    let key = "é".repeat(64);
    let receipt = submit(&world, &key, vec![mint(1, 1); 100]).await.unwrap();
    assert_eq!(receipt.entries.len(), 100);
    assert_eq!(submit(&world, &key, vec![mint(1, 1); 100]).await.unwrap(), receipt);
    assert_eq!(held(&world, 1).await, U256::from(100));
}

pub async fn memos_and_data_have_limits(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 10)]).await.unwrap();
    // Two quotes around the text count too.
    let memo = |length| vec![transfer_with(1, 2, 1, Some(json!("x".repeat(length))))];
    let data = |length| {
        let data = json!("x".repeat(length));
        vec![Operation::Event { contract: address(1), subject: None, event: "E".into(), data }]
    };
    let named = |event: String| vec![Operation::Event { contract: address(1), subject: None, event, data: json!(1) }];
    let nested = (0..200).fold(json!(1), |inner, _| json!([inner]));
    assert_kind(submit(&world, "b", memo(1_023)).await, ErrorKind::Invalid);
    assert_kind(submit(&world, "b", data(4_095)).await, ErrorKind::Invalid);
    assert_kind(submit(&world, "b", named(String::new())).await, ErrorKind::Invalid);
    assert_kind(submit(&world, "b", named("e".repeat(129))).await, ErrorKind::Invalid);
    assert_kind(submit(&world, "b", vec![transfer_with(1, 2, 1, Some(nested))]).await, ErrorKind::Invalid);
    submit(&world, "b", memo(1_022)).await.unwrap();
    submit(&world, "c", data(4_094)).await.unwrap();
    assert_eq!(world.handle.verify(&world.scope, Chain::Local).await.unwrap().fault, None);
}

pub async fn json_comes_back_exactly(world: World<Ledger>) {
    let value = json!({
        "": null, "ключ": "значение", "emoji": "\u{1F600}\u{0}\u{7f}\u{2028}\"\\/\n", "max": u64::MAX, "min": i64::MIN,
        "floats": [0.1, 1.0, -0.0, 1e300, 5e-324, 2.2250738585072014e-308, 123456789.12345679, 9007199254740993.0],
        "nested": [[], {}, [{"a": [true, false]}]],
    });
    submit(&world, "a", vec![mint(1, 10)]).await.unwrap();
    let operations = vec![
        transfer_with(1, 2, 1, Some(value.clone())),
        transfer_with(1, 2, 1, Some(Value::Null)),
        Operation::Event { contract: address(1), subject: None, event: "Größe\u{0}".into(), data: value.clone() },
    ];
    let receipt = submit(&world, "b", operations).await.unwrap();
    let before = entries(&world, &receipt.entries).await;
    assert_eq!(before[0].data.as_ref(), Some(&value));
    assert_eq!(before[1].data, Some(Value::Null), "a memo of null is not the same as none");
    assert_eq!((before[2].data.as_ref(), before[2].event.as_deref()), (Some(&value), Some("Größe\u{0}")));
    let world = world.reopen().await;
    assert_eq!(entries(&world, &receipt.entries).await, before);
}

pub async fn thirty_two_writers_never_overspend(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 100)]).await.unwrap();
    let world = Arc::new(world);
    let writers = (0..32_u128).map(|writer| {
        let world = world.clone();
        tokio::spawn(async move {
            let mut paid = 0;
            for number in 0..4 {
                let key = format!("{writer}/{number}");
                match submit(&world, &key, vec![transfer(1, 100 + writer, 3)]).await {
                    Ok(_) => paid += 1,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
                }
            }
            paid
        })
    });
    let paid: u64 = join_all(writers).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(paid, 33, "of 100, 3 can be paid 33 times");
    assert_eq!(held(&world, 1).await, U256::from(1));
    let mut received = U256::ZERO;
    for writer in 0..32 {
        received += held(&world, 100 + writer).await;
    }
    assert_eq!(received, U256::from(99));
    assert_eq!(world.handle.verify(&world.scope, Chain::Local).await.unwrap().fault, None);
}

pub async fn other_chains_are_unsupported(world: World<Ledger>) {
    submit(&world, "a", vec![mint(1, 10)]).await.unwrap();
    let submission =
        Submission { chain: Chain::Ethereum, operations: vec![mint(1, 1)], idempotency_key: "b".to_owned() };
    assert_kind(world.handle.submit(&world.scope, &submission).await, ErrorKind::Unsupported);
    assert_kind(world.handle.verify(&world.scope, Chain::Solana).await, ErrorKind::Unsupported);
    let elsewhere = WalletRef { chain: Chain::Base, address: address(1) };
    let mut listed = query(&[], Slice::first(10));
    listed.wallets = vec![elsewhere.clone()];
    assert!(page(&world, listed.clone()).await.items.is_empty(), "wallets of other chains are left out of pages");
    listed.wallets = vec![elsewhere.clone(), wallet(1)];
    assert_eq!(page(&world, listed).await.items.len(), 1);
    let mut sums = outflow(&[]);
    sums.wallets = vec![elsewhere];
    assert_eq!(world.handle.outflows(&world.scope, &[sums]).await.unwrap(), [vec![]]);
}
