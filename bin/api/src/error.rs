//! What a request is refused with: a status and `{"error": "…", "hint": "…", …}`.

use hyper::StatusCode;
use serde_json::{Map, Value, json};

/// See the module's head.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    /// The status.
    pub status: StatusCode,
    /// What is wrong.
    pub error: String,
    /// What to do about it.
    pub hint: String,
    /// Further members of the answer.
    pub more: Map<String, Value>,
}

impl ApiError {
    /// An error with its hint.
    pub fn new(status: StatusCode, error: impl Into<String>, hint: impl Into<String>) -> ApiError {
        ApiError {
            status,
            error: error.into(),
            hint: hint.into(),
            more: Map::new(),
        }
    }

    /// 400.
    pub fn bad(error: impl Into<String>, hint: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, error, hint)
    }

    /// 404 for a table that is none of `tables`.
    pub fn unknown_table(name: &str, tables: &[&str]) -> ApiError {
        let hint = match nearest(name, tables) {
            Some(nearest) => format!("did you mean {nearest}?"),
            None => "/api/results lists the tables".to_owned(),
        };
        ApiError::new(
            StatusCode::NOT_FOUND,
            format!("there is no result {}", shown(name)),
            hint,
        )
        .with("table", name)
        .with("nearest", nearest(name, tables))
    }

    /// 503.
    pub fn unavailable(error: impl Into<String>, hint: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error, hint)
    }

    /// With another member; a null says nothing and is left out.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> ApiError {
        let value = value.into();
        if !value.is_null() {
            self.more.insert(name.to_owned(), value);
        }
        self
    }

    /// The body.
    pub fn json(&self) -> Value {
        let mut body = json!({ "error": self.error, "hint": self.hint });
        if let Some(object) = body.as_object_mut() {
            object.extend(self.more.clone());
        }
        body
    }
}

/// A text of a request as it is repeated in an error.
pub fn shown(text: &str) -> String {
    let most = 80;
    let mut shown: String = text.chars().take(most).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// The most similar of `names`, if one is similar.
pub fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    // comparing takes time with the length of the text, which is the client's
    if name.len() > 256 {
        return None;
    }
    let similarity = |other: &&str| strsim::jaro_winkler(&name.to_lowercase(), &other.to_lowercase());
    let best = names.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    (similarity(best) > 0.7).then_some(*best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_one_that_is_near() {
        let names = ["category_count", "country", "rank"];
        assert_eq!(nearest("contry", &names), Some("country"));
        assert_eq!(nearest("Rank", &names), Some("rank"));
        assert_eq!(nearest("zzz", &names), None);
        assert_eq!(nearest(&"x".repeat(1000), &names), None);
    }

    #[test]
    fn the_shape_is_pinned() {
        let error = ApiError::unknown_table("popular", &["popular_category_by_year"]);
        assert_eq!(error.status, StatusCode::NOT_FOUND);
        assert_eq!(
            error.json(),
            json!({"error": "there is no result `popular`", "hint": "did you mean popular_category_by_year?",
                   "table": "popular", "nearest": "popular_category_by_year"})
        );
        assert_eq!(shown(&"é".repeat(100)).chars().count(), 83);
    }
}
