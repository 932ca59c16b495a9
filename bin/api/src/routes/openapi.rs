//! `GET /openapi.json`: the routes and what they answer, in OpenAPI 3.1, with the names of the tables.

use crate::answer::{Answer, json};
use crate::api::Api;
use serde_json::{Value, json};

/// The description, without the names of tables.
pub const DESCRIPTION: &str = include_str!("../openapi.json");

/// Answers with the description.
pub fn answer(api: &Api) -> Answer {
    json(&description(api.shared.shapes.iter().map(|shape| shape.table.name)))
}

fn description<'a>(tables: impl Iterator<Item = &'a str>) -> Value {
    let mut description: Value = serde_json::from_str(DESCRIPTION).unwrap_or_default();
    description["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    description["components"]["parameters"]["table"]["schema"]["enum"] = json!(tables.collect::<Vec<_>>());
    description
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::RESERVED;
    use crate::routes::PATHS;
    use std::collections::BTreeSet;

    /// The parameters of a path in a part of the request, references followed.
    fn parameters(description: &Value, path: &str, part: &str) -> BTreeSet<String> {
        let listed = description["paths"][path]["get"]["parameters"].as_array();
        let resolve = |parameter: &Value| match parameter["$ref"].as_str() {
            Some(reference) => {
                let name = reference.rsplit('/').next().unwrap_or_default();
                let found = description["components"]["parameters"][name].clone();
                assert!(found.is_object(), "{reference} of {path}");
                found
            }
            None => parameter.clone(),
        };
        let resolved = listed.into_iter().flatten().map(resolve);
        let of_part = resolved.filter(|parameter| parameter["in"] == part);
        of_part
            .map(|parameter| parameter["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn every_route_is_described_with_every_parameter() {
        let description = description(["a", "b"].into_iter());
        let paths = description["paths"].as_object().unwrap();
        let described: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
        assert_eq!(described, BTreeSet::from(PATHS));
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let mut of_rows = names(&RESERVED);
        of_rows.insert("filters".to_owned());
        for (path, expected) in [
            ("/api/dataflow", names(&[])),
            ("/api/configuration", names(&[])),
            ("/api/results", names(&["at_least", "timeout"])),
            ("/api/results/{table}", of_rows),
            ("/api/results/{table}/changes", names(&["pace", "last_event_id"])),
            ("/api/changes", names(&["tables", "pace", "last_event_id"])),
            ("/api/why/{table}", names(&["filters", "after", "limit"])),
            ("/api/lineage/{topic}/{partition}/{offset}", names(&["ind"])),
            ("/api/rejects", names(&["topic", "reason", "limit", "cursor", "raw"])),
            ("/api/gaps", names(&[])),
            ("/api/audit", names(&[])),
            ("/api/frontier", names(&["at_least", "timeout"])),
            ("/openapi.json", names(&[])),
        ] {
            assert_eq!(parameters(&description, path, "query"), expected, "{path}");
            let braced = path.split('{').skip(1).filter_map(|part| part.split('}').next());
            let in_path = braced.map(str::to_owned).collect::<BTreeSet<_>>();
            assert_eq!(parameters(&description, path, "path"), in_path, "{path}");
        }
        assert_eq!(
            description["components"]["parameters"]["table"]["schema"]["enum"],
            json!(["a", "b"])
        );
    }
}
