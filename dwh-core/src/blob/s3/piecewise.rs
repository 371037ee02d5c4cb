//! A part of an upload, signed and sent by ourselves: rust-s3 wants all bytes of it in memory and hashes them twice
//! before the first one is sent.

use hmac::{Hmac, KeyInit, Mac};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderValue};
use reqwest::{Body as HttpBody, Method, Response};
use s3::Bucket;
use s3::command::Command;
use s3::error::S3Error;
use s3::request::Request;
use s3::request::tokio_backend::ReqwestRequest;
use s3::signing;
use sha2::Sha256;
use std::sync::Arc;

use super::wait::{Progress, answered, pieces};
use crate::blob::ByteStream;
use crate::dialect::hex;

/// What stands for the hash of a body that is not hashed. What the store holds is read back and hashed before anything
/// is deleted for it.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Sends a part of so many bytes as `command` says, which has no content itself.
pub(super) async fn send_piecewise(
    bucket: &Bucket,
    object: &str,
    command: Command<'_>,
    (bytes, body): (u64, ByteStream),
    progress: &Arc<Progress>,
) -> Result<Response, S3Error> {
    let request = ReqwestRequest::new(bucket, object, command).await?;
    let headers = signed(&request, bucket, bytes).await?;
    let sent = bucket.http_client().request(Method::PUT, request.url()?.as_str()).headers(headers);
    answered(sent.body(HttpBody::wrap_stream(pieces(body, progress))).send().await?).await
}

/// The headers, signed as AWS Signature Version 4 wants it.
async fn signed(request: &ReqwestRequest<'_>, bucket: &Bucket, bytes: u64) -> Result<http::HeaderMap, S3Error> {
    let mut headers = http::HeaderMap::new();
    headers.insert(HOST, request.host_header().parse()?);
    headers.insert("x-amz-content-sha256", HeaderValue::from_static(UNSIGNED));
    headers.insert("x-amz-date", request.long_date()?.parse()?);
    let session = bucket.session_token().await?;
    let token = if session.is_some() { session } else { bucket.security_token().await? };
    if let Some(token) = token {
        headers.insert("x-amz-security-token", token.parse()?);
    }
    let canonical = signing::canonical_request("PUT", &request.url()?, &headers, UNSIGNED)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&request.signing_key().await?)
        .map_err(|_| S3Error::HttpFailWithBody(401, String::new()))?;
    mac.update(request.string_to_sign(&canonical)?.as_bytes());
    let authorization = signing::authorization_header(
        &bucket.access_key().await?.unwrap_or_default(),
        &request.datetime(),
        &bucket.region(),
        &signing::signed_header_string(&headers),
        &hex(&mac.finalize().into_bytes()),
    )?;
    headers.insert(AUTHORIZATION, authorization.parse()?);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    Ok(headers)
}
