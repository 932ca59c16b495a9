//! The built-in files are the tables that the program has.

use crate::results::{Options, RESULTS};
use crate::sql::{Schema, built_in, compile};
use operators::Table;

#[test]
fn the_files_are_the_tables() {
    for top in [0, 1, 10] {
        let catalog = compile(&built_in(), &Schema::cleaned(), &Options { top }).unwrap_or_else(|faults| {
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            panic!("{}", faults.join("\n"))
        });
        let tables: Vec<&Table> = catalog.results.iter().map(|result| result.table()).collect();
        let expected: Vec<&Table> = RESULTS.iter().map(|result| &result.table).collect();
        assert_eq!(tables, expected);
        assert_eq!(catalog.notes, []);
    }
}
