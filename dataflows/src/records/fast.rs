//! The fast decoder: one pass over the usual shape, a flat object of strings, numbers and literals, in place.
//!
//! Contract: where it answers, the reference decoder gives the same answer and notes nothing; whatever looks odd is
//! `None`, and the reference decides. Odd are: nested values, wrappings, deletes, control characters (so raw line
//! breaks too), keys with escapes, exponents, missing or conflicting keys, fields that the reference would have to
//! note, U+0000. A property test holds it to that.

use super::Kind;
use super::field::Field;
use super::names::Names;
use crate::cleaning::{self, sentinel};
use crate::post::{AgeGroup, Payload};
use memchr::memchr2;

/// The key and payload of a record of the usual shape.
pub(super) fn decode(kind: Kind, text: &str, names: &mut Names) -> Option<(i64, Payload)> {
    if has_control(text.as_bytes()) {
        return None;
    }
    let scanner = Scanner {
        text,
        bytes: text.as_bytes(),
        at: 0,
    };
    match kind {
        Kind::Pin => pin(scanner, names),
        Kind::Geo => geo(scanner, names),
        Kind::User => user(scanner, names),
    }
}

/// Whether there is a control character: none may stand in a string, and outside of strings none is usual.
fn has_control(bytes: &[u8]) -> bool {
    // without an early exit the loop becomes vector instructions
    bytes.iter().fold(false, |found, byte| found | (*byte < 0x20))
}

fn pin(mut scanner: Scanner<'_>, names: &mut Names) -> Option<(i64, Payload)> {
    let (mut key, mut followers) = (Key::default(), None);
    let (mut category, mut poster) = (Text::NULL, Text::NULL);
    scanner.fields(|scanner, name| {
        match name {
            Some(Field::Index) => key.index = Some(scanner.integer()?),
            Some(Field::Ind) => key.ind = Some(scanner.integer()?),
            Some(Field::Category) => category = scanner.text()?,
            Some(Field::PosterName) => poster = scanner.text()?,
            Some(Field::FollowerCount) => followers = scanner.followers()?,
            Some(
                Field::UniqueId
                | Field::Title
                | Field::Description
                | Field::TagList
                | Field::IsImageOrVideo
                | Field::ImageSrc
                | Field::SaveLocation,
            ) => {
                scanner.text()?;
            }
            Some(Field::Deleted) => return None,
            _ => scanner.skip()?,
        }
        Some(())
    })?;
    let key = key.get()?;
    let category = match category.name(&mut names.scratch[0], sentinel::NONE)? {
        Some(Where::Here(text)) => Some(names.frequent(text)),
        Some(Where::Scratch) => Some(in_scratch(names, |names, text| names.frequent(text))?),
        None => None,
    };
    let poster = match poster.name(&mut names.scratch[0], sentinel::USER)? {
        Some(Where::Here(text)) => Some(names.rare(text)),
        Some(Where::Scratch) => Some(in_scratch(names, |names, text| names.rare(text))?),
        None => None,
    };
    Some((
        key,
        Payload::Pin {
            followers,
            category,
            poster,
        },
    ))
}

fn geo(mut scanner: Scanner<'_>, names: &mut Names) -> Option<(i64, Payload)> {
    let (mut key, mut country, mut time) = (Key::default(), Text::NULL, None);
    scanner.fields(|scanner, name| {
        match name {
            Some(Field::Ind) => key.ind = Some(scanner.integer()?),
            Some(Field::Index) => key.index = Some(scanner.integer()?),
            Some(Field::Timestamp) => time = scanner.time()?,
            Some(Field::Latitude | Field::Longitude) => scanner.number()?,
            Some(Field::Country) => country = scanner.text()?,
            Some(Field::Deleted) => return None,
            _ => scanner.skip()?,
        }
        Some(())
    })?;
    let key = key.get()?;
    let country = match country.name(&mut names.scratch[0], sentinel::NONE)? {
        Some(Where::Here(text)) => Some(names.frequent(text)),
        Some(Where::Scratch) => Some(in_scratch(names, |names, text| names.frequent(text))?),
        None => None,
    };
    Some((
        key,
        Payload::Geo {
            country,
            year: time.map_or(0, cleaning::year),
        },
    ))
}

fn user(mut scanner: Scanner<'_>, names: &mut Names) -> Option<(i64, Payload)> {
    let (mut key, mut age, mut joined) = (Key::default(), None, None);
    let (mut first, mut last) = (Text::NULL, Text::NULL);
    scanner.fields(|scanner, name| {
        match name {
            Some(Field::Ind) => key.ind = Some(scanner.integer()?),
            Some(Field::Index) => key.index = Some(scanner.integer()?),
            Some(Field::FirstName) => first = scanner.text()?,
            Some(Field::LastName) => last = scanner.text()?,
            Some(Field::Age) => age = scanner.age()?,
            Some(Field::DateJoined) => joined = scanner.time()?,
            Some(Field::Deleted) => return None,
            _ => scanner.skip()?,
        }
        Some(())
    })?;
    let key = key.get()?;
    let person = match joined {
        Some(joined) => {
            let [mut scratch_first, mut scratch_last] = std::mem::take(&mut names.scratch);
            let first = first.present(&mut scratch_first);
            let last = last.present(&mut scratch_last);
            let person = first.and_then(|first| {
                let last = last?;
                Some(names.person(first.zip(last), age, joined))
            });
            names.scratch = [scratch_first, scratch_last];
            Some(person?)
        }
        None => None,
    };
    let year = joined.map_or(0, cleaning::year);
    Some((
        key,
        Payload::User {
            person,
            year,
            age_group: age.and_then(AgeGroup::of),
        },
    ))
}

