//! Alerts by mail.

use super::message::Message;
use crate::config::Secret;

/// A build without the feature `mail` says so.
#[cfg(not(feature = "mail"))]
pub(super) async fn send(_smtp: &Secret, _from: &str, _to: &[String], _message: &Message<'_>) -> Result<(), String> {
    Err("this program was built without the feature `mail`".to_owned())
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

    use super::{Message, Secret};

    /// Sends one mail to all; the error is the end of a sentence, without the address of the server.
    pub(in crate::operate::alert) async fn send(
        smtp: &Secret,
        from: &str,
        to: &[String],
        message: &Message<'_>,
    ) -> Result<(), String> {
        let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|_| format!("`{text}` is no mail address"));
        let mut mail =
            MessageBuilder::new().from(mailbox(from)?).subject(&message.title).header(ContentType::TEXT_PLAIN);
        for address in to {
            mail = mail.to(mailbox(address)?);
        }
        let mail = mail.body(message.text.clone()).map_err(|_| "the mail cannot be written".to_owned())?;
        transport(smtp)?.send(mail).await.map(drop).map_err(|error| said(&error))
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

    /// What happened, in our own words: those of servers and of TLS name hosts and people.
    fn said(error: &lettre::transport::smtp::Error) -> String {
        match error.status() {
            Some(code) => format!("the server answered {code}"),
            None if error.is_tls() => "the server's certificate is not trusted, or it speaks no TLS".to_owned(),
            None if error.is_timeout() => "the server does not answer".to_owned(),
            None if error.is_response() => "the server answers what is no SMTP".to_owned(),
            None if error.is_client() => {
                "the server lacks what is asked of it: STARTTLS, or a way to sign in".to_owned()
            }
            None => "no connection to the server, or it broke off".to_owned(),
        }
    }
}
