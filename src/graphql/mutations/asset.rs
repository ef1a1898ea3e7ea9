//! Uploads of media and their versions. The bytes never pass through here: a client sends them to a signed address.
//!
//! Where two stores change, the media store goes first and the row follows: a crash in between leaves a row that is behind,
//! which repeating the mutation mends. The row of a pending asset is the upload's specification.

use super::{Outcome, UserError, UserErrorCode, check_text, commit, current, editor, input, now, payload, unit};
use crate::graphql::{
    context::RequestContext,
    scalars::{BigInt, DateTime, Duration, Url},
    types::{
        asset::{Asset, AssetKind},
        service::StoreName,
    },
};
use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use chimera_stores::media::{ObjectVersion, UploadSpec, UploadTarget, absolute};
use entity::asset::{Model, Status};
use uuid::Uuid;

/// The most bytes of metadata.
const MAX_METADATA: usize = 16_384;
/// How long an upload's address works unless the caller says otherwise.
const DEFAULT_EXPIRY: Duration = Duration::from_secs(900);

/// What is going to be uploaded.
#[derive(Clone, Debug, InputObject)]
pub struct RequestUploadInput {
    /// What it is.
    pub kind: AssetKind,
    /// Media type, such as `image/png`.
    pub content_type: String,
    /// Its exact size in bytes.
    pub size_bytes: BigInt,
    /// SHA-256 of its bytes: 64 lower-case hex digits.
    pub sha256: String,
    /// The name to offer at a download: 1 to 255 bytes.
    pub file_name: Option<String>,
    /// Free metadata: a JSON object of at most 16,384 bytes.
    #[graphql(default_with = "serde_json::Value::Object(serde_json::Map::new())")]
    pub metadata: serde_json::Value,
    /// What it was made from.
    pub source_asset_id: Option<ID>,
    /// How long the address works: a second to what the media store allows.
    #[graphql(default_with = "DEFAULT_EXPIRY")]
    pub expires_in: Duration,
}

/// An upload whose bytes have been sent.
#[derive(Clone, Debug, InputObject)]
pub struct CompleteUploadInput {
    /// The asset.
    pub id: ID,
}

/// An old version to be the newest again.
#[derive(Clone, Debug, InputObject)]
pub struct RestoreAssetVersionInput {
    /// The asset.
    pub id: ID,
    /// The version, from `versions`.
    pub version: String,
}

/// Where and how to send the bytes.
#[derive(Clone, Debug, SimpleObject)]
pub struct Upload {
    /// Where.
    pub url: Url,
    /// The HTTP method.
    pub method: String,
    /// Headers that must be sent as they are.
    pub headers: Vec<UploadHeader>,
    /// Until when.
    pub expires_at: DateTime,
}

/// A header of an upload.
#[derive(Clone, Debug, SimpleObject)]
pub struct UploadHeader {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

payload! {
    /// What became of `requestUpload`.
    RequestUploadPayload {
        /// The new asset, PENDING until `completeUpload`.
        asset: Asset,
        /// Where and how to send the bytes.
        upload: Upload
    }
}

payload! {
    /// What became of `completeUpload`.
    CompleteUploadPayload {
        /// The asset, READY.
        asset: Asset
    }
}

payload! {
    /// What became of `restoreAssetVersion`.
    RestoreAssetVersionPayload {
        /// The asset as it is now.
        asset: Asset
    }
}

/// Mutations of assets.
#[derive(Default)]
pub struct AssetMutation;

#[Object]
impl AssetMutation {
    /// Makes an asset and a signed address that accepts exactly its bytes. Send them there, then call `completeUpload`.
    async fn request_upload(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "What is going to be uploaded.")] input: RequestUploadInput,
    ) -> Result<Option<RequestUploadPayload>> {
        RequestUploadPayload::of(request_upload(editor(context)?, input).await)
    }

    /// Checks what was uploaded against what was announced and makes the asset READY. Repeating it is harmless.
    async fn complete_upload(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The asset.")] input: CompleteUploadInput,
    ) -> Result<Option<CompleteUploadPayload>> {
        CompleteUploadPayload::of(complete(editor(context)?, input).await)
    }

    /// Makes an old version of an asset's bytes the newest again. Repeating it is harmless.
    async fn restore_asset_version(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The asset and the version.")] input: RestoreAssetVersionInput,
    ) -> Result<Option<RestoreAssetVersionPayload>> {
        RestoreAssetVersionPayload::of(restore(editor(context)?, input).await)
    }
}

