//! What the tables are, as the sinks take it.

use crate::config::RunSettings;

/// What the tables are, for the sinks: results with their SQL, and the cleaned tables.
pub fn definition(settings: &RunSettings) -> sinks::Definition {
    let results = settings.results.definitions().iter();
    sinks::Definition {
        results: results.map(|result| (result.table, result.sql.clone())).collect(),
        cleaned: dataflows::CLEANED.to_vec(),
        hash: settings.results.hash(&settings.limits.of_records()),
        keep_cleaned: settings.cleaned,
        drop: settings.drop.clone(),
    }
}
