//! HTTP as all our clients speak it: what they send, how much of an answer they read, why none came, and to which servers a
//! secret may go. Touches the network.

use std::{error::Error, io};

use reqwest::{
    Client, ClientBuilder, Response, Url,
    header::{ACCEPT, HeaderMap, HeaderValue, USER_AGENT},
};
use rustls::{AlertDescription, CertificateError};
use secrecy::zeroize::Zeroizing;

/// Why no connection came about, or why one broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The other side ended TLS, and says why.
    Alert(AlertDescription),
    /// Time ran out.
    Late,
    /// Its name can't be resolved.
    Name,
    /// Its certificate is not trusted.
    Untrusted(Distrust),
    /// TLS did not come about, or broke, for another reason.
    Tls,
    /// Nothing listens there.
    Refused,
    /// Anything else.
    Broken,
}

/// What is wrong with a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// It is from nobody whom we trust.
    Issuer,
    /// It has expired.
    Expired,
    /// It is not valid yet.
    NotYet,
    /// It is for another name.
    Name,
    /// It is revoked.
    Revoked,
    /// Anything else.
    Other,
}

/// Why there is no whole body.
#[derive(Debug)]
pub enum NoBody {
    /// The connection broke, or time ran out.
    Broken(reqwest::Error),
    /// It is longer than we read.
    TooLong,
}

/// A client that asks for JSON, follows no redirect (a secret goes nowhere else), tells nobody where it was before, and
/// sends nothing twice by itself.
pub fn client() -> ClientBuilder {
    let agent = concat!("foredeck/", env!("CARGO_PKG_VERSION"));
    Client::builder()
        .default_headers(HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("application/json")),
            (USER_AGENT, HeaderValue::from_static(agent)),
        ]))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
}

/// The body, at most so many bytes of it. It may hold a secret.
///
/// # Errors
/// [`NoBody`].
pub async fn body(mut response: Response, most: usize) -> Result<Zeroizing<Vec<u8>>, NoBody> {
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(NoBody::Broken)? {
        if body.len().saturating_add(chunk.len()) > most {
            return Err(NoBody::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What is behind an error. The library's own words name hosts and addresses.
pub fn cause(error: &reqwest::Error) -> Cause {
    let tls = causes(error).find_map(tls_error);
    match tls {
        Some(rustls::Error::AlertReceived(alert)) => Cause::Alert(*alert),
        _ if error.is_timeout() => Cause::Late,
        _ if error.is_dns() => Cause::Name,
        Some(rustls::Error::InvalidCertificate(problem)) => Cause::Untrusted(problem.into()),
        Some(_) => Cause::Tls,
        None if causes(error).any(is_refusal) => Cause::Refused,
        None => Cause::Broken,
    }
}

/// Whether a secret may go there: a server's address alone, with `https`, or with `http` on the loopback, where nobody
/// listens in.
pub fn is_safe_server(url: &Url) -> bool {
    let safe = match (url.scheme(), url.host_str()) {
        ("https", Some(host)) => !host.is_empty(),
        ("http", Some(host)) => matches!(host, "127.0.0.1" | "localhost" | "[::1]"),
        _ => false,
    };
    safe && matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none()
}

impl Distrust {
    /// In words for people, without a full stop.
    pub fn words(self) -> &'static str {
        match self {
            Self::Issuer => "its certificate is not trusted: it is from nobody whom we trust there",
            Self::Expired => "its certificate is not trusted: it has expired",
            Self::NotYet => "its certificate is not trusted: it is not valid yet",
            Self::Name => "its certificate is not trusted: it is for another name",
            Self::Revoked => "its certificate is not trusted: it is revoked",
            Self::Other => "its certificate is not trusted",
        }
    }
}

impl From<&CertificateError> for Distrust {
    fn from(problem: &CertificateError) -> Self {
        match problem {
            CertificateError::UnknownIssuer => Self::Issuer,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYet
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::Name
            }
            CertificateError::Revoked => Self::Revoked,
            _ => Self::Other,
        }
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

fn is_refusal(cause: &(dyn Error + 'static)) -> bool {
    cause
        .downcast_ref::<io::Error>()
        .is_some_and(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

/// The TLS library's error, which comes wrapped in I/O errors that don't name it as their source.
fn tls_error<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    cause.downcast_ref().or_else(|| {
        let inner: &(dyn Error + 'static) = cause.downcast_ref::<io::Error>()?.get_ref()?;
        tls_error(inner)
    })
}
