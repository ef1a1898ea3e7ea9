//! `Asset`: metadata of a media object, and signed ways to its bytes.

use crate::graphql::{
    context::RequestContext,
    error::{bad_input, field_error},
    ids::NodeId,
    keys::{media::VersionsOf, relational::ById},
    page::Listed,
    resolve::One,
    scalars::{BigInt, DateTime, Duration, Url},
};
use async_graphql::{ComplexObject, Context, Enum, Result, SimpleObject};
use chimera_stores::media::{DownloadSpec, ObjectVersion, absolute};
use uuid::Uuid;

/// What a media object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::asset::Kind")]
pub enum AssetKind {
    /// A picture.
    Image,
    /// Moving pictures.
    Video,
    /// Sound.
    Audio,
    /// A small still.
    Thumbnail,
    /// Anything else.
    Other,
}

/// Whether the bytes of an asset are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "entity::asset::Status")]
pub enum AssetStatus {
    /// An upload was requested.
    Pending,
    /// The bytes are stored and checked.
    Ready,
}

/// A media object.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub struct Asset {
    #[graphql(skip)]
    key: Uuid,
    #[graphql(skip)]
    source_asset_id: Option<Uuid>,
    /// What it is.
    pub kind: AssetKind,
    /// Whether its bytes are there.
    pub status: AssetStatus,
    /// Media type, such as `image/png`.
    pub content_type: String,
    /// Size in bytes.
    pub size_bytes: BigInt,
    /// SHA-256 of its bytes: 64 lower-case hex digits.
    pub sha256: String,
    /// The name it was uploaded with.
    pub file_name: Option<String>,
    /// Free metadata.
    pub metadata: serde_json::Value,
    /// When it was requested.
    pub created_at: DateTime,
    /// When it last changed.
    pub updated_at: DateTime,
    /// Grows by one with every change.
    pub version: i64,
}

impl Listed for Asset {
    const NAME: &'static str = "Asset";
}

impl From<entity::asset::Model> for Asset {
    fn from(row: entity::asset::Model) -> Self {
        Self {
            key: row.id,
            source_asset_id: row.source_asset_id,
            kind: row.kind.into(),
            status: row.status.into(),
            content_type: row.content_type,
            size_bytes: row.size_bytes.into(),
            sha256: row.sha256,
            file_name: row.file_name,
            metadata: row.metadata,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            version: row.version,
        }
    }
}

#[ComplexObject]
impl Asset {
    /// Global id.
    pub async fn id(&self) -> NodeId {
        NodeId::Asset(self.key)
    }

    /// A signed address of its bytes; null while they are pending.
    async fn url(
        &self,
        context: &Context<'_>,
        #[graphql(
            desc = "How long the address works: a second to seven days.",
            default_with = "Duration::from_secs(3600)"
        )]
        expires_in: Duration,
        #[graphql(desc = "A version from `versions`; the newest when absent.")] version: Option<String>,
    ) -> Result<Option<Url>> {
        if self.status == AssetStatus::Pending {
            return Ok(None);
        }
        if version.as_ref().is_some_and(|version| version.len() > 128) {
            return Err(bad_input("`version` is longer than 128 bytes"));
        }
        let request = RequestContext::of(context)?;
        let spec =
            DownloadSpec { asset_id: self.key, version, file_name: self.file_name.clone(), expires_in: expires_in.0 };
        let sign = || request.stores().media()?.sign_download(request.scope(), &spec);
        let url = sign().map_err(|error| field_error(&error))?;
        Ok(Some(Url(absolute(&request.shared().public_url, &url))))
    }

    /// Every stored version, newest first.
    async fn versions(&self, context: &Context<'_>) -> Result<Option<Vec<AssetVersion>>> {
        let versions = RequestContext::of(context)?.load(VersionsOf(self.key)).await?;
        Ok(Some(versions.into_iter().map(AssetVersion::from).collect()))
    }

    /// What it was made from.
    async fn source(&self, context: &Context<'_>) -> Result<Option<One<Asset>>> {
        Asset::load(context, self.source_asset_id).await
    }
}

impl Asset {
    /// The asset with this id.
    ///
    /// # Errors
    /// What the store says.
    pub async fn load(context: &Context<'_>, id: Option<Uuid>) -> Result<Option<One<Self>>> {
        let Some(id) = id else { return Ok(None) };
        Ok(RequestContext::of(context)?.load(ById::<entity::asset::Model>::new(id)).await?.map(|row| One(row.into())))
    }
}

/// One stored version of an asset's bytes.
#[derive(Clone, Debug, SimpleObject)]
pub struct AssetVersion {
    /// Its name, for `url(version:)` and `restoreAssetVersion`.
    pub version: String,
    /// Media type.
    pub content_type: String,
    /// Size in bytes.
    pub size_bytes: BigInt,
    /// SHA-256 of its bytes: 64 lower-case hex digits.
    pub sha256: String,
    /// When it was completed.
    pub created_at: DateTime,
    /// Whether it is what `url` gives without a version.
    pub latest: bool,
}

impl From<ObjectVersion> for AssetVersion {
    fn from(version: ObjectVersion) -> Self {
        Self {
            version: version.version,
            content_type: version.content_type,
            size_bytes: version.size_bytes.into(),
            sha256: version.sha256,
            created_at: version.created_at.into(),
            latest: version.latest,
        }
    }
}
