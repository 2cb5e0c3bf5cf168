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

use std::time::Duration;

use rustls::AlertDescription;

use super::answer::Trouble;
use crate::runtime::{
    http::{self, Cause, Distrust},
    telemetry,
};

/// Nothing of an answer has come.
pub(super) fn before_an_answer(error: reqwest::Error, deadline: Duration) -> Trouble {
    let error = noted(error);
    let cause = http::cause(&error);
    let refused = match cause {
        Cause::Alert(alert) => certificate_refused(alert),
        _ => None,
    };
    // First of all: a connection that timed out says both.
    if error.is_connect() {
        match refused {
            Some((why, _)) => Trouble::CertificateRefused { why, unread: true },
            None => Trouble::NotConnected(why_no_connection(cause)),
        }
    } else if error.is_builder() {
        Trouble::NotConnected("the request could not be made")
    } else if error.is_timeout() {
        Trouble::TimedOut(deadline)
    } else {
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
        error = %telemetry::chain(&error),
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
        // A signature that isn't right: of another authority by the name of one that it trusts. This alert tells of a step of
        // the handshake and of nothing later (RFC 8446 §6.2).
        AlertDescription::DecryptError => (
            "it does not trust whoever issued the client certificate, and may trust another authority of that name",
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

/// In fixed words.
fn why_no_connection(cause: Cause) -> &'static str {
    match cause {
        Cause::Late => "no connection within the deadline",
        Cause::Name => "its name can't be resolved",
        Cause::Untrusted(Distrust::Issuer) => {
            "its certificate is not trusted: it is from nobody that spec.tls names, or that the controller's machine trusts where it names none"
        }
        Cause::Untrusted(distrust) => distrust.words(),
        Cause::Alert(_) | Cause::Tls => "the TLS handshake failed",
        Cause::Refused => "the connection was refused",
        Cause::Broken => "no connection came about",
    }
}
