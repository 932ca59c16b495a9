//! The files, as they are sent.

use crate::lean;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::sync::LazyLock;

/// A file of the page.
pub struct File {
    /// Where it is asked for.
    pub path: &'static str,
    /// Its media type.
    pub media: &'static str,
    /// Its bytes.
    pub plain: Bytes,
    /// The same, compressed.
    pub gzip: Bytes,
    /// Its name of this version; weak, since it stands for both.
    pub etag: String,
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! of {
    ($name:literal, $media:expr) => {
        (
            concat!("/page/", $name),
            $media,
            include_str!(concat!("../assets/", $name)),
        )
    };
}

/// Path, media type and text of each file.
const SOURCES: [(&str, &str, &str); 27] = [
    ("/", HTML, include_str!("../assets/index.html")),
    of!("answers.js", SCRIPT),
    of!("api.js", SCRIPT),
    of!("app.js", SCRIPT),
    of!("configuration.js", SCRIPT),
    of!("csv.js", SCRIPT),
    of!("engine.js", SCRIPT),
    of!("flow.js", SCRIPT),
    of!("format.js", SCRIPT),
    of!("grid.js", SCRIPT),
    of!("hooks.js", SCRIPT),
    of!("lag.js", SCRIPT),
    of!("latency.js", SCRIPT),
    of!("lines.js", SCRIPT),
    of!("losses.js", SCRIPT),
    of!("order.js", SCRIPT),
    of!("parts.js", SCRIPT),
    of!("picture.js", SCRIPT),
    of!("place.js", SCRIPT),
    of!("plan.js", SCRIPT),
    of!("rows.js", SCRIPT),
    of!("stream.js", SCRIPT),
    of!("style.css", STYLE),
    of!("truth.js", SCRIPT),
    of!("vendor/htm-preact.js", SCRIPT),
    of!("vendor/uplot.js", SCRIPT),
    of!("why.js", SCRIPT),
];

/// All of them; compressed once, when the first is asked for.
pub static FILES: LazyLock<Vec<File>> = LazyLock::new(|| SOURCES.map(File::new).into());

impl File {
    fn new((path, media, text): (&'static str, &'static str, &'static str)) -> File {
        let plain = match media {
            STYLE => Bytes::from(lean::style(text)),
            SCRIPT if !path.contains("/vendor/") => Bytes::from(lean::script(text)),
            _ => Bytes::from_static(text.as_bytes()),
        };
        let digest = Sha256::digest(&plain);
        let digest: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        File {
            path,
            media,
            gzip: compressed(&plain).expect("memory"),
            etag: format!("W/\"{digest}\""),
            plain,
        }
    }
}

/// Writing into memory does not fail.
fn compressed(plain: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?.into())
}
