//! The list of all commits that a plan or a live message shows some of. Touches Slack and the hosts of repositories.
//!
//! A button's value proves nothing. Whoever presses is judged anew, by what they may see, and an application that they
//! may not see is answered as if it were absent: its repository is asked nothing.

use tokio::time::Instant;

use super::{
    Receiver,
    answer::commits::{self, All, MOST},
    occasion::{Answer, Occasion, Trouble},
    plan::asked,
    repository::Asker,
};
use crate::{
    api::{Application, version::Repository},
    domain::repository,
    runtime::telemetry,
    slack::{actions::Span, client::ViewRef, inbound::OpenView, view::View},
};

/// How long an open list waits for its commits: several pages of several seconds.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

impl Receiver {
    /// Somebody wants to see all commits, or another page of them.
    pub(super) async fn commits_pressed(
        &self,
        occasion: &Occasion,
        value: &str,
        open: Option<&OpenView>,
    ) -> Result<Answer, Trouble> {
        let Some(span) = Span::read(value) else {
            return Ok(Answer::Nothing);
        };
        let sight = self.sight(occasion).await?;
        let found = sight.get::<Application>(&span.namespace, &span.application);
        let Some(application) = found else {
            return Ok(Answer::Say(commits::no_application(&span.application)));
        };
        let Some(repository) = application.spec.repository.clone() else {
            return Ok(Answer::Say(commits::no_repository(&span.application)));
        };
        let view = match (open, &occasion.trigger) {
            (Some(open), _) => open.id.clone(),
            (None, Some(trigger)) => {
                let opened = self
                    .voice
                    .slack
                    .open_view(trigger, &commits::asking(&span))
                    .await;
                match opened {
                    Ok(opened) => opened.id,
                    Err(error) => {
                        tracing::warn!(error = %telemetry::chain(&error), "a list of commits can't be opened");
                        return Ok(Answer::Say(commits::not_opened()));
                    }
                }
            }
            (None, None) => return Ok(Answer::Say(commits::not_opened())),
        };
        let (asker, voice) = (self.git.clone(), self.voice.clone());
        // Nobody waits: the modal is there, and says that it asks.
        self.later.spawn(async move {
            let list = listed(&asker, &application, &repository, &span).await;
            let shown = voice.slack.update_view(ViewRef::Id(&view), None, &list);
            if let Err(error) = shown.await {
                tracing::warn!(error = %telemetry::chain(&error), reason = error.reason(), "a list of commits can't be shown");
            }
        });
        Ok(Answer::Nothing)
    }
}

async fn listed(asker: &Asker, application: &Application, at: &Repository, span: &Span) -> View {
    let by = Instant::now() + PATIENCE;
    let between = match asker.host(application, at, by).await {
        Ok(host) => {
            let ends = (span.base.clone(), span.head.clone());
            asker.between(&host, at, ends, MOST, by).await
        }
        Err(error) => Err(error),
    };
    match between {
        Ok(comparison) => {
            let difference = asked::listed(&span.base, &comparison);
            commits::all(
                span,
                &All {
                    difference: &difference,
                    page: &repository::page(at),
                    cut: !comparison.complete,
                },
            )
        }
        Err(error) => commits::unknown(span, &format!("{error}.")),
    }
}
