//! The controller dies at every point, whatever Gate does meanwhile and whatever people do before it comes back.
//!
//! A cell of the matrix is a namespace, a Gate and a controller of its own. The controller aborts at a crash point
//! (`foredeck::runtime::crash::POINTS`), or is killed while its POST is under way; while it is down something may be done
//! to the request, the target, the connection or Gate, and a second request for the same target comes; then a new
//! controller starts. Its predecessor's Lease is taken away, so that it starts sooner than it ever could in production:
//! "at once" is harsher than any restart, "late" is after everything at Gate has ended. When all is quiet: at most one
//! launch for each request, never two executions at a time on the target, no target held, and phases that tell the truth.
//!
//! What runs by default:
//! - every point of a request's life, without a fault, with both restarts;
//! - every fault of the start at every point between the mark and knowing what came of it, and while Gate has the POST;
//!   both restarts where the controller dies in the dark. Dying before the mark, it leaves the fault to its successor,
//!   whose life is that of the first set; after the adoption the fault can't show any more;
//! - faults of the reads at the points after which those reads are made;
//! - every disturbance at every point, without faults: cancel, deletion, a wiped status and a moved connection at each,
//!   the others after each effect, since what is outside a dead process is the same after one effect and before the next;
//! - cancelled and deleted requests: waiting, unknown and running, with what can befall the cancel;
//! - the second POST of a request, at every point around it; the older endpoint; a status wiped after the end.
//!
//! `FOREDECK_TEST_FULL=1` runs the full product of points, faults and restarts, and of points, faults and disturbances.
//! `FOREDECK_TEST_CELL=text` runs only cells whose name holds the text.

mod approved;
mod cell;
mod faults;
mod late;
mod run;
mod scene;
mod truth;

use std::collections::BTreeSet;

use anyhow::Result;
use foredeck::runtime::crash::POINTS;

use crate::judgments;

use self::{
    cell::{Cell, Disturbance, Kill, Restart, Story},
    faults::{CANCELS, Class, READS, STARTS, Trouble},
    run::run_all,
};

/// What every request passes that is sent, whatever comes of it.
const LIFE: [&str; 18] = [
    "before-seen",
    "after-seen",
    "before-create-target",
    "after-create-target",
    "before-initialise",
    "after-initialise",
    "before-claim-target",
    "after-claim-target",
    "before-mark-request",
    "after-mark-request",
    "before-mark-target",
    "after-mark-target",
    "before-post",
    "after-post",
    "before-finish-target",
    "after-finish-target",
    "before-status",
    "after-status",
];
const RECORD: [&str; 2] = ["before-record", "after-record"];
const UNMARK: [&str; 2] = ["before-unmark", "after-unmark"];
const ADOPT: [&str; 2] = ["before-adopt", "after-adopt"];
/// The request's last status is its second.
const LAST: [&str; 2] = ["before-status@2", "after-status@2"];
const SEND: [&str; 6] = [
    "before-mark-request",
    "after-mark-request",
    "before-mark-target",
    "after-mark-target",
    "before-post",
    "after-post",
];

fn full() -> bool {
    std::env::var_os("FOREDECK_TEST_FULL").is_some_and(|value| value == "1")
}

/// The points that a request passes which nobody disturbs.
fn passed(class: Class) -> Vec<&'static str> {
    let mut points = LIFE.to_vec();
    match class {
        Class::Clean | Class::Lost => points.extend([RECORD, ADOPT].concat()),
        Class::NotProcessed => points.extend([UNMARK, RECORD, ADOPT].concat()),
        Class::Started => points.extend(ADOPT),
        Class::Refused => {}
    }
    points
}

/// Those of them between the mark and knowing what came of it.
fn around_the_post(class: Class) -> Vec<&'static str> {
    let mut points = passed(class);
    points.retain(|point| {
        matches!(*point, "after-mark-target" | "after-post")
            || RECORD.contains(point)
            || UNMARK.contains(point)
            || ADOPT.contains(point)
            || (class == Class::Refused && point.ends_with("finish-target"))
    });
    points
}

fn without_faults() -> Vec<Cell> {
    let mut cells = Vec::new();
    for point in passed(Class::Clean).into_iter().chain(LAST) {
        for restart in [Restart::AtOnce, Restart::Late] {
            cells.push(Cell::at(point).restarted(restart));
        }
    }
    cells
}

fn with_faults_of_the_start() -> Vec<Cell> {
    let mut cells = Vec::new();
    for trouble in &STARTS {
        let points = if full() {
            passed(trouble.class)
        } else {
            around_the_post(trouble.class)
        };
        for point in points {
            cells.push(Cell::at(point).with(trouble));
            let in_the_dark = matches!(trouble.class, Class::Started | Class::Lost)
                && matches!(point, "after-mark-target" | "after-post");
            if full() || in_the_dark {
                cells.push(Cell::at(point).with(trouble).restarted(Restart::Late));
            }
        }
        let posting = Cell::new(Kill::WhilePosting).with(trouble);
        cells.push(posting.clone());
        if full() || trouble.class == Class::Started {
            cells.push(posting.restarted(Restart::Late));
        }
    }
    cells
}

fn with_faults_of_the_reads() -> Vec<Cell> {
    let mut cells = Vec::new();
    for trouble in &READS {
        let points = if full() {
            passed(trouble.class)
        } else {
            vec![
                "after-claim-target",
                "before-post",
                "after-post",
                "after-record",
                "after-adopt",
                "before-finish-target",
            ]
        };
        cells.extend(
            points
                .into_iter()
                .map(|point| Cell::at(point).with(trouble)),
        );
    }
    cells
}

