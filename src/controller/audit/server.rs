//! A server that audit lines are posted to. Touches the network, and the files of the token and of whom to trust.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::{
    Client, Response,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use secrecy::ExposeSecret;

use super::{
    line::Line,
    sink::{AuditServer, Trouble},
};
use crate::{
    domain::ids,
    runtime::{
        http::{self, Cause},
        tls::{self, Trust},
    },
    secrets::file,
};

/// The deadline of one POST.
const DEADLINE: Duration = Duration::from_secs(10);
/// At most what a sink may ask us to wait.
const LONGEST: Duration = Duration::from_mins(5);

/// A server that is posted to.
pub(in crate::controller) struct LineServer {
    settings: AuditServer,
    /// By the authorities that it was made of.
    client: Mutex<Option<(Option<Vec<u8>>, Client)>>,
}

impl LineServer {
    /// Nothing is sent yet.
    pub(super) fn new(settings: AuditServer) -> Self {
        Self {
            settings,
            client: Mutex::default(),
        }
    }

    /// Posts them as one body, newline-delimited. The same lines have the same key, and the same body.
    pub(super) async fn post(&self, lines: &[&Line]) -> Result<(), Trouble> {
        let mut key = String::new();
        let mut body = String::new();
        for line in lines {
            key.push_str(&line.id);
            body.push_str(&line.for_a_sink());
        }
        let mut request = self
            .client()
            .await?
            .post(self.settings.url.clone())
            .header(CONTENT_TYPE, "application/x-ndjson")
            .header("idempotency-key", ids::sha256(key.as_bytes()));
        if let Some(path) = &self.settings.token {
            let token = file::read(path).await.map_err(Trouble::Token)?;
            let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
                .map_err(|_| {
                    Trouble::Token(file::FileError::Content {
                        path: path.display().to_string(),
                        what: "holds what no HTTP header can",
                    })
                })?;
            bearer.set_sensitive(true);
            request = request.header(AUTHORIZATION, bearer);
        }
        let sent = request.body(body).timeout(DEADLINE).send().await;
        let answer = sent.map_err(|error| Trouble::NoAnswer(http::cause(&error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        Err(Trouble::Answer {
            status,
            again: again(&answer),
        })
    }

    /// One that trusts whom the file says now.
    async fn client(&self) -> Result<Client, Trouble> {
        let unread = |error: &dyn std::error::Error| Trouble::Trust(error.to_string());
        let authorities = match &self.settings.authorities {
            Some(path) => {
                let read = tokio::fs::read(path).await;
                Some(read.map_err(|error| unread(&error))?)
            }
            None => None,
        };
        let mut known = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made_of, client)) = &*known
            && *made_of == authorities
        {
            return Ok(client.clone());
        }
        let trust = match &authorities {
            Some(pem) => Trust::from_pem(pem).map_err(|error| unread(&error))?,
            None => Trust::Machine,
        };
        let tls = tls::client(&trust, None).map_err(|error| unread(&error))?;
        let client = http::client()
            .tls_backend_preconfigured(tls)
            .build()
            .map_err(|_| Trouble::NoAnswer(Cause::Tls))?;
        *known = Some((authorities, client.clone()));
        Ok(client)
    }
}

fn again(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?;
    let asked = Duration::from_secs(seconds.parse().ok()?);
    Some(asked.min(LONGEST))
}
