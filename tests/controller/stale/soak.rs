//! A seeded mixture of everything.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use axum::http::Method;
use foredeck::api::{Environment, deploy_request::Phase};
use foredeck_testkit::api_proxy::{ApiEffect, ApiFault, Lost, Weather};
use kube::ResourceExt;
use serde_json::json;

use super::{KINDS, PATCH, REQUEST_STATUS, Stage, TARGET_STATUS};
use crate::support::{Controller, phase_of};

const REQUESTS: usize = 40;
const STORM: Duration = Duration::from_secs(12);
const WORK: Duration = Duration::from_millis(300);

/// Numbers that follow from the seed alone (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 1).unwrap_or_default() % bound
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn milliseconds(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(usize::try_from(bound).unwrap_or(1)) as u64)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_weather_nothing_starts_twice_and_everything_ends() -> Result<()> {
    let seed = match std::env::var("FOREDECK_TEST_SEED") {
        Ok(seed) => seed.parse().context("FOREDECK_TEST_SEED is no number")?,
        Err(_) => SystemTime::UNIX_EPOCH
            .elapsed()
            .map(|since| since.as_secs())
            .unwrap_or_default(),
    };
    eprintln!("FOREDECK_TEST_SEED={seed}");
    soak(seed)
        .await
        .with_context(|| format!("FOREDECK_TEST_SEED={seed}"))
}

async fn soak(seed: u64) -> Result<()> {
    let mut dice = Dice(seed);
    let stage = Stage::new("soak", WORK).await?;
    let mut controller = stage.controller()?;
    let requests = stage.ask("soak", REQUESTS).await?;
    stage.remember_lists().await?;
    let mut cancelled = BTreeSet::new();
    let mut pause = tokio::time::interval(Duration::from_millis(150));
    let end = Instant::now() + STORM;
    while Instant::now() < end {
        pause.tick().await;
        controller = disturb(&stage, &mut dice, &mut cancelled, controller).await?;
    }
    stage.clear_sky();
    stage.proxy.clear_faults();
    stage.proxy.serve_old_lists(false);
    stage.proxy.expire_watches();
    for request in &requests {
        let ended = stage.bed.until_ended(&request.name_any()).await?;
        let started = stage.bed.launches(request);
        let fits = match phase_of(&ended) {
            Phase::Succeeded => started == 1,
            Phase::Canceled => started <= 1 && cancelled.contains(&request.name_any()),
            _ => false,
        };
        ensure!(fits, "started {started} times: {:?}", ended.status);
    }
    stage.bed.until_free().await?;
    drop(controller);
    stage.holds_what_it_promises()
}

/// One thing goes wrong, or right again.
async fn disturb(
    stage: &Stage,
    dice: &mut Dice,
    cancelled: &mut BTreeSet<String>,
    controller: Controller,
) -> Result<Controller> {
    let proxy = &stage.proxy;
    let kind = dice.of(&KINDS);
    match dice.below(24) {
        0..4 => {
            let lag = dice.milliseconds(1_500);
            let late = Weather {
                lag,
                ..Weather::default()
            };
            proxy.set_weather(&[kind], &late);
        }
        4..6 => stage.withhold(&[kind]),
        6 => {
            let lossy = Weather {
                lost: Lost::Each(3),
                ..Weather::default()
            };
            proxy.set_weather(&[kind], &lossy);
        }
        7 => {
            let short = Weather {
                lifetime: Some(Duration::from_millis(200)),
                events: Some(3),
                ..Weather::default()
            };
            proxy.set_weather(&[kind], &short);
        }
        8..11 => stage.clear_sky(),
        11..13 => proxy.close_watches(),
        13 => proxy.expire_watches(),
        14..17 => {
            let resource = dice.of(&[REQUEST_STATUS, TARGET_STATUS, "deployrequests"]);
            let lost = ApiFault::new(PATCH, resource, ApiEffect::LoseAnswer);
            proxy.inject(lost.times(3));
        }
        17..19 => {
            let resource = dice.of(&[REQUEST_STATUS, TARGET_STATUS]);
            let refused = ApiEffect::Refuse(dice.of(&[429, 500, 503]));
            proxy.inject(ApiFault::new(PATCH, resource, refused).times(2));
        }
        19 => {
            let read = dice.of(&KINDS);
            let refused = ApiFault::new(Method::GET, read, ApiEffect::Refuse(500));
            proxy.inject(refused.times(3));
        }
        20..22 => {
            let name = format!("soak-{}", dice.below(REQUESTS));
            stage.bed.cancel(&name).await?;
            cancelled.insert(name);
        }
        22 => {
            let environment = dice.of(&["staging", "production"]);
            let accounts = json!([format!("eks-{}", dice.below(100))]);
            let harmless = json!({"spec": {"allowTargets": {"accounts": accounts}}});
            stage
                .bed
                .merge::<Environment>(environment, harmless)
                .await?;
        }
        _ => {
            proxy.serve_old_lists(dice.below(2) == 0);
            return stage.replace(controller).await;
        }
    }
    Ok(controller)
}
