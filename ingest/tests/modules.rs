//! Files of a module depend on each other one way: whoever imports from a file stands above it. A circle of imports
//! means that something shared has no file of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The files of a folder, each with the files of the same folder that it imports from.
fn imports(folder: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut imports = BTreeMap::<String, BTreeSet<String>>::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        // tests may look at whatever they like
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        imports.insert(name, code.split("super::").skip(1).flat_map(names).collect());
    }
    let files: BTreeSet<String> = imports.keys().cloned().collect();
    for names in imports.values_mut() {
        names.retain(|name| files.contains(name));
    }
    imports
}

/// What follows `super::`: one name, or several in braces.
fn names(after: &str) -> Vec<String> {
    let word = |text: &str| {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
        text[..end.unwrap_or(text.len())].to_owned()
    };
    match after.strip_prefix('{') {
        None => vec![word(after)],
        Some(list) => {
            let list = list.split("};").next().unwrap_or_default();
            list.split(',').map(|name| word(name.trim())).collect()
        }
    }
}

/// A circle of imports, if there is one.
fn circle(imports: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut left = imports.clone();
    loop {
        let lowest: Vec<String> = left
            .iter()
            .filter(|(_, below)| below.iter().all(|name| !left.contains_key(name)))
            .map(|(name, _)| name.clone())
            .collect();
        if lowest.is_empty() {
            return (!left.is_empty()).then(|| left.into_keys().collect());
        }
        for name in lowest {
            left.remove(&name);
        }
    }
}

#[test]
fn the_files_of_the_gateway_import_one_way() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gateway");
    let imports = imports(&folder);
    assert!(
        imports["service"].contains("state") && imports["rest_v2"].contains("state"),
        "the imports are not found: {imports:?}"
    );
    assert_eq!(
        circle(&imports),
        None,
        "these files, or some of them, import each other in a circle"
    );
}

#[test]
fn a_circle_is_found() {
    let of = |pairs: &[(&str, &str)]| {
        let mut all = BTreeMap::<String, BTreeSet<String>>::new();
        for (from, to) in pairs {
            all.entry((*from).to_owned()).or_default().insert((*to).to_owned());
            all.entry((*to).to_owned()).or_default();
        }
        circle(&all)
    };
    assert_eq!(of(&[("a", "b"), ("b", "c"), ("a", "c")]), None);
    assert_eq!(
        of(&[("a", "b"), ("b", "c"), ("c", "b")]),
        Some(vec!["a".into(), "b".into(), "c".into()])
    );
    assert_eq!(names("{state::State, {a}, b};"), ["state", "", "b"]);
}