fn disturbed() -> Vec<Cell> {
    let mut cells = Vec::new();
    let in_the_dark: Vec<&Trouble> = STARTS
        .iter()
        .filter(|trouble| full() || matches!(trouble.name, "no-answer" | "reset-before"))
        .collect();
    for disturbance in Disturbance::ALL {
        for point in passed(Class::Clean).into_iter().chain(LAST) {
            if full() || disturbance.is_named() || point.starts_with("after-") {
                cells.push(Cell::at(point).disturbed(disturbance));
            }
        }
        for trouble in &in_the_dark {
            cells.push(Cell::at("after-post").with(trouble).disturbed(disturbance));
        }
    }
    cells
}

fn cancelled_and_deleted() -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut told =
        |story: Story, points: &[&'static str], troubles: &[Option<&'static Trouble>]| {
            for point in points {
                for trouble in troubles {
                    let mut cell = Cell::at(point).told(story);
                    if let Some(trouble) = trouble {
                        cell = cell.with(trouble);
                    }
                    cells.push(cell.clone());
                    if trouble.is_none() || full() {
                        cells.push(cell.restarted(Restart::Late));
                    }
                }
            }
        };
    let start = |name: &str| STARTS.iter().find(|trouble| trouble.name == name);
    let cancels: Vec<_> = CANCELS.iter().map(Some).chain([None]).collect();
    let forbid = ["before-forbid", "after-forbid"];
    let cancel = ["before-cancel", "after-cancel"];
    let finish = ["before-finish-target", "after-finish-target"];
    told(Story::CancelRunning, &forbid, &[None]);
    told(Story::CancelRunning, &cancel, &cancels);
    told(Story::CancelRunning, &finish, &[None]);
    told(
        Story::CancelUnknown,
        &forbid,
        &[start("hang"), start("abandoned")],
    );
    told(
        Story::CancelUnknown,
        &finish,
        &[start("hang"), start("abandoned")],
    );
    told(Story::CancelUnknown, &cancel, &[start("abandoned")]);
    told(
        Story::CancelClaimed,
        &["before-release", "after-release"],
        &[None],
    );
    told(
        Story::DeleteClaimed,
        &["before-release", "after-release"],
        &[None],
    );
    told(Story::DeleteRunning, &finish, &[None]);
    told(Story::DeleteUnknown, &finish, &[start("hang")]);
    told(Story::DeleteUnknown, &ADOPT, &[start("abandoned")]);
    cells
}

fn sent_again() -> Vec<Cell> {
    let mut cells = Vec::new();
    let lost = STARTS.iter().filter(|trouble| trouble.class == Class::Lost);
    for trouble in lost.filter(|trouble| full() || trouble.name == "reset-before") {
        for point in [
            "before-mark-request@2",
            "after-mark-request@2",
            "before-mark-target@2",
            "after-mark-target@2",
            "before-post@2",
            "after-post@2",
        ] {
            cells.push(Cell::at(point).with(trouble));
            cells.push(Cell::at(point).with(trouble).restarted(Restart::Late));
        }
    }
    cells
}

fn by_the_older_endpoint() -> Vec<Cell> {
    let mut cells = Vec::new();
    for point in SEND.into_iter().chain(RECORD).chain(ADOPT) {
        cells.push(Cell::at(point).by_v1());
    }
    cells.push(Cell::at("after-post").by_v1().restarted(Restart::Late));
    for trouble in STARTS.iter().filter(|trouble| trouble.v1) {
        for point in ["after-mark-target", "after-post"] {
            cells.push(Cell::at(point).by_v1().with(trouble));
        }
        cells.push(Cell::new(Kill::WhilePosting).by_v1().with(trouble));
    }
    cells
}

fn wiped_after_the_end() -> Vec<Cell> {
    let wipes = [
        Disturbance::WipeRequest,
        Disturbance::WipeTarget,
        Disturbance::WipeBoth,
    ];
    wipes
        .into_iter()
        .flat_map(|wipe| {
            [
                Cell::at("after-status@2").after_the_end(wipe, false),
                Cell::at("after-post").after_the_end(wipe, true),
            ]
        })
        .collect()
}

#[test]
fn every_point_there_is_ends_at_least_one_controller() {
    let all = [
        without_faults(),
        with_faults_of_the_start(),
        cancelled_and_deleted(),
    ]
    .concat();
    let mut reached: BTreeSet<&str> = all.iter().filter_map(Cell::point).collect();
    reached.extend(judgments::POINTS);
    let missing: Vec<_> = POINTS
        .iter()
        .filter(|point| !reached.contains(**point))
        .collect();
    assert!(missing.is_empty(), "no cell crashes at {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_starts_nothing_twice() -> Result<()> {
    run_all("no fault", without_faults()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_beside_any_fault_of_the_start_starts_nothing_twice() -> Result<()> {
    run_all("faults of the start", with_faults_of_the_start()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_beside_any_fault_of_the_reads_starts_nothing_twice() -> Result<()> {
    run_all("faults of the reads", with_faults_of_the_reads()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_done_while_the_controller_is_down_starts_nothing_twice() -> Result<()> {
    run_all("disturbances", disturbed()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_a_request_is_cancelled_or_deleted_leaves_nothing_held() -> Result<()> {
    run_all("cancelled and deleted", cancelled_and_deleted()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_around_the_second_post_starts_nothing_twice() -> Result<()> {
    run_all("sent again", sent_again()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_with_the_older_endpoint_starts_nothing_twice() -> Result<()> {
    run_all("older endpoint", by_the_older_endpoint()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_wiped_after_the_end_starts_nothing() -> Result<()> {
    run_all("wiped after the end", wiped_after_the_end()).await
}
