//! What an answer proves: the only place that decides whether a start happened. Touches nothing.
//!
//! Pessimistic on purpose. A wrong `Unknown` costs minutes of waiting; a wrong `NotProcessed` or `Refused` may run a
//! deployment twice.

use std::time::Duration;

use super::{
    answer::{Answer, Trouble, Words},
    error::{GateError, Missing},
    model::Execution,
    text::clean,
};
use crate::api::bounds;

/// What Gate says of one execution.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// It is there.
    Found(Box<Execution>),
    /// Gate itself says that there is none: 404 with "Pipeline not found (id: …)" and our id. Nothing else is absence,
    /// and even this proves nothing while an abandoned start may still be on its way through Gate.
    Absent,
    /// We can't know.
    Unclear(GateError),
}

/// What came of sending a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// Spinnaker has it. The id is the one that Gate names: another than the one that was sent is an execution that
    /// already ran under our correlation id.
    Accepted {
        /// The execution that Gate refers to.
        execution_id: String,
    },
    /// Gate refuses it, and will again. Orca may have kept a record that ended at once under the id that was sent.
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why, for people.
        message: String,
    },
    /// It did not start anything; it may be sent again after the usual checks.
    NotProcessed {
        /// Why not.
        error: GateError,
        /// How long Gate asks us to wait.
        retry_after: Option<Duration>,
    },
    /// It may have started, it may still start.
    Unknown {
        /// What happened instead of an answer.
        error: GateError,
    },
}

/// What came of handing over an answer to a manual judgment. None of these says that it counts: an answer that Gate
/// acknowledged can be lost, so only the stage, read again a second later, tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handed {
    /// Gate acknowledged it.
    Done,
    /// It changed nothing.
    Refused(GateError),
    /// It may have been taken, it may still be.
    Unknown(GateError),
}

/// What came of `PATCH /pipelines/{id}/stages/{stage}`; the same table as for a start, with the execution itself as what
/// a good answer holds.
pub(super) fn judged(execution: &str, result: Result<Answer, Trouble>) -> Handed {
    let answer = match result {
        Ok(answer) => answer,
        Err(trouble) if trouble.proves_that_nothing_was_read() => {
            return Handed::Refused(trouble.into());
        }
        Err(trouble) => return Handed::Unknown(trouble.into()),
    };
    let is_it = |found: Execution| found.id == execution;
    if answer.is_ok() && Execution::decode(&answer.body).is_ok_and(is_it) {
        return Handed::Done;
    }
    let error = match refusal(&answer) {
        GateError::NotFound { .. } => GateError::NotFound {
            what: Missing::Execution(bounds::cut(execution, bounds::NAME)),
        },
        error => error,
    };
    let refused = answer.wants_login()
        || match (answer.status, answer.words()) {
            (400 | 403 | 404 | 405 | 415, Some(_)) | (413 | 429, _) => true,
            (503, Some(words)) => !words.are_handed_on(),
            _ => false,
        };
    if refused && !answer.repeats_credentials {
        Handed::Refused(error)
    } else {
        Handed::Unknown(error)
    }
}

/// What came of a start.
///
/// | answer | outcome |
/// |---|---|
/// | no connection, failed TLS handshake; a TLS alert in place of the answer that can only have ended the handshake | not processed |
/// | time-out after the connection stood, reset, any other TLS alert, too long an answer | unknown |
/// | 2xx with `{"ref": "/pipelines/<id>"}` | accepted |
/// | 200 with a login page; 302, 303, 307 to a login; 401; 429 | not processed |
/// | 400, 403, 404, 405, 415 in Gate's words; 413 | refused |
/// | 503 in Gate's words of its own | not processed |
/// | all but an accepted one that repeats our credentials | unknown |
/// | all else: proxies' pages above all, and a 500 that says Gate could not connect to Orca, since Gate's HTTP client may have tried before | unknown |
pub(super) fn sent(result: Result<Answer, Trouble>) -> Sent {
    let answer = match result {
        Ok(answer) => answer,
        Err(trouble) if trouble.proves_that_nothing_was_read() => {
            return not_processed(trouble.into());
        }
        Err(trouble) => {
            return Sent::Unknown {
                error: trouble.into(),
            };
        }
    };
    if answer.is_ok()
        && let Some(execution_id) = reference(&answer)
    {
        return Sent::Accepted { execution_id };
    }
    if answer.repeats_credentials {
        return Sent::Unknown {
            error: refusal(&answer),
        };
    }
    if answer.wants_login() {
        return not_processed(GateError::LoginRequired);
    }
    match (answer.status, answer.words()) {
        (400 | 403 | 404 | 405 | 415, Some(words)) => Sent::Refused {
            status: answer.status,
            message: clean(words.human_part()),
        },
        // Whoever says this has not read the body to its end.
        (413, _) => Sent::Refused {
            status: 413,
            message: "the pipeline's definition is longer than Gate, or a proxy before it, takes"
                .to_owned(),
        },
        (429, _) => not_processed(refusal(&answer)),
        // Handed on from a service behind Gate, which may have begun.
        (503, Some(words)) if !words.are_handed_on() => not_processed(refusal(&answer)),
        _ => Sent::Unknown {
            error: refusal(&answer),
        },
    }
}

