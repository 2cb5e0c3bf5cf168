//! That the proxy in front of the API server hands on what it should, and disturbs what it is told to.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use axum::http::Method;
use foredeck_testkit::api_proxy::{ApiEffect, ApiFault, Lost, Weather};
use foredeck_testkit::{ApiProxy, ControlPlane};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);
/// Short against [`SOON`], long against a call.
const A_WHILE: Duration = Duration::from_millis(300);

type Events = Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<ConfigMap>>> + Send>>;

/// A namespace seen directly and through a proxy of the test's own.
struct Bed {
    proxy: ApiProxy,
    path: String,
    direct: Api<ConfigMap>,
    through: Api<ConfigMap>,
}

impl Bed {
    async fn new() -> Result<Self> {
        let plane = ControlPlane::shared().await;
        let namespace = plane.namespace("proxy").await?;
        let proxy = ApiProxy::start(plane).await?;
        let kubeconfig = Kubeconfig::read_from(plane.kubeconfig_through(&proxy.url())?)?;
        let mut config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        Ok(Self {
            path: format!("/api/v1/namespaces/{namespace}/configmaps"),
            direct: Api::namespaced(plane.admin(), &namespace),
            through: Api::namespaced(Client::try_from(config)?, &namespace),
            proxy,
        })
    }

    async fn make(&self, name: &str) -> Result<ConfigMap> {
        let object = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        Ok(self.direct.create(&PostParams::default(), &object).await?)
    }

    /// A watch through the proxy from where the collection is now.
    async fn watch(&self) -> Result<Events> {
        let now = self.direct.list(&ListParams::default()).await?;
        let version = now.metadata.resource_version.context("no version")?;
        let parameters = WatchParams::default().disable_bookmarks();
        Ok(self.through.watch(&parameters, &version).await?.boxed())
    }

    async fn names(&self, parameters: &ListParams) -> Result<Vec<String>> {
        let list = self.through.list(parameters).await?;
        Ok(list.iter().map(ResourceExt::name_any).collect())
    }
}

async fn next(events: &mut Events) -> Result<Option<WatchEvent<ConfigMap>>> {
    let next = tokio::time::timeout(SOON, events.next()).await;
    Ok(next.context("nothing came")?.transpose()?)
}

async fn next_name(events: &mut Events) -> Result<String> {
    match next(events).await? {
        Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => Ok(object.name_any()),
        other => bail!("{other:?}"),
    }
}

async fn is_gone(events: &mut Events) -> Result<()> {
    match next(events).await? {
        Some(WatchEvent::Error(status)) => ensure!(status.code == 410, "{status:?}"),
        other => bail!("{other:?}"),
    }
    ensure!(next(events).await?.is_none());
    Ok(())
}

async fn nothing_comes(events: &mut Events) -> Result<()> {
    let next = tokio::time::timeout(A_WHILE, events.next()).await;
    ensure!(next.is_err(), "{next:?}");
    Ok(())
}

