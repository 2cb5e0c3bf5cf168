//! Receivers that are replaced one by one while people go on asking, by Socket Mode and over HTTP.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use foredeck_testkit::{
    Role, StandInSlack,
    role::free_address,
    slack::{Delivery, Ephemeral, RequestUrls},
    wait_for,
};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::support::{Bed, CHANNEL, PATIENCE, ends, environment};

const ENVIRONMENTS: usize = 10;
/// Between two commands.
const BETWEEN: Duration = Duration::from_millis(300);
/// How often a person tries again what Slack says has failed.
const TRIES: usize = 5;

/// Somebody who asks for one version after the other, and confirms each plan.
struct Crowd {
    going: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    /// What Slack said had failed, so that it was done again.
    again: Arc<AtomicUsize>,
    people: tokio::task::JoinHandle<Result<Vec<String>>>,
}

impl Crowd {
    fn start(bed: &Bed) -> Self {
        let going = Arc::new(AtomicBool::new(true));
        let again = Arc::new(AtomicUsize::new(0));
        let asked = Arc::new(AtomicUsize::new(0));
        let slack = bed.slack.clone();
        let people = {
            let (going, again, asked) = (going.clone(), again.clone(), asked.clone());
            tokio::spawn(async move {
                let mut ticks = interval(BETWEEN);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let mut all = JoinSet::new();
                let mut versions = Vec::new();
                while going.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    let version = format!("v{:04}", versions.len());
                    let place = environment(versions.len() % ENVIRONMENTS);
                    versions.push(version.clone());
                    asked.store(versions.len(), Ordering::Relaxed);
                    let (slack, again) = (slack.clone(), again.clone());
                    all.spawn(async move {
                        let plan = asked_for(&slack, &version, &place, &again).await?;
                        confirmed(&slack, &plan, &again).await
                    });
                }
                while let Some(done) = all.join_next().await {
                    done??;
                }
                Ok(versions)
            })
        };
        Self {
            going,
            asked,
            again,
            people,
        }
    }

    /// Waits until this many more have been asked for.
    async fn until_more(&self, more: usize) -> Result<()> {
        let before = self.asked.load(Ordering::Relaxed);
        wait_for("people to ask", PATIENCE, async || {
            let asked = self.asked.load(Ordering::Relaxed);
            ensure!(asked >= before + more, "{asked} by now");
            ensure!(
                !self.people.is_finished(),
                "one of them was given no answer"
            );
            Ok(())
        })
        .await
    }

    /// The versions that were asked for, once all are confirmed; and how often something was done again.
    async fn done(self) -> Result<(Vec<String>, usize)> {
        self.going.store(false, Ordering::Relaxed);
        let versions = tokio::time::timeout(PATIENCE, self.people)
            .await
            .context("people still wait for an answer")???;
        Ok((versions, self.again.load(Ordering::Relaxed)))
    }
}

