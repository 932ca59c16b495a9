//! The tables that are ours alone: progress, frontier, generations, gaps, results, rejects, tombstones.
//!
//! Columns that a later version needs are listed behind the original ones ([`TableSpec::later`]): nullable, and added
//! to a table of an earlier version when a start prepares it.

use crate::table_spec::TableSpec;

/// Their names, columns and comments, which are the documentation that a reader of the database finds.
///
/// A column a line: name, type (`?`: may be null), default, comment; behind `later` without a default.
#[rustfmt::skip]
pub(crate) fn tables() -> Vec<TableSpec> {
    // the two small tables that every commit updates keep room in their pages, so that an update stays in place (HOT)
    let fillfactor = "WITH (fillfactor = 40)";
    vec![
        TableSpec::control("progress", 1, fillfactor,
            "One row: which commit the tables of this schema are at. Written by every commit, in the same transaction \
             as everything else.",
            &[
                ("id", "smallint", "", "always 1"),
                ("fence", "bigint", "", "number of the run that may commit; a run with a smaller one is fenced"),
                ("commits", "bigint", "", "how many commits this schema has seen; 0: none yet"),
                ("epoch", "bigint", "", "the last closed epoch of that run; 0: its history"),
                ("definitions", "text", "", "hash of the results' definitions and options, hexadecimal"),
                ("legacy_count", "bigint", "", "history records without an offset"),
                ("legacy_hash", "text", "", "hash over the objects that hold them, hexadecimal"),
                ("options", "jsonb", "", "options that are part of the definitions"),
                ("run_id", "text", "", "the run that committed last"),
                ("counters", "jsonb", "", "running counts, such as unreadable fields by name"),
                ("started_at", "timestamp with time zone?", "", "when the run that holds the fence took it"),
                ("committed_at", "timestamp with time zone?", "", "when the last commit began, by Postgres' clock"),
            ])
        .later(&[
            ("fence_run_id", "text", "the run that took the fence"),
            ("topics", "jsonb", "topic name of each kind at the last commit; null: not recorded"),
            ("partition_counts", "jsonb", "per topic, how many partitions were seen in Kafka; null: not recorded"),
            ("cleaned_legacy_count", "bigint", 
                "as legacy_count, for the cleaned tables; null: they do not cover such records, or it is unknown"),
            ("cleaned_legacy_hash", "text", "as legacy_hash, for the cleaned tables"),
        ]),
        TableSpec::control("frontier", 2, fillfactor,
            "The recorded vector of log offsets: all other tables are the exact answer for the records below \
             next_offset of each partition. Read it in the same snapshot as the tables.",
            &[
                ("topic", "text", "", "topic name"),
                ("partition", "integer", "", "partition"),
                ("first_offset", "bigint", "", "the first offset covered"),
                ("next_offset", "bigint", "", "one past the last offset covered; never moves back"),
                ("cleaned_next_offset", "bigint?", "", "the same for the cleaned tables; null: they are not kept"),
                ("detail", "jsonb", "", "covered ranges, holes and skipped objects found at the last start"),
            ])
        .later(&[
            ("last_offset", "bigint", "offset of the last Kafka record below next_offset; null: none is known"),
            ("last_timestamp", "bigint", "its timestamp, milliseconds since 1970-01-01"),
            ("last_hash", "bigint", "hash of its key and value, as a signed integer"),
        ]),
        TableSpec::control("generations", 3, "",
            "When a topic grew partitions: records of a later generation are newer than all of an earlier one.",
            &[
                ("topic", "text", "", "topic name"),
                ("generation", "smallint", "", "1, 2, … in the order of growth"),
                ("partition", "integer", "", "partition"),
                ("start_offset", "bigint", "", "the first offset of this generation in the partition"),
            ]),
        TableSpec::control("gaps", 4, "",
            "Holes in the log that an operator accepted: records there are in no table.",
            &[
                ("topic", "text", "", "topic name"),
                ("partition", "integer", "", "partition"),
                ("from_offset", "bigint", "", "the first missing offset"),
                ("to_offset", "bigint", "", "one past the last missing offset"),
                ("reason", "text", "", "why it is missing"),
                ("accepted_at", "timestamp with time zone", "now()", "when it was accepted"),
            ])
        .later(&[
                ("object", "text", "the lake object without offsets that was skipped (partition -1; from_offset identifies it)"),
            ]),
        TableSpec::control("results", 1, "",
            "The results that the tables of this schema hold.",
            &[
                ("name", "text", "", "the result, and its table"),
                ("hash", "text", "", "hash of its name, key, columns and SQL, hexadecimal"),
                ("sql", "text", "", "what it is, over the cleaned tables"),
                ("since_commit", "bigint", "", "the first commit that held it with this hash"),
            ]),
        TableSpec::control("results_dropped", 1, "",
            "Results whose tables were dropped because --drop named them; of each the last time.",
            &[
                ("name", "text", "", "the result"),
                ("hash", "text", "", "its hash when it was dropped"),
                ("sql", "text", "", "its SQL when it was dropped"),
                ("since_commit", "bigint", "", "the first commit that held it with this hash"),
                ("dropped_commit", "bigint", "", "the commit that dropped its table"),
                ("dropped_at", "timestamp with time zone", "now()", "when that was"),
            ]),
        TableSpec::control("rejects", 2, "",
            "Dead letters: records that are in no other table, with the reason and the raw bytes.",
            &[
                ("source", "text", "", "topic/partition, or the object's name for records without an offset"),
                ("position", "bigint", "", "offset, or the record's number in its object"),
                ("topic", "text", "", "topic name"),
                ("partition", "integer?", "", "partition; null for records without an offset"),
                ("offset", "bigint?", "", "offset; null for records without one"),
                ("object", "text?", "", "the lake object it was read from; null: from Kafka"),
                ("reason", "text", "", "why it was rejected"),
                ("key", "bytea?", "", "the record's key, raw"),
                ("value", "bytea?", "", "the record's value, raw"),
                ("rejected_at", "timestamp with time zone", "now()", "when it was committed"),
            ]),
        TableSpec::control("rejects_dropped", 2, "",
            "Dead letters that the limits of the table rejects left no room for: of each partition those below \
             to_position.",
            &[
                ("topic", "text", "", "topic name; empty for records without an offset"),
                ("partition", "integer", "", "partition; -1 for records without an offset"),
                ("from_position", "bigint", "", "the first offset that was dropped"),
                ("to_position", "bigint", "", "one past the last offset, or past the record's number in its object"),
                ("object", "text?", "", "of records without an offset: the last object, in the order of the names' bytes"),
                ("rows", "bigint", "", "how many there were"),
                ("bytes", "bigint", "", "bytes of their keys and values"),
                ("dropped_at", "timestamp with time zone", "now()", "when the last one was dropped"),
            ]),
        TableSpec::control("tombstones", 2, "",
            "Positions of deletes: an older record that arrives again does not bring its row back.",
            &[
                ("table", "text", "", "cleaned table"),
                ("ind", "bigint", "", "key of the deleted row"),
                ("log_generation", "smallint", "", "generation of the delete's topic"),
                ("log_partition", "integer", "", "partition of the delete"),
                ("log_offset", "bigint", "", "offset of the delete"),
            ]),
    ]
}
