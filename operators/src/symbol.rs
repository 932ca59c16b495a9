//! Names as four bytes: a process-wide dictionary of interned strings.
//!
//! Two threads that intern the same text get the same [`Symbol`], so symbols are exchanged between the workers of
//! one process as they are. Between processes a symbol travels **as its text** (see its `Serialize`), so an
//! identifier never leaves the process that gave it out.
//!
//! Names are never forgotten: the dictionary grows with the distinct names a process has seen, and a restart
//! compacts it. The text itself lives in leaked blocks, which is what lets [`Symbol::text`] hand out `&'static str`
//! without a lock.

use hashbrown::HashTable;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{LazyLock, Mutex};
use xxhash_rust::xxh3::xxh3_64;

/// Shards of the dictionary: enough that a few dozen workers rarely meet on one lock.
const SHARDS: usize = 64;
/// Bytes of text allocated at a time.
const BLOCK: usize = 64 << 10;

/// An interned string. Equality is that of the text; [`Ord`] is by the text's bytes, not by the identifier.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Symbol(NonZeroU32);

/// Longest text that is compared where the table lies.
const INLINE: usize = 23;

/// A name as the table knows it. The hash is kept so that growing the table does not touch the texts; a short text,
/// so that finding a name, which is nearly all that is ever asked, reads one place of memory instead of three.
struct Name {
    tag: u32,
    id: u32,
    /// Above [`INLINE`]: the text is among [`Dictionary::texts`] alone.
    length: u8,
    text: [u8; INLINE],
}

impl Name {
    fn new(tag: u32, id: u32, text: &str) -> Name {
        let mut inline = [0; INLINE];
        let length = match inline.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                text.len() as u8
            }
            None => u8::MAX,
        };
        Name {
            tag,
            id,
            length,
            text: inline,
        }
    }

    fn is(&self, text: &str) -> bool {
        match self.text.get(..self.length as usize) {
            Some(inline) => inline == text.as_bytes(),
            None => DICTIONARY.texts[self.id as usize] == text,
        }
    }
}

struct Shard {
    table: HashTable<Name>,
    free: &'static mut [u8],
}

struct Dictionary {
    texts: boxcar::Vec<&'static str>,
    shards: Vec<Mutex<Shard>>,
}

static DICTIONARY: LazyLock<Dictionary> = LazyLock::new(|| Dictionary {
    texts: boxcar::Vec::new(),
    shards: (0..SHARDS)
        .map(|_| {
            Mutex::new(Shard {
                table: HashTable::new(),
                free: &mut [],
            })
        })
        .collect(),
});

/// A table hash (whose top seven bits hashbrown compares first) from the 32 bits that are kept.
fn spread(tag: u32) -> u64 {
    (tag as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Symbol {
    /// The symbol of `text`, the same for the same text in the whole process.
    ///
    /// # Panics
    /// When more than 2^32 distinct names have been seen.
    pub fn new(text: &str) -> Symbol {
        let hash = xxh3_64(text.as_bytes());
        // the top bits choose the shard; the low 32 are kept in the table and spread over its hash
        let tag = hash as u32;
        let shard = &DICTIONARY.shards[(hash >> 58) as usize % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let found = shard.table.find(spread(tag), |name| name.tag == tag && name.is(text));
        if let Some(name) = found {
            return Symbol::from_id(name.id);
        }
        let stored = shard.store(text);
        let id = u32::try_from(DICTIONARY.texts.push(stored)).expect("more than 2^32 distinct names");
        let name = Name::new(tag, id, text);
        shard.table.insert_unique(spread(tag), name, |name| spread(name.tag));
        Symbol::from_id(id)
    }

    fn from_id(id: u32) -> Symbol {
        // one more than the identifier, so that an `Option<Symbol>` is four bytes too
        Symbol(NonZeroU32::new(id.wrapping_add(1)).expect("more than 2^32 - 1 distinct names"))
    }

    /// The text.
    pub fn text(self) -> &'static str {
        DICTIONARY.texts[self.id() as usize]
    }

    /// The identifier: dense from 0 within this process, meaningless in any other.
    pub fn id(self) -> u32 {
        self.0.get() - 1
    }

    /// A hash of the text that is the same in every process, for exchanging by name.
    pub fn stable_hash(self) -> u64 {
        xxh3_64(self.text().as_bytes())
    }
}

impl Shard {
    fn store(&mut self, text: &str) -> &'static str {
        if text.len() > self.free.len() {
            // what is left of the old block is given up: at most one name's length of 64 KiB
            self.free = vec![0; BLOCK.max(text.len())].leak();
        }
        let (stored, free) = std::mem::take(&mut self.free).split_at_mut(text.len());
        self.free = free;
        stored.copy_from_slice(text.as_bytes());
        std::str::from_utf8(stored).expect("a copy of valid text")
    }
}

impl PartialOrd for Symbol {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Symbol {
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
    fn order_is_by_bytes_and_the_wire_form_is_the_text() {
        assert!(Symbol::new("b") > Symbol::new("a"));
        assert!(Symbol::new("Z") < Symbol::new("a"));
        let symbol = Symbol::new("Côte d'Ivoire");
        assert_eq!(serde_json::to_string(&symbol).unwrap(), "\"Côte d'Ivoire\"");
        assert_eq!(serde_json::from_str::<Symbol>("\"Côte d'Ivoire\"").unwrap(), symbol);
    }
}
