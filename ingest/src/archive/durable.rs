//! How far a partition is archived: pieces become durable in any order, and it counts up to the first that is not.

use std::collections::VecDeque;
use values::Offset;

/// The archived offsets of a partition, and its pieces that are on their way.
#[derive(Debug)]
pub(super) struct Durable {
    /// In order; their numbers are consecutive.
    in_flight_uploads: VecDeque<InFlightUpload>,
    numbers: u64,
    archived: Offset,
    /// The sum of the hashes of the keys of the objects below `archived`.
    keys: u64,
}

/// A piece on its way.
#[derive(Debug)]
struct InFlightUpload {
    number: u64,
    /// The partition is archived up to here once this and everything before it is durable.
    end: Offset,
    done: bool,
    /// The sum of its keys' hashes.
    keys: u64,
}

impl Durable {
    /// Everything below `archived` is durable, in objects whose keys have this sum of hashes.
    pub(super) fn new(archived: Offset, keys: u64) -> Durable {
        Durable {
            in_flight_uploads: VecDeque::new(),
            numbers: 0,
            archived,
            keys,
        }
    }

    /// Everything below is durable.
    pub(super) fn archived(&self) -> Offset {
        self.archived
    }

    /// The sum of the hashes of the keys of the objects below [`Durable::archived`].
    pub(super) fn keys(&self) -> u64 {
        self.keys
    }

    /// A piece that covers the offsets below `end` is on its way; its number.
    pub(super) fn begin(&mut self, end: Offset) -> u64 {
        self.push(end, false)
    }

    /// What lies below `end` and is in no piece counts as archived once all pieces before it are durable.
    pub(super) fn pass(&mut self, end: Offset) {
        self.push(end, true);
        self.advance();
    }

    /// The piece of this number is durable.
    pub(super) fn complete(&mut self, number: u64, keys: u64) {
        // numbers are consecutive, so a piece's place is known
        if let Some(first) = self.in_flight_uploads.front().map(|upload| upload.number)
            && let Some(upload) = self.in_flight_uploads.get_mut((number - first) as usize)
        {
            upload.done = true;
            upload.keys = keys;
        }
        self.advance();
    }

    fn push(&mut self, end: Offset, done: bool) -> u64 {
        self.numbers += 1;
        self.in_flight_uploads.push_back(InFlightUpload {
            number: self.numbers,
            end,
            done,
            keys: 0,
        });
        self.numbers
    }

    /// Moves on to the first piece that is not durable.
    fn advance(&mut self) {
        while let Some(upload) = self.in_flight_uploads.pop_front_if(|upload| upload.done) {
            debug_assert!(
                upload.end >= self.archived,
                "the archived offset falls from {} to {}",
                self.archived,
                upload.end
            );
            self.archived = self.archived.max(upload.end);
            self.keys = self.keys.wrapping_add(upload.keys);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_up_to_the_first_piece_that_is_not_durable() {
        let mut durable = Durable::new(Offset(5), 100);
        let numbers = [
            durable.begin(Offset(8)),
            durable.begin(Offset(10)),
            durable.begin(Offset(15)),
        ];
        durable.complete(numbers[1], 2);
        assert_eq!((durable.archived(), durable.keys()), (Offset(5), 100));
        durable.complete(numbers[0], 1);
        assert_eq!((durable.archived(), durable.keys()), (Offset(10), 103));
        // what is passed over counts behind the pieces before it
        durable.pass(Offset(20));
        assert_eq!(durable.archived(), Offset(10));
        durable.complete(numbers[2], 4);
        assert_eq!((durable.archived(), durable.keys()), (Offset(20), 107));
    }
}
