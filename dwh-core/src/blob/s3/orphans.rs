//! Uploads that were begun and never came to their end.

use s3::command::Command;
use s3::request::Request;
use s3::request::tokio_backend::ReqwestRequest;

use super::client::Client;
use super::wait::Wait;
use crate::error::{Error, ErrorKind, Result};
use crate::retry::retry;
use crate::watermark::Timestamp;

/// Uploads under a prefix that began before this moment, by the server's stamps: object and upload id.
///
/// Not every server lists them. The answer is read by us: rust-s3 insists on parts of it that some servers leave out.
pub(super) async fn find(client: &Client, prefix: &str, before: Timestamp) -> Result<Vec<(String, String)>> {
    let (mut found, mut after) = (Vec::new(), (None, None));
    loop {
        let page = page(client, prefix, after.clone()).await?;
        for upload in blocks(&page, "Upload") {
            let of = |name| text(upload, name).ok_or_else(unreadable);
            let (key, id, begun) = (of("Key")?, of("UploadId")?, of("Initiated")?.parse::<Timestamp>()?);
            if begun < before && key.starts_with(prefix) {
                found.push((key, id));
            }
        }
        let next = (text(&page, "NextKeyMarker"), text(&page, "NextUploadIdMarker"));
        if text(&page, "IsTruncated").as_deref() != Some("true") || next.0.is_none() || next == after {
            return Ok(found);
        }
        after = next;
    }
}

async fn page(client: &Client, prefix: &str, after: (Option<String>, Option<String>)) -> Result<String> {
    let answer = retry("list uploads", || async {
        let bucket = client.bucket().await?;
        let (key_marker, upload_id_marker) = after.clone();
        let command = Command::ListMultipartUploads {
            prefix: Some(prefix),
            delimiter: None,
            key_marker,
            upload_id_marker,
            max_uploads: None,
        };
        let list = async { ReqwestRequest::new(&bucket, "/", command).await?.response_data(false).await };
        client.within(Wait::Answer, prefix, list).await
    });
    answer.await?.to_string().map_err(|_| unreadable())
}

fn unreadable() -> Error {
    Error::new(ErrorKind::Data, "the list of unfinished uploads cannot be read")
}

/// What stands between `<name>` and `</name>`, each time. No element of the answer holds another one of its name.
fn blocks<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let close = format!("</{name}>");
    let pieces: Vec<&str> = xml.split(&format!("<{name}>")).skip(1).collect();
    pieces.into_iter().filter_map(move |rest| rest.split_once(&close).map(|(inner, _)| inner))
}

/// The text of the first element of that name, if it has one.
fn text(xml: &str, name: &str) -> Option<String> {
    let raw = blocks(xml, name).next()?;
    let plain = raw.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    Some(plain.replace("&amp;", "&")).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_are_read_with_what_is_missing_left_out() {
        let xml = "<R><Prefix>a/</Prefix><IsTruncated>true</IsTruncated><NextKeyMarker>a&amp;b</NextKeyMarker><NextUploadIdMarker></NextUploadIdMarker>\
                   <Upload><Key>a/1.csv</Key><UploadId>u1</UploadId><Initiated>2026-10-01T00:00:00Z</Initiated></Upload>\
                   <Upload><Key>a/2.csv</Key><UploadId>u2</UploadId></Upload></R>";
        let uploads: Vec<&str> = blocks(xml, "Upload").collect();
        assert_eq!(uploads.len(), 2);
        assert_eq!(
            (text(uploads[0], "Key"), text(uploads[1], "UploadId")),
            (Some("a/1.csv".into()), Some("u2".into()))
        );
        assert_eq!((text(uploads[1], "Initiated"), text(xml, "NextUploadIdMarker")), (None, None));
        assert_eq!(text(xml, "NextKeyMarker"), Some("a&b".to_owned()));
    }
}
