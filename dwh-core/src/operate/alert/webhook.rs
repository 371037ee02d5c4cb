//! Alerts by HTTP POST.

use reqwest::Client;
use reqwest::header::{CONTENT_TYPE, USER_AGENT};
use reqwest::redirect::Policy;
use serde_json::json;

use super::message::Message;
use super::unsent::{Unsent, by_tls};
use crate::config::Secret;

/// Posts `{"text": …}`; the error is the end of a sentence, without the address.
pub(super) async fn post(address: &Secret, message: &Message<'_>) -> Result<(), Unsent> {
    // An address that moved is a secret that somebody else would get.
    let client = Client::builder().redirect(Policy::none()).build().map_err(|error| said(&error))?;
    let body = json!({ "text": message.text }).to_string();
    let request = client
        .post(address.expose())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("dwh/", env!("CARGO_PKG_VERSION")))
        .body(body);
    let answer = request.send().await.map_err(|error| said(&error))?;
    if answer.status().is_success() {
        Ok(())
    } else {
        Err(format!("the server answered {}", answer.status().as_u16()).into())
    }
}

/// What happened, in our own words: those of the client name the host.
fn said(error: &reqwest::Error) -> Unsent {
    by_tls(error).unwrap_or_else(|| {
        let why = if error.is_builder() {
            "the address cannot be used, or this machine has no CA certificates"
        } else if error.is_connect() {
            "no connection to the server"
        } else {
            "the connection broke off"
        };
        why.into()
    })
}