fn patch(value: &str) -> Patch<serde_json::Value> {
    Patch::Merge(json!({"data": {"key": value}}))
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_handed_on_and_writes_are_recorded_with_what_they_became() -> Result<()> {
    let bed = Bed::new().await?;
    let mut events = bed.watch().await?;
    let object = serde_json::from_value(json!({"metadata": {"name": "first"}}))?;
    bed.through.create(&PostParams::default(), &object).await?;
    let parameters = PatchParams::default();
    let written = bed.through.patch("first", &parameters, &patch("a")).await?;
    ensure!(bed.direct.get("first").await? == written);
    ensure!(bed.through.get_opt("second").await?.is_none());
    ensure!(next_name(&mut events).await? == "first");
    ensure!(next_name(&mut events).await? == "first");
    let writes = bed.proxy.writes();
    ensure!(writes.len() == 2, "{writes:?}");
    let patched = writes.last().context("no write")?;
    ensure!(patched.method == Method::PATCH && patched.resource == "configmaps");
    ensure!(patched.name.as_deref() == Some("first") && patched.answered);
    ensure!(patched.status == Some(200) && patched.body["data"]["key"] == "a");
    ensure!(patched.version.map(|version| version.to_string()) == written.resource_version());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watchers_list_can_be_old_while_every_other_read_is_new() -> Result<()> {
    let bed = Bed::new().await?;
    bed.make("old").await?;
    bed.proxy
        .remember_lists(std::slice::from_ref(&bed.path))
        .await?;
    bed.make("new").await?;
    bed.proxy.serve_old_lists(true);
    ensure!(bed.names(&ListParams::default()).await? == ["old"]);
    let selection = ListParams::default().fields("metadata.name=new");
    ensure!(bed.names(&selection).await? == ["new"]);
    bed.through.get("new").await?;
    bed.proxy.serve_old_lists(false);
    ensure!(bed.names(&ListParams::default()).await? == ["new", "old"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_can_be_late_withheld_and_lost() -> Result<()> {
    let bed = Bed::new().await?;
    let mut events = bed.watch().await?;
    let lag = A_WHILE;
    let late = Weather {
        lag,
        ..Weather::default()
    };
    bed.proxy.set_all_weather(late);
    let began = Instant::now();
    bed.make("late").await?;
    ensure!(next_name(&mut events).await? == "late" && began.elapsed() >= lag);

    let withheld = Weather {
        withheld: true,
        ..Weather::default()
    };
    bed.proxy.set_weather(&["configmaps"], &withheld);
    bed.make("withheld").await?;
    nothing_comes(&mut events).await?;
    bed.proxy.set_weather(&["secrets"], &withheld);
    bed.proxy.set_weather(&["configmaps"], &Weather::default());
    ensure!(next_name(&mut events).await? == "withheld");

    let lossy = Weather {
        lost: Lost::Of(BTreeSet::from(["lost".to_owned()])),
        ..Weather::default()
    };
    bed.proxy.set_all_weather(lossy);
    bed.make("lost").await?;
    bed.make("kept").await?;
    ensure!(next_name(&mut events).await? == "kept");

    let mut events = bed.watch().await?;
    let lossy = Weather {
        lost: Lost::Each(2),
        ..Weather::default()
    };
    bed.proxy.set_all_weather(lossy);
    for name in ["one", "two", "three"] {
        bed.make(name).await?;
    }
    ensure!(next_name(&mut events).await? == "one");
    ensure!(next_name(&mut events).await? == "three");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_can_be_closed_and_end_by_themselves() -> Result<()> {
    let bed = Bed::new().await?;
    let mut events = bed.watch().await?;
    bed.proxy.close_watches();
    ensure!(next(&mut events).await?.is_none());
    let mut events = bed.watch().await?;
    nothing_comes(&mut events).await?;
    let short = Weather {
        lifetime: Some(A_WHILE),
        ..Weather::default()
    };
    bed.proxy.set_all_weather(short);
    ensure!(next(&mut events).await?.is_none());
    let one = Weather {
        events: Some(1),
        ..Weather::default()
    };
    bed.proxy.set_all_weather(one);
    let mut events = bed.watch().await?;
    bed.make("one").await?;
    ensure!(next_name(&mut events).await? == "one" && next(&mut events).await?.is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_past_is_gone_until_the_collection_is_listed_anew() -> Result<()> {
    let bed = Bed::new().await?;
    let mut events = bed.watch().await?;
    bed.proxy.expire_watches();
    is_gone(&mut events).await?;
    // From where the old one ended, a new one can't go on either.
    is_gone(&mut bed.watch().await?).await?;
    bed.names(&ListParams::default()).await?;
    let mut events = bed.watch().await?;
    bed.make("one").await?;
    ensure!(next_name(&mut events).await? == "one");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_hides_a_write_that_was_done() -> Result<()> {
    let bed = Bed::new().await?;
    bed.make("first").await?;
    let fault = ApiFault::new(Method::PATCH, "configmaps", ApiEffect::LoseAnswer);
    bed.proxy.inject(fault.of("first").containing("a").times(1));
    let parameters = PatchParams::default();
    let lost = bed.through.patch("first", &parameters, &patch("a")).await;
    ensure!(
        !matches!(lost, Ok(_) | Err(kube::Error::Api(_))),
        "{lost:?}"
    );
    let done = bed.direct.get("first").await?;
    ensure!(done.data.context("no data")?["key"] == "a");
    bed.through.patch("first", &parameters, &patch("a")).await?;
    let writes = bed.proxy.writes();
    let answered: Vec<bool> = writes.iter().map(|write| write.answered).collect();
    ensure!(answered == [false, true], "{writes:?}");
    ensure!(writes.iter().all(|write| write.status == Some(200)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_is_not_done() -> Result<()> {
    let bed = Bed::new().await?;
    bed.make("first").await?;
    bed.proxy
        .inject(ApiFault::new(Method::PATCH, "configmaps", ApiEffect::Refuse(503)).each(2));
    let mut refused = 0;
    for value in ["1", "2", "3", "4"] {
        let answer = bed
            .through
            .patch("first", &PatchParams::default(), &patch(value))
            .await;
        let now = bed.direct.get("first").await?.data.unwrap_or_default();
        let done = now.get("key").map(String::as_str) == Some(value);
        match answer {
            Ok(_) => ensure!(done),
            Err(kube::Error::Api(status)) if status.code == 503 && !done => refused += 1,
            Err(error) => return Err(error.into()),
        }
    }
    ensure!(refused == 2, "{refused}");
    bed.proxy.clear_faults();
    bed.through
        .patch("first", &PatchParams::default(), &patch("5"))
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_write_reaches_the_api_server_when_it_is_released() -> Result<()> {
    let bed = Bed::new().await?;
    bed.make("first").await?;
    let mut held = bed.proxy.hold(Method::PATCH, "configmaps", "late");
    let writing = tokio::spawn({
        let api = bed.through.clone();
        async move {
            let parameters = PatchParams::default();
            api.patch("first", &parameters, &patch("early")).await?;
            api.patch("first", &parameters, &patch("late")).await
        }
    });
    ensure!(held.arrived().await?["data"]["key"] == "late");
    let now = bed.direct.get("first").await?.data.unwrap_or_default();
    ensure!(now["key"] == "early");
    held.release();
    let written = writing.await??;
    ensure!(written.data.unwrap_or_default()["key"] == "late");
    Ok(())
}
