//! The three cleaned tables, column for column.

use operators::{Column, ColumnType, Table};

const fn column(name: &'static str, ty: ColumnType, comment: &'static str) -> Column {
    Column { name, ty, comment }
}

use ColumnType::{Float8Array, Int4, Int8, Text, Timestamp};

const IND: Column = column("ind", Int8, "the post's index, which joins the three tables");

/// The cleaned tables by kind: pin_table, geo_table, user_table.
pub const CLEANED: [Table; 3] = [
    Table {
        name: "pin_table",
        comment: "the latest pin record of each post, cleaned",
        key: 1,
        columns: &[
            IND,
            column("unique_id", Text, "the pin's own identifier"),
            column("title", Text, "title, null when there was none"),
            column("description", Text, "description, null when there was none"),
            column(
                "follower_count",
                Int8,
                "followers of the poster; 12k is 12000, 7M is 7000000",
            ),
            column("poster_name", Text, "who posted it"),
            column("tag_list", Text, "tags, separated by commas, null when there were none"),
            column("is_image_or_video", Text, "what was posted"),
            column(
                "image_src",
                Text,
                "address of the image, null when it could not be found",
            ),
            column("save_location", Text, "path of the saved copy"),
            column("category", Text, "category of the pin"),
        ],
    },
    Table {
        name: "geo_table",
        comment: "the latest geo record of each post, cleaned",
        key: 1,
        columns: &[
            IND,
            column("country", Text, "country it was posted from"),
            column("coordinates", Float8Array, "[latitude, longitude] in degrees"),
            column("timestamp", Timestamp, "when it was posted, UTC"),
        ],
    },
    Table {
        name: "user_table",
        comment: "the latest user record of each post, cleaned",
        key: 1,
        columns: &[
            IND,
            column("user_name", Text, "first and last name, separated by a space"),
            column("age", Int4, "age in years"),
            column("date_joined", Timestamp, "when the user joined, UTC"),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_in_the_documented_order() {
        let columns = |table: &Table| {
            table
                .columns
                .iter()
                .map(|column| column.name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let expected = [
            "pin_table(ind, unique_id, title, description, follower_count, poster_name, tag_list, is_image_or_video, \
             image_src, save_location, category)",
            "geo_table(ind, country, coordinates, timestamp)",
            "user_table(ind, user_name, age, date_joined)",
        ];
        for (table, expected) in CLEANED.iter().zip(expected) {
            assert_eq!(format!("{}({})", table.name, columns(table)), expected);
        }
    }
}