/// Does it until Slack doesn't say that it failed. Slack gives up after three seconds, and says so.
async fn until_taken(
    again: &AtomicUsize,
    mut act: impl FnMut() -> Result<Delivery>,
) -> Result<Delivery> {
    for _ in 0..TRIES {
        let delivery = act()?;
        match delivery.ended().await? {
            Ok(_) => return Ok(delivery),
            Err(failure) => {
                eprintln!("{:?}: {}", delivery.kind(), failure.word());
                again.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    anyhow::bail!("Slack said {TRIES} times that it failed")
}

/// Types the command, and gives the plan that is shown.
async fn asked_for(
    slack: &StandInSlack,
    version: &str,
    place: &str,
    again: &AtomicUsize,
) -> Result<Ephemeral> {
    let line = format!("/deploy checkout {version} to {place}");
    for _ in 0..TRIES {
        until_taken(again, || slack.user("alice").command(CHANNEL, &line)).await?;
        let shown = wait_for(&format!("an answer to {line:?}"), PATIENCE, async || {
            let all = slack.ephemerals("alice");
            let plan = all.iter().find(|one| {
                let text = format!("{} {}", one.text, json!(one.blocks));
                text.contains(version) && text.contains("plan-deploy")
            });
            let away = all.iter().filter(|one| one.text.contains("again")).count();
            ensure!(plan.is_some() || away > 0, "{} whispers", all.len());
            Ok(plan.cloned())
        })
        .await?;
        if let Some(plan) = shown {
            return Ok(plan);
        }
        again.fetch_add(1, Ordering::Relaxed);
    }
    anyhow::bail!("{line:?} never led to a plan")
}

/// Presses the button, until Slack doesn't say that it failed or there is none any more.
async fn confirmed(slack: &StandInSlack, plan: &Ephemeral, again: &AtomicUsize) -> Result<()> {
    for attempt in 0..TRIES {
        let pressed = match slack.user("alice").click(plan, "plan-deploy") {
            Ok(pressed) => pressed,
            // It was taken, and the answer alone came too late.
            Err(_) if attempt > 0 => return Ok(()),
            Err(error) => return Err(error),
        };
        match pressed.ended().await? {
            Ok(_) => return Ok(()),
            Err(failure) => {
                eprintln!("a click: {}", failure.word());
                again.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    anyhow::bail!("Slack said {TRIES} times that a click failed")
}

/// Waits until each of these versions is exactly one request, and there are no others.
async fn until_one_request_each(bed: &Bed, versions: &[String]) -> Result<()> {
    let what = format!("{} requests", versions.len());
    wait_for(&what, PATIENCE, async || {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for request in bed.requests().await? {
            *count
                .entry(request.spec.version.unwrap_or_default())
                .or_default() += 1;
        }
        let lost: Vec<_> = versions
            .iter()
            .filter(|version| !count.contains_key(*version))
            .collect();
        let twice: Vec<_> = count.iter().filter(|(_, times)| **times > 1).collect();
        ensure!(
            lost.is_empty() && twice.is_empty() && count.len() == versions.len(),
            "lost: {lost:?}, twice: {twice:?}, {} in all",
            count.len()
        );
        Ok(())
    })
    .await
}

/// No answer took longer than Slack waits.
fn all_in_time(bed: &Bed) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for delivery in bed.slack.deliveries() {
        for attempt in delivery.attempts() {
            ensure!(attempt.late.is_none(), "{:?}: {attempt:?}", delivery.kind());
        }
        if let Some(Ok(answer)) = delivery.outcome() {
            slowest = slowest.max(answer.after);
        }
    }
    Ok(slowest)
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_receivers_with_sockets_loses_no_command_and_no_click() -> Result<()> {
    let bed = Bed::with("sockets", ENVIRONMENTS, Duration::ZERO, "Always").await?;
    let receiver = async || bed.started(bed.role("receiver")?).await;
    let old = [receiver().await?, receiver().await?];
    bed.slack.connected(4, PATIENCE).await?;
    let crowd = Crowd::start(&bed);
    let early = asked_for(&bed.slack, "v9000", &environment(0), &crowd.again).await?;
    crowd.until_more(10).await?;
    let split = bed.slack.sockets();
    ensure!(split.iter().all(|socket| socket.sent > 0), "{split:?}");
    let mut new = Vec::new();
    for role in &old {
        new.push(receiver().await?);
        let took = ends(role).await?;
        eprintln!("a receiver with sockets ended {took:?} after the signal");
        crowd.until_more(5).await?;
    }
    // Shown by one that is gone, pressed on one that wasn't there.
    confirmed(&bed.slack, &early, &crowd.again).await?;
    let (mut versions, again) = crowd.done().await?;
    versions.push("v9000".to_owned());
    until_one_request_each(&bed, &versions).await?;
    let slowest = all_in_time(&bed)?;
    eprintln!(
        "{} plans confirmed, {again} things done again, the slowest answer took {slowest:?}",
        versions.len()
    );
    ensure!(
        bed.slack.violations().is_empty(),
        "{:?}",
        bed.slack.violations()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn replacing_receivers_behind_a_balancer_fails_no_command_and_no_click() -> Result<()> {
    let bed = Bed::with("balanced", ENVIRONMENTS, Duration::ZERO, "Always").await?;
    let balancer = Balancer::start().await?;
    bed.slack.deliver_by_http(RequestUrls {
        commands: format!("{}/slack/commands", balancer.url),
        interactivity: format!("{}/slack/interactivity", balancer.url),
        options: None,
        events: format!("{}/slack/events", balancer.url),
    });
    let receiver = async || -> Result<Role> {
        let listen = free_address()?;
        let own = ["--slack-mode", "http", "--listen", &listen.to_string()];
        let role = bed.started(bed.role("receiver")?.arguments(own)).await?;
        balancer.add(listen, role.admin());
        balancer.until_sending_to(listen).await?;
        Ok(role)
    };
    let old = [receiver().await?, receiver().await?];
    let crowd = Crowd::start(&bed);
    let early = asked_for(&bed.slack, "v9000", &environment(0), &crowd.again).await?;
    crowd.until_more(10).await?;
    let mut new = Vec::new();
    for role in &old {
        new.push(receiver().await?);
        role.terminate()?;
        role.until_unready("shutdown: asked to stop", PATIENCE)
            .await?;
        let (alive, _) = role.read("/livez").await?;
        ensure!(alive == 200, "{alive}");
        let status = role.until_ended(PATIENCE).await?;
        ensure!(status.success(), "{status}\n{}", role.tail());
        crowd.until_more(5).await?;
    }
    confirmed(&bed.slack, &early, &crowd.again).await?;
    let (mut versions, again) = crowd.done().await?;
    versions.push("v9000".to_owned());
    until_one_request_each(&bed, &versions).await?;
    let slowest = all_in_time(&bed)?;
    eprintln!(
        "{} plans confirmed over HTTP, the slowest answer took {slowest:?}",
        versions.len()
    );
    ensure!(again == 0, "Slack said {again} times that something failed");
    Ok(())
}

/// What a Service does: connections go to whoever was ready a moment ago, each in its turn.
struct Balancer {
    url: String,
    all: Arc<Mutex<Vec<Backend>>>,
}

#[derive(Clone, Copy)]
struct Backend {
    listen: SocketAddr,
    admin: SocketAddr,
    ready: bool,
}

/// How long an endpoint's removal lags behind its readiness.
const LAG: Duration = Duration::from_secs(1);

impl Balancer {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let all: Arc<Mutex<Vec<Backend>>> = Arc::default();
        let looked = all.clone();
        let http = reqwest::Client::builder().no_proxy().build()?;
        tokio::spawn(async move {
            let mut looks = interval(LAG);
            loop {
                looks.tick().await;
                let known = lock(&looked).clone();
                for backend in known {
                    let url = format!("http://{}/readyz", backend.admin);
                    let answer = http.get(url).timeout(LAG).send().await;
                    let ready = answer.is_ok_and(|answer| answer.status().is_success());
                    for one in lock(&looked).iter_mut() {
                        if one.listen == backend.listen {
                            one.ready = ready;
                        }
                    }
                }
            }
        });
        let chosen = all.clone();
        tokio::spawn(async move {
            let mut turn = 0;
            while let Ok((mut near, _)) = listener.accept().await {
                let ready: Vec<SocketAddr> = lock(&chosen)
                    .iter()
                    .filter(|backend| backend.ready)
                    .map(|backend| backend.listen)
                    .collect();
                turn += 1;
                let Some(to) = ready.get(turn % ready.len().max(1)).copied() else {
                    continue;
                };
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(to).await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        });
        Ok(Self { url, all })
    }

    fn add(&self, listen: SocketAddr, admin: SocketAddr) {
        lock(&self.all).push(Backend {
            listen,
            admin,
            ready: false,
        });
    }

    async fn until_sending_to(&self, listen: SocketAddr) -> Result<()> {
        wait_for("the balancer to know it", PATIENCE, async || {
            let known = lock(&self.all)
                .iter()
                .any(|backend| backend.listen == listen && backend.ready);
            ensure!(known, "it isn't ready there");
            Ok(())
        })
        .await
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
