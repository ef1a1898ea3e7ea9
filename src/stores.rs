//! The seven handles as one value. Any store but the relational one may be absent.

use chimera_stores::{
    ErrorKind, Guard, Result, Store, StoreError, episodic::Episodic, ledger::Ledger, media::Media, memory::Memory,
    relational::Relational, search::Search, telemetry::Telemetry,
};

/// The handles of a running process. Cheap to clone.
#[derive(Clone)]
pub struct Stores {
    /// Owner of what users write.
    pub relational: Relational,
    memory: Option<Memory>,
    episodic: Option<Episodic>,
    telemetry: Option<Telemetry>,
    ledger: Option<Ledger>,
    media: Option<Media>,
    search: Option<Search>,
}

/// Adapter name and place of a store, as shown at the start and by `/ready`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Description {
    /// The store.
    pub store: Store,
    /// The adapter's name; `off` when the store is absent.
    pub adapter: &'static str,
    /// Where it is, without secrets.
    pub place: String,
}

macro_rules! handles {
    ($($name:ident $with:ident $variant:ident $handle:ident),* $(,)?) => {
        impl Stores {
            /// Only the relational store; the others are added by the `with_…` methods.
            pub fn new(relational: Relational) -> Self {
                Self { relational, $($name: None),* }
            }

            $(
                /// The handle.
                ///
                /// # Errors
                /// `Unavailable` when this installation runs without the store.
                pub fn $name(&self) -> Result<&$handle> {
                    self.$name.as_ref().ok_or_else(|| absent(Store::$variant))
                }

                /// Adds the handle.
                #[must_use]
                pub fn $with(mut self, handle: $handle) -> Self {
                    self.$name = Some(handle);
                    self
                }
            )*

            /// What each store is and where, in the order of the documentation.
            pub fn describe(&self) -> Vec<Description> {
                let capabilities = self.relational.capabilities();
                let mut all = vec![Description { store: Store::Relational, adapter: capabilities.adapter, place: capabilities.place }];
                $(all.push(match &self.$name {
                    Some(handle) => {
                        let capabilities = handle.capabilities();
                        Description { store: Store::$variant, adapter: capabilities.adapter, place: capabilities.place }
                    }
                    None => Description { store: Store::$variant, adapter: "off", place: String::new() },
                });)*
                all
            }

            /// The guard of a store; `None` when it is absent.
            pub fn guard(&self, store: Store) -> Option<&Guard> {
                match store {
                    Store::Relational => Some(self.relational.guard()),
                    $(Store::$variant => self.$name.as_ref().map($handle::guard)),*
                }
            }

            /// Asks one store whether it can be used.
            ///
            /// # Errors
            /// Why it cannot.
            pub async fn health(&self, store: Store, scope: &chimera_stores::Scope) -> Result<()> {
                match store {
                    Store::Relational => self.relational.health(scope).await,
                    $(Store::$variant => self.$name()?.health(scope).await),*
                }
            }
        }
    };
}

handles! {
    memory with_memory Memory Memory,
    episodic with_episodic Episodic Episodic,
    telemetry with_telemetry Telemetry Telemetry,
    ledger with_ledger Ledger Ledger,
    media with_media Media Media,
    search with_search Search Search,
}

fn absent(store: Store) -> StoreError {
    StoreError::new(store, ErrorKind::Unavailable, "this installation runs without this store")
}
