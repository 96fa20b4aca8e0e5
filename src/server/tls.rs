//! TLS with certificate and key from files, which can be reloaded.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsAcceptor, TlsConnector, client,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    },
};

use crate::settings::{Live, TlsFiles};

/// The certificate in force.
#[derive(Clone)]
pub struct Tls(Live<ServerConfig>);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When they cannot be read, or the key is not the certificate's.
    pub fn load(files: &TlsFiles) -> anyhow::Result<Self> {
        Ok(Self(Live::new(read(files)?)))
    }

    /// Reads the files again, for new connections. Open ones keep their configuration.
    ///
    /// # Errors
    /// As [`Tls::load`]; the certificate in force stays.
    pub fn reload(&self, files: &TlsFiles) -> anyhow::Result<()> {
        self.0.set(read(files)?);
        Ok(())
    }

    /// The configuration for a new connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.0.get().into()
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(…)")
    }
}

/// The certificates of a file, the server's own first.
///
/// # Errors
/// When there is none.
fn certificates(files: &TlsFiles) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let path = files.certificate.display();
    let certificates: Vec<_> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("CERTFILE names {path}, which cannot be read"))?;
    anyhow::ensure!(
        !certificates.is_empty(),
        "CERTFILE names {path}, which holds no certificate"
    );
    Ok(certificates)
}

fn read(files: &TlsFiles) -> anyhow::Result<ServerConfig> {
    let key = PrivateKeyDer::from_pem_file(&files.key).with_context(|| {
        format!(
            "KEYFILE names {}, which holds no key that can be read without a password",
            files.key.display()
        )
    })?;
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates(files)?, key)
            .with_context(|| {
                let (certificate, key) = (files.certificate.display(), files.key.display());
                format!("{certificate} and {key} do not belong together")
            })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Connects with TLS for a health check, without verifying the certificate: nothing secret is sent.
///
/// # Errors
/// When the handshake fails.
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
) -> anyhow::Result<client::TlsStream<S>> {
    let provider = Arc::new(crypto::ring::default_provider());
    let verifier = AnyCertificate(provider.signature_verification_algorithms);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost")?;
    Ok(TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?)
}

/// Accepts every certificate.
#[derive(Debug)]
struct AnyCertificate(crypto::WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
