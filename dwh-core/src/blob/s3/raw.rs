//! Objects of any name: those that somebody else keeps, and their copies.

use super::{S3Blobs, Wait, download, is_missing, upload};
use crate::blob::{Blob, Body};
use crate::error::Result;
use crate::raw_file::RawFile;
use crate::retry::retry;

impl S3Blobs {
    /// The objects whose names begin with `prefix`, under their names below the address of the store.
    pub(crate) async fn raw_objects(&self, prefix: &str) -> Result<Vec<RawFile>> {
        let (client, own) = (&self.client, &self.client.options.prefix);
        let from = format!("{own}{prefix}");
        let (mut found, mut token) = (Vec::new(), None::<String>);
        loop {
            let (page, _) = retry("list objects", || async {
                let bucket = client.bucket().await?;
                let page = bucket.list_page(from.clone(), None, token.clone(), None, Some(1000));
                client.within(Wait::Answer, &from, page).await
            })
            .await?;
            for object in page.contents {
                let Some(name) = object.key.strip_prefix(own.as_str()).filter(|name| !name.ends_with('/')) else {
                    continue;
                };
                let etag = object.e_tag.map(|tag| tag.trim_matches('"').to_owned());
                found.push(RawFile::listed(name, object.size, object.last_modified.parse()?, etag));
            }
            token = page.next_continuation_token.filter(|_| page.is_truncated);
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    /// One object as a listing shows it; `None` if it is not there.
    pub(crate) async fn raw_object(&self, name: &str) -> Result<Option<RawFile>> {
        Ok(self.raw_objects(name).await?.into_iter().find(|file| file.path == name))
    }

    /// Opens an object.
    pub(crate) async fn open_raw(&self, name: &str) -> Result<Option<Blob>> {
        match download::open(&self.client, &format!("{}{name}", self.client.options.prefix)).await {
            Ok(blob) => Ok(Some(blob)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the object, or replaces it.
    pub(crate) async fn put_raw(&self, name: &str, body: &dyn Body) -> Result<()> {
        let object = format!("{}{name}", self.client.options.prefix);
        upload::put(&self.client, &object, body, false).await.map(drop).map_err(|failed| failed.error)
    }

    /// Makes `to` hold the bytes of `from`, through this machine: names of any kind survive it.
    pub(crate) async fn copy_raw(&self, from: &str, to: &str) -> Result<()> {
        let prefix = &self.client.options.prefix;
        self.copy_through(&format!("{prefix}{from}"), &format!("{prefix}{to}")).await
    }

    /// Removes the object.
    pub(crate) async fn delete_raw(&self, name: &str) -> Result<()> {
        let (client, object) = (&self.client, format!("{}{name}", self.client.options.prefix));
        retry("delete object", || async {
            let bucket = client.bucket().await?;
            client.within(Wait::Answer, &object, bucket.delete_object(&object)).await
        })
        .await
        .map(drop)
    }
}
