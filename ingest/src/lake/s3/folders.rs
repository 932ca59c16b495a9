//! Folders of a bucket: what stands before a `/` in keys.

use super::S3Store;
use crate::lake::error::LakeError;
use futures_util::stream::TryStreamExt;

impl S3Store {
    /// The folders that stand directly under the root and begin with `prefix`, in order, at most `limit`.
    pub(crate) async fn folders(&self, prefix: &str, limit: usize) -> Result<Vec<String>, LakeError> {
        let mut folders = Vec::new();
        let begin = format!("{}{prefix}", self.prefix);
        let mut pages = std::pin::pin!(self.pages(&begin, Some("/")));
        while let Some(page) = pages.try_next().await? {
            let found = page.common_prefixes().iter().filter_map(|folder| folder.prefix());
            let named = found.filter_map(|folder| folder.strip_prefix(&self.prefix)?.strip_suffix('/'));
            folders.extend(named.map(str::to_owned));
            if folders.len() >= limit {
                break;
            }
        }
        folders.truncate(limit);
        Ok(folders)
    }

    /// Removes everything in a folder.
    pub(crate) async fn remove_folder(&self, folder: &str) -> Result<(), LakeError> {
        let begin = format!("{}{folder}/", self.prefix);
        let mut pages = std::pin::pin!(self.pages(&begin, None));
        while let Some(page) = pages.try_next().await? {
            let keys = page.contents().iter().filter_map(|object| object.key());
            for key in keys.filter_map(|key| key.strip_prefix(&self.prefix)) {
                self.delete(key).await?;
            }
        }
        Ok(())
    }
}
