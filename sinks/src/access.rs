//! Who may read raw bytes of clients: nobody by default.
//!
//! Default privileges (`ALTER DEFAULT PRIVILEGES … GRANT SELECT ON TABLES`) give readers every table that is made. Of
//! those with raw bytes they are taken back when the table is made, and the columns without bytes given instead. What
//! an administrator grants later stays.

use crate::quote::quoted;
use crate::quote::{list, qualified};

/// The columns of dead letters without those of raw bytes.
pub(crate) const REJECT_COLUMNS_WITHOUT_BYTES: [&str; 8] = [
    "source",
    "position",
    "topic",
    "partition",
    "offset",
    "object",
    "reason",
    "rejected_at",
];

/// The view that shows dead letters without their bytes.
pub(crate) const DEAD_LETTERS: &str = "dead_letters";

/// Takes a new table from everybody but its owner, and gives those who would have read it these columns.
pub(crate) fn hide(schema: &str, table: &str, columns: &[&str]) -> String {
    let table = qualified(schema, table);
    let granted = match columns {
        [] => String::new(),
        columns => format!(
            "IF reader.reads THEN EXECUTE format('GRANT SELECT ({}) ON {table} TO %s', reader.name); END IF;",
            list("", columns.iter().copied())
        ),
    };
    format!(
        "DO $hide$ DECLARE reader record; BEGIN FOR reader IN SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' \
         ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS name, bool_or(a.privilege_type = 'SELECT') AS reads \
         FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = '{table}'::regclass AND a.grantee <> c.relowner \
         GROUP BY 1 LOOP EXECUTE format('REVOKE ALL ON {table} FROM %s', reader.name); {granted} END LOOP; END $hide$;\n"
    )
}

/// Makes the view [`DEAD_LETTERS`]. It reads with its owner's rights, so that its readers need none on the table.
pub(crate) fn dead_letters(schema: &str) -> String {
    format!(
        "CREATE VIEW {view} AS SELECT topic, partition, reason, count(*) AS rows, min(\"offset\") AS first_offset, \
         max(\"offset\") AS last_offset, min(rejected_at) AS first_rejected_at, max(rejected_at) AS last_rejected_at \
         FROM {rejects} GROUP BY topic, partition, reason;\n\
         COMMENT ON VIEW {view} IS 'Dead letters by topic, partition and reason, without their bytes.';\n",
        view = format!("{}.{}", quoted(schema), quoted(DEAD_LETTERS)),
        rejects = qualified(schema, "rejects"),
    )
}