fn not_processed(error: GateError) -> Sent {
    let retry_after = error.retry_after();
    Sent::NotProcessed { error, retry_after }
}

/// The id in `{"ref": "/pipelines/<id>"}`.
fn reference(answer: &Answer) -> Option<String> {
    let body = answer.json()?;
    let id = body.get("ref")?.as_str()?.strip_prefix("/pipelines/")?;
    let plain = !id.is_empty()
        && id.len() <= bounds::NAME
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    plain.then(|| id.to_owned())
}

/// What the answer to `GET /pipelines/{id}` proves.
pub(super) fn lookup(id: &str, result: Result<Answer, Trouble>) -> Lookup {
    let answer = match result {
        Ok(answer) => answer,
        Err(trouble) => return Lookup::Unclear(trouble.into()),
    };
    if answer.status == 404
        && answer.words().is_some_and(|words| {
            words
                .message
                .contains(&format!("Pipeline not found (id: {id})"))
        })
    {
        return Lookup::Absent;
    }
    match body(&answer) {
        Err(error) => Lookup::Unclear(error),
        Ok(body) => match Execution::decode(body) {
            Ok(execution) if execution.id == id => Lookup::Found(Box::new(execution)),
            Ok(_) => Lookup::Unclear(GateError::unclear(
                answer.status,
                "it is another execution than the one that was asked for",
            )),
            Err(detail) => Lookup::Unclear(GateError::unclear(answer.status, detail)),
        },
    }
}

/// The body of an answer that says 200 and means it.
pub(super) fn body(answer: &Answer) -> Result<&[u8], GateError> {
    if answer.status != 200 || answer.is_html() {
        return Err(refusal(answer));
    }
    if answer.is_empty() {
        // Gate swallows Orca's HTTP errors on some paths.
        return Err(GateError::unclear(
            200,
            "an empty body, behind which Gate hides an error of Orca",
        ));
    }
    Ok(&answer.body)
}

/// The error in an answer that isn't what was asked for.
pub(super) fn refusal(answer: &Answer) -> GateError {
    if answer.wants_login() {
        return GateError::LoginRequired;
    }
    let status = answer.status;
    if answer.repeats_credentials {
        return GateError::unclear(
            status,
            format!(
                "status {status}, and it repeats the connection's credentials, so that nothing of it is shown; whoever runs \
                 Gate finds out what there, or in a proxy before it, writes them into answers"
            ),
        );
    }
    match (status, answer.words()) {
        (400, None) if answer.is_about_a_client_certificate() => GateError::CertificateRefused {
            why: "it wants a client certificate, or does not take the one that it is shown",
        },
        (300..400, _) => GateError::unclear(
            status,
            "a redirect, which is not followed; the connection's gateUrl must be Gate's final address",
        ),
        (403, words) => GateError::Forbidden {
            message: words.as_ref().map_or_else(
                || "a proxy before Gate answered 403".to_owned(),
                |words| clean(words.human_part()),
            ),
        },
        (404, Some(_)) => GateError::NotFound {
            what: Missing::Unnamed,
        },
        (429, _) => GateError::RateLimited {
            retry_after: answer.retry_after,
        },
        (503, Some(words)) if !words.are_handed_on() => GateError::RateLimited {
            retry_after: answer.retry_after,
        },
        // Shed by Gate, or by a proxy; whether a start was processed is not decided here.
        (503, None) if answer.retry_after.is_some() => GateError::RateLimited {
            retry_after: answer.retry_after,
        },
        (500, Some(words)) if words.tell_of_no_connection() => GateError::BackendDown,
        (502..=504, None) => GateError::Unreachable {
            detail: format!("a proxy before it answered {status}"),
        },
        (_, Some(words)) => GateError::unclear(status, handed(status, &words)),
        (_, None) if answer.is_html() => GateError::unclear(
            status,
            format!("a page with status {status}, which is not from Gate"),
        ),
        (_, None) => GateError::unclear(
            status,
            format!("status {status} without a body that Gate would write"),
        ),
    }
}

fn handed(status: u16, words: &Words) -> String {
    clean(&format!("status {status}, {}", words.human_part()))
}

impl From<Trouble> for GateError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::NotConnected(detail) => Self::Unreachable {
                detail: detail.to_owned(),
            },
            Trouble::CertificateRefused { why, .. } => Self::CertificateRefused { why },
            Trouble::NoPermit => Self::Saturated,
            Trouble::TimedOut(after) => Self::TimedOut { after },
            Trouble::Broken => Self::Unreachable {
                detail: "the connection broke before the answer was complete".to_owned(),
            },
            Trouble::TooLong => Self::Unclear {
                status: None,
                detail: "the answer is longer than we read".to_owned(),
            },
        }
    }
}

#[cfg(test)]
#[path = "outcome_tests.rs"]
mod tests;
