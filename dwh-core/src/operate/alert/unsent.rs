//! Why an alert was not sent, and what helps. No host and no person is named: the words of servers and of TLS do.

use std::error::Error as StdError;

use crate::connect::of_tls;

/// The end of a sentence, and what to do before the alert is tried again.
pub(super) struct Unsent {
    pub(super) why: String,
    pub(super) hint: &'static str,
}

impl Unsent {
    pub(super) fn new(why: &str, hint: &'static str) -> Self {
        Self { why: why.to_owned(), hint }
    }
}

impl From<String> for Unsent {
    fn from(why: String) -> Self {
        Self { why, hint: "mend it in `dwh.toml` or at the other end" }
    }
}

impl From<&str> for Unsent {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

/// What TLS did not accept, if that is what kept it from being sent.
pub(super) fn by_tls(error: &(dyn StdError + 'static)) -> Option<Unsent> {
    use rustls::CertificateError as Bad;
    use rustls::Error as Tls;
    let (why, hint) = match of_tls(error)? {
        Tls::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            ("the server's certificate has expired", "have the server's certificate renewed")
        }
        Tls::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            ("the server's certificate is not valid yet", "compare this machine's clock with the server's")
        }
        Tls::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => (
            "the server's certificate is for another host",
            "write the name of the server that stands in its certificate, or have that made again with this name",
        ),
        Tls::InvalidCertificate(_) => (
            "the server's certificate is from a CA that is not trusted",
            "add the CA's certificate to those of this machine, or set the environment variable `SSL_CERT_FILE` to a PEM \
             file that has it beside the others; if it has it, somebody else may be answering",
        ),
        Tls::InvalidMessage(_) => (
            "the server does not begin with TLS at this port",
            "correct the port; a mail server with STARTTLS is written `smtp://`, one with TLS from the first byte `smtps://`",
        ),
        _ => (
            "the server and this machine agree on no TLS",
            "see that the server offers TLS 1.2 or 1.3, and asks for no certificate of ours",
        ),
    };
    Some(Unsent::new(why, hint))
}