async fn request_upload(
    request: &RequestContext,
    input: RequestUploadInput,
) -> Outcome<(Asset, Upload, Vec<StoreName>)> {
    let source = &["input", "sourceAssetId"];
    let now = now(request);
    let row = Model {
        id: Uuid::now_v7(),
        organization_id: request.scope().organization_id(),
        kind: input.kind.into(),
        status: Status::Pending,
        content_type: input::text(&["input", "contentType"], input.content_type, 128)?,
        size_bytes: input::quantity(&["input", "sizeBytes"], &input.size_bytes)?,
        sha256: input.sha256,
        file_name: file_name(input.file_name)?,
        metadata: metadata(input.metadata)?,
        source_asset_id: input.source_asset_id.map(|id| input::asset_id(&id, source)).transpose()?,
        created_at: now,
        updated_at: now,
        version: 1,
    };
    // Signing is arithmetic and refuses a specification out of bounds: before anything is written.
    let target = request.stores().media()?.sign_upload(request.scope(), &spec(&row, input.expires_in))?;
    let reference = input::new_reference(None, row.source_asset_id, source);
    input::known::<Model>(request, "asset", reference.as_slice()).await?;
    let mut work = unit(request, "requestUpload");
    work.insert(&row);
    let pending = commit(request, work).await?;
    Ok((row.into(), upload(request, target), pending))
}

async fn complete(request: &RequestContext, input: CompleteUploadInput) -> Outcome<(Asset, Vec<StoreName>)> {
    let id = input::asset_id(&input.id, &["input", "id"])?;
    let before: Model = current(request, id, &["input", "id"], "asset").await?;
    if before.status == Status::Ready {
        return Ok((before.into(), Vec::new()));
    }
    let media = request.stores().media()?;
    media.complete(request.scope(), &spec(&before, DEFAULT_EXPIRY)).await?;
    let after = Model { status: Status::Ready, ..before.clone() };
    save(request, "completeUpload", &before, after).await
}

async fn restore(request: &RequestContext, input: RestoreAssetVersionInput) -> Outcome<(Asset, Vec<StoreName>)> {
    let id = input::asset_id(&input.id, &["input", "id"])?;
    check_text(&["input", "version"], &input.version, 128)?;
    let before: Model = current(request, id, &["input", "id"], "asset").await?;
    if before.status == Status::Pending {
        let message = "the asset's upload is not complete";
        return Err(UserError::new(UserErrorCode::Refused, &["input", "id"], message).into());
    }
    let object = request.stores().media()?.restore(request.scope(), id, &input.version).await?;
    let ObjectVersion { content_type, size_bytes, sha256, .. } = object;
    let size_bytes = i64::try_from(size_bytes).unwrap_or(i64::MAX);
    let after = Model { content_type, size_bytes, sha256, ..before.clone() };
    if after == before {
        return Ok((before.into(), Vec::new()));
    }
    save(request, "restoreAssetVersion", &before, after).await
}

async fn save(
    request: &RequestContext,
    action: &'static str,
    before: &Model,
    mut after: Model,
) -> Outcome<(Asset, Vec<StoreName>)> {
    after.version += 1;
    after.updated_at = now(request);
    let mut work = unit(request, action);
    work.update(before, &after);
    let pending = commit(request, work).await?;
    Ok((after.into(), pending))
}

/// What the row says of the upload. The expiry is only of the address, so any will do for the completion.
fn spec(row: &Model, expires_in: Duration) -> UploadSpec {
    UploadSpec {
        asset_id: row.id,
        content_type: row.content_type.clone(),
        size_bytes: u64::try_from(row.size_bytes).unwrap_or_default(),
        sha256: row.sha256.clone(),
        expires_in: expires_in.0,
    }
}

fn upload(request: &RequestContext, target: UploadTarget) -> Upload {
    let UploadTarget { method, url, headers, expires_at } = target;
    Upload {
        url: Url(absolute(&request.shared().public_url, &url)),
        method: method.to_owned(),
        headers: headers.into_iter().map(|(name, value)| UploadHeader { name, value }).collect(),
        expires_at: expires_at.into(),
    }
}

/// A plain name: it ends up in a header and in a folder of somebody's.
fn file_name(name: Option<String>) -> Outcome<Option<String>> {
    let field = &["input", "fileName"];
    let name = input::optional(field, name, 255)?;
    let plain = |name: &String| !name.chars().any(|char| char.is_control() || matches!(char, '/' | '\\'));
    if name.as_ref().is_some_and(|name| !plain(name)) {
        return Err(UserError::invalid(field, "a name has no slashes and no control characters").into());
    }
    Ok(name)
}

fn metadata(metadata: serde_json::Value) -> Outcome<serde_json::Value> {
    let field = &["input", "metadata"];
    if !metadata.is_object() {
        return Err(UserError::invalid(field, "this is not a JSON object").into());
    }
    input::check_json(field, &metadata, MAX_METADATA)?;
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_place_are_refused() {
        for bad in ["a/b", "a\\b", "a\nb", "a\0b", "", " "] {
            assert!(file_name(Some(bad.to_owned())).is_err(), "{bad:?}");
        }
        for good in ["Übung 1.mp4", "..png"] {
            assert!(file_name(Some(good.to_owned())).is_ok(), "{good}");
        }
    }

    #[test]
    fn metadata_is_an_object_of_bounded_size() {
        assert!(metadata(serde_json::json!({"camera": "x"})).is_ok());
        assert!(metadata(serde_json::json!([1])).is_err());
        assert!(metadata(serde_json::json!({"a": "x".repeat(MAX_METADATA)})).is_err());
    }
}