/// The key fields as far as they were seen.
#[derive(Default)]
struct Key {
    index: Option<i64>,
    ind: Option<i64>,
}

impl Key {
    fn get(&self) -> Option<i64> {
        match (self.index, self.ind) {
            (Some(index), Some(ind)) => (index == ind).then_some(index),
            (index, ind) => index.or(ind),
        }
    }
}

// ---- strings ---------------------------------------------------------------------------------------------------

/// A string as it stands between its quotes, its escapes checked; null is the empty one, which means the same.
#[derive(Clone, Copy)]
struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

/// Where the text of a string is.
enum Where<'a> {
    Here(&'a str),
    Scratch,
}

fn in_scratch<T>(names: &mut Names, f: impl FnOnce(&mut Names, &str) -> T) -> Option<T> {
    let scratch = std::mem::take(&mut names.scratch[0]);
    let result = std::str::from_utf8(&scratch).ok().map(|text| f(names, text));
    names.scratch[0] = scratch;
    result
}

impl<'a> Text<'a> {
    const NULL: Text<'static> = Text {
        raw: "",
        escaped: false,
    };

    /// The text of a name: `Some(None)` for null, `None` for one that is too long.
    fn name(self, scratch: &mut Vec<u8>, sentinels: &[&str]) -> Option<Option<Where<'a>>> {
        if self.escaped {
            unescape(self.raw.as_bytes(), scratch)?;
            let null = scratch.is_empty() || sentinels.iter().any(|sentinel| sentinel.as_bytes() == &scratch[..]);
            return (scratch.len() <= cleaning::LONGEST_NAME).then_some((!null).then_some(Where::Scratch));
        }
        let null = self.raw.is_empty() || sentinels.contains(&self.raw);
        (self.raw.len() <= cleaning::LONGEST_NAME).then_some((!null).then_some(Where::Here(self.raw)))
    }

    /// The text, `Some(None)` for null.
    fn present<'b>(self, scratch: &'b mut Vec<u8>) -> Option<Option<&'b str>>
    where
        'a: 'b,
    {
        let text = if self.escaped {
            unescape(self.raw.as_bytes(), scratch)?;
            std::str::from_utf8(scratch).ok()?
        } else {
            self.raw
        };
        Some((!text.is_empty()).then_some(text))
    }
}

/// Resolves escapes that [`Scanner::escape`] has checked.
fn unescape(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    let mut at = 0;
    while let Some(length) = memchr::memchr(b'\\', &raw[at..]) {
        out.extend_from_slice(&raw[at..at + length]);
        at += length + 2;
        let byte = match *raw.get(at - 1)? {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                let mut code = hex(raw.get(at..at + 4)?)?;
                at += 4;
                if (0xd800..0xdc00).contains(&code) {
                    let low = hex(raw.get(at + 2..at + 6)?)?;
                    code = 0x10000 + ((code - 0xd800) << 10) + low.checked_sub(0xdc00)?;
                    at += 6;
                }
                out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            plain => plain,
        };
        out.push(byte);
    }
    out.extend_from_slice(&raw[at..]);
    Some(())
}

