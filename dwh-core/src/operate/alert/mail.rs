//! Alerts by mail.

use super::message::Message;
use super::unsent::Unsent;
use crate::config::Secret;

/// A build without the feature `mail` says so.
#[cfg(not(feature = "mail"))]
pub(super) async fn send(_smtp: &Secret, _from: &str, _to: &[String], _message: &Message<'_>) -> Result<(), Unsent> {
    Err(Unsent::new("this program was built without the feature `mail`", "send it by `webhook` or `command`"))
}

#[cfg(feature = "mail")]
pub(super) use smtp::send;

#[cfg(feature = "mail")]
mod smtp {
    use gethostname::gethostname;
    use lettre::message::header::ContentType;
    use lettre::message::{Mailbox, MessageBuilder};
    use lettre::transport::smtp::authentication::Credentials;
    use lettre::transport::smtp::client::{Tls, TlsParameters};
    use lettre::transport::smtp::extension::ClientId;
    use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
    use percent_encoding::percent_decode_str;
    use reqwest::Url;
    use std::net::IpAddr;

    use super::{Message, Secret, Unsent};
    use crate::operate::alert::unsent::by_tls;

    /// Sends one mail to all; the error is the end of a sentence, without the address of the server.
    pub(in crate::operate::alert) async fn send(
        smtp: &Secret,
        from: &str,
        to: &[String],
        message: &Message<'_>,
    ) -> Result<(), Unsent> {
        let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|_| format!("`{text}` is no mail address"));
        let mut mail =
            MessageBuilder::new().from(mailbox(from)?).subject(&message.title).header(ContentType::TEXT_PLAIN);
        for address in to {
            mail = mail.to(mailbox(address)?);
        }
        let mail = mail.body(message.text.clone()).map_err(|_| "the mail cannot be written".to_owned())?;
        transport(smtp)?.send(mail).await.map(drop).map_err(|error| by_tls(&error).unwrap_or_else(|| said(&error)))
    }

    fn transport(smtp: &Secret) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
        let unusable = || "the address of the server cannot be used".to_owned();
        let url = Url::parse(smtp.expose()).map_err(|_| unusable())?;
        let host = url.host_str().ok_or_else(unusable)?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let wrapped = url.scheme() == "smtps";
        let clear = !wrapped && (url.query() == Some("tls=none") || is_here(&host));
        let parameters =
            || TlsParameters::new(host.clone()).map_err(|_| "this machine has no CA certificates".to_owned());
        let (tls, port) = match (wrapped, clear) {
            (true, _) => (Tls::Wrapper(parameters()?), 465),
            (_, true) => (Tls::None, 25),
            _ => (Tls::Required(parameters()?), 587),
        };
        let mut builder =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&host).port(url.port().unwrap_or(port)).tls(tls);
        if let Some(name) = gethostname().to_str().filter(|name| name.is_ascii() && !name.is_empty()) {
            builder = builder.hello_name(ClientId::Domain(name.to_owned()));
        }
        if let Some(password) = url.password() {
            let plain = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
            builder = builder.credentials(Credentials::new(plain(url.username()), plain(password)));
        }
        Ok(builder.build())
    }

    /// Whether nobody is between us and the server.
    fn is_here(host: &str) -> bool {
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// What happened, in our own words.
    fn said(error: &lettre::transport::smtp::Error) -> Unsent {
        match error.status() {
            Some(code) => format!("the server answered {code}").into(),
            None if error.is_timeout() => "the server does not answer".into(),
            None if error.is_response() => "the server answers what is no SMTP".into(),
            // The library's fixed words are all that tells them apart.
            None if error.is_client() && error.to_string().contains("STARTTLS") => Unsent::new(
                "the server does not offer STARTTLS, so neither password nor mail went to it",
                "take `smtps://…` if it speaks TLS from the first byte; on a network that you trust, `smtp://…?tls=none` \
                 sends password and mail in the clear",
            ),
            None if error.is_client() => "the server lacks a way to sign in that we know: PLAIN or LOGIN".into(),
            None => "no connection to the server, or it broke off".into(),
        }
    }
}
