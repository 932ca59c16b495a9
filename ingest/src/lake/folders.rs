//! Folders of a lake: objects that are written and removed together.

use super::availability::RequestKind;
use super::error::LakeError;
use super::store::{Lake, Store};

/// Folders of one listing.
const MOST_FOLDERS: usize = 100_000;

impl Lake {
    /// The folders that stand directly under the lake's URL and begin with `prefix`, in order; of more than 100,000
    /// the first ones. A bucket that does not exist is [`LakeError::NoLake`], a folder that does not has none.
    pub async fn folders(&self, prefix: &str) -> Result<Vec<String>, LakeError> {
        match &self.store {
            Store::S3(store) => store.folders(prefix, MOST_FOLDERS).await,
            Store::File(store) => {
                let (store, prefix) = (store.clone(), prefix.to_owned());
                let lake = self.url().to_string();
                self.repeat(RequestKind::Change, "list", &lake, move || {
                    store.folders(&prefix, MOST_FOLDERS)
                })
                .await
            }
        }
    }

    /// Removes a folder with everything in it; one that does not exist is no error.
    pub async fn remove_folder(&self, folder: &str) -> Result<(), LakeError> {
        match &self.store {
            Store::S3(store) => store.remove_folder(folder).await,
            Store::File(store) => {
                let (store, of) = (store.clone(), folder.to_owned());
                self.repeat(RequestKind::Change, "remove", folder, move || store.remove_folder(&of))
                    .await
            }
        }
    }
}
