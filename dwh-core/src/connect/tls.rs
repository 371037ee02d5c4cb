//! TLS by rustls: what is verified of the server's certificate, and which certificate is shown to it.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::SslMode;
use super::settings::Settings;
use crate::config::Environment;
use crate::error::{Error, ErrorKind, Result};

/// Lowest TLS versions that may be asked for; below 1.2 none is spoken.
const VERSIONS: [(&str, &[&SupportedProtocolVersion]); 4] = [
    ("TLSv1", rustls::ALL_VERSIONS),
    ("TLSv1.1", rustls::ALL_VERSIONS),
    ("TLSv1.2", rustls::ALL_VERSIONS),
    ("TLSv1.3", &[&rustls::version::TLS13]),
];

/// The connector for a mode with TLS.
///
/// # Errors
/// `Config` if a certificate file cannot be used.
pub(super) fn connector(mode: SslMode, settings: &Settings, environment: &Environment) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(ring::default_provider());
    let roots = match mode {
        SslMode::Disable | SslMode::Require => None,
        SslMode::VerifyCa | SslMode::VerifyFull => Some(Roots::load(settings, environment)?),
    };
    let verifier = Verifier { roots, names: mode == SslMode::VerifyFull, provider: Arc::clone(&provider) };
    let versions = settings.word("ssl_min_protocol_version", &VERSIONS)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions.unwrap_or(rustls::ALL_VERSIONS))
        .map_err(|error| Error::new(ErrorKind::Internal, "TLS cannot be set up").with_source(error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match (settings.path("sslcert"), settings.path("sslkey")) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let chain = certificates(&certificate)?;
            private(&key)?;
            let shown =
                PrivateKeyDer::from_pem_file(&key).map_err(|_| unusable(&key, "has no unencrypted private key"))?;
            builder
                .with_client_auth_cert(chain, shown)
                .map_err(|error| unusable(&key, "cannot be used").with_source(error))?
        }
        _ => return Err(Error::new(ErrorKind::Config, "`sslcert` and `sslkey` of the connection go together")),
    };
    if settings.get("sslnegotiation") == Some("direct") {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(MakeRustlsConnect::new(config))
}

fn unusable(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("`{}` {what}", path.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match found {
        Ok(found) if found.is_empty() => Err(unusable(path, "has no certificate in PEM form")),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(path, "cannot be read as certificates in PEM form").with_source(error)),
    }
}

/// As libpq: a key is its owner's alone, or root's with its group.
fn private(key: &Path) -> Result<()> {
    let metadata = fs::metadata(key).map_err(|error| unusable(key, "cannot be read").with_source(error))?;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.permissions().mode() & forbidden != 0 {
        return Err(
            unusable(key, "may be read by others than its owner").with_hint(format!("chmod 600 {}", key.display()))
        );
    }
    Ok(())
}

/// Which certificates are trusted.
#[derive(Debug)]
struct Roots {
    store: RootCertStore,
    /// Those that were named in a file: each is trusted as the server's own, too.
    named: Vec<CertificateDer<'static>>,
}

impl Roots {
    fn load(settings: &Settings, environment: &Environment) -> Result<Self> {
        let named = match settings.path("sslrootcert") {
            Some(path) if path.as_os_str() != "system" => certificates(&path)?,
            _ => return Ok(Self { store: system(environment)?, named: Vec::new() }),
        };
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(named.iter().cloned());
        Ok(Self { store, named })
    }
}

/// The machine's own, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
fn system(environment: &Environment) -> Result<RootCertStore> {
    let [file, folder] = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(|name| environment.get(name).map(PathBuf::from));
    let found = if file.is_some() || folder.is_some() {
        rustls_native_certs::load_certs_from_paths(file.as_deref(), folder.as_deref())
    } else {
        rustls_native_certs::load_native_certs()
    };
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        return Err(Error::new(ErrorKind::Config, "this machine has no CA certificates to verify the server with")
            .with_hint("install the package `ca-certificates`, or name a file with `sslrootcert`"));
    }
    Ok(store)
}

/// Verifies nothing (`require`), the chain (`verify-ca`), or the chain and the host's name (`verify-full`).
#[derive(Debug)]
struct Verifier {
    roots: Option<Roots>,
    names: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(roots) = &self.roots else { return Ok(ServerCertVerified::assertion()) };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let chain = rustls::client::verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &roots.store,
            intermediates,
            now,
            algorithms,
        );
        match chain {
            Ok(()) => {}
            // A self-signed certificate is its own CA. rustls says so only after it found it to be within its dates.
            Err(error) if is_own_ca(&error) && roots.named.iter().any(|named| named == end_entity) => {}
            Err(error) if is_own_ca(&error) => return Err(CertificateError::UnknownIssuer.into()),
            Err(error) => return Err(error),
        }
        if self.names {
            rustls::client::verify_server_name(&parsed, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn is_own_ca(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(inner)) if inner.to_string().contains("CaUsedAsEndEntity"))
}
