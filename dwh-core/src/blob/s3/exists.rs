//! Whether an object is there.

use s3::command::Command;
use s3::request::Request;
use s3::request::tokio_backend::ReqwestRequest;

use super::client::Client;
use super::wait::Wait;
use crate::error::{ErrorKind, Result};
use crate::retry::retry;

impl Client {
    /// Whether the object is there, as far as the server tells: a key that may write but not look gets no answer.
    pub(super) async fn exists(&self, object: &str) -> Result<bool> {
        let head = retry("look for object", || async {
            let bucket = self.bucket().await?;
            let head = async { ReqwestRequest::new(&bucket, object, Command::HeadObject).await?.response().await };
            self.within(Wait::Answer, object, head).await
        });
        match head.await {
            Ok(_) => Ok(true),
            // HEAD says no without a reason; the request that follows gets one.
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::Permission | ErrorKind::Config | ErrorKind::Internal => Ok(false),
                _ => Err(error),
            },
        }
    }
}
