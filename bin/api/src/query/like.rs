//! Patterns of `LIKE` and `ILIKE` under the collation "C": `%` is any text, `_` any character, `\` takes the next
//! character as it is. `ILIKE` makes no difference between ASCII letters' cases.

/// A pattern, ready to be matched.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    parts: Vec<Part>,
    folds: bool,
    /// As PostgreSQL takes it.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Any,
    One,
    Char(char),
}

impl Pattern {
    /// Reads a pattern in which `*` means the same as `%`; `None` when it ends in a lone `\`.
    pub fn parse(text: &str, folds: bool) -> Option<Pattern> {
        let text = text.replace('*', "%");
        let (mut parts, mut chars) = (Vec::new(), text.chars());
        while let Some(c) = chars.next() {
            let part = match c {
                '%' => Part::Any,
                '_' => Part::One,
                '\\' => Part::Char(fold(chars.next()?, folds)),
                c => Part::Char(fold(c, folds)),
            };
            if part != Part::Any || parts.last() != Some(&Part::Any) {
                parts.push(part);
            }
        }
        Some(Pattern { parts, folds, text })
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().map(|c| fold(c, self.folds)).collect();
        let (mut at, mut part) = (0, 0);
        // where the last `%` stands, and how much of the text it takes
        let mut any: Option<(usize, usize)> = None;
        while at < text.len() {
            let one = match self.parts.get(part) {
                Some(Part::Any) => {
                    any = Some((part, at));
                    part += 1;
                    continue;
                }
                Some(Part::One) => true,
                Some(Part::Char(c)) => *c == text[at],
                None => false,
            };
            if one {
                (at, part) = (at + 1, part + 1);
            } else if let Some((place, taken)) = any {
                any = Some((place, taken + 1));
                (at, part) = (taken + 1, place + 1);
            } else {
                return false;
            }
        }
        self.parts[part..].iter().all(|part| *part == Part::Any)
    }
}

fn fold(c: char, folds: bool) -> char {
    if folds { c.to_ascii_lowercase() } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_postgres() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("*b", "abc", false),
            ("a_c", "abc", true),
            ("a_c", "abbc", false),
            ("_", "é", true),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("*ab*ab", "abxab", true),
            ("*ab*ab", "ab", false),
            ("%aab", "aaab", true),
            (r"a\%", "a%", true),
            (r"a\%", "ab", false),
            (r"a\_b", "a_b", true),
            ("A*", "abc", false),
        ] {
            assert_eq!(
                Pattern::parse(pattern, false).unwrap().matches(text),
                expected,
                "{pattern} {text}"
            );
        }
        assert!(Pattern::parse("cÔTE*", true).unwrap().matches("CÔTE d'Ivoire"));
        assert!(
            !Pattern::parse("côte*", true).unwrap().matches("CÔTE"),
            "the case of ASCII letters alone"
        );
        assert_eq!(Pattern::parse("a\\", false), None);
        // no time that grows with a power of the length
        let pattern = Pattern::parse(&"*a".repeat(500), false).unwrap();
        assert!(!pattern.matches(&"b".repeat(10_000)));
    }
}
