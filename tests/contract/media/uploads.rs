//! Signed uploads: what is taken, what is refused, and that a refusal leaves nothing.

use super::*;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR and so on";
const MP4: &[u8] = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41";

pub async fn an_upload_is_invisible_until_it_is_completed(world: MediaWorld) {
    let spec = spec(1, b"hello");
    let target = world.handle.sign_upload(&world.scope, &spec).unwrap();
    assert_eq!(target.method, "PUT");
    assert_eq!(target.headers, [("content-type".to_owned(), "text/plain".to_owned())]);
    assert_eq!(target.expires_at, world.clock.now() + TimeDelta::seconds(600));
    send(&world, &target, b"hello").await.unwrap();
    assert_eq!(versions(&world, &world.scope, 1).await, []);
    assert_eq!(kind(fetch(&world, &world.scope, &newest(1)).await), ErrorKind::NotFound);
    let object = world.handle.complete(&world.scope, &spec).await.unwrap();
    assert_eq!((object.content_type.as_str(), object.size_bytes, object.latest), ("text/plain", 5, true));
    assert_eq!((object.sha256.as_str(), object.created_at), (spec.sha256.as_str(), world.clock.now()));
    assert_eq!(versions(&world, &world.scope, 1).await, [object]);
    assert_eq!(fetch(&world, &world.scope, &newest(1)).await.unwrap(), "hello");
}

pub async fn completing_without_an_upload_is_not_found(world: MediaWorld) {
    let spec = spec(1, b"hello");
    assert_eq!(kind(world.handle.complete(&world.scope, &spec).await), ErrorKind::NotFound);
    world.handle.sign_upload(&world.scope, &spec).unwrap();
    assert_eq!(kind(world.handle.complete(&world.scope, &spec).await), ErrorKind::NotFound);
    // An upload for another asset, or of other bytes, is none for this one.
    let target = world.handle.sign_upload(&world.scope, &self::spec(2, b"hello")).unwrap();
    send(&world, &target, b"hello").await.unwrap();
    let target = world.handle.sign_upload(&world.scope, &self::spec(1, b"other")).unwrap();
    send(&world, &target, b"other").await.unwrap();
    assert_eq!(kind(world.handle.complete(&world.scope, &spec).await), ErrorKind::NotFound);
    assert_eq!(versions(&world, &world.scope, 1).await, []);
}

pub async fn completing_again_is_harmless(world: MediaWorld) {
    let (first, second) = (spec(1, b"first"), spec(1, b"second"));
    let object = upload(&world, &first, b"first").await.unwrap();
    assert_eq!(world.handle.complete(&world.scope, &first).await.unwrap(), object);
    let newer = upload(&world, &second, b"second").await.unwrap();
    // A late repeat of the first does not bring it back.
    let again = world.handle.complete(&world.scope, &first).await.unwrap();
    assert_eq!((again.version, again.latest), (object.version, false));
    assert_eq!(versions(&world, &world.scope, 1).await.len(), 2);
    assert_eq!(versions(&world, &world.scope, 1).await[0], newer);
}

pub async fn sending_again_is_harmless(world: MediaWorld) {
    let spec = spec(1, b"hello");
    let target = world.handle.sign_upload(&world.scope, &spec).unwrap();
    send(&world, &target, b"hello").await.unwrap();
    send(&world, &target, b"hello").await.unwrap();
    let object = world.handle.complete(&world.scope, &spec).await.unwrap();
    send(&world, &target, b"hello").await.unwrap();
    assert_eq!(world.handle.complete(&world.scope, &spec).await.unwrap(), object);
    assert_eq!(versions(&world, &world.scope, 1).await, [object]);
    // A second try that fails takes nothing from the first.
    send(&world, &target, b"hello").await.unwrap();
    assert_eq!(kind(send(&world, &target, b"jello").await), ErrorKind::Invalid);
    world.handle.complete(&world.scope, &spec).await.unwrap();
    assert_eq!(fetch(&world, &world.scope, &newest(1)).await.unwrap(), "hello");
}

pub async fn an_upload_that_waits_survives_a_restart(world: MediaWorld) {
    let spec = spec(1, b"hello");
    let target = world.handle.sign_upload(&world.scope, &spec).unwrap();
    send(&world, &target, b"hello").await.unwrap();
    let world = world.reopen().await;
    world.handle.complete(&world.scope, &spec).await.unwrap();
    assert_eq!(fetch(&world, &world.scope, &newest(1)).await.unwrap(), "hello");
    // The URL is still good as well.
    send(&world, &target, b"hello").await.unwrap();
}

