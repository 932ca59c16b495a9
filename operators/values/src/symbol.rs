//! Names as four bytes: a process-wide dictionary of interned strings.
//!
//! Two threads that intern the same text get the same [`Symbol`], so symbols are exchanged between the workers of
//! one process as they are. Between processes a symbol travels **as its text** (see its `Serialize`), so an
//! identifier never leaves the process that gave it out.
//!
//! Names are never forgotten: the dictionary grows with the distinct names a process has seen, and a restart
//! compacts it. That is what lets [`Symbol::text`] hand out `&'static str` without a lock.
//!
//! A thread that looks up many names has an [`Interner`] of its own. It takes no locks, and looks up names in blocks,
//! since finding a name costs little more than the memory accesses on the way to it.

use crate::footprint::{Footprint, Per};
use crate::index::Index;
use hashbrown::HashTable;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{LazyLock, Mutex, PoisonError};
use xxhash_rust::xxh3::xxh3_64;

/// Shards of the dictionary: enough that a few dozen workers rarely meet on one lock.
const SHARDS: usize = 64;
/// Names looked up together, so that their cache misses overlap.
const BLOCK: usize = 32;

/// An interned string. Equality is that of the text; [`Ord`] is by the text's bytes, not by the identifier.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Symbol(NonZeroU32);

/// Longest text that is kept within its [`Name`].
const INLINE: usize = 26;

/// A name as the dictionary knows it, in bytes alone: with the list's own flag it takes 32.
struct Name {
    /// The low half of the text's hash, which tables are built anew from.
    tag: [u8; 4],
    /// Above [`INLINE`]: the text is among [`Dictionary::long`], at the number that the first bytes here hold.
    length: u8,
    text: [u8; INLINE],
}

impl Name {
    fn new(tag: u32, text: &str) -> Name {
        let mut inline = [0; INLINE];
        let length = match inline.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                text.len() as u8
            }
            None => {
                let long = DICTIONARY.long.push(text.into()) as u64;
                inline[..8].copy_from_slice(&long.to_le_bytes());
                u8::MAX
            }
        };
        Name {
            tag: tag.to_le_bytes(),
            length,
            text: inline,
        }
    }

    #[inline]
    fn hash(&self) -> u64 {
        spread(u32::from_le_bytes(self.tag))
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        self.text.get(..self.length as usize).unwrap_or_else(|| {
            let number = self.text.first_chunk().expect("a name has room for a number");
            DICTIONARY.long[u64::from_le_bytes(*number) as usize].as_bytes()
        })
    }
}

struct Dictionary {
    names: boxcar::Vec<Name>,
    long: boxcar::Vec<Box<str>>,
    /// Identifiers of names, by the text's hash.
    shards: Vec<Mutex<HashTable<u32>>>,
}

/// What a distinct name takes whose text is short: its place in the list, in the dictionary's tables (5 bytes a slot, at
/// least seven in sixteen in use), and in the [`Interner`] of each thread that reads names, of which one is counted.
pub const fn footprint() -> Footprint {
    Footprint {
        per: Per::Key,
        bytes: size_of::<Name>() + 1 + 6 + 5,
        most: size_of::<Name>() + 1 + 12 + 16,
        indexed: false,
        staged: 0,
    }
}

static DICTIONARY: LazyLock<Dictionary> = LazyLock::new(|| Dictionary {
    names: boxcar::Vec::new(),
    long: boxcar::Vec::new(),
    shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
});

#[inline]
fn name(id: u32) -> &'static Name {
    &DICTIONARY.names[id as usize]
}

