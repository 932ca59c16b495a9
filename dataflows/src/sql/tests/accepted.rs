//! What is accepted, and of which types it is: see accepted.txt. PostgreSQL 15's `\gdesc` said the same of all of them.

use super::diagnostics::cases;
use super::one;

#[test]
fn everything_accepted_has_its_types() {
    let cases = cases(include_str!("accepted.txt"), "= ");
    assert!(cases.len() > 200, "{}", cases.len());
    for (sql, expected) in cases {
        let catalog = one(&sql).unwrap_or_else(|said| panic!("{sql}\n{}", said[0]));
        let columns = &catalog.results[0].columns;
        let columns: Vec<_> = columns
            .iter()
            .map(|column| format!("{} {}", column.name, column.ty))
            .collect();
        assert_eq!(columns.join(", "), expected[0], "{sql}");
    }
}

/// The printed text is in the subset itself, and means the same.
#[test]
fn what_is_printed_is_read_back() {
    for (sql, _) in cases(include_str!("accepted.txt"), "= ") {
        let first = &one(&sql).unwrap().results[0];
        let again = one(&first.sql).unwrap_or_else(|said| panic!("{}\n{}", first.sql, said[0]));
        let again = &again.results[0];
        assert_eq!(
            (&first.columns, first.key, first.hash),
            (&again.columns, again.key, again.hash),
            "{sql}"
        );
        assert_eq!(first.sql, again.sql);
    }
}
