//! Names on their way into the process's dictionary, and the parts of users' names.

use operators::{Interner, Symbol};
use xxhash_rust::xxh3::xxh3_128;

/// Longest name of a user that is kept as it is; a longer one is kept as its 128-bit hash.
const LONGEST_NAME: usize = 512;

/// Interns names, with scratch space for those that are not as they stand in the record.
#[derive(Default)]
pub(crate) struct Names {
    pub(super) interner: Interner,
    rest: String,
    /// Scratch space of the fast decoder.
    pub(super) scratch: [Vec<u8>; 2],
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

/// Whether the two parts of a user's name are the symbols it is kept as, so that nothing is to be cut.
pub(super) fn is_usual(first: &str, last: &str) -> bool {
    first.len() + 1 + last.len() <= LONGEST_NAME && memchr::memchr(b' ', first.as_bytes()).is_none()
}

impl Names {
    pub(crate) fn intern(&mut self, text: &str) -> Symbol {
        self.interner.intern(text)
    }

    /// The whole name, first and last joined by a space, cut at its first space: equal exactly when the whole is.
    ///
    /// A name without bounds must not fill the dictionary: a longer one than [`LONGEST_NAME`] is known by its hash,
    /// with a mark that no cleaned text holds.
    pub(crate) fn user(&mut self, first: &str, last: &str) -> [Symbol; 2] {
        if is_usual(first, last) {
            return [self.intern(first), self.intern(last)];
        }
        let mut rest = std::mem::take(&mut self.rest);
        rest.clear();
        rest.push_str(first);
        rest.push(' ');
        rest.push_str(last);
        let name = match memchr::memchr(b' ', first.as_bytes()) {
            Some(space) if rest.len() <= LONGEST_NAME => {
                [self.intern(&first[..space]), self.intern(&rest[space + 1..])]
            }
            _ => [
                self.intern(""),
                self.intern(&format!("\0{:032x}", xxh3_128(rest.as_bytes()))),
            ],
        };
        self.rest = rest;
        name
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
        let mut interner = Names::default();
        for a in names {
            for b in names {
                let (x, y) = (interner.user(a.0, a.1), interner.user(b.0, b.1));
                let whole = |name: (&str, &str)| format!("{} {}", name.0, name.1);
                assert_eq!(whole(a) == whole(b), x == y, "{a:?} {b:?}");
                assert_eq!(
                    x,
                    crate::exec::halves(&whole(a)),
                    "as the rows of cleaned tables are cut"
                );
            }
        }
        assert!(interner.user(&long, "")[1].text().len() < 60);
    }
}
