//! `LIKE`.

/// One part of a pattern.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// `%`
    Any,
    /// `_`
    One,
    /// A character that stands for itself.
    Character(char),
}

/// Whether the whole text matches the pattern: `%` is any text, `_` one character, and a backslash makes the next
/// character stand for itself.
pub fn matches(text: &str, pattern: &str) -> bool {
    let pattern = parts(pattern);
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut of) = (0, 0);
    // behind the last `%`, and the place of the text up to which it reaches: what comes before needs no other try
    let mut again: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(of) {
            Some(Part::Any) => {
                of += 1;
                again = Some((of, at));
            }
            Some(Part::One) => (at, of) = (at + 1, of + 1),
            Some(Part::Character(character)) if *character == text[at] => (at, of) = (at + 1, of + 1),
            _ => match again {
                Some((behind, reach)) => {
                    again = Some((behind, reach + 1));
                    (at, of) = (reach + 1, behind);
                }
                None => return false,
            },
        }
    }
    pattern[of..].iter().all(|part| *part == Part::Any)
}

fn parts(pattern: &str) -> Vec<Part> {
    let (mut parts, mut characters) = (Vec::new(), pattern.chars());
    while let Some(character) = characters.next() {
        parts.push(match character {
            '%' => Part::Any,
            '_' => Part::One,
            // the binder refuses a pattern that ends in a backslash
            '\\' => Part::Character(characters.next().unwrap_or('\\')),
            other => Part::Character(other),
        });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::matches;

    /// By the definition, in exponential time.
    fn plain(text: &[char], pattern: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['%', rest @ ..] => (0..=text.len()).any(|from| plain(&text[from..], rest)),
            ['_', rest @ ..] => !text.is_empty() && plain(&text[1..], rest),
            ['\\', escaped, rest @ ..] => text.first() == Some(escaped) && plain(&text[1..], rest),
            [character, rest @ ..] => text.first() == Some(character) && plain(&text[1..], rest),
        }
    }

    /// All words of at most `length` letters.
    fn words(letters: &[char], length: usize) -> Vec<Vec<char>> {
        let (mut all, mut last) = (vec![vec![]], vec![vec![]]);
        for _ in 0..length {
            last = last
                .iter()
                .flat_map(|word: &Vec<char>| letters.iter().map(|letter| [&word[..], &[*letter]].concat()))
                .collect();
            all.extend(last.clone());
        }
        all
    }

    #[test]
    fn all_short_patterns_match_as_defined() {
        let texts = words(&['a', 'é', '%'], 4);
        let patterns = words(&['a', 'é', '%', '_', '\\'], 4);
        let mut matched = 0;
        for pattern in patterns {
            let escapes = pattern.iter().rev().take_while(|letter| **letter == '\\').count();
            if escapes % 2 == 1 {
                continue;
            }
            let written: String = pattern.iter().collect();
            for text in &texts {
                let (expected, text) = (plain(text, &pattern), text.iter().collect::<String>());
                assert_eq!(matches(&text, &written), expected, "{text} LIKE {written}");
                matched += usize::from(expected);
            }
        }
        assert!(matched > 1_000);
    }
}
