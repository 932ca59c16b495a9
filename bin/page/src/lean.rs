//! Scripts and style sheets without comments and indentation: what a browser does not need is an eighth of the page.
//!
//! Lines stay where they are, so that a browser's console names those of the source. Only whole lines are comments here:
//! from `//` at the beginning of a line, and from `/*` at the beginning of a line to `*/` at the end of one. No line
//! within a literal of the page begins so.

/// The text, without what a browser does not need.
pub fn lean(text: &str) -> String {
    let mut lean = String::with_capacity(text.len());
    let mut is_comment = false;
    for line in text.lines() {
        let line = line.trim();
        let begins = !is_comment && line.starts_with("/*");
        if is_comment || begins {
            is_comment = !line.ends_with("*/");
        } else if !line.starts_with("//") {
            lean.push_str(line);
        }
        lean.push('\n');
    }
    lean
}

#[cfg(test)]
mod tests {
    use super::lean;

    #[test]
    fn lines_stay_and_comments_go() {
        let text = "// a\n/** b */\nlet x = 1; // c\n/**\n * d\n */\n  f(`e\n    g`);\n";
        assert_eq!(lean(text), "\n\nlet x = 1; // c\n\n\n\nf(`e\ng`);\n");
    }
}
