//! `chimera migrate`, `chimera seed` and `chimera key`.

use super::{Failure, complain, say};
use crate::{
    app::{App, DataFolder, Opener},
    config::Settings,
    seed,
    stores::Stores,
    token,
    write::UnitOfWork,
};
use chimera_stores::Scope;
use chrono::Utc;
use entity::{api_key, membership, organization};
use std::process::ExitCode;
use uuid::Uuid;

/// What a key may do.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum KeyRole {
    /// Reads everything.
    Viewer,
    /// Also writes content.
    Editor,
    /// Also wallets, billing, keys and the audit log.
    Admin,
}

pub(super) async fn migrate(settings: &Settings, down: Option<u32>) -> Result<ExitCode, Failure> {
    let folder = DataFolder::open(&settings.data_dir)?;
    let opener = Opener::detached(settings, &folder)?;
    for line in opener.migrate(down).await? {
        say(format_args!("{line}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn write_demo(settings: &Settings) -> Result<ExitCode, Failure> {
    let app = App::open_now(settings).await?;
    app.seed().await?;
    app.stop().await;
    say(format_args!("the demo data is in {}", settings.data_dir.display()))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn key(settings: &Settings, name: &str, handle: &str, role: KeyRole) -> Result<ExitCode, Failure> {
    if name.trim().is_empty() || name.len() > 256 {
        return Err(Failure::Other("a key's name has 1 to 256 bytes".to_owned()));
    }
    let app = App::open_now(settings).await?;
    app.skip_seed()?;
    let stores = &app.shared.stores;
    let (existing, now) = (organization(stores, handle).await?, Utc::now());
    // The demo organisation has one id, whoever makes it first.
    let fresh = if handle == seed::ORGANIZATION { seed::demo().organization_id } else { Uuid::now_v7() };
    let organization_id = existing.unwrap_or(fresh);
    let mut work = UnitOfWork::new("chimera key", None);
    if existing.is_none() {
        let (id, handle, name) = (organization_id, handle.to_owned(), handle.to_owned());
        work.insert(&organization::Model { id, handle, name, created_at: now, updated_at: now, version: 1 });
    }
    let (token, prefix, hash) = token::new_token();
    work.insert(&api_key::Model {
        id: Uuid::now_v7(),
        organization_id,
        user_id: None,
        name: name.to_owned(),
        prefix,
        hash,
        role: match role {
            KeyRole::Viewer => membership::Role::Viewer,
            KeyRole::Editor => membership::Role::Editor,
            KeyRole::Admin => membership::Role::Admin,
        },
        expires_at: None,
        revoked_at: None,
        created_at: now,
        updated_at: now,
        version: 1,
    });
    work.commit(stores, &Scope::system(organization_id)).await?;
    app.stop().await;
    complain(format_args!("send it as `Authorization: Bearer …`; it is not shown again:"));
    say(format_args!("{token}"))?;
    Ok(ExitCode::SUCCESS)
}

/// The organisation with this handle.
pub(super) async fn organization(stores: &Stores, handle: &str) -> Result<Option<Uuid>, Failure> {
    Ok(stores.relational.organization_by_handle(handle).await?.map(|row| row.id))
}
