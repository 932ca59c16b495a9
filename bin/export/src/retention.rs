//! Removes the files of exports that no manifest names any more.
//!
//! An export that was replaced stays for `--keep`, because its readers found its files in the manifest and may still be
//! reading them. One that no manifest has ever named was interrupted, or is being written at this moment: it stays for a
//! day at least. `_pinflow/export.json` says since when a folder has been found without a manifest, by the clock of the
//! target ([`Lake::now`]): a jump of this machine's clock removes nothing early.

use super::error::ExportError;
use super::manifest::{FOLDER_PREFIX, Manifest, is_export_folder};
use super::target::Target;
use causes::with_causes;
use ingest::lake::{CONTROL_FOLDER, Lake, Moment};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long an export that no manifest has named stays at least: no export takes so long.
const UNPUBLISHED: Duration = Duration::from_secs(24 * 3600);

/// Folders without a manifest, by their names.
type Notes = BTreeMap<String, Note>;

/// A folder without a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// When it was found so first.
    since: Moment,
    /// A manifest has named it before.
    published: bool,
}

/// Removes what is due, after `manifest` was published in the place of the export in the folder `replaced`. What cannot be
/// removed stays for the next export.
pub(crate) async fn clean(target: &Target, manifest: &Manifest, replaced: Option<&str>, keep: Duration) {
    if let Err(error) = try_clean(target, manifest, replaced, keep).await {
        tracing::warn!(
            "files of earlier exports stay at {} for now: {}",
            target.url(),
            with_causes(&error)
        );
    }
}

async fn try_clean(
    target: &Target,
    manifest: &Manifest,
    replaced: Option<&str>,
    keep: Duration,
) -> Result<(), ExportError> {
    let lake: &Lake = target.lake();
    let mut folders = lake.folders(FOLDER_PREFIX).await?;
    // another export may have replaced ours already
    let standing = target.standing(&manifest.schema).await?;
    folders
        .retain(|folder| is_export_folder(folder) && *folder != manifest.folder && standing.folder() != Some(folder));
    if folders.is_empty() {
        return Ok(());
    }
    let key = format!("{CONTROL_FOLDER}/export.json");
    // what is not readable is no note, and the time begins anew
    let before = lake.get_small(&key).await?;
    let before: Notes = before
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let (notes, due) = noted(&folders, replaced, before, &lake.now().await?, keep);
    for folder in &due {
        lake.remove_folder(folder).await?;
        tracing::info!("removed {}/{folder}, which no manifest names", target.url());
    }
    let bytes = serde_json::to_vec(&notes).expect("names and moments serialise");
    Ok(lake.put(&key, bytes, BTreeMap::new()).await?)
}

/// Which of the folders have been without a manifest for long enough, and since when the others have been.
fn noted(
    folders: &[String],
    replaced: Option<&str>,
    before: Notes,
    now: &Moment,
    keep: Duration,
) -> (Notes, Vec<String>) {
    let (mut notes, mut due) = (Notes::new(), Vec::new());
    for folder in folders {
        let known = before.get(folder);
        let published = known.is_some_and(|note| note.published) || replaced == Some(folder);
        // on another clock the time begins anew
        let since = known.map(|note| &note.since).filter(|since| now.since(since).is_some());
        let since = since.unwrap_or(now).clone();
        let wait = if published { keep } else { keep.max(UNPUBLISHED) };
        if now.since(&since).is_some_and(|time| time >= wait) {
            due.push(folder.clone());
        } else {
            notes.insert(folder.clone(), Note { since, published });
        }
    }
    (notes, due)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn at(hours: u64) -> Moment {
        let moment = format!(r#"{{"clock":"a","seconds":{}}}"#, hours * HOUR);
        serde_json::from_str(&moment).unwrap()
    }

    fn names(folders: &[&str]) -> Vec<String> {
        folders.iter().map(|folder| folder.to_string()).collect()
    }

    /// Notes and what is due, of folders that were found before at these hours.
    fn of(
        folders: &[&str],
        replaced: Option<&str>,
        before: &[(&str, u64, bool)],
        now: u64,
        keep: u64,
    ) -> (Notes, Vec<String>) {
        let before = before.iter().map(|(folder, hours, published)| {
            let (since, published) = (at(*hours), *published);
            (folder.to_string(), Note { since, published })
        });
        let keep = Duration::from_secs(keep * HOUR);
        noted(&names(folders), replaced, before.collect(), &at(now), keep)
    }

    #[test]
    fn what_was_replaced_goes_after_the_time_that_is_kept() {
        let (notes, due) = of(&["x"], Some("x"), &[], 5, 2);
        assert_eq!((notes["x"].published, due.len()), (true, 0));
        let before = [("x", 5, true)];
        assert!(
            of(&["x", "y"], Some("y"), &before, 7, 2).1.is_empty(),
            "the first second may not have passed"
        );
        assert_eq!(of(&["x", "y"], Some("y"), &before, 8, 2).1, ["x"]);
        assert_eq!(of(&["x"], Some("x"), &[], 5, 0).1, ["x"], "it is kept for no time");
    }

    #[test]
    fn what_was_never_published_may_be_on_its_way_for_a_day() {
        for keep in [0, 2] {
            let (notes, due) = of(&["x"], None, &[], 5, keep);
            assert_eq!((notes["x"].published, due.len()), (false, 0));
            assert!(of(&["x"], None, &[("x", 5, false)], 28, keep).1.is_empty());
            assert_eq!(of(&["x"], None, &[("x", 5, false)], 30, keep).1, ["x"]);
        }
        assert!(
            of(&["x"], None, &[("x", 5, false)], 30, 48).1.is_empty(),
            "kept for longer"
        );
    }

    #[test]
    fn a_clock_that_went_back_begins_the_time_anew_and_what_is_gone_is_forgotten() {
        let (notes, due) = of(&["x"], None, &[("x", 50, true), ("gone", 1, true)], 3, 1);
        assert_eq!((notes.len(), due.len()), (1, 0));
        assert_eq!(
            notes["x"],
            Note {
                since: at(3),
                published: true
            }
        );
    }
}