/// A table hash (whose top seven bits hashbrown compares first) from the 32 bits that are kept.
#[inline]
fn spread(tag: u32) -> u64 {
    (tag as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Symbol {
    /// The symbol of `text`, the same for the same text in the whole process.
    ///
    /// # Panics
    /// When more than 2^32 distinct names have been seen.
    pub fn new(text: &str) -> Symbol {
        Symbol::hashed(text, xxh3_64(text.as_bytes()))
    }

    fn hashed(text: &str, hash: u64) -> Symbol {
        // the top bits choose the shard; the low 32 are kept and spread over the table's hash
        let tag = hash as u32;
        let shard = &DICTIONARY.shards[(hash >> 58) as usize % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let found = shard.find(spread(tag), |id| name(*id).bytes() == text.as_bytes());
        let id = found.copied().unwrap_or_else(|| {
            let id = DICTIONARY.names.push(Name::new(tag, text));
            let id = u32::try_from(id).expect("more than 2^32 distinct names");
            shard.insert_unique(spread(tag), id, |id| name(*id).hash());
            id
        });
        Symbol::from_id(id)
    }

    #[inline]
    fn from_id(id: u32) -> Symbol {
        // one more than the identifier, so that an `Option<Symbol>` is four bytes too
        Symbol(NonZeroU32::new(id.wrapping_add(1)).expect("more than 2^32 - 1 distinct names"))
    }

    /// The text.
    #[inline]
    pub fn text(self) -> &'static str {
        std::str::from_utf8(name(self.id()).bytes()).expect("a copy of valid text")
    }

    /// The identifier: dense from 0 within this process, meaningless in any other.
    #[inline]
    pub fn id(self) -> u32 {
        self.0.get() - 1
    }

    /// A hash of the text that is the same in every process, for exchanging by name.
    #[inline]
    pub fn stable_hash(self) -> u64 {
        xxh3_64(name(self.id()).bytes())
    }
}

/// A thread's own way into the dictionary: an index of the names that were known when it last grew, 5 to 16 bytes each.
///
/// Gives the same symbols as [`Symbol::new`], which it asks for the names that are new to it.
pub struct Interner {
    index: Index,
}

impl Default for Interner {
    fn default() -> Self {
        Interner::new()
    }
}

impl Interner {
    /// Knows no names yet.
    pub fn new() -> Interner {
        Interner { index: Index::new() }
    }

    /// The symbol of `text`.
    #[inline]
    pub fn intern(&mut self, text: &str) -> Symbol {
        self.hashed(text, xxh3_64(text.as_bytes()))
    }

    /// Appends the symbols of `texts` to `symbols`, in order.
    pub fn intern_all(&mut self, texts: &[&str], symbols: &mut Vec<Symbol>) {
        for texts in texts.chunks(BLOCK) {
            let mut hashes = [0; BLOCK];
            for (hash, text) in hashes.iter_mut().zip(texts) {
                *hash = xxh3_64(text.as_bytes());
            }
            let hashes = &hashes[..texts.len()];
            let touched = hashes.iter().map(|hash| self.index.touch(spread(*hash as u32)));
            std::hint::black_box(touched.fold(0, |all, slot| all ^ slot));
            // nearly always the name that is wanted, which is looked at when all have been asked for
            let mut likely: [Option<&Name>; BLOCK] = [None; BLOCK];
            let mut ids = [0; BLOCK];
            let mut touched = 0;
            for ((likely, id), hash) in likely.iter_mut().zip(&mut ids).zip(hashes) {
                if let Some(found) = self.index.find(spread(*hash as u32), |_| true) {
                    let name = name(found);
                    touched ^= name.length;
                    (*likely, *id) = (Some(name), found);
                }
            }
            std::hint::black_box(touched);
            for (((text, hash), likely), id) in texts.iter().zip(hashes).zip(likely).zip(ids) {
                symbols.push(match likely {
                    Some(name) if name.bytes() == text.as_bytes() => Symbol::from_id(id),
                    _ => self.hashed(text, *hash),
                });
            }
        }
    }

    #[inline]
    fn hashed(&mut self, text: &str, hash: u64) -> Symbol {
        let place = spread(hash as u32);
        match self.index.find(place, |id| name(id).bytes() == text.as_bytes()) {
            Some(id) => Symbol::from_id(id),
            None => self.learn(text, hash),
        }
    }

    #[cold]
    fn learn(&mut self, text: &str, hash: u64) -> Symbol {
        let symbol = Symbol::hashed(text, hash);
        let id = symbol.id();
        if self.index.has_room_for(id) {
            self.index.insert(spread(hash as u32), id);
        } else {
            // the names that others have met meanwhile come along; what is being added this moment is learnt later
            let known = DICTIONARY.names.count().max(id as usize + 1) as u32;
            let names = (0..known).filter_map(|id| Some((DICTIONARY.names.get(id as usize)?.hash(), id)));
            self.index.rebuild(known, names);
        }
        symbol
    }
}

impl PartialOrd for Symbol {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Symbol {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        if self.0 == other.0 {
            Ordering::Equal
        } else {
            self.text().cmp(other.text())
        }
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text(), f)
    }
}

impl Serialize for Symbol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

impl<'de> Deserialize<'de> for Symbol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Symbol;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_str<E>(self, text: &str) -> Result<Symbol, E> {
                Ok(Symbol::new(text))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn same_text_same_symbol_in_all_threads() {
        let names: Vec<String> = (0..10_000).map(|n| format!("name {n}")).collect();
        let maps: Vec<Vec<Symbol>> = std::thread::scope(|s| {
            let threads: Vec<_> = (0..4)
                .map(|_| s.spawn(|| names.iter().map(|n| Symbol::new(n)).collect()))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        for map in &maps {
            assert_eq!(map, &maps[0]);
        }
        for (name, symbol) in names.iter().zip(&maps[0]) {
            assert_eq!(symbol.text(), name);
        }
        assert_eq!(size_of::<Name>(), 31);
        assert_eq!((footprint().bytes, footprint().most), (43, 60));
        // on both sides of what is kept inline
        let long: Vec<String> = (0..2 * INLINE).map(|length| "x".repeat(length)).collect();
        for (a, text) in long.iter().enumerate() {
            assert_eq!(Symbol::new(text).text(), text);
            for (b, other) in long.iter().enumerate() {
                assert_eq!(Symbol::new(text) == Symbol::new(other), a == b);
            }
        }
    }

    #[test]
    fn interners_give_the_dictionarys_symbols() {
        let texts: Vec<String> = (0..20_000)
            .map(|n| format!("interned {n} {}", "x".repeat(n % 40)))
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let symbols: Vec<Vec<Symbol>> = std::thread::scope(|scope| {
            let interned = |by: usize| {
                let texts = &texts;
                move || {
                    let (mut interner, mut symbols) = (Interner::new(), Vec::new());
                    // in parts of odd sizes, each twice
                    for part in texts.chunks(29 + by) {
                        interner.intern_all(part, &mut symbols);
                        let first = symbols.len() - part.len();
                        for (text, symbol) in part.iter().zip(&symbols[first..]) {
                            assert_eq!(interner.intern(text), *symbol);
                        }
                    }
                    symbols
                }
            };
            let threads: Vec<_> = (0..3).map(|by| scope.spawn(interned(by))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for symbols in &symbols {
            assert_eq!(symbols.len(), texts.len());
            for (symbol, text) in symbols.iter().zip(&texts) {
                assert_eq!((*symbol, symbol.text()), (Symbol::new(text), *text));
            }
        }
    }

    /// Two names of which the same part of the hash is kept.
    #[test]
    fn names_of_one_hash_are_two_names() {
        let mut by_hash = HashMap::new();
        let collision = (0u32..).find_map(|n| {
            let text = format!("colliding {n}");
            let other = by_hash.insert(xxh3_64(text.as_bytes()) as u32, n)?;
            Some((format!("colliding {other}"), text))
        });
        let (first, second) = collision.unwrap();
        let (mut interner, mut symbols) = (Interner::new(), Vec::new());
        for text in [&first, &second, &first, &second] {
            interner.intern_all(&[text], &mut symbols);
            assert_eq!(symbols.last(), Some(&interner.intern(text)));
        }
        let texts: Vec<&str> = symbols.iter().map(|symbol| symbol.text()).collect();
        assert_eq!(texts, [&first, &second, &first, &second]);
        assert_eq!((symbols[0], symbols[1]), (symbols[2], symbols[3]));
    }

    #[test]
    fn order_is_by_bytes_and_the_wire_form_is_the_text() {
        assert!(Symbol::new("b") > Symbol::new("a"));
        assert!(Symbol::new("Z") < Symbol::new("a"));
        assert_eq!(Symbol::new("Z").stable_hash(), xxh3_64(b"Z"));
        let symbol = Symbol::new("Côte d'Ivoire");
        assert_eq!(serde_json::to_string(&symbol).unwrap(), "\"Côte d'Ivoire\"");
        assert_eq!(serde_json::from_str::<Symbol>("\"Côte d'Ivoire\"").unwrap(), symbol);
        assert_eq!(format!("{symbol:?}"), "\"Côte d'Ivoire\"");
        let error = serde_json::from_str::<Symbol>("7").unwrap_err().to_string();
        assert!(error.contains("expected a name"), "{error}");
    }
}
