//! Whether bytes are what they were declared to be, as far as their first bytes can tell.
//!
//! Pure, so that every media adapter judges alike. It refuses only a contradiction: a declared type that it knows,
//! and bytes that are plainly of another one. Text and types it does not know pass; a browser is kept from guessing
//! by other means (`nosniff` and the declared type).

use infer::MatcherType;

/// How many of the first bytes are looked at.
pub const HEAD_BYTES: usize = 8192;

/// Names of the same format, or formats of one container that differ in a few bytes which writers choose freely.
const FAMILIES: &[&[&str]] = &[
    &["image/jpeg", "image/jpg", "image/pjpeg"],
    &["image/png", "image/apng", "image/x-png"],
    &["image/bmp", "image/x-ms-bmp", "image/x-bmp"],
    &["image/vnd.microsoft.icon", "image/x-icon", "image/ico"],
    &["image/heif", "image/heic", "image/heif-sequence", "image/heic-sequence", "image/avif"],
    &["image/tiff", "image/tif", "image/x-canon-cr2"],
    // The ISO base media format, whatever its brand says.
    &[
        "video/mp4",
        "audio/mp4",
        "application/mp4",
        "video/quicktime",
        "video/x-m4v",
        "audio/m4a",
        "audio/x-m4a",
        "video/3gpp",
        "audio/3gpp",
        "video/3gpp2",
        "audio/3gpp2",
    ],
    &["video/webm", "audio/webm", "video/x-matroska", "audio/x-matroska", "video/matroska", "audio/matroska"],
    &["audio/ogg", "video/ogg", "application/ogg", "audio/opus", "audio/vorbis", "audio/x-vorbis+ogg"],
    &["audio/mpeg", "audio/mp3", "audio/mpeg3", "audio/x-mpeg-3"],
    &["audio/aac", "audio/aacp", "audio/x-aac", "audio/x-hx-aac-adts"],
    &["audio/x-wav", "audio/wav", "audio/wave", "audio/vnd.wave", "audio/x-pn-wav"],
    &["audio/x-flac", "audio/flac"],
    &["audio/x-aiff", "audio/aiff"],
    &["audio/midi", "audio/mid", "audio/x-midi"],
    &["video/x-msvideo", "video/avi", "video/vnd.avi", "video/msvideo"],
    &["video/x-ms-wmv", "video/x-ms-asf", "audio/x-ms-wma"],
    &["application/font-woff", "font/woff", "font/woff2", "application/font-woff2"],
    &[
        "application/font-sfnt",
        "font/sfnt",
        "font/ttf",
        "font/otf",
        "font/collection",
        "application/x-font-ttf",
        "application/x-font-otf",
    ],
    &["application/gzip", "application/x-gzip"],
    &["application/vnd.rar", "application/x-rar-compressed", "application/x-rar"],
    &["application/x-bzip2", "application/x-bzip"],
    &["application/zip", "application/x-zip-compressed"],
    &["application/vnd.microsoft.portable-executable", "application/x-msdownload", "application/x-dosexec"],
    &["application/rtf", "text/rtf"],
    &["application/vnd.sqlite3", "application/x-sqlite3"],
    // Compound files, which only their inner names tell apart.
    &["application/x-ole-storage", "application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"],
];

/// The type that the bytes plainly are, when they cannot be what was declared.
pub fn contradiction(declared: &str, head: &[u8]) -> Option<&'static str> {
    let declared = declared.to_ascii_lowercase();
    let found = infer::get(head)?;
    let right = agrees(&declared, &found, head) || (is_text(&declared) && reads_as_text(head));
    (!right).then(|| found.mime_type())
}

fn agrees(declared: &str, found: &infer::Type, head: &[u8]) -> bool {
    let mime = found.mime_type();
    let any = "application/octet-stream";
    if declared == any || mime == any || same_family(declared, mime) {
        return true;
    }
    if mime == "application/zip" && is_zip(declared) {
        return true;
    }
    // A tag that belongs to MP3 but is put before other kinds of audio as well.
    if top(declared) == "audio" && head.starts_with(b"ID3") {
        return true;
    }
    if is_text(declared) {
        // Markup that is declared as another kind of text; anything else was not written as text.
        return found.matcher_type() == MatcherType::Text;
    }
    !is_known(declared) && (top(declared) == top(mime) || !is_media(declared))
}

fn same_family(a: &str, b: &str) -> bool {
    a == b || FAMILIES.iter().any(|family| family.contains(&a) && family.contains(&b))
}

