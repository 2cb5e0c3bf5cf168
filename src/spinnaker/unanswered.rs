//! Why there is no answer, in fixed words, and whether the request can have been read. Touches nothing.
//!
//! A server that does not take our client certificate says so by a TLS alert. With TLS 1.2 that ends the handshake, and
//! nothing was sent. With TLS 1.3 a client has finished its part of the handshake before the server has seen the
//! certificate: the request is on its way already, and the alert comes in place of the answer.
//!
//! Such a request was not read. A server has no keys for what a client sends until the client's `Finished`, which comes
//! after the certificate (RFC 8446 §4.4, §4.6, §7.1); we send no early data; and a certificate can't be asked for later,
//! since rustls offers neither post-handshake authentication nor renegotiation. But only an alert that can mean nothing
//! else proves it: an expired or revoked certificate may also be what ends a connection that stood, with the request taken.

use std::{error::Error, io, time::Duration};

use rustls::{AlertDescription, CertificateError};

use super::answer::Trouble;

/// Nothing of an answer has come.
pub(super) fn before_an_answer(error: reqwest::Error, deadline: Duration) -> Trouble {
    let error = noted(error);
    let tls = cause_by_tls(&error);
    // First of all: a connection that timed out says both.
    if error.is_connect() {
        match tls {
            Some(rustls::Error::AlertReceived(alert)) => match certificate_refused(*alert) {
                Some((why, _)) => Trouble::CertificateRefused { why, unread: true },
                None => Trouble::NotConnected("the TLS handshake failed"),
            },
            _ => Trouble::NotConnected(why_no_connection(&error, tls)),
        }
    } else if error.is_builder() {
        Trouble::NotConnected("the request could not be made")
    } else if error.is_timeout() {
        Trouble::TimedOut(deadline)
    } else {
        let refused = match tls {
            Some(rustls::Error::AlertReceived(alert)) => certificate_refused(*alert),
            _ => None,
        };
        refused.map_or(Trouble::Broken, |(why, unread)| {
            Trouble::CertificateRefused { why, unread }
        })
    }
}

/// An answer had begun: the request was read, whatever happens to the connection.
pub(super) fn within_an_answer(error: reqwest::Error, deadline: Duration) -> Trouble {
    if noted(error).is_timeout() {
        Trouble::TimedOut(deadline)
    } else {
        Trouble::Broken
    }
}

fn noted(error: reqwest::Error) -> reqwest::Error {
    let error = error.without_url();
    tracing::debug!(
        error = &error as &(dyn Error + 'static),
        "no answer from Gate"
    );
    error
}

/// What an alert says of our certificate, and whether it can only have ended a handshake.
fn certificate_refused(alert: AlertDescription) -> Option<(&'static str, bool)> {
    Some(match alert {
        AlertDescription::CertificateRequired => ("it wants a client certificate", true),
        AlertDescription::BadCertificate | AlertDescription::UnsupportedCertificate => {
            ("it does not take the client certificate", true)
        }
        AlertDescription::UnknownCA => (
            "it does not trust whoever issued the client certificate",
            true,
        ),
        // Of what stands in a handshake alone. OpenSSL, webpki: an authority of that name, and its key did not sign this.
        AlertDescription::DecryptError => (
            "it can't verify the client certificate, as when its authority was made anew under the same name",
            true,
        ),
        AlertDescription::CertificateExpired => {
            ("it says that the client certificate has expired", false)
        }
        AlertDescription::CertificateRevoked => {
            ("it says that the client certificate is revoked", false)
        }
        // Java says this of a certificate that it doesn't trust.
        AlertDescription::CertificateUnknown | AlertDescription::AccessDenied => {
            ("it does not take the client certificate", false)
        }
        _ => return None,
    })
}

/// In fixed words: the library's own name hosts and addresses.
fn why_no_connection(error: &reqwest::Error, tls: Option<&rustls::Error>) -> &'static str {
    if error.is_timeout() {
        return "no connection within the deadline";
    }
    if error.is_dns() {
        return "its name can't be resolved";
    }
    match tls {
        Some(rustls::Error::InvalidCertificate(problem)) => return distrust(problem),
        Some(_) => return "the TLS handshake failed",
        None => {}
    }
    let refused = causes(error).any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
    });
    if refused {
        "the connection was refused"
    } else {
        "no connection came about"
    }
}

/// What is wrong with the server's certificate.
fn distrust(problem: &CertificateError) -> &'static str {
    match problem {
        CertificateError::UnknownIssuer => {
            "its certificate is not trusted: it is from nobody that spec.tls names, or that the controller's machine trusts where it names none"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate is not trusted: it has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not trusted: it is not valid yet"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is not trusted: it is for another name"
        }
        CertificateError::Revoked => "its certificate is not trusted: it is revoked",
        _ => "its certificate is not trusted",
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

fn cause_by_tls(error: &reqwest::Error) -> Option<&rustls::Error> {
    causes(error).find_map(tls)
}

/// The TLS library's error, which comes wrapped in I/O errors that don't name it as their source.
fn tls<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    cause.downcast_ref().or_else(|| {
        let inner: &(dyn Error + 'static) = cause.downcast_ref::<io::Error>()?.get_ref()?;
        tls(inner)
    })
}
