//! The columns that results share, so that one name means one thing in all of them.

use operators::{Column, ColumnType};

const fn column(name: &'static str, ty: ColumnType, comment: &'static str) -> Column {
    Column { name, ty, comment }
}

pub(super) const COUNTRY: Column = column("country", ColumnType::Text, "country the posts came from");
pub(super) const POST_YEAR: Column = column("post_year", ColumnType::Int4, "UTC year of the posts");
pub(super) const AGE_GROUP: Column = column(
    "age_group",
    ColumnType::Text,
    "age of the users: 18-24, 25-35, 36-50, 50+",
);
pub(super) const JOIN_YEAR: Column = column("join_year", ColumnType::Int4, "UTC year in which the users joined");
pub(super) const CATEGORY: Column = column("category", ColumnType::Text, "category of the posts");
pub(super) const CATEGORY_COUNT: Column = column("category_count", ColumnType::Int8, "number of posts");
pub(super) const POSTER_NAME: Column = column("poster_name", ColumnType::Text, "who posted");
pub(super) const FOLLOWER_COUNT: Column = column(
    "follower_count",
    ColumnType::Int8,
    "greatest number of followers seen on the poster's posts there",
);
pub(super) const RANK: Column = column(
    "rank",
    ColumnType::Int8,
    "place in the group; equal values share a place",
);
pub(super) const MEDIAN: Column = column(
    "median_follower_count",
    ColumnType::Float8,
    "median number of followers: the mean of the two middle values when there are two",
);
pub(super) const LOWER_MEDIAN: Column = column(
    "lower_median_follower_count",
    ColumnType::Int8,
    "the lower of the two middle values",
);
pub(super) const POST_COUNT: Column = column("post_count", ColumnType::Int8, "number of posts the median is taken of");
pub(super) const USERS_JOINED: Column = column(
    "number_users_joined",
    ColumnType::Int8,
    "distinct users: name, age and time of joining",
);
pub(super) const USER_RECORDS: Column = column("user_records", ColumnType::Int8, "user records, one for each post");