pub async fn a_forged_url_is_forbidden(world: MediaWorld) {
    let spec = spec(1, b"hello");
    put(&world, &world.scope, 1, "hello").await;
    let target = world.handle.sign_upload(&world.scope, &spec).unwrap();
    let download = world.handle.sign_download(&world.scope, &newest(1)).unwrap();
    let good = token(&target.url);
    let other = if good.ends_with('A') { 'B' } else { 'A' };
    let middle = good.len() / 2;
    let forged = [
        String::new(),
        "nonsense".to_owned(),
        "../../etc/passwd".to_owned(),
        "ünï/çødé".to_owned(),
        good[..good.len() - 1].to_owned(),
        format!("{good}AAAA"),
        format!("{}{other}{}", &good[..middle], &good[middle + 1..]),
        "A".repeat(100_000),
        // A URL for the one is none for the other.
        token(&download).to_owned(),
    ];
    for url in forged {
        let target = UploadTarget { url: format!("/media/upload/{url}"), ..target.clone() };
        let result = send(&world, &target, b"hello").await;
        // Cutting the path at the last slash may leave another forged token; all are refused.
        assert_eq!(kind(result), ErrorKind::Forbidden, "{url}");
    }
    for url in [good, "", "nonsense"] {
        assert_eq!(kind(open(&world, url, None).await), ErrorKind::Forbidden, "{url}");
    }
}

pub async fn an_expired_url_is_forbidden(world: MediaWorld) {
    put(&world, &world.scope, 2, "there").await;
    let brief = UploadSpec { expires_in: Duration::from_secs(60), ..spec(1, b"hello") };
    let target = world.handle.sign_upload(&world.scope, &brief).unwrap();
    let seconds = Duration::from_secs(60);
    let url = world.handle.sign_download(&world.scope, &DownloadSpec { expires_in: seconds, ..newest(2) }).unwrap();
    world.clock.advance(TimeDelta::seconds(59));
    open(&world, &url, None).await.map(drop).unwrap();
    world.clock.advance(TimeDelta::seconds(1));
    assert_eq!(kind(send(&world, &target, b"hello").await), ErrorKind::Forbidden);
    assert_eq!(kind(open(&world, &url, None).await), ErrorKind::Forbidden);
    assert_absent(&world, &brief).await;
    // A clock that jumps back makes it good again; that is a clock's word against none.
    world.clock.advance(TimeDelta::hours(-1));
    send(&world, &target, b"hello").await.unwrap();
    open(&world, &url, None).await.map(drop).unwrap();
    // What arrived in time may be completed after the URL expired.
    world.clock.advance(TimeDelta::hours(5));
    world.handle.complete(&world.scope, &brief).await.unwrap();
}

pub async fn other_bytes_than_signed_are_refused(world: MediaWorld) {
    let spec = spec(1, b"hello");
    let target = world.handle.sign_upload(&world.scope, &spec).unwrap();
    let error = send(&world, &target, b"jello").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("SHA-256"), "{error}");
    assert_absent(&world, &spec).await;
    send(&world, &target, b"hello").await.unwrap();
    world.handle.complete(&world.scope, &spec).await.unwrap();
}

pub async fn too_few_and_too_many_bytes_are_refused(world: MediaWorld) {
    let bytes = vec![b'x'; 5_000];
    let spec = spec(1, &bytes);
    let target = world.handle.sign_upload(&world.scope, &spec).unwrap();
    for wrong in [0, 1, 4_999, 5_001, 20_000] {
        assert_eq!(kind(send(&world, &target, &vec![b'x'; wrong]).await), ErrorKind::Invalid, "{wrong} bytes");
        assert_absent(&world, &spec).await;
    }
    // A body without end is cut off as soon as it is too long.
    let endless = Box::pin(stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 1_000]))));
    let local = world.handle.local().unwrap();
    let accepted = local.accept(token(&target.url), Some("text/plain"), endless);
    let result = tokio::time::timeout(Duration::from_secs(10), accepted).await.expect("the body is read for ever");
    assert_eq!(kind(result), ErrorKind::Invalid);
    assert_absent(&world, &spec).await;
}

pub async fn another_content_type_than_signed_is_refused(world: MediaWorld) {
    let spec = spec(1, b"hello");
    let target = world.handle.sign_upload(&world.scope, &spec).unwrap();
    let local = world.handle.local().unwrap();
    for content_type in [None, Some(""), Some("text/html"), Some("text/plain2")] {
        let result = local.accept(token(&target.url), content_type, body(b"hello", 5)).await;
        assert_eq!(kind(result), ErrorKind::Invalid, "{content_type:?}");
    }
    assert_absent(&world, &spec).await;
    local.accept(token(&target.url), Some("Text/Plain"), body(b"hello", 5)).await.unwrap();
}