/// The number that four hexadecimal digits write.
fn hex(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

// ---- the scanner -----------------------------------------------------------------------------------------------

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Reads the object that is the whole text; `field` is called after each name and its colon and must read the
    /// value.
    #[inline(always)]
    fn fields(&mut self, mut field: impl FnMut(&mut Self, Option<Field>) -> Option<()>) -> Option<()> {
        self.white();
        self.expect(b'{')?;
        self.white();
        // `{}` has no key: it is left to the reference like all that is wrong
        loop {
            self.expect(b'"')?;
            let name = self.name()?;
            self.white();
            self.expect(b':')?;
            self.white();
            field(self, name)?;
            self.white();
            match self.next()? {
                b',' => self.white(),
                b'}' => break,
                _ => return None,
            }
        }
        self.white();
        (self.at == self.bytes.len()).then_some(())
    }

    /// Passes a name and its closing quote: `Some(None)` for one that means nothing.
    #[inline(always)]
    fn name(&mut self) -> Option<Option<Field>> {
        use Field::*;
        let rest = &self.bytes[self.at..];
        // comparisons with constants: several times faster than finding the name's end first
        macro_rules! first_of {
            ($($field:ident $text:literal),*) => {{
                $(if rest.starts_with(concat!($text, "\"").as_bytes()) {
                    self.at += $text.len() + 1;
                    return Some(Some($field));
                })*
            }};
        }
        match rest.first()? {
            b'i' => first_of!(Ind "ind", Index "index", IsImageOrVideo "is_image_or_video", ImageSrc "image_src"),
            b't' => first_of!(Title "title", TagList "tag_list", Timestamp "timestamp"),
            b'd' => first_of!(Description "description", DateJoined "date_joined"),
            b'l' => first_of!(Latitude "latitude", Longitude "longitude", LastName "last_name"),
            b'c' => first_of!(Category "category", Country "country"),
            b'f' => first_of!(FollowerCount "follower_count", FirstName "first_name"),
            b'u' => first_of!(UniqueId "unique_id"),
            b'p' => first_of!(PosterName "poster_name"),
            b's' => first_of!(SaveLocation "save_location"),
            b'a' => first_of!(Age "age"),
            b'_' => first_of!(Deleted "__deleted"),
            _ => {}
        }
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        self.at += length;
        self.expect(b'"')?;
        (&rest[..length] != b"value").then_some(None)
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline(always)]
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// Spaces are the only white space left: the others are control characters.
    #[inline(always)]
    fn white(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    /// A string or null.
    #[inline(always)]
    fn text(&mut self) -> Option<Text<'a>> {
        match self.peek()? {
            b'"' => self.string(),
            b'n' => self.literal("null").map(|()| Text::NULL),
            _ => None,
        }
    }

    #[inline(always)]
    fn string(&mut self) -> Option<Text<'a>> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += memchr2(b'"', b'\\', &self.bytes[self.at..])?;
            if self.bytes[self.at] == b'"' {
                let raw = self.text.get(start..self.at)?;
                self.at += 1;
                return Some(Text { raw, escaped });
            }
            escaped = true;
            self.escape()?;
        }
    }

    /// Checks the escape that begins here: a whole surrogate pair at once, and no U+0000.
    fn escape(&mut self) -> Option<()> {
        match self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let code = hex(self.bytes.get(self.at + 2..self.at + 6)?)?;
                self.at += 6;
                match code {
                    0 | 0xdc00..=0xdfff => return None,
                    0xd800..=0xdbff => {
                        let pair = self.bytes.get(self.at..self.at + 6)?;
                        if !(pair.starts_with(b"\\u") && (0xdc00..=0xdfff).contains(&hex(&pair[2..])?)) {
                            return None;
                        }
                        self.at += 6;
                    }
                    _ => {}
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn literal(&mut self, literal: &str) -> Option<()> {
        let found = self.bytes[self.at..].starts_with(literal.as_bytes());
        self.at += literal.len();
        found.then_some(())
    }

    /// Any flat value.
    fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'n' => self.literal("null"),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            _ => self.number(),
        }
    }

    /// A number without an exponent, short enough to be a finite double, or null.
    fn number(&mut self) -> Option<()> {
        if self.peek()? == b'n' {
            return self.literal("null");
        }
        let start = self.at;
        if self.peek()? == b'-' {
            self.at += 1;
        }
        let whole = self.digits();
        let zero = self.bytes[self.at - whole..].first() == Some(&b'0');
        if whole == 0 || (whole > 1 && zero) {
            return None;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return None;
            }
        }
        (self.at - start <= 100 && !matches!(self.peek(), Some(b'e' | b'E'))).then_some(())
    }

    /// Passes digits, and says how many.
    #[inline(always)]
    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    /// A JSON integer of 18 digits at most, no sign, or a string of as many digits.
    #[inline(always)]
    fn integer(&mut self) -> Option<i64> {
        let quoted = self.peek()? == b'"';
        self.at += quoted as usize;
        let start = self.at;
        let mut value = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            if self.at - start == 18 {
                return None;
            }
            value = value * 10 + (digit - b'0') as i64;
            self.at += 1;
        }
        let length = self.at - start;
        if quoted {
            self.expect(b'"')?;
        } else if (self.bytes[start] == b'0' && length > 1) || matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        (length > 0).then_some(value)
    }

    /// A follower count that can be read, or null.
    fn followers(&mut self) -> Option<Option<i64>> {
        if self.peek()? == b'"' {
            let text = self.string()?;
            if text.raw.is_empty() {
                return Some(None);
            }
            if text.escaped {
                return None;
            }
            return match cleaning::followers(text.raw) {
                None if sentinel::USER.contains(&text.raw) => Some(None),
                followers => followers.map(Some),
            };
        }
        if self.peek()? == b'n' {
            return self.literal("null").map(|()| None);
        }
        self.integer().map(Some)
    }

    /// An age that can be read, or null.
    fn age(&mut self) -> Option<Option<i32>> {
        if self.peek()? == b'n' {
            return self.literal("null").map(|()| None);
        }
        i32::try_from(self.integer()?).ok().map(Some)
    }

    /// A time that can be read, or null.
    fn time(&mut self) -> Option<Option<i64>> {
        let text = self.text()?;
        if text.raw.is_empty() {
            return Some(None);
        }
        if text.escaped {
            None
        } else {
            cleaning::micros(text.raw).map(Some)
        }
    }
}
