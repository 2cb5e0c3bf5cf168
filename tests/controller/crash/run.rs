//! Runs many cells at once, says how many, and shows those that failed.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{cell::Cell, scene::Scene, truth};

/// Cells under way at once: they wait much more than they work.
static CELLS: Semaphore = Semaphore::const_new(10);

/// Runs cells, prints how many, and tells of all that failed.
pub(super) async fn run_all(title: &str, cells: Vec<Cell>) -> Result<()> {
    let wanted = std::env::var("FOREDECK_TEST_CELL").unwrap_or_default();
    let cells: Vec<Cell> = cells
        .into_iter()
        .filter(|cell| cell.name().contains(&wanted))
        .collect();
    let points: BTreeSet<_> = cells
        .iter()
        .map(|cell| format!("{:?}", cell.kill))
        .collect();
    let faults: BTreeSet<_> = cells
        .iter()
        .map(|cell| cell.trouble.map_or("none", |trouble| trouble.name))
        .collect();
    let (count, points, faults) = (cells.len(), points.len(), faults.len());
    let failures = Arc::new(Mutex::new(Vec::new()));
    let started = Instant::now();
    let mut running = JoinSet::new();
    for cell in cells {
        let failures = failures.clone();
        running.spawn(async move {
            let Ok(_permit) = CELLS.acquire().await else {
                return;
            };
            let (name, began) = (cell.name(), Instant::now());
            if let Err(error) = run(cell).await {
                let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                failures.push((name.clone(), format!("{error:#}")));
            }
            if std::env::var_os("FOREDECK_TEST_TIMES").is_some() {
                say(&format!("crash: {:>5.1?} {name}", began.elapsed()));
            }
        });
    }
    while let Some(joined) = running.join_next().await {
        joined.context("a cell broke down")?;
    }
    say(&format!(
        "crash: {title}: {count} cells of {points} points × {faults} faults in {:.0?}",
        started.elapsed()
    ));
    let failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, error) in failures.iter() {
        eprintln!("=== {name}\n{error}\n");
    }
    let names: Vec<_> = failures.iter().map(|(name, _)| name).collect();
    ensure!(
        failures.is_empty(),
        "{} of {count} cells failed: {names:#?}",
        failures.len()
    );
    Ok(())
}

/// Past the capture of tests that pass: how much was run is part of the result.
fn say(line: &str) {
    let _closed = writeln!(io::stderr().lock(), "{line}");
}

async fn run(cell: Cell) -> Result<()> {
    let mut scene = Scene::new(cell).await?;
    match scene.play().await {
        Ok(()) => Ok(()),
        Err(error) => {
            let report = truth::report(&scene).await;
            Err(error.context(report))
        }
    }
}
