//! The results that the program brings along, as files.

use super::catalog::SqlFile;

/// Lists the files of `dataflows/results`, in this order.
macro_rules! files {
    ($($name:literal),* $(,)?) => {
        /// The built-in results: file name and text.
        pub const BUILT_IN: &[(&str, &str)] = &[
            $((concat!($name, ".sql"), include_str!(concat!("../../results/", $name, ".sql")))),*
        ];
    };
}

files! {
    "popular_category_by_country",
    "popular_category_by_year",
    "popular_category_by_country_and_year",
    "popular_category_by_age_group",
    "top_poster_by_country",
    "country_of_top_poster",
    "median_followers_by_age_group",
    "users_joined_by_year",
    "median_followers_by_join_year",
    "median_followers_by_join_year_and_age_group",
}

/// The built-in results as files to compile.
pub fn built_in() -> Vec<SqlFile> {
    let file = |(path, text): &(&str, &str)| SqlFile {
        path: (*path).to_owned(),
        text: (*text).to_owned(),
    };
    BUILT_IN.iter().map(file).collect()
}
