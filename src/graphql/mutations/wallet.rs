//! Registering wallets of personas, and reading addresses in each chain's own notation.

use super::{Outcome, UserError, admin, commit, input, now, payload, unit};
use crate::graphql::{
    context::RequestContext,
    types::{ledger::Chain, service::StoreName, wallet::Wallet},
};
use alloy_primitives::Address as EvmAddress;
use async_graphql::{Context, ID, InputObject, Object, Result};
use chimera_stores::ledger::{self, Address, embedded::local_address};
use uuid::Uuid;

/// A wallet to be registered.
#[derive(Clone, Debug, InputObject)]
pub struct CreateWalletInput {
    /// Whose wallet it is.
    pub persona_id: ID,
    /// On which chain.
    pub chain: Chain,
    /// The address in the chain's own notation; kept in its canonical form. Made here when absent, which only LOCAL
    /// permits.
    pub address: Option<String>,
    /// What it is for: 1 to 256 bytes.
    pub label: Option<String>,
}

payload! {
    /// What became of `createWallet`.
    CreateWalletPayload {
        /// The new wallet.
        wallet: Wallet
    }
}

/// Mutations of wallets.
#[derive(Default)]
pub struct WalletMutation;

#[Object]
impl WalletMutation {
    /// Registers a wallet of a persona. Needs the role ADMIN.
    async fn create_wallet(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The wallet.")] input: CreateWalletInput,
    ) -> Result<Option<CreateWalletPayload>> {
        CreateWalletPayload::of(create(admin(context)?, input).await)
    }
}

async fn create(request: &RequestContext, input: CreateWalletInput) -> Outcome<(Wallet, Vec<StoreName>)> {
    let id = Uuid::now_v7();
    let chain = ledger::Chain::from(input.chain);
    let field = &["input", "address"];
    let address = match (input.address, chain) {
        (Some(address), _) => read_address(chain, &address, field)?,
        (None, ledger::Chain::Local) => local_address(id),
        (None, _) => return Err(UserError::invalid(field, "only a wallet on LOCAL is given an address").into()),
    };
    let now = now(request);
    let row = entity::wallet::Model {
        id,
        organization_id: request.scope().organization_id(),
        persona_id: input::persona_id(&input.persona_id, &["input", "personaId"])?,
        chain,
        address: address.0,
        label: input::optional(&["input", "label"], input.label, 256)?,
        created_at: now,
        updated_at: now,
        version: 1,
    };
    let persona = input::reference(row.persona_id, &["input", "personaId"]);
    input::known::<entity::persona::Model>(request, "persona", &[persona]).await?;
    let mut work = unit(request, "createWallet");
    work.insert(&row);
    let pending = commit(request, work).await?;
    Ok((row.into(), pending))
}

/// An address in the canonical form of its chain.
///
/// # Errors
/// `INVALID` naming the argument.
pub fn read_address(chain: ledger::Chain, text: &str, field: &[&str]) -> Outcome<Address> {
    let (address, accepted) = match chain {
        ledger::Chain::Local => (local(text), "`local:` and 40 lower-case hex digits"),
        ledger::Chain::Ethereum | ledger::Chain::Base => {
            (evm(text), "`0x` and 40 hex digits, with a right EIP-55 checksum when of mixed case")
        }
        ledger::Chain::Solana => (solana(text), "32 bytes in base58"),
    };
    address
        .map(Address)
        .ok_or_else(|| UserError::invalid(field, format!("an address of this chain is {accepted}")).into())
}

fn local(text: &str) -> Option<String> {
    let digits = text.strip_prefix("local:").filter(|digits| digits.len() == 40)?;
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    digits.bytes().all(hex).then(|| text.to_owned())
}

fn evm(text: &str) -> Option<String> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 40)?;
    let has = |class: fn(&u8) -> bool| digits.as_bytes().iter().any(class);
    let mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    let address: EvmAddress =
        if mixed { EvmAddress::parse_checksummed(text, None).ok()? } else { text.parse().ok()? };
    Some(address.to_checksum(None))
}

fn solana(text: &str) -> Option<String> {
    // 32 bytes have at most 44 digits; decoding takes quadratic time.
    let bytes = bs58::decode(Some(text).filter(|text| text.len() <= 44)?).into_vec().ok()?;
    (bytes.len() == 32).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::Chain::{Base, Ethereum, Local, Solana};

    fn read(chain: ledger::Chain, text: &str) -> Option<String> {
        read_address(chain, text, &["input", "address"]).ok().map(|address| address.0)
    }

    #[test]
    fn evm_addresses_are_kept_with_their_checksum() {
        // The first example of EIP-55.
        let right = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
        let upper = format!("0x{}", right[2..].to_uppercase());
        for good in [right, &right.to_lowercase(), &upper] {
            assert_eq!(read(Ethereum, good).as_deref(), Some(right), "{good}");
            assert_eq!(read(Base, good).as_deref(), Some(right), "{good}");
        }
        let wrong = right.replace("aA", "Aa");
        for bad in [&wrong, &right[2..], &right[..41], "", "0x", &right.replace("0x", "0X")] {
            assert_eq!(read(Ethereum, bad), None, "{bad}");
        }
    }

    #[test]
    fn solana_addresses_are_32_bytes() {
        // The system program, whose 32 bytes are all zero.
        let system = "1".repeat(32);
        assert_eq!(read(Solana, &system), Some(system.clone()));
        let usdc = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
        assert_eq!(read(Solana, usdc).as_deref(), Some(usdc));
        for bad in [&system[1..], "0OIl", "", &"1".repeat(45), &"z".repeat(44)] {
            assert_eq!(read(Solana, bad), None, "{bad}");
        }
    }

    #[test]
    fn local_addresses_have_one_form() {
        let Address(made) = local_address(Uuid::from_u128(1));
        assert_eq!(read(Local, &made), Some(made.clone()));
        assert_ne!(local_address(Uuid::from_u128(2)).0, made);
        for bad in [&made.to_uppercase(), &made[..45], &made[6..], &made.replace("local", "lokal")] {
            assert_eq!(read(Local, bad), None, "{bad}");
        }
    }
}
