//! The closed list of row types, and the bridge between a typed model and the [`Row`] that crosses the adapter trait.

use uuid::Uuid;

/// A row type of the relational store, and how it crosses the trait.
pub trait Record: Sized + Clone + Send + Sync + 'static {
    /// Its kind.
    const KIND: Kind;
    /// Name of the by-id call in metrics and counts.
    const GET: &'static str;
    /// Name of the by-unique-key call in metrics and counts.
    const FIND: &'static str;
    /// Name of the page call in metrics and counts.
    const PAGES: &'static str;

    /// Its id.
    fn id(&self) -> Uuid;
    /// Into the common type.
    fn into_row(self) -> Row;
    /// Out of the common type; `None` when it is another kind.
    fn from_row(row: Row) -> Option<Self>;
}

macro_rules! records {
    ($($variant:ident $module:ident [$($organization:ident)?]),* $(,)?) => {
        /// Which table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "each variant is the entity of the same name")]
        pub enum Kind { $($variant),* }

        /// A row of any kind.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "each variant is the entity of the same name")]
        pub enum Row { $($variant(entity::$module::Model)),* }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant),*];

            /// The name of the type in the API.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$variant => stringify!($variant)),* }
            }
        }

        impl Row {
            /// Its kind.
            pub fn kind(&self) -> Kind {
                match self { $(Row::$variant(_) => Kind::$variant),* }
            }

            /// Its id.
            pub fn id(&self) -> Uuid {
                match self { $(Row::$variant(row) => row.id),* }
            }

            /// The organisation it carries; `None` for rows that belong to no single one.
            pub fn organization_id(&self) -> Option<Uuid> {
                match self { $(Row::$variant(_row) => records!(@organization _row $($organization)?)),* }
            }
        }

        $(impl Record for entity::$module::Model {
            const KIND: Kind = Kind::$variant;
            const GET: &'static str = concat!("get_", stringify!($module));
            const FIND: &'static str = concat!("find_", stringify!($module));
            const PAGES: &'static str = concat!("pages_", stringify!($module));

            fn id(&self) -> Uuid { self.id }
            fn into_row(self) -> Row { Row::$variant(self) }
            fn from_row(row: Row) -> Option<Self> {
                match row { Row::$variant(row) => Some(row), _ => None }
            }
        })*
    };
    (@organization $row:ident organization_id) => { Some($row.organization_id) };
    (@organization $row:ident id) => { Some($row.id) };
    (@organization $row:ident) => { None };
}

records! {
    Organization organization [id],
    User user [],
    Membership membership [organization_id],
    ApiKey api_key [organization_id],
    Persona persona [organization_id],
    Campaign campaign [organization_id],
    CampaignPersona campaign_persona [organization_id],
    Post post [organization_id],
    Video video [organization_id],
    Asset asset [organization_id],
    Wallet wallet [organization_id],
    BillingRecord billing_record [organization_id],
    AuditEntry audit_entry [organization_id],
    Budget budget [organization_id],
}
