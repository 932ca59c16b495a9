//! What an entry of each operator's state takes.

use operators::{Footprint, Per, Symbol, Tuple};

/// What the documentation of the operators says.
#[test]
fn entries_have_the_documented_sizes() {
    type Pair = Tuple<2, 0>;
    let count = operators::count::footprint::<Pair>(0);
    assert_eq!((count.per, count.bytes, count.range()), (Per::Key, 16, (21, 27)));
    let [one, _] = operators::greatest::footprint::<Pair, i64>(0);
    assert_eq!(one.bytes, 24);
    let [_, row] = operators::rank::footprint::<Symbol, Symbol>(operators::rank::Keep::Leaders);
    assert_eq!((row.per, row.bytes, row.most), (Per::Row, 14, 21));
    let [_, shown] = operators::rank::footprint::<Symbol, Symbol>(operators::rank::Keep::Top(0));
    assert_eq!(shown.bytes, 34 + 56, "an entry of the map, and a leaf of the set in it");
    assert_eq!((shown.most, shown.staged), (34 + 17 + 56, 16));
    let [item, group] = operators::distinct::footprint::<Tuple<0, 1>, Tuple<2, 4>>(0, 0);
    assert_eq!((item.bytes, group.bytes), (28, 16));
    let fold = operators::fold::footprint::<u64, 8>(0);
    assert_eq!(fold.bytes, 8 + 8 + 8 * 8);
    assert_eq!(operators::gather::footprint::<u64, u64>(3, 0, 0).bytes, 8 + 16 + 3 * 16);
    assert_eq!(operators::latest::footprint::<[u8; 44]>(0).bytes, 24 + 44);
}

/// Rows, values and items that wait for an epoch's close, and gaps after random change.
#[test]
fn entries_of_lists_and_trees_have_the_documented_sizes() {
    let parts = |footprint: Footprint| (footprint.per, footprint.bytes, footprint.most, footprint.staged);
    // a node's eleven entries of 16 bytes, 12 bytes beside them, and its share of the inner nodes
    let [_, further] = operators::greatest::footprint::<u64, i64>(0);
    assert_eq!(parts(further), (Per::Further, 18, 27, 0));
    let [_, value] = operators::median::footprint::<u64>();
    assert_eq!(parts(value), (Per::Value, 18, 27, 16));
    let [_, value] = operators::ordered::footprint::<u64, i64>(1, 0);
    assert_eq!(parts(value), (Per::Value, 18, 27, 16));
    let [_, row] = operators::rank::footprint::<u64, Symbol>(operators::rank::Keep::Top(5));
    assert_eq!(parts(row), (Per::Row, 14, 21, 16));
    let [_, row] = operators::top::footprint::<u64, u64>(0, 0);
    assert_eq!(parts(row), (Per::Row, 16, 32, 16));
}

#[test]
fn what_entries_own_counts() {
    use operators::*;
    let bytes = |footprints: &[Footprint]| footprints.iter().map(|footprint| footprint.bytes).collect::<Vec<_>>();
    let owned = |owning: &[Footprint], bare: &[Footprint]| -> Vec<usize> {
        bytes(owning)
            .into_iter()
            .zip(bytes(bare))
            .map(|(owning, bare)| owning - bare)
            .collect()
    };
    assert_eq!(owned(&[count::footprint::<u64>(7)], &[count::footprint::<u64>(0)]), [7]);
    assert_eq!(
        owned(&[fold::footprint::<u64, 2>(7)], &[fold::footprint::<u64, 2>(0)]),
        [7]
    );
    assert_eq!(
        owned(&[latest::footprint::<u64>(7)], &[latest::footprint::<u64>(0)]),
        [7]
    );
    assert_eq!(
        owned(&greatest::footprint::<u8, u64>(7), &greatest::footprint::<u8, u64>(0)),
        [7, 0]
    );
    assert_eq!(
        owned(
            &distinct::footprint::<u8, u64>(7, 9),
            &distinct::footprint::<u8, u64>(0, 0)
        ),
        [7, 9]
    );
    assert_eq!(
        owned(&top::footprint::<u8, u64>(7, 9), &top::footprint::<u8, u64>(0, 0)),
        [7, 9]
    );
    assert_eq!(
        owned(
            &[gather::footprint::<u8, u64>(3, 7, 9)],
            &[gather::footprint::<u8, u64>(3, 0, 0)]
        ),
        [16]
    );
    // a cursor and the two values picked for each percentile
    assert_eq!(
        owned(
            &ordered::footprint::<u8, u64>(2, 7),
            &ordered::footprint::<u8, u64>(0, 0)
        ),
        [2 * 32 + 7, 0]
    );
    let [_, row] = top::footprint::<u8, u64>(0, 9);
    assert_eq!(row.most, 32 + 9);
}
