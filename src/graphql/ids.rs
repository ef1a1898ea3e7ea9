//! Global ids: the type's name, an underscore, and what finds it in its store. Opaque to clients.

use async_graphql::{
    ContextSelectionSet, ID, OutputType, Positioned, ServerResult, Value, parser::types::Field, registry::Registry,
};
use chimera_stores::ledger::{Chain, EntryId};
use std::borrow::Cow;
use uuid::Uuid;

/// What `node(id)` can fetch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each variant is the type of the same name")]
pub enum NodeId {
    Organization(Uuid),
    User(Uuid),
    ApiKey(Uuid),
    Persona(Uuid),
    Campaign(Uuid),
    Post(Uuid),
    Video(Uuid),
    Asset(Uuid),
    Wallet(Uuid),
    BillingRecord(Uuid),
    AuditEntry(Uuid),
    Task(Uuid),
    RenderEvent(Uuid),
    /// The persona and the memory.
    Memory(Uuid, Uuid),
    LedgerEntry(EntryId),
}

macro_rules! simple {
    ($($variant:ident $name:literal),* $(,)?) => {
        fn simple_parts(&self) -> Option<(&'static str, &Uuid)> {
            match self {
                $(Self::$variant(id) => Some(($name, id)),)*
                Self::Memory(..) | Self::LedgerEntry(_) => None,
            }
        }

        fn parse_simple(name: &str, rest: &str) -> Option<Self> {
            match name {
                $($name => parse_uuid(rest).map(Self::$variant),)*
                _ => None,
            }
        }
    };
}

impl NodeId {
    simple! {
        Organization "organization", User "user", ApiKey "apiKey", Persona "persona", Campaign "campaign",
        Post "post", Video "video", Asset "asset", Wallet "wallet", BillingRecord "billingRecord",
        AuditEntry "auditEntry", Task "task", RenderEvent "renderEvent",
    }

    /// Reads a global id; `None` when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('_')?;
        match name {
            "memory" => {
                let (persona, id) = rest.split_once('_')?;
                Some(Self::Memory(parse_uuid(persona)?, parse_uuid(id)?))
            }
            "ledgerEntry" => {
                let mut parts = rest.splitn(3, '_');
                let chain = parse_chain(parts.next()?)?;
                let transaction = parts.next().filter(|hex| hex.len() == 64)?.parse().ok()?;
                let index = parts.next()?.parse().ok()?;
                Some(Self::LedgerEntry(EntryId { chain, transaction, index }))
            }
            _ => Self::parse_simple(name, rest),
        }
    }

    /// The id as the API shows it. Every row has one, so its text is made in one piece.
    fn text(&self) -> String {
        match self {
            Self::Memory(persona, id) => format!("memory_{}_{}", persona.simple(), id.simple()),
            Self::LedgerEntry(EntryId { chain, transaction, index }) => {
                format!("ledgerEntry_{}_{}_{index}", chain_name(*chain), hex::encode(transaction))
            }
            other => other.simple_parts().map(|(name, id)| simple_text(name, *id)).unwrap_or_default(),
        }
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

impl OutputType for NodeId {
    fn type_name() -> Cow<'static, str> {
        <ID as OutputType>::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <ID as OutputType>::create_type_info(registry)
    }

    async fn resolve(&self, _: &ContextSelectionSet<'_>, _: &Positioned<Field>) -> ServerResult<Value> {
        Ok(Value::String(self.text()))
    }
}

fn simple_text(name: &str, id: Uuid) -> String {
    let mut hex = Uuid::encode_buffer();
    let hex = id.as_simple().encode_lower(&mut hex);
    let mut text = String::with_capacity(name.len() + 1 + hex.len());
    text.push_str(name);
    text.push('_');
    text.push_str(hex);
    text
}

fn parse_uuid(text: &str) -> Option<Uuid> {
    if text.len() != 32 { None } else { Uuid::try_parse(text).ok() }
}

fn chain_name(chain: Chain) -> &'static str {
    match chain {
        Chain::Local => "local",
        Chain::Ethereum => "ethereum",
        Chain::Base => "base",
        Chain::Solana => "solana",
    }
}

fn parse_chain(name: &str) -> Option<Chain> {
    [Chain::Local, Chain::Ethereum, Chain::Base, Chain::Solana].into_iter().find(|chain| chain_name(*chain) == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_comes_back() {
        let id = Uuid::from_u128(42);
        let entry = EntryId { chain: Chain::Base, transaction: [7; 32].into(), index: 3 };
        for node in [NodeId::Persona(id), NodeId::BillingRecord(id), NodeId::Memory(id, id), NodeId::LedgerEntry(entry)]
        {
            assert_eq!(NodeId::parse(&node.to_string()), Some(node));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".{0,120}") {
            if let Some(node) = NodeId::parse(&text) {
                prop_assert_eq!(NodeId::parse(&node.to_string()), Some(node));
            }
        }
    }
}
