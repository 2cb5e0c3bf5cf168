//! A look at an Application: which pipeline each action finds in each Environment, and what it takes; and whether its
//! repository can be read. Touches Gate (one list per connection, and a few single reads of what is not in it), and the
//! repository's host (one question).

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::{Configured, Found, Judged, judged};
use crate::{
    api::{
        Application, SpinnakerConnection, application::ApplicationStatus, bounds,
        conditions::Reason,
    },
    controller::{
        connections::{Gate, refusal},
        context::Context,
        dereference::described,
    },
    domain::{
        connection, fitting,
        readiness::{self, Wanted},
        refusal::Refusal,
        resolve::{self, Configuration, Pipeline},
    },
    spinnaker::{GateError, Missing},
};

/// Pipelines that are not in the list and are asked for singly, in one look: an id of another Spinnaker application is
/// found so. More are a mistake of another kind.
const SINGLES: usize = 10;

impl Configured for Application {
    type Status = ApplicationStatus;
    const DOING: &'static str = "write an Application's status";

    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], Self::conditions_of)
    }

    fn conditions_of(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }

    async fn depends_on(&self, context: &Context) -> String {
        let all = environments(context, self).await;
        all.iter().map(Judged::digest).collect::<Vec<_>>().join(" ")
    }

    async fn look(&self, context: &Context) -> Found<Self::Status> {
        let mut status = self.status.clone().unwrap_or_default();
        let mut lists = Lists {
            context,
            application: self,
            known: HashMap::new(),
            singles: 0,
        };
        let mut all = Vec::new();
        let environments = environments(context, self).await;
        for (name, action) in &self.spec.actions {
            for judged in &environments {
                let environment = &judged.environment;
                let wanted = readiness::wanted(self, environment, (name, action));
                let found = match (&wanted, &judged.verdict) {
                    (Ok(Wanted::Named(name)), Ok(())) => lists.find(judged, name).await.map(Some),
                    (_, verdict) => verdict.clone().map(|()| None),
                };
                let known = status.pipelines.iter().find(|known| {
                    known.action == *name && known.environment == environment.name_any()
                });
                all.push(readiness::describe(
                    (self, environment),
                    (name, action),
                    &wanted,
                    &found,
                    known,
                ));
            }
        }
        let troubles = all.iter().filter_map(|one| one.trouble.as_ref());
        let retry_after = troubles.filter_map(|trouble| trouble.retry_after).max();
        let generation = self.metadata.generation;
        readiness::application(&all)
            .noting(repository(self, context).await)
            .set(&mut status.conditions, generation, Timestamp::now());
        status.observed_generation = generation;
        status.pipelines = fitting::fitted(all.into_iter().map(|one| one.shown).collect());
        Found {
            status,
            retry_after,
            changes_at: None,
        }
    }
}

/// What is wrong with its repository, by one question: everything works without it, minus commits, so that it keeps nobody
/// from deploying.
async fn repository(application: &Application, context: &Context) -> Option<String> {
    let repository = application.spec.repository.as_ref()?;
    let namespace = application.namespace().unwrap_or_default();
    let asked = async {
        let host = context.git.of(&namespace, repository).await?;
        host.described().await
    };
    let asked = asked
        .await
        .map(|described| described.archived)
        .map_err(|error| error.to_string());
    let asked = asked.as_ref().map(|archived| *archived);
    readiness::repository(&repository.github, asked.map_err(String::as_str))
}

/// The Environments of its namespace, by name.
async fn environments(context: &Context, application: &Application) -> Vec<Judged> {
    let namespace = application.namespace();
    let environments = context
        .caches
        .environments
        .filter(|environment| environment.namespace() == namespace);
    let mut all = Vec::with_capacity(environments.len());
    for environment in environments
        .iter()
        .filter_map(|object| object.0.as_ref().ok())
    {
        all.push(judged(context, environment.clone()).await);
    }
    all.sort_by_key(|judged| judged.environment.name_any());
    all
}

/// What each Gate lists for one Application, asked for once a look.
struct Lists<'a> {
    context: &'a Context,
    application: &'a Application,
    /// By connection.
    known: HashMap<String, Result<List, Refusal>>,
    singles: usize,
}

#[derive(Clone)]
struct List {
    gate: Gate,
    listed: Arc<[Pipeline]>,
}

impl Lists<'_> {
    /// The pipeline of that name, else of that id, through the connection of an Environment.
    async fn find(
        &mut self,
        judged: &Judged,
        wanted: &str,
    ) -> Result<(SpinnakerConnection, Pipeline), Refusal> {
        let environment = &judged.environment;
        let name = &environment.spec.connection;
        let connection = judged
            .connection
            .as_ref()
            .ok_or_else(|| connection::missing(name))?;
        resolve::application_allowed(Configuration {
            application: self.application,
            environment,
            connection,
        })?;
        let list = match self.known.get(name) {
            Some(list) => list.clone(),
            None => {
                let list = self.list(connection).await;
                self.known.insert(name.clone(), list.clone());
                list
            }
        }?;
        let pipelines = list.listed.iter();
        let found = pipelines
            .clone()
            .find(|pipeline| pipeline.name == wanted)
            .or_else(|| pipelines.clone().find(|pipeline| pipeline.id == wanted));
        let pipeline = match found {
            Some(pipeline) => pipeline.clone(),
            None => self.single(&list.gate, connection, wanted).await?,
        };
        Ok((connection.clone(), pipeline))
    }

    async fn list(&self, connection: &SpinnakerConnection) -> Result<List, Refusal> {
        readiness::askable(connection)?;
        let gate = self.context.connections.gate(connection).await?;
        let application = resolve::spinnaker_application(self.application);
        // Starts and sightings go before: whatever waits here, they find Gate's permits free.
        let _turn = gate.catalog.acquire().await;
        match gate.client.pipelines(application).await {
            Ok(configs) => Ok(List {
                listed: configs.iter().map(described).collect(),
                gate: gate.clone(),
            }),
            Err(error) => Err(self.trouble(connection, &error)),
        }
    }

    /// What the list doesn't have may be an id of another Spinnaker application's pipeline, which Gate finds all the same.
    async fn single(
        &mut self,
        gate: &Gate,
        connection: &SpinnakerConnection,
        wanted: &str,
    ) -> Result<Pipeline, Refusal> {
        let application = resolve::spinnaker_application(self.application);
        self.singles += 1;
        let config = if self.singles > SINGLES {
            Err(GateError::NotFound {
                what: Missing::Pipeline {
                    application: bounds::cut(application, bounds::NAME),
                    pipeline: bounds::cut(wanted, bounds::NAME),
                },
            })
        } else {
            let _turn = gate.catalog.acquire().await;
            gate.client.pipeline(application, wanted).await
        };
        match config {
            Ok(config) => Ok(described(&config)),
            Err(error) => Err(self.trouble(connection, &error)),
        }
    }

    /// Gate's error; when it says something of the connection, the connection's own look finds out for all who use it.
    fn trouble(&self, connection: &SpinnakerConnection, error: &GateError) -> Refusal {
        if error.refuses_login() {
            self.context.connections.distrust(connection);
        }
        let refusal = refusal(&connection.name_any(), error);
        if refusal.reason != Reason::PipelineNotFound {
            super::doubt(self.context, connection);
        }
        refusal
    }
}
