//! Cleaning: what each field of a record becomes, and the three cleaned tables.
//!
//! A function here turns one decoded field into its cleaned value and knows nothing of JSON or of other fields.

mod number;
mod table;
mod time;

pub use number::{decimal, digits, followers};
pub use table::CLEANED;
pub use time::{micros, year};

use std::borrow::Cow;

/// Grows whenever a cleaning rule changes what is stored: part of the definitions' hash.
pub const VERSION: u32 = 1;

/// The longest `country`, `category` or `poster_name` in bytes: they become parts of index rows, which are limited.
pub const LONGEST_NAME: usize = 512;

/// What stands for "no value" in each text field, beside the empty text.
pub mod sentinel {
    /// Of `title`.
    pub const TITLE: &[&str] = &["No Title Data Available"];
    /// Of `description`.
    pub const DESCRIPTION: &[&str] = &["No description available Story format", "No description available"];
    /// Of `poster_name` and `follower_count`.
    pub const USER: &[&str] = &["User Info Error"];
    /// Of `tag_list`.
    pub const TAGS: &[&str] = &["N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e"];
    /// Of `image_src`.
    pub const IMAGE: &[&str] = &["Image src error."];
    /// Of fields that have none.
    pub const NONE: &[&str] = &[];
}

/// The prefix of `save_location` that is not part of the path.
const SAVED_IN: &str = "Local save in ";

/// A text without U+0000, which no table can hold, and whether there was any.
pub fn without_nul(text: Cow<'_, str>) -> (Cow<'_, str>, bool) {
    if memchr::memchr(0, text.as_bytes()).is_none() {
        return (text, false);
    }
    (Cow::Owned(text.replace('\0', "")), true)
}

/// A text, or null when it is empty or one of `sentinels`.
pub fn present<'a>(text: Cow<'a, str>, sentinels: &[&str]) -> Option<Cow<'a, str>> {
    (!text.is_empty() && !sentinels.contains(&&*text)).then_some(text)
}

/// `save_location` without its prefix; null when nothing is left.
pub fn save_location(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let path = match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.strip_prefix(SAVED_IN).unwrap_or(text)),
        Cow::Owned(text) => Cow::Owned(text.strip_prefix(SAVED_IN).map(str::to_owned).unwrap_or(text)),
    };
    present(path, sentinel::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_are_exact_and_nothing_is_trimmed() {
        let present = |text: &'static str, sentinels| present(Cow::Borrowed(text), sentinels);
        assert_eq!(present("No Title Data Available", sentinel::TITLE), None);
        assert_eq!(
            present("No Title Data Available ", sentinel::TITLE).as_deref(),
            Some("No Title Data Available ")
        );
        assert_eq!(present("Untitled", sentinel::TITLE).as_deref(), Some("Untitled"));
        assert_eq!(present("", sentinel::NONE), None);
        assert_eq!(present("\u{a0}", sentinel::NONE).as_deref(), Some("\u{a0}"));
        assert_eq!(
            present("no description available", sentinel::DESCRIPTION).as_deref(),
            Some("no description available")
        );
    }

    #[test]
    fn save_location_loses_its_prefix_once() {
        let path = |text: &'static str| save_location(Cow::Borrowed(text)).map(Cow::into_owned);
        assert_eq!(
            path("Local save in /data/mens-fashion").as_deref(),
            Some("/data/mens-fashion")
        );
        assert_eq!(
            path("Local save in Local save in x").as_deref(),
            Some("Local save in x")
        );
        assert_eq!(path("Local save in").as_deref(), Some("Local save in"));
        assert_eq!(path("/data/art").as_deref(), Some("/data/art"));
        assert_eq!(path("Local save in "), None);
        assert_eq!(
            save_location(Cow::Owned("Local save in /x".to_owned())).as_deref(),
            Some("/x")
        );
    }

    #[test]
    fn nul_is_left_out() {
        assert_eq!(without_nul(Cow::Borrowed("a\0b\0")), (Cow::Borrowed("ab"), true));
        assert_eq!(without_nul(Cow::Borrowed("ab")), (Cow::Borrowed("ab"), false));
    }
}
