//! The built-in files are the tables that are promised to their users.

use crate::sql::{BUILT_IN, Options, Schema, built_in, compile};
use operators::{ColumnType, Table};

#[test]
fn the_files_are_the_tables() {
    let shape = |table: &Table| {
        let names: Vec<_> = table.columns.iter().map(|column| column.name).collect();
        format!("{}({})/{}", table.name, names.join(", "), table.key)
    };
    let medians = "median_follower_count, lower_median_follower_count, post_count";
    let expected = [
        "popular_category_by_country(country, category, category_count, rank)/2".to_owned(),
        "popular_category_by_year(post_year, category, category_count, rank)/2".to_owned(),
        "popular_category_by_country_and_year(country, post_year, category, category_count, rank)/3".to_owned(),
        "popular_category_by_age_group(age_group, category, category_count, rank)/2".to_owned(),
        "top_poster_by_country(country, poster_name, follower_count, rank)/2".to_owned(),
        "country_of_top_poster(country, poster_name, follower_count)/2".to_owned(),
        format!("median_followers_by_age_group(age_group, {medians})/1"),
        "users_joined_by_year(join_year, number_users_joined, user_records)/1".to_owned(),
        format!("median_followers_by_join_year(join_year, {medians})/1"),
        format!("median_followers_by_join_year_and_age_group(join_year, age_group, {medians})/2"),
    ];
    for top in [0, 1, 10] {
        let catalog = compile(&built_in(), &Schema::cleaned(), &Options { top }).unwrap_or_else(|faults| {
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            panic!("{}", faults.join("\n"))
        });
        assert_eq!(catalog.notes, []);
        let tables: Vec<&Table> = catalog.results.iter().map(|result| result.table()).collect();
        assert_eq!(tables.iter().map(|table| shape(table)).collect::<Vec<_>>(), expected);
        for column in tables.iter().flat_map(|table| table.columns) {
            let ty = match column.name {
                "post_year" | "join_year" => ColumnType::Int4,
                "median_follower_count" => ColumnType::Float8,
                "country" | "category" | "age_group" | "poster_name" => ColumnType::Text,
                _ => ColumnType::Int8,
            };
            assert_eq!(column.ty, ty, "{}", column.name);
            assert!(!column.comment.is_empty(), "{}", column.name);
        }
        assert!(tables.iter().all(|table| !table.comment.is_empty()));
    }
}

#[test]
fn ranked_files_take_top() {
    for (path, text) in BUILT_IN {
        let ranked = text.contains("AS rank,");
        assert_eq!(
            ranked,
            text.contains("WHERE {top} = 0 OR place <= {top} OR rank = 1"),
            "{path}"
        );
    }
}
