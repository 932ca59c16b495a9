//! TLS from PEM files, which are read again when they change: a new certificate needs no restart.
//!
//! Connections that are open keep the certificate they were opened with. HTTP/1.1 alone is offered.

use super::error::ServerError;
use super::files;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use tokio_rustls::TlsAcceptor;

/// Certificate chain and key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub certificates: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// The certificate that new connections get.
#[derive(Debug)]
pub struct Certificate {
    files: TlsFiles,
    /// Whether a key is taken that others may read or change.
    exposed: bool,
    current: RwLock<(Vec<u8>, Arc<CertifiedKey>)>,
}

impl Certificate {
    /// Reads the files; they must belong together. A key that others may read or change is taken where `exposed` says so.
    pub fn read(tls: &TlsFiles, exposed: bool) -> Result<Arc<Certificate>, ServerError> {
        let current = RwLock::new(load(tls, exposed)?);
        Ok(Arc::new(Certificate {
            files: tls.clone(),
            exposed,
            current,
        }))
    }

    /// Reads the files again; what cannot be used leaves the certificate as it was.
    pub fn refresh(&self) {
        match load(&self.files, self.exposed) {
            Ok(fresh) => {
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                if current.0 != fresh.0 {
                    tracing::info!("a new certificate is in use: {}", self.files.certificates.display());
                    *current = fresh;
                }
            }
            // chain and key are replaced one after the other: the next look finds them in step
            Err(error) => tracing::warn!("the certificate stays as it was: {}", causes::with_causes(&error)),
        }
    }

    /// What turns connections into TLS connections.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, ServerError> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| content(&self.files.certificates, &error))?;
        let resolver = Arc::clone(self) as Arc<dyn ResolvesServerCert>;
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current.1))
    }
}

/// The bytes of both files and what they hold.
fn load(tls: &TlsFiles, exposed: bool) -> Result<(Vec<u8>, Arc<CertifiedKey>), ServerError> {
    let mut bytes = files::read(&tls.certificates)?;
    let key_bytes = files::read_secret(&tls.key, exposed)?;
    let chain: Result<Vec<_>, _> = rustls_pemfile::certs(&mut bytes.as_slice()).collect();
    let chain = chain.map_err(|error| content(&tls.certificates, &error))?;
    if chain.is_empty() {
        return Err(content(&tls.certificates, &"it holds no certificate in PEM form"));
    }
    let key = rustls_pemfile::private_key(&mut key_bytes.as_slice())
        .map_err(|error| content(&tls.key, &error))?
        .ok_or_else(|| content(&tls.key, &"it holds no private key in PEM form"))?;
    let certified =
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| content(&tls.key, &error))?;
    bytes.extend_from_slice(&key_bytes);
    Ok((bytes, Arc::new(certified)))
}

fn content(path: &Path, reason: &dyn std::fmt::Display) -> ServerError {
    ServerError::Content {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
