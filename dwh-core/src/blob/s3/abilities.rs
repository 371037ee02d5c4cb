//! What a server that speaks S3 can do beyond what is relied on, tried out request by request.

use bytes::Bytes;

use super::S3Blobs;
use super::errors::refusal;
use super::upload::{self, Failed};
use super::wait::Wait;
use crate::blob::{Ability, Feature};
use crate::error::{ErrorKind, Result};

/// Tries out each on objects below `prefix`, and removes them.
pub(super) async fn abilities(store: &S3Blobs, prefix: &str) -> Result<Vec<Ability>> {
    let base = format!("{}{prefix}", store.client.options.prefix);
    let (first, second) = (format!("{base}1"), format!("{base}2"));
    let tried = each(store, &base, &first, &second).await;
    for object in [&first, &second] {
        let bucket = store.client.bucket().await?;
        store.client.within(Wait::Answer, object, bucket.delete_object(object)).await?;
    }
    tried
}

async fn each(store: &S3Blobs, base: &str, first: &str, second: &str) -> Result<Vec<Ability>> {
    let put = |object: String, text: &'static str, create: bool| async move {
        upload::put(&store.client, &object, &Bytes::from_static(text.as_bytes()), create).await
    };
    put(first.to_owned(), "one", false).await.map_err(|failed| failed.error)?;
    let conditional = match put(first.to_owned(), "another", true).await {
        Ok(_) => false,
        Err(Failed { error, .. }) if error.kind() == ErrorKind::Exists => true,
        Err(failed) => return Err(failed.error),
    };
    let copied = copy(store, first, second).await?;
    if !copied {
        put(second.to_owned(), "two", false).await.map_err(|failed| failed.error)?;
    }
    let told = |feature, present, yes: &str, no: &str| Ability {
        feature,
        present,
        message: if present { yes } else { no }.to_owned(),
    };
    let (begun, listed) = parts(store, base).await?;
    Ok(vec![
        told(
            Feature::ConditionalPut,
            conditional,
            "the server refuses to replace an object (`If-None-Match`)",
            "the server ignores `If-None-Match`: dwh looks for the object before it writes, and no two runs share a name",
        ),
        told(
            Feature::ServerCopy,
            copied,
            "the server copies objects by itself",
            "the server does not copy: files go through this machine on their way to processed/",
        ),
        told(
            Feature::Paging,
            pages(store, base, first, second).await?,
            "lists of more than one page are whole",
            "lists of more than one page are not whole: files beyond the first 1,000 would not be seen",
        ),
        told(
            Feature::Multipart,
            begun,
            "objects in parts can be begun and called off",
            "objects in parts are refused: a CSV above 8 MiB cannot be written",
        ),
        told(
            Feature::Uploads,
            listed,
            "unfinished uploads are listed, so `dwh recover` removes them",
            "unfinished uploads are not listed, so `dwh recover` cannot remove what a killed upload leaves",
        ),
    ])
}

async fn copy(store: &S3Blobs, from: &str, to: &str) -> Result<bool> {
    let bucket = store.client.bucket().await?;
    let encoded = s3::signing::uri_encode(from, false);
    match store.client.within(Wait::Work, from, bucket.copy_object_internal(&encoded, to)).await {
        Ok(_) => Ok(true),
        Err(error) if refusal(&error).is_some_and(|r| r.code == "InvalidRequest" || r.status == 501) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Two objects, a page each.
async fn pages(store: &S3Blobs, base: &str, first: &str, second: &str) -> Result<bool> {
    let (mut found, mut token) = (Vec::new(), None);
    // One more than is needed, for servers that end with an empty page.
    for _ in 0..3 {
        let bucket = store.client.bucket().await?;
        let page = bucket.list_page(base.to_owned(), None, token, None, Some(1));
        let (page, _) = store.client.within(Wait::Answer, base, page).await?;
        found.extend(page.contents.into_iter().map(|object| object.key));
        token = page.next_continuation_token.filter(|_| page.is_truncated);
        if token.is_none() {
            break;
        }
    }
    found.sort();
    Ok(found == [first, second])
}

/// Whether an upload in parts can be begun and called off, and whether it is listed in between.
async fn parts(store: &S3Blobs, base: &str) -> Result<(bool, bool)> {
    let (client, object) = (&store.client, format!("{base}3"));
    let bucket = client.bucket().await?;
    let begin = bucket.initiate_multipart_upload(&object, "text/csv");
    let id = match client.within(Wait::Answer, &object, begin).await {
        Ok(begun) => begun.upload_id,
        Err(error) if refusal(&error).is_some() => return Ok((false, false)),
        Err(error) => return Err(error),
    };
    let listed = upload::open_ids(client, base).await;
    client.within(Wait::Answer, &object, bucket.abort_upload(&object, &id)).await?;
    Ok((true, listed.is_ok_and(|ids| ids.contains(&id))))
}
