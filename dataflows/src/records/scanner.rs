//! Reads the usual JSON in place: a flat object of strings, numbers and literals without control characters.
//!
//! Every reading function leaves the scanner behind what it read, or answers `None`, which ends the fast path: it
//! need not say why, and need not be right about what is wrong.

use super::chunk::Marks;
use super::field::Field;
use crate::cleaning::{self, sentinel};

/// A string as it stands between its quotes, its escapes checked; null is the empty one, which means the same.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

/// Where the text of a string is.
pub(super) enum Where<'a> {
    Here(&'a str),
    Scratch,
}

impl<'a> Text<'a> {
    /// Null, or a field that is missing.
    pub(super) const NULL: Text<'static> = Text {
        raw: "",
        escaped: false,
    };

    /// The text of a name: `Some(None)` for null, `None` for one that is too long.
    pub(super) fn name(self, scratch: &mut Vec<u8>, sentinels: &[&str]) -> Option<Option<Where<'a>>> {
        if self.escaped {
            unescape(self.raw.as_bytes(), scratch)?;
            let null = scratch.is_empty() || sentinels.iter().any(|sentinel| sentinel.as_bytes() == &scratch[..]);
            return (scratch.len() <= cleaning::LONGEST_NAME).then_some((!null).then_some(Where::Scratch));
        }
        let null = self.raw.is_empty() || sentinels.contains(&self.raw);
        (self.raw.len() <= cleaning::LONGEST_NAME).then_some((!null).then_some(Where::Here(self.raw)))
    }

    /// The text as it stands, empty for null; `None` when it has escapes.
    pub(super) fn plain(self) -> Option<&'a str> {
        (!self.escaped).then_some(self.raw)
    }

    /// [`Text::name`] of a text without escapes; `None` also when it has some.
    pub(super) fn plain_name(self, sentinels: &[&str]) -> Option<Option<&'a str>> {
        match self.plain()? {
            long if long.len() > cleaning::LONGEST_NAME => None,
            null if null.is_empty() || sentinels.contains(&null) => Some(None),
            name => Some(Some(name)),
        }
    }

    /// The text, `Some(None)` for null.
    pub(super) fn present<'b>(self, scratch: &'b mut Vec<u8>) -> Option<Option<&'b str>>
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

/// Where the reading of one record stands.
pub(super) struct Scanner<'a, 'm> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    marks: &'m Marks,
    /// Where the text begins in what the marks are of.
    start: usize,
}

impl<'a, 'm> Scanner<'a, 'm> {
    /// At the beginning of a record, which is at `start` of what `marks` are of.
    pub(super) fn new(text: &'a str, marks: &'m Marks, start: usize) -> Scanner<'a, 'm> {
        let bytes = text.as_bytes();
        Scanner {
            text,
            bytes,
            at: 0,
            marks,
            start,
        }
    }

    /// Reads the object that is the whole text; `field` is called after each name and its colon and must read the
    /// value.
    #[inline(always)]
    pub(super) fn fields(&mut self, mut field: impl FnMut(&mut Self, Option<Field>) -> Option<()>) -> Option<()> {
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
        let start = self.at;
        self.seek()?;
        let name = &self.bytes[start..self.at];
        self.expect(b'"')?;
        (name != b"value").then_some(None)
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

    /// Goes to the next quote, backslash or control character.
    #[inline(always)]
    fn seek(&mut self) -> Option<u8> {
        self.at = self.marks.next(self.start + self.at)? - self.start;
        self.peek()
    }

    /// Spaces are the only usual white space.
    #[inline(always)]
    fn white(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    /// A string or null.
    #[inline(always)]
    pub(super) fn text(&mut self) -> Option<Text<'a>> {
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
            match self.seek()? {
                b'"' => {
                    let raw = self.text.get(start..self.at)?;
                    self.at += 1;
                    return Some(Text { raw, escaped });
                }
                b'\\' => self.escape()?,
                _ => return None,
            }
            escaped = true;
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
    pub(super) fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'n' => self.literal("null"),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            _ => self.number(),
        }
    }

    /// A number without an exponent, short enough to be a finite double, or null.
    pub(super) fn number(&mut self) -> Option<()> {
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
    pub(super) fn integer(&mut self) -> Option<i64> {
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
    pub(super) fn followers(&mut self) -> Option<Option<i64>> {
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
    pub(super) fn age(&mut self) -> Option<Option<i32>> {
        if self.peek()? == b'n' {
            return self.literal("null").map(|()| None);
        }
        i32::try_from(self.integer()?).ok().map(Some)
    }

    /// A time that can be read, or null.
    pub(super) fn time(&mut self) -> Option<Option<i64>> {
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