pub async fn an_upload_that_breaks_off_leaves_nothing(world: MediaWorld) {
    let spec = spec(1, b"hello");
    let target = world.handle.sign_upload(&world.scope, &spec).unwrap();
    let pieces = vec![Ok(Bytes::from_static(b"hel")), Err(std::io::ErrorKind::ConnectionReset.into())];
    let local = world.handle.local().unwrap();
    let result = local.accept(token(&target.url), Some("text/plain"), Box::pin(stream::iter(pieces))).await;
    assert_eq!(kind(result), ErrorKind::Invalid);
    assert_absent(&world, &spec).await;
    send(&world, &target, b"hello").await.unwrap();
    world.handle.complete(&world.scope, &spec).await.unwrap();
}

pub async fn an_abandoned_upload_leaves_nothing(world: MediaWorld) {
    let spec = spec(1, b"hello");
    let target = world.handle.sign_upload(&world.scope, &spec).unwrap();
    let stalled = stream::iter([Ok(Bytes::from_static(b"hel"))]).chain(stream::pending());
    let local = world.handle.local().unwrap();
    let upload = local.accept(token(&target.url), Some("text/plain"), Box::pin(stalled));
    assert!(tokio::time::timeout(Duration::from_millis(50), upload).await.is_err());
    assert_absent(&world, &spec).await;
}

pub async fn content_that_contradicts_its_type_is_refused(world: MediaWorld) {
    let html = b"<!DOCTYPE html><html><script>alert(1)</script></html>".as_slice();
    for (content_type, bytes) in [("image/png", html), ("video/mp4", PNG), ("image/jpeg", PNG), ("text/plain", PNG)] {
        let spec = UploadSpec { content_type: content_type.to_owned(), ..spec(1, bytes) };
        let error = upload(&world, &spec, bytes).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{content_type}");
        assert!(error.message().contains(content_type), "{error}");
        // What arrived is gone.
        assert_absent(&world, &spec).await;
    }
}

pub async fn equivalent_and_unknown_types_are_taken(world: MediaWorld) {
    let taken: [(&str, &[u8]); 8] = [
        ("image/png", PNG),
        ("application/octet-stream", PNG),
        ("video/mp4", MP4),
        ("audio/mp4", MP4),
        ("video/quicktime", MP4),
        ("text/markdown", b"# hello"),
        ("application/vnd.own.format", b"\x01\x02\x03"),
        ("image/svg+xml", b"<?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\"/>"),
    ];
    for (asset, (content_type, bytes)) in taken.into_iter().enumerate() {
        let spec = UploadSpec { content_type: content_type.to_owned(), ..spec(asset as u128, bytes) };
        let object = upload(&world, &spec, bytes).await.unwrap();
        assert_eq!(object.content_type, content_type);
    }
}

pub async fn put_checks_what_an_upload_checks(world: MediaWorld) {
    let put = |spec: UploadSpec, bytes: &'static [u8]| {
        let (handle, scope) = (&world.handle, &world.scope);
        async move { kind(handle.put(scope, &spec, Bytes::from_static(bytes)).await) }
    };
    assert_eq!(put(spec(1, b"hello"), b"jello").await, ErrorKind::Invalid);
    assert_eq!(put(spec(1, b"hello"), b"hell").await, ErrorKind::Invalid);
    assert_eq!(put(spec(1, b"hello"), b"hello!").await, ErrorKind::Invalid);
    let png = UploadSpec { content_type: "video/mp4".to_owned(), ..spec(1, PNG) };
    assert_eq!(put(png, PNG).await, ErrorKind::Invalid);
    assert_absent(&world, &spec(1, b"hello")).await;
}

pub async fn specs_out_of_bounds_are_refused(world: MediaWorld) {
    let good = || spec(1, b"hello");
    let capabilities = world.handle.capabilities();
    let (size, seconds) = (capabilities.max_bytes, capabilities.max_expiry_seconds);
    let bad = [
        UploadSpec { size_bytes: 0, ..good() },
        UploadSpec { size_bytes: size + 1, ..good() },
        UploadSpec { sha256: good().sha256.to_uppercase(), ..good() },
        UploadSpec { sha256: "../".repeat(21) + "x", ..good() },
        UploadSpec { sha256: String::new(), ..good() },
        UploadSpec { content_type: "text".to_owned(), ..good() },
        UploadSpec { content_type: "text/plain\r\nx: y".to_owned(), ..good() },
        UploadSpec { expires_in: Duration::ZERO, ..good() },
        UploadSpec { expires_in: Duration::from_secs(seconds + 1), ..good() },
        UploadSpec { expires_in: Duration::MAX, ..good() },
    ];
    for bad in bad {
        assert_eq!(kind(world.handle.sign_upload(&world.scope, &bad)), ErrorKind::Invalid, "{bad:?}");
        assert_eq!(kind(world.handle.complete(&world.scope, &bad).await), ErrorKind::Invalid, "{bad:?}");
        let put = world.handle.put(&world.scope, &bad, Bytes::from_static(b"hello")).await;
        assert_eq!(kind(put), ErrorKind::Invalid, "{bad:?}");
    }
    for expires_in in [Duration::ZERO, Duration::from_secs(seconds + 1)] {
        let bad = DownloadSpec { expires_in, ..newest(1) };
        assert_eq!(kind(world.handle.sign_download(&world.scope, &bad)), ErrorKind::Invalid);
    }
    let most = UploadSpec { size_bytes: size, expires_in: Duration::from_secs(seconds), ..good() };
    world.handle.sign_upload(&world.scope, &most).unwrap();
}

