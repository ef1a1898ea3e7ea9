//! The tokens in the URLs: what they permit, sealed so that nobody else can make or change one.
//!
//! A token is base64url of a JSON grant and its HMAC-SHA256. It is its own authority until it expires and cannot be
//! taken back; that is what signed URLs are. Nothing of a token is looked at before its seal was checked.

use crate::{
    Result,
    error::{ErrorKind, Store, StoreError},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use uuid::Uuid;

const STORE: Store = Store::Media;
const SEAL_BYTES: usize = 32;
/// Longer than any token made here; what is longer is not even decoded.
const MAX_TOKEN: usize = 4096;

/// Permission to send exactly these bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadGrant {
    /// For which organisation.
    pub organization_id: Uuid,
    /// For which asset.
    pub asset_id: Uuid,
    /// As what.
    pub content_type: String,
    /// How many.
    pub size_bytes: u64,
    /// Which, as lower-case hex.
    pub sha256: String,
}

/// Permission to read one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadGrant {
    /// Of which organisation.
    pub organization_id: Uuid,
    /// Which asset.
    pub asset_id: Uuid,
    /// Which version; `None` is the newest at the time of the download.
    pub version: Option<String>,
    /// The name to offer.
    pub file_name: Option<String>,
}

/// One kind can never be read as the other.
#[derive(Serialize, Deserialize)]
enum Grant {
    Upload(UploadGrant),
    Download(DownloadGrant),
}

#[derive(Serialize, Deserialize)]
struct Payload {
    grant: Grant,
    /// Microseconds since the Unix epoch.
    until: i64,
}

/// Makes and checks tokens with one secret.
pub struct Tokens(Hmac<Sha256>);

impl Tokens {
    /// Tokens under `secret`; every process with the same secret takes them.
    pub fn new(secret: &[u8; 32]) -> Result<Self> {
        let keyed = Hmac::new_from_slice(secret).map_err(|error| {
            StoreError::with_source(STORE, ErrorKind::Internal, "the secret for URLs cannot be used", error)
        })?;
        Ok(Self(keyed))
    }

    /// A token for an upload.
    pub fn seal_upload(&self, grant: UploadGrant, until: DateTime<Utc>) -> Result<String> {
        self.seal(Grant::Upload(grant), until)
    }

    /// A token for a download.
    pub fn seal_download(&self, grant: DownloadGrant, until: DateTime<Utc>) -> Result<String> {
        self.seal(Grant::Download(grant), until)
    }

    /// The upload that a token permits now; `Forbidden` for any other token.
    pub fn open_upload(&self, token: &str, now: DateTime<Utc>) -> Result<UploadGrant> {
        match self.open(token, now)? {
            Grant::Upload(grant) => Ok(grant),
            Grant::Download(_) => Err(forged()),
        }
    }

    /// The download that a token permits now; `Forbidden` for any other token.
    pub fn open_download(&self, token: &str, now: DateTime<Utc>) -> Result<DownloadGrant> {
        match self.open(token, now)? {
            Grant::Download(grant) => Ok(grant),
            Grant::Upload(_) => Err(forged()),
        }
    }

    fn seal(&self, grant: Grant, until: DateTime<Utc>) -> Result<String> {
        let payload = Payload { grant, until: until.timestamp_micros() };
        let mut bytes = serde_json::to_vec(&payload)
            .map_err(|error| StoreError::with_source(STORE, ErrorKind::Internal, "a URL could not be made", error))?;
        let seal = self.0.clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&seal);
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    fn open(&self, token: &str, now: DateTime<Utc>) -> Result<Grant> {
        if token.len() > MAX_TOKEN {
            return Err(forged());
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| forged())?;
        let split = bytes.len().checked_sub(SEAL_BYTES).ok_or_else(forged)?;
        let (payload, seal) = bytes.split_at_checked(split).ok_or_else(forged)?;
        // Compares in constant time.
        self.0.clone().chain_update(payload).verify_slice(seal).map_err(|_| forged())?;
        let payload: Payload = serde_json::from_slice(payload).map_err(|_| forged())?;
        if now.timestamp_micros() >= payload.until {
            return Err(StoreError::new(STORE, ErrorKind::Forbidden, "the URL has expired"));
        }
        Ok(payload.grant)
    }
}

fn forged() -> StoreError {
    StoreError::new(STORE, ErrorKind::Forbidden, "the URL was not made by this server")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{TimeDelta, TimeZone};
    use proptest::prelude::*;

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap()
    }

    fn upload(content_type: &str, size_bytes: u64) -> UploadGrant {
        UploadGrant {
            organization_id: Uuid::from_u128(1),
            asset_id: Uuid::from_u128(2),
            content_type: content_type.to_owned(),
            size_bytes,
            sha256: "ab".repeat(32),
        }
    }

    #[test]
    fn a_token_serves_its_own_purpose_until_it_expires() {
        let tokens = Tokens::new(&[7; 32]).unwrap();
        let token = tokens.seal_upload(upload("video/mp4", 5), now() + TimeDelta::seconds(10)).unwrap();
        assert_eq!(tokens.open_upload(&token, now()).unwrap(), upload("video/mp4", 5));
        assert!(tokens.open_upload(&token, now() + TimeDelta::milliseconds(9_999)).is_ok());
        let refused = [
            tokens.open_upload(&token, now() + TimeDelta::seconds(10)).map(drop),
            tokens.open_download(&token, now()).map(drop),
            Tokens::new(&[8; 32]).unwrap().open_upload(&token, now()).map(drop),
        ];
        for result in refused {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Forbidden);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_download_comes_back(version in prop::option::of(".{0,40}"), file_name in prop::option::of(".{0,80}")) {
            let tokens = Tokens::new(&[7; 32]).unwrap();
            let grant = DownloadGrant {
                organization_id: Uuid::max(),
                asset_id: Uuid::nil(),
                version,
                file_name,
            };
            let token = tokens.seal_download(grant.clone(), now() + TimeDelta::seconds(1)).unwrap();
            prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
            prop_assert_eq!(tokens.open_download(&token, now()).unwrap(), grant);
        }

        #[test]
        fn no_changed_token_is_taken(at in any::<prop::sample::Index>(), flip in 1_u8..=255, size in any::<u64>()) {
            let tokens = Tokens::new(&[7; 32]).unwrap();
            let token = tokens.seal_upload(upload("image/png", size), now() + TimeDelta::days(1)).unwrap();
            let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let changed = tokens.open_upload(&URL_SAFE_NO_PAD.encode(&bytes), now());
            prop_assert_eq!(changed.unwrap_err().kind(), ErrorKind::Forbidden);
            bytes[at] ^= flip;
            bytes.truncate(at);
            let cut = tokens.open_upload(&URL_SAFE_NO_PAD.encode(&bytes), now());
            prop_assert_eq!(cut.unwrap_err().kind(), ErrorKind::Forbidden);
        }

        #[test]
        fn no_text_is_a_token(text in ".{0,200}") {
            let tokens = Tokens::new(&[7; 32]).unwrap();
            prop_assert_eq!(tokens.open_upload(&text, now()).unwrap_err().kind(), ErrorKind::Forbidden);
            prop_assert_eq!(tokens.open_download(&text, now()).unwrap_err().kind(), ErrorKind::Forbidden);
        }
    }
}
