//! The names of the fields that mean something, of all kinds together.

/// A field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Field {
    Index,
    Ind,
    Deleted,
    UniqueId,
    Title,
    Description,
    PosterName,
    FollowerCount,
    TagList,
    IsImageOrVideo,
    ImageSrc,
    SaveLocation,
    Category,
    Timestamp,
    Latitude,
    Longitude,
    Country,
    FirstName,
    LastName,
    Age,
    DateJoined,
}

impl Field {
    pub(crate) const COUNT: usize = Field::ALL.len();

    /// All fields, in the order of their numbers.
    pub(crate) const ALL: [Field; 21] = [
        Field::Index,
        Field::Ind,
        Field::Deleted,
        Field::UniqueId,
        Field::Title,
        Field::Description,
        Field::PosterName,
        Field::FollowerCount,
        Field::TagList,
        Field::IsImageOrVideo,
        Field::ImageSrc,
        Field::SaveLocation,
        Field::Category,
        Field::Timestamp,
        Field::Latitude,
        Field::Longitude,
        Field::Country,
        Field::FirstName,
        Field::LastName,
        Field::Age,
        Field::DateJoined,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Field::Index => "index",
            Field::Ind => "ind",
            Field::Deleted => "__deleted",
            Field::UniqueId => "unique_id",
            Field::Title => "title",
            Field::Description => "description",
            Field::PosterName => "poster_name",
            Field::FollowerCount => "follower_count",
            Field::TagList => "tag_list",
            Field::IsImageOrVideo => "is_image_or_video",
            Field::ImageSrc => "image_src",
            Field::SaveLocation => "save_location",
            Field::Category => "category",
            Field::Timestamp => "timestamp",
            Field::Latitude => "latitude",
            Field::Longitude => "longitude",
            Field::Country => "country",
            Field::FirstName => "first_name",
            Field::LastName => "last_name",
            Field::Age => "age",
            Field::DateJoined => "date_joined",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Field> {
        Some(match name.as_bytes() {
            b"index" => Field::Index,
            b"ind" => Field::Ind,
            b"__deleted" => Field::Deleted,
            b"unique_id" => Field::UniqueId,
            b"title" => Field::Title,
            b"description" => Field::Description,
            b"poster_name" => Field::PosterName,
            b"follower_count" => Field::FollowerCount,
            b"tag_list" => Field::TagList,
            b"is_image_or_video" => Field::IsImageOrVideo,
            b"image_src" => Field::ImageSrc,
            b"save_location" => Field::SaveLocation,
            b"category" => Field::Category,
            b"timestamp" => Field::Timestamp,
            b"latitude" => Field::Latitude,
            b"longitude" => Field::Longitude,
            b"country" => Field::Country,
            b"first_name" => Field::FirstName,
            b"last_name" => Field::LastName,
            b"age" => Field::Age,
            b"date_joined" => Field::DateJoined,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_agree() {
        for (number, field) in Field::ALL.into_iter().enumerate() {
            assert_eq!(field as usize, number);
            assert_eq!(Field::from_name(field.name()), Some(field));
        }
    }
}
