//! Which relations patterns had made tables, told by the blob store: the control schema may be lost.

use futures_util::TryStreamExt;
use std::collections::BTreeMap;

use crate::blob::{BlobKey, Folder, Manifest, read_manifest};
use crate::config::Discovered;
use crate::error::Result;
use crate::pipeline::Pipeline;
use crate::schema::TableRef;

impl Pipeline {
    /// Those that are remembered, and those that left files in the blob store.
    pub(super) async fn archived_relations(&self) -> Result<Vec<Discovered>> {
        let sources = self.config.pattern_sources(&[]);
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = self.sink.discovered(&self.config.project.name).await?;
        for folder in [Folder::Processed, Folder::Exports] {
            for (name, csv) in self.newest_of(folder, &sources).await? {
                let Some(manifest) = read_manifest(self.blobs.as_ref(), &csv).await? else { continue };
                let one = sources.iter().find_map(|source| relation_of(source, &manifest));
                let known = |one: &Discovered| found.iter().any(|known| known.table == one.table);
                match one.filter(|one| !known(one)) {
                    Some(one) => found.push(one),
                    None => tracing::debug!(name, "these files are of no relation that is new"),
                }
            }
        }
        Ok(found)
    }

    /// The last CSV of each table whose name begins with one of the sources, by the prefix of its files.
    async fn newest_of(&self, folder: Folder, sources: &[&str]) -> Result<BTreeMap<String, BlobKey>> {
        let begins: Vec<String> = sources
            .iter()
            .map(|source| self.layout.prefix(folder, &format!("{source}.")).trim_end_matches('/').to_owned())
            .collect();
        let mut newest = BTreeMap::new();
        let mut names = self.blobs.list(&self.layout.folder(folder));
        while let Some(meta) = names.try_next().await? {
            let key = meta.key;
            if key.is_csv() && begins.iter().any(|begin| key.as_str().starts_with(begin)) {
                let prefix = key.as_str().trim_end_matches(key.file_name()).to_owned();
                newest.insert(prefix, key);
            }
        }
        Ok(newest)
    }
}

/// The relation that a CSV was read from, if its table has the name that patterns give.
fn relation_of(source: &str, manifest: &Manifest) -> Option<Discovered> {
    let name = manifest.table.strip_prefix(source)?.strip_prefix('.')?;
    let schema = manifest.relation.as_deref()?.strip_suffix(name)?.strip_suffix('.')?;
    Some(Discovered::new(source, TableRef::new(schema, name), manifest.key.clone()))
}
