//! TLS to Postgres with libpq's meanings: `require` encrypts, `verify-ca` checks who signed, `verify-full` the name too.

use crate::error::SinkError;
use crate::target::{Root, SslMode, Target};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// The connector for a target; its mode decides what is checked. Files that are named are read in every mode, so that
/// one that cannot be is found out at the start.
pub(crate) fn connector(target: &Target) -> Result<MakeRustlsConnect, SinkError> {
    let provider = Arc::new(ring::default_provider());
    let failed = |source: rustls::Error| SinkError::Tls { source: source.into() };
    let named = match &target.root {
        Some(Root::File(file)) => Some(roots_of(file)?),
        Some(Root::System) | None => None,
    };
    let roots = || named.clone().map_or_else(system_roots, Ok);
    let check = match target.mode {
        SslMode::Disable | SslMode::Prefer | SslMode::Require => Check::Nothing,
        SslMode::VerifyCa => Check::Signer(roots()?),
        SslMode::VerifyFull => {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots()?), provider.clone())
                .build()
                .map_err(|source| SinkError::Tls { source: source.into() })?;
            Check::All(verifier)
        }
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { check, provider }));
    let config = match &target.client {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let (chain, key) = (chain_of(&files.certificate)?, key_of(&files.key)?);
            let unfit = |source: rustls::Error| SinkError::TlsFile {
                file: files.certificate.clone(),
                key: Some(files.key.clone()),
                source: source.into(),
            };
            builder.with_client_auth_cert(chain, key).map_err(unfit)?
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

fn unusable(file: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SinkError {
    SinkError::TlsFile {
        file: file.to_owned(),
        key: None,
        source: source.into(),
    }
}

/// The longest file of certificates that is read: the system's own have about 250 KB.
const LONGEST_FILE: u64 = 16 << 20;

fn read(file: &Path) -> Result<Vec<u8>, SinkError> {
    let failed = |error: std::io::Error| unusable(file, error);
    let mut pem = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "what is read is limited by `take`")]
    let length = File::open(file)
        .and_then(|opened| opened.take(LONGEST_FILE + 1).read_to_end(&mut pem))
        .map_err(failed)?;
    if length as u64 > LONGEST_FILE {
        Err(unusable(file, format!("longer than {LONGEST_FILE} bytes")))
    } else {
        Ok(pem)
    }
}

fn chain_of(file: &Path) -> Result<Vec<CertificateDer<'static>>, SinkError> {
    let pem = read(file)?;
    let chain: Result<Vec<_>, _> = rustls_pemfile::certs(&mut pem.as_slice()).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(unusable(file, "no certificate in it")),
        Ok(chain) => Ok(chain),
        Err(error) => Err(unusable(file, error)),
    }
}

fn key_of(file: &Path) -> Result<PrivateKeyDer<'static>, SinkError> {
    let pem = read(file)?;
    match rustls_pemfile::private_key(&mut pem.as_slice()) {
        Ok(Some(key)) => Ok(key),
        Ok(None) if pem.windows(9).any(|window| window == b"ENCRYPTED") => {
            let hint = "the key is encrypted, which is not supported; openssl pkey writes it without a passphrase";
            Err(unusable(file, hint))
        }
        Ok(None) => Err(unusable(file, "no private key in it")),
        Err(error) => Err(unusable(file, error)),
    }
}

fn roots_of(file: &Path) -> Result<RootCertStore, SinkError> {
    let mut store = RootCertStore::empty();
    for certificate in chain_of(file)? {
        store.add(certificate).map_err(|error| unusable(file, error))?;
    }
    Ok(store)
}

fn system_roots() -> Result<RootCertStore, SinkError> {
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        Err(SinkError::NoSystemRoots)
    } else {
        Ok(store)
    }
}

#[derive(Debug)]
enum Check {
    Nothing,
    Signer(RootCertStore),
    All(Arc<WebPkiServerVerifier>),
}

#[derive(Debug)]
struct Verifier {
    check: Check,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.check {
            Check::Nothing => Ok(ServerCertVerified::assertion()),
            Check::Signer(roots) => {
                let certificate = ParsedCertificate::try_from(end_entity)?;
                let algorithms = self.provider.signature_verification_algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, algorithms)?;
                Ok(ServerCertVerified::assertion())
            }
            Check::All(inner) => inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
