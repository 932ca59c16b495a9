//! Identifiers and literals as they stand in a statement.

/// An identifier in double quotes.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string literal in single quotes.
pub(crate) fn literal(text: &str) -> String {
    // standard_conforming_strings is on in our sessions
    format!("'{}'", text.replace('\'', "''"))
}

/// `"schema"."table"`
pub fn qualified(schema: &str, table: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(table))
}

/// `prefix."a", prefix."b"`
pub(crate) fn list<'a>(prefix: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names
        .into_iter()
        .map(|name| format!("{prefix}{}", quoted(name)))
        .collect();
    names.join(", ")
}
