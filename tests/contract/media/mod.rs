//! The cases of the media port, and the adapters they run on.
//!
//! `uploads` holds signed URLs and what is sent to them, `objects` versions, downloads, removal and tenancy. The
//! helpers here are the only place that knows how bytes reach a URL.

mod objects;
mod uploads;

use crate::{Adapter, Case, World};
use bytes::Bytes;
use chimera_stores::{
    Clock, ErrorKind, Guard, Result, Scope, Store,
    media::{ByteStream, Download, DownloadSpec, FolderMedia, Media, ObjectVersion, UploadSpec, UploadTarget},
};
use chrono::TimeDelta;
use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// Every adapter of the port.
pub const ADAPTERS: &[Adapter<Media>] = &[Adapter {
    name: "folder",
    found: || true,
    open: |folder, clock| {
        Box::pin(async move {
            // A store that was just let go of holds its index for another moment.
            let store = loop {
                match FolderMedia::open(&folder.join("media"), [7; 32], clock.clone()) {
                    Err(error) if error.kind() == ErrorKind::Unavailable => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    opened => break opened.unwrap(),
                }
            };
            Media::new(Guard::detached(Store::Media), Arc::new(store))
        })
    },
}];

macro_rules! cases {
    ($($module:ident :: $name:ident),* $(,)?) => { &[$((stringify!($name), |world| Box::pin($module::$name(world)))),*] };
}

/// Every case of the port.
pub const CASES: &[Case<Media>] = cases![
    uploads::an_upload_is_invisible_until_it_is_completed,
    uploads::completing_without_an_upload_is_not_found,
    uploads::completing_again_is_harmless,
    uploads::sending_again_is_harmless,
    uploads::an_upload_that_waits_survives_a_restart,
    uploads::a_forged_url_is_forbidden,
    uploads::an_expired_url_is_forbidden,
    uploads::other_bytes_than_signed_are_refused,
    uploads::too_few_and_too_many_bytes_are_refused,
    uploads::another_content_type_than_signed_is_refused,
    uploads::an_upload_that_breaks_off_leaves_nothing,
    uploads::an_abandoned_upload_leaves_nothing,
    uploads::content_that_contradicts_its_type_is_refused,
    uploads::equivalent_and_unknown_types_are_taken,
    uploads::put_checks_what_an_upload_checks,
    uploads::specs_out_of_bounds_are_refused,
    uploads::a_sweep_takes_what_was_never_completed,
    uploads::a_large_object_travels_in_pieces,
    uploads::concurrent_uploads_of_the_same_object_are_one,
    uploads::concurrent_uploads_of_many_objects_are_all_there,
    objects::what_was_put_is_downloaded,
    objects::versions_are_newest_first,
    objects::an_older_version_can_be_downloaded,
    objects::a_url_without_a_version_follows_the_newest,
    objects::restore_makes_an_old_version_the_newest,
    objects::restoring_what_is_not_there_is_not_found,
    objects::delete_removes_all_versions,
    objects::delete_keeps_bytes_that_others_use,
    objects::bytes_are_never_lost_between_delete_and_put,
    objects::a_deleted_version_does_not_come_back,
    objects::another_organisation_sees_nothing,
    objects::batches_are_answered_in_order,
    objects::ranges_are_served,
    objects::a_file_name_is_offered,
    objects::downloads_are_signed_without_looking,
    objects::times_are_the_clocks_and_order_is_not,
    objects::what_was_acknowledged_is_there_after_a_restart,
    objects::any_history_equals_the_model,
    objects::health_and_capabilities_are_told,
];

type MediaWorld = World<Media>;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// What describes `bytes` as plain text for the asset of that number.
fn spec(asset: u128, bytes: &[u8]) -> UploadSpec {
    UploadSpec {
        asset_id: id(asset),
        content_type: "text/plain".to_owned(),
        size_bytes: bytes.len() as u64,
        sha256: sha256(bytes),
        expires_in: Duration::from_secs(600),
    }
}

fn newest(asset: u128) -> DownloadSpec {
    DownloadSpec { asset_id: id(asset), version: None, file_name: None, expires_in: Duration::from_secs(600) }
}

fn token(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

/// A body in pieces of up to `size` bytes.
fn body(bytes: &[u8], size: usize) -> ByteStream {
    let pieces: Vec<_> = bytes.chunks(size.max(1)).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Box::pin(stream::iter(pieces))
}

/// Sends bytes to a signed URL with the headers it asks for.
async fn send(world: &MediaWorld, target: &UploadTarget, bytes: &[u8]) -> Result<()> {
    let content_type = target.headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.as_str());
    let local = world.handle.local().expect("an adapter whose URLs lead elsewhere needs a client here");
    local.accept(token(&target.url), content_type, body(bytes, 1000)).await
}

/// Signs, sends and completes.
async fn upload(world: &MediaWorld, spec: &UploadSpec, bytes: &[u8]) -> Result<ObjectVersion> {
    let target = world.handle.sign_upload(&world.scope, spec)?;
    send(world, &target, bytes).await?;
    world.handle.complete(&world.scope, spec).await
}

/// Stores plain text under an asset.
async fn put(world: &MediaWorld, scope: &Scope, asset: u128, text: &str) -> ObjectVersion {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    world.handle.put(scope, &spec(asset, &bytes), bytes).await.unwrap()
}

async fn open(world: &MediaWorld, url: &str, range: Option<(u64, Option<u64>)>) -> Result<Download> {
    let local = world.handle.local().expect("an adapter whose URLs lead elsewhere needs a client here");
    local.open(token(url), range).await
}

async fn bytes_of(download: Download) -> Vec<u8> {
    let bytes: Vec<Bytes> = download.body.map(|piece| piece.unwrap()).collect().await;
    assert_eq!(bytes.concat().len() as u64, download.length);
    bytes.concat()
}

/// What a fresh URL gives.
async fn fetch(world: &MediaWorld, scope: &Scope, spec: &DownloadSpec) -> Result<String> {
    let url = world.handle.sign_download(scope, spec)?;
    let download = open(world, &url, None).await?;
    Ok(String::from_utf8(bytes_of(download).await).unwrap())
}

async fn versions(world: &MediaWorld, scope: &Scope, asset: u128) -> Vec<ObjectVersion> {
    world.handle.versions(scope, &[id(asset)]).await.unwrap().remove(0)
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.map(drop).unwrap_err().kind()
}

/// Asserts that nothing of an asset can be seen, and that nothing waits under the spec.
async fn assert_absent(world: &MediaWorld, spec: &UploadSpec) {
    let asset = spec.asset_id.as_u128();
    assert_eq!(versions(world, &world.scope, asset).await, []);
    assert_eq!(kind(fetch(world, &world.scope, &newest(asset)).await), ErrorKind::NotFound);
    assert_eq!(kind(world.handle.complete(&world.scope, spec).await), ErrorKind::NotFound);
    // Nor is anything left for a sweep.
    let later = world.clock.now() + TimeDelta::days(400);
    assert_eq!(world.handle.sweep(&world.scope, later).await.unwrap(), 0);
}
