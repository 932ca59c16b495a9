//! Scripts and style sheets without what a browser does not need: an eighth of the page.
//!
//! Statements stay on lines of their own, so that a browser's console shows them. Only whole lines are comments here: from
//! `//` at the beginning of a line, and from `/*` at the beginning of a line to `*/` at the end of one. No line within a
//! literal of the page begins so, or is empty. The style sheet has no texts, so that spaces beside its marks mean nothing,
//! and each of its lines ends with such a mark.

/// Marks of a style sheet as people write them, and as they are sent.
const MARKS: [(&str, &str); 11] = [
    (" {", "{"),
    ("{ ", "{"),
    (" }", "}"),
    ("; ", ";"),
    (": ", ":"),
    (", ", ","),
    (";}", "}"),
    (":0.", ":."),
    (" 0.", " ."),
    ("(0.", "(."),
    (",0.", ",."),
];

/// A script, line by line.
pub fn script(text: &str) -> String {
    let lines = text.lines().map(str::trim).scan(false, without_comment);
    let lines = lines.filter(|line| !line.is_empty());
    lines.map(|line| format!("{line}\n")).collect()
}

/// A style sheet, as one line.
pub fn style(text: &str) -> String {
    let shorter = |line: &str| {
        MARKS
            .iter()
            .fold(line.to_owned(), |line, (mark, short)| line.replace(mark, short))
    };
    text.lines()
        .map(str::trim)
        .scan(false, without_comment)
        .map(shorter)
        .collect()
}

/// A line that is no part of a comment; `is_comment`: one has begun in a line before.
#[expect(clippy::unnecessary_wraps, reason = "what `scan` takes")]
fn without_comment<'a>(is_comment: &mut bool, line: &'a str) -> Option<&'a str> {
    let begins = !*is_comment && line.starts_with("/*");
    if *is_comment || begins {
        *is_comment = !line.ends_with("*/");
        return Some("");
    }
    Some(if line.starts_with("//") { "" } else { line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_script_stay_and_comments_go() {
        let text = "// a\n/** b */\nlet x = 1; // c\n/**\n * d\n */\n  f(`e\n    g`);\n";
        assert_eq!(script(text), "let x = 1; // c\nf(`e\ng`);\n");
    }

    #[test]
    fn a_style_sheet_keeps_its_rules() {
        let text = "/* a */\n.b, .c:hover .d {\n  margin: 0 0.5em;\n}\n@media (width > 1px) {\n  a { b: rgb(1 2 3 / 0.2); }\n}\n";
        assert_eq!(
            style(text),
            ".b,.c:hover .d{margin:0 .5em;}@media (width > 1px){a{b:rgb(1 2 3 / .2)}}"
        );
    }

    #[test]
    fn every_line_of_the_style_sheet_ends_with_a_mark() {
        let sheet = include_str!("../assets/style.css");
        let lines = sheet.lines().map(str::trim).scan(false, without_comment);
        let ends = |line: &str| line.is_empty() || line.ends_with(['{', '}', ';', ',']);
        assert_eq!(lines.filter(|line| !ends(line)).collect::<Vec<_>>(), Vec::<&str>::new());
        assert!(!sheet.contains(['"', '\'']), "a text, whose spaces count");
    }
}
