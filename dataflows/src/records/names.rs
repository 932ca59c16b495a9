//! Names on their way into the process's dictionary: a small cache in front of it, and the text that stands for
//! a person.

use operators::Symbol;
use std::fmt::Write;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Entries of the cache: enough for every country and category, few enough to stay in the first-level cache.
const CACHE: usize = 512;
/// Longest name that enters a person's text as it is; a longer one enters as its 128-bit hash.
const LONGEST_NAME: usize = 512;

/// Interns names. Countries and categories repeat in every record, and all workers would meet on the dictionary's
/// locks for them: those are looked up in a direct-mapped cache first.
pub(crate) struct Names {
    cache: Vec<Option<(&'static str, Symbol)>>,
    person: String,
    /// Scratch space of the fast decoder.
    pub(super) scratch: [Vec<u8>; 2],
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names")
            .field("cached", &self.cache.iter().flatten().count())
            .finish()
    }
}

impl Names {
    pub(crate) fn new() -> Names {
        Names {
            cache: vec![None; CACHE],
            person: String::new(),
            scratch: Default::default(),
        }
    }

    /// The symbol of a name that few records have.
    pub(crate) fn rare(&mut self, text: &str) -> Symbol {
        Symbol::new(text)
    }

    /// The symbol of a name that many records have.
    pub(crate) fn frequent(&mut self, text: &str) -> Symbol {
        let entry = &mut self.cache[xxh3_64(text.as_bytes()) as usize % CACHE];
        match entry {
            Some((cached, symbol)) if *cached == text => *symbol,
            _ => {
                let symbol = Symbol::new(text);
                *entry = Some((symbol.text(), symbol));
                symbol
            }
        }
    }

    /// The symbol of a distinct person: equal exactly when name (first and last joined by a space), age and time
    /// of joining are, nulls counting as equal.
    ///
    /// The text is a mark that says which parts follow and in which form, the parts of fixed length, then the name,
    /// so that no name can imitate another person.
    pub(crate) fn person(&mut self, name: Option<(&str, &str)>, age: Option<i32>, joined: i64) -> Symbol {
        let long = name.is_some_and(|(first, last)| first.len() + 1 + last.len() > LONGEST_NAME);
        let mut fixed = [0; 1 + 13 + 7];
        fixed[0] = match (name, long, age) {
            (None, _, None) => b'0',
            (None, _, Some(_)) => b'a',
            (Some(_), false, None) => b'n',
            (Some(_), false, Some(_)) => b'b',
            (Some(_), true, None) => b'N',
            (Some(_), true, Some(_)) => b'B',
        };
        // five bits a character, so that the text stays text
        let digit = |value: u64, place: usize| b'@' + (value >> (5 * place) & 31) as u8;
        (0..13).for_each(|place| fixed[1 + place] = digit(joined as u64, place));
        (0..7).for_each(|place| fixed[14 + place] = digit(age.unwrap_or(0) as u32 as u64, place));
        let text = &mut self.person;
        text.clear();
        text.push_str(std::str::from_utf8(&fixed).expect("ASCII"));
        if let Some((first, last)) = name {
            text.push_str(first);
            text.push(' ');
            text.push_str(last);
            if long {
                let hash = xxh3_128(&text.as_bytes()[fixed.len()..]);
                text.truncate(fixed.len());
                write!(text, "{hash:032x}").expect("writing to a string");
            }
        }
        Symbol::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn persons_are_equal_exactly_when_their_parts_are() {
        let long = "x".repeat(600);
        let longer = "x".repeat(601);
        let names = [
            None,
            Some(("A", "B C")),
            Some(("A B", "C")),
            Some(("", "")),
            Some((&*long, "")),
            Some((&*longer, "")),
        ];
        let mut persons = Vec::new();
        for name in names {
            for age in [None, Some(0), Some(-1), Some(i32::MAX), Some(i32::MIN)] {
                for joined in [0, -1, 1_445_728_991_000_000, i64::MIN] {
                    let joined_name = name.map(|(first, last)| format!("{first} {last}"));
                    persons.push(((joined_name, age, joined), name));
                }
            }
        }
        let mut interner = Names::new();
        for (a, name_a) in &persons {
            for (b, name_b) in &persons {
                let (x, y) = (interner.person(*name_a, a.1, a.2), interner.person(*name_b, b.1, b.2));
                assert_eq!(a == b, x == y, "{a:?} {b:?}");
            }
        }
        assert!(interner.person(Some((&long, "")), Some(1), 1).text().len() < 60);
    }

    #[test]
    fn the_cache_gives_the_dictionarys_symbols() {
        let mut names = Names::new();
        for round in 0..2 {
            for n in 0..2_000 {
                let name = format!("cached {n}");
                assert_eq!(names.frequent(&name), Symbol::new(&name), "round {round}");
            }
        }
    }
}
