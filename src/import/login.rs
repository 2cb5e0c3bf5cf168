//! A connection's Gate, spoken to as the connection says, with the rights of whoever asks. Touches the API server: the
//! connection and the Secrets that it names.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use reqwest::Url;
use secrecy::SecretString;

use crate::{
    api::{
        SpinnakerConnection,
        conditions::{self, ConditionType},
        connection::{Auth, Trust as WrittenTrust},
    },
    domain::hosts::{self, HostPattern},
    runtime::{
        telemetry::chain,
        tls::{ClientCertificate, Trust},
    },
    spinnaker::{Credentials, GateLogin, GateSettings, Rate},
};

/// Of one call of the API server.
const DEADLINE: Duration = Duration::from_secs(15);

/// Why a connection's Gate can't be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The API server doesn't show something.
    #[error("the API server doesn't show {what}: {why}")]
    Unseen {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// A Secret isn't what the connection takes it for.
    #[error("the Secret {name:?} {what}")]
    Secret {
        /// Which.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// Whoever may write a connection could otherwise have Secrets sent anywhere.
    #[error(
        "the controller hasn't found this connection ready as it is now, so nobody says that its Gate ({host}) is one: wait until \
         it is ready, or allow the host with --allow-gate-host"
    )]
    Unvouched {
        /// Its host.
        host: String,
    },
    /// Its certificate comes from Vault, for the controller alone.
    #[error(
        "this connection logs in with certificates that Vault issues to the controller: log in yourself, with --gate-url and a \
         token or a certificate of your own"
    )]
    Vault,
    /// Its address, login or trust can't be used.
    #[error("the connection can't be used: {0}")]
    Unusable(String),
}

impl LoginError {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unseen { .. } => "unseen",
            Self::Secret { .. } => "secret",
            Self::Unvouched { .. } => "unvouched",
            Self::Vault => "vault",
            Self::Unusable(_) => "unusable",
        }
    }
}

/// How to speak to the Gate of a connection.
///
/// # Errors
/// [`LoginError`].
pub async fn settings(
    client: &Client,
    namespace: &str,
    name: &str,
    allowed: &[HostPattern],
) -> Result<GateSettings, LoginError> {
    let api: Api<SpinnakerConnection> = Api::namespaced(client.clone(), namespace);
    let what = format!("the SpinnakerConnection {namespace}/{name}");
    let connection = seen(what, api.get(name)).await?;
    let spec = &connection.spec;
    let unusable = |why: &dyn ToString| LoginError::Unusable(why.to_string());
    let url = Url::parse(&spec.gate_url).map_err(|error| unusable(&error))?;
    vouched(&connection, &url, allowed)?;
    let secrets = Secrets {
        api: Api::namespaced(client.clone(), namespace),
    };
    let trust = match &spec.tls {
        None => Trust::Machine,
        Some(tls) => secrets.trust(tls).await?,
    };
    let credentials = match &spec.auth {
        None => Credentials::None,
        Some(auth) => secrets.credentials(auth).await?,
    };
    let login = GateLogin::new(&credentials, &trust).map_err(|error| unusable(&error))?;
    let mut settings = GateSettings::fixed(url, login);
    if let Some(request) = spec.timeouts.request.as_ref().and_then(positive) {
        settings.request_deadline = request;
    }
    if let Some(connect) = spec.timeouts.connect.as_ref().and_then(positive) {
        settings.connect_deadline = connect;
    }
    settings.rate = spec.rate_limit.as_ref().and_then(|limit| {
        let per_second = NonZeroU32::new(limit.per_second)?;
        let burst = limit.burst.and_then(NonZeroU32::new).unwrap_or(per_second);
        Some(Rate { per_second, burst })
    });
    Ok(settings)
}

fn positive(duration: &kube::core::Duration) -> Option<Duration> {
    Some(Duration::from(*duration)).filter(|duration| !duration.is_zero())
}

/// Either the controller, which knows its hosts, has spoken to it as it is now; or whoever asks says that it is one.
fn vouched(
    connection: &SpinnakerConnection,
    url: &Url,
    allowed: &[HostPattern],
) -> Result<(), LoginError> {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    let status = connection.status.as_ref();
    let ready = status.is_some_and(|status| {
        status.observed_generation == connection.metadata.generation
            && conditions::find(&status.conditions, ConditionType::Ready)
                .is_some_and(|ready| ready.status == "True")
    });
    if ready || hosts::allow(allowed, host, port) {
        return Ok(());
    }
    Err(LoginError::Unvouched {
        host: format!("{host}:{port}"),
    })
}

struct Secrets {
    api: Api<Secret>,
}

impl Secrets {
    /// A text of one.
    async fn text(&self, name: &str, key: &str) -> Result<SecretString, LoginError> {
        let secret = seen(format!("the Secret {name:?}"), self.api.get(name)).await?;
        let wrong = |what: String| LoginError::Secret {
            name: name.to_owned(),
            what,
        };
        let data = secret.data.unwrap_or_default();
        let value = data
            .get(key)
            .ok_or_else(|| wrong(format!("has no key {key:?}")))?;
        let text = std::str::from_utf8(&value.0)
            .map_err(|_| wrong(format!("holds no text under {key:?}")))?;
        Ok(SecretString::from(text.trim_end_matches(['\r', '\n'])))
    }

    async fn trust(&self, tls: &WrittenTrust) -> Result<Trust, LoginError> {
        use secrecy::ExposeSecret;
        let pem = match (&tls.ca_bundle, &tls.ca_secret_ref) {
            (Some(bundle), _) => SecretString::from(bundle.as_str()),
            (None, Some(reference)) => self.text(&reference.name, &reference.key).await?,
            (None, None) => return Ok(Trust::Machine),
        };
        Trust::from_pem(pem.expose_secret().as_bytes())
            .map_err(|error| LoginError::Unusable(error.to_string()))
    }

    async fn credentials(&self, auth: &Auth) -> Result<Credentials, LoginError> {
        use secrecy::ExposeSecret;
        if let Some(basic) = &auth.basic {
            let username = self.text(&basic.secret_name, "username").await?;
            return Ok(Credentials::Basic {
                username: username.expose_secret().to_owned(),
                password: self.text(&basic.secret_name, "password").await?,
            });
        }
        if let Some(token) = &auth.token {
            return Ok(Credentials::Token {
                header: token.header.clone(),
                value: self.text(&token.secret_name, &token.key).await?,
            });
        }
        let Some(mtls) = &auth.mtls else {
            return Ok(Credentials::None);
        };
        let Some(name) = &mtls.secret_name else {
            return Err(LoginError::Vault);
        };
        let chain = self.text(name, "tls.crt").await?;
        let key = self.text(name, "tls.key").await?;
        let certificate = ClientCertificate::from_pem(chain.expose_secret().as_bytes(), &key)
            .map_err(|_| LoginError::Secret {
                name: name.clone(),
                what: "holds no certificate with its key under \"tls.crt\" and \"tls.key\""
                    .to_owned(),
            })?;
        Ok(Credentials::Certificate(Arc::new(certificate)))
    }
}

async fn seen<T>(
    what: String,
    reading: impl Future<Output = kube::Result<T>>,
) -> Result<T, LoginError> {
    match tokio::time::timeout(DEADLINE, reading).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(LoginError::Unseen {
            what,
            why: chain(&error),
        }),
        Err(_) => Err(LoginError::Unseen {
            what,
            why: format!("no answer within {} s", DEADLINE.as_secs()),
        }),
    }
}
