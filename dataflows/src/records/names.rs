//! Names on their way into the process's dictionary: a small cache in front of it, and the parts of users' names.

use crate::post::UserName;
use operators::Symbol;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Entries of the cache: several times the countries, categories and usual first names, so that few share a place.
const CACHE: usize = 4096;
/// Longest name of a user that is kept as it is; a longer one is kept as its 128-bit hash.
const LONGEST_NAME: usize = 512;

/// Interns names. Countries, categories and first names repeat in every record, and all workers would meet on the dictionary's
/// locks for them: those are looked up in a direct-mapped cache first.
pub(crate) struct Names {
    cache: Vec<Option<(&'static str, Symbol)>>,
    rest: String,
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
            rest: String::new(),
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

    /// The whole name, first and last joined by a space, cut at its first space: equal exactly when the whole is.
    ///
    /// A name without bounds must not fill the dictionary: a longer one than [`LONGEST_NAME`] is known by its hash,
    /// with a mark that no cleaned text holds.
    pub(crate) fn user(&mut self, first: &str, last: &str) -> UserName {
        let long = first.len() + 1 + last.len() > LONGEST_NAME;
        match memchr::memchr(b' ', first.as_bytes()) {
            None if !long => UserName(self.frequent(first), self.rare(last)),
            space => {
                let mut rest = std::mem::take(&mut self.rest);
                rest.clear();
                rest.push_str(first);
                rest.push(' ');
                rest.push_str(last);
                let name = match space {
                    Some(space) if !long => UserName(self.frequent(&first[..space]), self.rare(&rest[space + 1..])),
                    _ => UserName(
                        self.frequent(""),
                        self.rare(&format!("\0{:032x}", xxh3_128(rest.as_bytes()))),
                    ),
                };
                self.rest = rest;
                name
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_are_equal_exactly_when_their_whole_text_is() {
        let long = "x".repeat(600);
        let longer = "x".repeat(601);
        let names = [
            ("A", "B C"),
            ("A B", "C"),
            ("A B C", ""),
            ("A", "B"),
            ("", "A B"),
            (" A", "B"),
            ("", ""),
            (" ", ""),
            ("", " "),
            (&*long, ""),
            (&*longer, ""),
            (&*long, "y"),
            ("a b", &*long),
            ("a", &*format!("b {long}")),
        ];
        let mut interner = Names::new();
        for a in names {
            for b in names {
                let (x, y) = (interner.user(a.0, a.1), interner.user(b.0, b.1));
                let whole = |name: (&str, &str)| format!("{} {}", name.0, name.1);
                assert_eq!(whole(a) == whole(b), x == y, "{a:?} {b:?}");
            }
        }
        assert!(interner.user(&long, "").1.text().len() < 60);
    }

    #[test]
    fn the_cache_gives_the_dictionarys_symbols() {
        let mut names = Names::new();
        for round in 0..2 {
            for n in 0..20_000 {
                let name = format!("cached {n}");
                assert_eq!(names.frequent(&name), Symbol::new(&name), "round {round}");
            }
        }
    }
}
