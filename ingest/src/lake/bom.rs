//! The byte order mark that some writers put before UTF-8 text; no part of the first line.

/// U+FEFF in UTF-8.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Removes a byte order mark from the beginning of an object's content.
pub(crate) fn strip_byte_order_mark(content: &mut Vec<u8>) {
    if content.starts_with(BYTE_ORDER_MARK) {
        content.drain(..BYTE_ORDER_MARK.len());
    }
}