pub async fn a_sweep_takes_what_was_never_completed(world: MediaWorld) {
    for (asset, text) in [(1, "one"), (2, "two"), (3, "three")] {
        let spec = spec(asset, text.as_bytes());
        let scope = if asset == 2 { &world.foreign } else { &world.scope };
        let target = world.handle.sign_upload(scope, &spec).unwrap();
        send(&world, &target, text.as_bytes()).await.unwrap();
        world.clock.advance(TimeDelta::minutes(10));
    }
    put(&world, &world.scope, 4, "four").await;
    let begun = world.clock.now() - TimeDelta::minutes(30);
    assert_eq!(world.handle.sweep(&world.scope, begun).await.unwrap(), 0);
    // The first two began before this, one of them for another organisation.
    let sweep = begun + TimeDelta::minutes(15);
    assert_eq!(world.handle.sweep(&world.scope, sweep).await.unwrap(), 2);
    assert_eq!(world.handle.sweep(&world.scope, sweep).await.unwrap(), 0);
    assert_eq!(kind(world.handle.complete(&world.scope, &spec(1, b"one")).await), ErrorKind::NotFound);
    assert_eq!(kind(world.handle.complete(&world.foreign, &spec(2, b"two")).await), ErrorKind::NotFound);
    world.handle.complete(&world.scope, &spec(3, b"three")).await.unwrap();
    let later = world.clock.now() + TimeDelta::days(9);
    assert_eq!(world.handle.sweep(&world.scope, later).await.unwrap(), 0);
    for (asset, text) in [(3, "three"), (4, "four")] {
        assert_eq!(fetch(&world, &world.scope, &newest(asset)).await.unwrap(), text);
    }
}

pub async fn a_large_object_travels_in_pieces(world: MediaWorld) {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let spec = UploadSpec { content_type: "application/octet-stream".to_owned(), ..spec(1, &bytes) };
    let target = world.handle.sign_upload(&world.scope, &spec).unwrap();
    let local = world.handle.local().unwrap();
    local.accept(token(&target.url), Some("application/octet-stream"), body(&bytes, 60_001)).await.unwrap();
    world.handle.complete(&world.scope, &spec).await.unwrap();
    let url = world.handle.sign_download(&world.scope, &newest(1)).unwrap();
    let mut download = open(&world, &url, None).await.unwrap();
    let first = download.body.next().await.unwrap().unwrap();
    assert!(first.len() < bytes.len() / 2, "a large object must not be held in memory as a whole");
    let whole = bytes_of(open(&world, &url, None).await.unwrap()).await;
    assert!(whole == bytes);
}

pub async fn concurrent_uploads_of_the_same_object_are_one(world: MediaWorld) {
    let bytes = Bytes::from(vec![b'x'; 10_000]);
    let spec = spec(1, &bytes);
    let target = world.handle.sign_upload(&world.scope, &spec).unwrap();
    let uploads = (0..8).map(|_| {
        let (handle, scope) = (world.handle.clone(), world.scope.clone());
        let (spec, bytes, target) = (spec.clone(), bytes.clone(), target.clone());
        tokio::spawn(async move {
            let local = handle.local().unwrap();
            local.accept(token(&target.url), Some("text/plain"), body(&bytes, 100)).await.unwrap();
            handle.complete(&scope, &spec).await.unwrap()
        })
    });
    let mut found = Vec::new();
    for upload in uploads.collect::<Vec<_>>() {
        found.push(upload.await.unwrap());
    }
    assert_eq!(versions(&world, &world.scope, 1).await, found[..1]);
    assert!(found.iter().all(|object| object == &found[0]));
}

pub async fn concurrent_uploads_of_many_objects_are_all_there(world: MediaWorld) {
    let uploads = (0..20_u128).map(|asset| {
        let (handle, scope) = (world.handle.clone(), world.scope.clone());
        tokio::spawn(async move {
            // Two assets share their bytes.
            let bytes = Bytes::from(format!("object {}", asset / 2));
            handle.put(&scope, &spec(asset, &bytes), bytes).await.unwrap();
        })
    });
    for upload in uploads.collect::<Vec<_>>() {
        upload.await.unwrap();
    }
    for asset in 0..20 {
        let text = fetch(&world, &world.scope, &newest(asset)).await.unwrap();
        assert_eq!(text, format!("object {}", asset / 2));
    }
}
