use super::*;
use http_body_util::BodyExt;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Bytes that a browser loads at most, compressed.
const MOST: usize = 60 * 1024;

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets")
}

fn headers(pairs: &[(hyper::header::HeaderName, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.clone(), value.parse().unwrap()))
        .collect()
}

fn bytes(answer: Response<Body>) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime
        .block_on(answer.into_body().collect())
        .unwrap()
        .to_bytes()
        .to_vec()
}

/// What a text names by `import`, `src` or `href`, as paths on the server.
fn named(file: &File) -> BTreeSet<String> {
    let text = std::str::from_utf8(&file.plain).unwrap();
    let after = |mark: &str| -> Vec<String> {
        let rest = text.split(mark).skip(1);
        rest.filter_map(|rest| rest.split('"').next())
            .map(str::to_owned)
            .collect()
    };
    let imports = after("from \"./").into_iter().map(|name| format!("/page/{name}"));
    let links = after(" src=\"")
        .into_iter()
        .chain(after("href=\"page/").into_iter().map(|name| format!("page/{name}")));
    let links = links.map(|name| format!("/{name}"));
    imports.chain(links).collect()
}

#[test]
fn a_browser_loads_sixty_kilobytes_at_most() {
    let sizes = FILES.iter().map(|file| (file.path, file.gzip.len()));
    let total: usize = sizes.clone().map(|(_, size)| size).sum();
    assert!(total <= MOST, "{total} bytes: {:?}", sizes.collect::<Vec<_>>());
}

#[test]
fn every_file_is_served_and_asked_for() {
    let mut reached = BTreeSet::from(["/".to_owned()]);
    let mut left = vec!["/".to_owned()];
    while let Some(path) = left.pop() {
        let file = find(&path).unwrap_or_else(|| panic!("{path} is named, and not served"));
        // a library names nothing
        let names = if path.contains("/vendor/") {
            BTreeSet::new()
        } else {
            named(file)
        };
        left.extend(names.into_iter().filter(|name| reached.insert(name.clone())));
    }
    let served: BTreeSet<String> = FILES.iter().map(|file| file.path.to_owned()).collect();
    assert_eq!(served, reached, "files that nothing asks for");
    for folder in [assets(), assets().join("vendor")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(assets()).unwrap().to_str().unwrap().to_owned();
            let is_told = name == "index.html" || name.contains("LICENSE") || name.ends_with(".md") || path.is_dir();
            assert!(
                is_told || served.contains(&format!("/page/{name}")),
                "{name} is not served"
            );
        }
    }
}

#[test]
fn nothing_comes_from_elsewhere_and_no_text_becomes_code_or_markup() {
    for file in FILES.iter().filter(|file| !file.path.contains("/vendor/")) {
        let text = std::str::from_utf8(&file.plain)
            .unwrap()
            .replace("xmlns='http://www.w3.org/2000/svg'", "");
        for banned in [
            "//",
            "eval(",
            "new Function",
            "innerHTML",
            "insertAdjacent",
            "document.write",
            "style=\"",
            " onclick",
        ] {
            let mut lines = text.lines().filter(|line| line.contains(banned));
            let found = lines.find(|line| banned != "//" || line.contains("://"));
            assert_eq!(found, None, "{banned} in {}", file.path);
        }
    }
}

#[test]
fn libraries_are_those_that_are_recorded() {
    let record = std::fs::read_to_string(assets().join("vendor/README.md")).unwrap();
    for name in ["htm-preact.js", "uplot.js"] {
        use sha2::{Digest, Sha256};
        let bytes = std::fs::read(assets().join("vendor").join(name)).unwrap();
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(
            record.contains(&digest),
            "{name} has {digest}, which vendor/README.md does not name"
        );
    }
}

#[test]
fn files_are_compressed_for_those_who_say_so_and_sent_once() {
    let file = find("/page/app.js").unwrap();
    let plain = served(file, &HeaderMap::new());
    assert_eq!(plain.headers()[CONTENT_SECURITY_POLICY], POLICY);
    assert!(!plain.headers().contains_key(CONTENT_ENCODING));
    let etag = plain.headers()[ETAG].to_str().unwrap().to_owned();
    let plain = bytes(plain);
    let packed = served(file, &headers(&[(ACCEPT_ENCODING, "br, gzip;q=0.5")]));
    assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip");
    let mut unpacked = Vec::new();
    let packed = bytes(packed);
    std::io::copy(&mut flate2::read::GzDecoder::new(&*packed), &mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    let refused = served(file, &headers(&[(ACCEPT_ENCODING, "br, gzip;q=0")]));
    assert!(!refused.headers().contains_key(CONTENT_ENCODING));
    for (tags, status) in [(&*etag, 304), ("W/\"0\"", 200), (&*format!("\"0\", {etag}"), 304)] {
        let answer = served(file, &headers(&[(IF_NONE_MATCH, tags)]));
        assert_eq!(answer.status(), status, "{tags}");
        assert_eq!(bytes(answer).is_empty(), status == 304);
    }
    assert!(find("/page/nothing.js").is_none() && find("/api/status").is_none());
}