fn is_known(mime: &str) -> bool {
    infer::is_mime_supported(mime) || FAMILIES.iter().any(|family| family.contains(&mime))
}

fn top(mime: &str) -> &str {
    mime.split('/').next().unwrap_or_default()
}

fn is_media(mime: &str) -> bool {
    matches!(top(mime), "image" | "audio" | "video" | "font")
}

fn is_text(mime: &str) -> bool {
    top(mime) == "text"
        || mime.ends_with("+xml")
        || mime.ends_with("+json")
        || matches!(mime, "application/json" | "application/xml" | "application/javascript" | "application/x-ndjson")
}

/// Documents that are zip archives inside, where the archive's order of files may hide which.
fn is_zip(mime: &str) -> bool {
    const PREFIXES: [&str; 3] =
        ["application/vnd.openxmlformats-", "application/vnd.oasis.opendocument.", "application/epub"];
    PREFIXES.iter().any(|prefix| mime.starts_with(prefix)) || mime == "image/openraster"
}

/// Some formats begin with two letters that a text may begin with as well ("BM", "MZ").
fn reads_as_text(head: &[u8]) -> bool {
    let whole = match std::str::from_utf8(head) {
        Ok(_) => true,
        // The last character may be cut off.
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    whole && !head.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0";
    const MP4: &[u8] = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41";
    const MOV: &[u8] = b"\0\0\0\x14ftypqt  \0\0\0\0qt  ";
    const MP3: &[u8] = b"ID3\x04\0\0\0\0\0\0";
    const WAV: &[u8] = b"RIFF\x24\0\0\0WAVEfmt ";
    const ZIP: &[u8] = b"PK\x03\x04\x14\0\0\0\0\0";
    const ELF: &[u8] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    const HTML: &[u8] = b"<!DOCTYPE html><html><script>alert(1)</script></html>";

    fn webm() -> Vec<u8> {
        let mut head = b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm".to_vec();
        head.resize(300, 0);
        head
    }

    #[test]
    fn what_is_declared_rightly_passes() {
        let webm = webm();
        let right: &[(&str, &[u8])] = &[
            ("image/png", PNG),
            ("IMAGE/PNG", PNG),
            ("image/jpg", JPEG),
            ("video/mp4", MP4),
            ("audio/mp4", MP4),
            ("video/quicktime", MP4),
            ("video/mp4", MOV),
            ("video/webm", &webm),
            ("video/x-matroska", &webm),
            ("audio/mpeg", MP3),
            ("audio/mp3", MP3),
            ("audio/aac", MP3),
            ("audio/wav", WAV),
            ("application/zip", ZIP),
            ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", ZIP),
            ("text/html", HTML),
            ("text/plain", HTML),
            ("image/svg+xml", b"<?xml version=\"1.0\"?><svg/>"),
            ("text/plain", b"BM is how a bitmap begins, and how this sentence does"),
            ("text/plain", b"MZ\xc3\xa4"),
        ];
        for (declared, head) in right {
            assert_eq!(contradiction(declared, head), None, "{declared}");
        }
    }

    #[test]
    fn what_cannot_be_recognised_passes() {
        for declared in ["image/png", "video/mp4", "text/plain", "application/x-own"] {
            assert_eq!(contradiction(declared, b"nothing in particular"), None, "{declared}");
            assert_eq!(contradiction(declared, b""), None, "{declared}");
        }
        for head in [PNG, ELF, HTML, ZIP] {
            assert_eq!(contradiction("application/octet-stream", head), None);
            assert_eq!(contradiction("application/x-own", head), None);
        }
        assert_eq!(contradiction("image/x-own", PNG), None);
    }

    #[test]
    fn a_contradiction_is_found_and_named() {
        let webm = webm();
        let wrong: &[(&str, &[u8], &str)] = &[
            ("image/png", JPEG, "image/jpeg"),
            ("image/png", HTML, "text/html"),
            ("image/png", MP4, "video/mp4"),
            ("video/mp4", PNG, "image/png"),
            ("video/mp4", &webm, "video/webm"),
            ("audio/mpeg", WAV, "audio/x-wav"),
            ("image/x-own", ELF, "application/x-executable"),
            ("application/pdf", ZIP, "application/zip"),
            ("application/pdf", HTML, "text/html"),
            ("text/plain", PNG, "image/png"),
            ("application/json", ELF, "application/x-executable"),
            ("image/svg+xml", JPEG, "image/jpeg"),
        ];
        for (declared, head, found) in wrong {
            assert_eq!(contradiction(declared, head), Some(*found), "{declared}");
        }
    }
}
