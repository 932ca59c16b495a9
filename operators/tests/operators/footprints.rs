//! What an entry of each operator's state takes.

use operators::{Per, Symbol, Tuple};

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
    let [item, group] = operators::distinct::footprint::<Tuple<0, 1>, Tuple<2, 4>>(0, 0);
    assert_eq!((item.bytes, group.bytes), (28, 16));
    let fold = operators::fold::footprint::<u64, 8>(0);
    assert_eq!(fold.bytes, 8 + 8 + 8 * 8);
    assert_eq!(operators::gather::footprint::<u64, u64>(3, 0, 0).bytes, 8 + 16 + 3 * 16);
    assert_eq!(operators::latest::footprint::<[u8; 44]>(0).bytes, 24 + 44);
}
