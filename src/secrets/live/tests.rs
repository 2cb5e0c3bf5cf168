//! A secret changes where it stands, and here soon after; what is wrong there changes nothing here.

use std::{
    collections::VecDeque,
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use futures::future::BoxFuture;
use secrecy::ExposeSecret;

use super::*;
use crate::{runtime::metrics::Metrics, secrets::file::FileError};

/// What stands there: the last one stays.
#[derive(Clone)]
struct Board(Arc<Mutex<Looked>>);

/// What it says, one after the other, and how often it was looked at.
type Looked = (VecDeque<Option<&'static str>>, usize);

impl Board {
    fn with(says: &[Option<&'static str>]) -> Self {
        Self(Arc::new(Mutex::new((says.iter().copied().collect(), 0))))
    }

    fn says(&self, what: Option<&'static str>) {
        self.0.lock().unwrap().0 = VecDeque::from([what]);
    }

    fn looks(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

impl Place for Board {
    fn read(&self) -> BoxFuture<'_, Result<SecretString, Unread>> {
        let mut board = self.0.lock().unwrap();
        board.1 += 1;
        let says = if board.0.len() > 1 {
            board.0.pop_front().flatten()
        } else {
            board.0.front().copied().flatten()
        };
        let read = says.map(SecretString::from).ok_or_else(|| {
            Unread::File(FileError::Unreadable {
                path: "board".to_owned(),
                source: io::ErrorKind::NotFound.into(),
            })
        });
        Box::pin(async { read })
    }

    fn every(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn comes_back(&self) -> bool {
        true
    }
}

fn wanted(place: impl Place) -> Wanted {
    Wanted {
        name: "slack-bot-token",
        place: Box::new(place),
        check: |secret| {
            let is_token = secret.expose_secret().starts_with("xoxb-");
            is_token
                .then_some(())
                .ok_or_else(|| "that is no bot token".to_owned())
        },
    }
}

fn shown(live: &LiveSecret) -> String {
    live.current().expose_secret().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_out_of_order_at_the_start_is_waited_for_and_said_once() {
    let board = Board::with(&[None, None, Some("else"), None, Some("xoxb-1")]);
    let said = Mutex::new(Vec::new());
    let metrics = Metrics::default();
    let live = wanted(board)
        .keep(SecretMetrics::register(&metrics), |unread| {
            said.lock().unwrap().push(unread.reason());
        })
        .await
        .unwrap();
    assert_eq!(shown(&live), "xoxb-1");
    assert_eq!(*said.lock().unwrap(), ["file", "unusable", "file"]);
    let page = metrics.encode().unwrap();
    for (outcome, times) in [("file", 3), ("unusable", 1), ("changed", 1)] {
        let counted = format!(
            "foredeck_secret_reads_total{{secret=\"slack-bot-token\",outcome=\"{outcome}\"}} {times}"
        );
        assert!(page.contains(&counted), "{counted} is not in {page}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_changes_within_half_a_minute_and_stays_when_it_can_not_be_read() {
    let board = Board::with(&[Some("xoxb-1")]);
    let keeping = wanted(board.clone()).keep(SecretMetrics::default(), |_| {});
    let mut live = keeping.await.unwrap();
    let begun = Instant::now();
    board.says(Some("xoxb-2"));
    live.changed().await;
    assert_eq!(shown(&live), "xoxb-2");
    assert!(begun.elapsed() <= Duration::from_secs(30));
    for useless in [None, Some("else"), Some("")] {
        board.says(useless);
        let looks = board.looks();
        while board.looks() < looks + 2 {
            sleep(Duration::from_secs(10)).await;
        }
        assert_eq!(shown(&live), "xoxb-2", "{useless:?}");
    }
    board.says(Some("xoxb-3"));
    live.changed().await;
    assert_eq!(shown(&live), "xoxb-3");
}

#[tokio::test(start_paused = true)]
async fn many_who_find_it_refused_are_one_look_a_second_at_most() {
    let board = Board::with(&[Some("xoxb-1")]);
    let keeping = wanted(board.clone()).keep(SecretMetrics::default(), |_| {});
    let live = keeping.await.unwrap();
    board.says(Some("xoxb-2"));
    let (begun, looks) = (Instant::now(), board.looks());
    let all = (0..50).map(|_| live.ask_anew());
    futures::future::join_all(all).await;
    assert_eq!(shown(&live), "xoxb-2");
    assert!(begun.elapsed() <= SPACING);
    assert_eq!(board.looks(), looks + 1);
    for _ in 0..5 {
        live.ask_anew().await;
    }
    assert_eq!(board.looks(), looks + 6);
    assert!(begun.elapsed() >= SPACING * 5);
}

#[tokio::test(start_paused = true)]
async fn nobody_looks_after_a_secret_that_nobody_has() {
    let board = Board::with(&[Some("xoxb-1")]);
    let keeping = wanted(board.clone()).keep(SecretMetrics::default(), |_| {});
    drop(keeping.await.unwrap());
    sleep(Duration::from_mins(5)).await;
    assert_eq!(board.looks(), 1);
}

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("foredeck-live-{name}-{}", std::process::id()))
}

#[tokio::test]
async fn a_file_is_read_without_the_line_break_of_an_editor_and_asked_anew() {
    let path = file("rotated");
    fs::write(&path, "xoxb-1\n").unwrap();
    let keeping = wanted(FilePlace(path.clone())).keep(SecretMetrics::default(), |_| {});
    let live = keeping.await.unwrap();
    assert_eq!(shown(&live), "xoxb-1");
    fs::write(&path, " xoxb-2\r\n").unwrap();
    live.ask_anew().await;
    assert_eq!(shown(&live), "xoxb-2");
    fs::remove_file(&path).unwrap();
    live.ask_anew().await;
    assert_eq!(shown(&live), "xoxb-2");
}

#[tokio::test]
async fn a_file_that_can_not_be_it_is_told_at_once_and_never_quoted() {
    let path = file("wrong");
    let long = vec![b'x'; 70_000];
    for (content, reason) in [
        (None, "file"),
        (Some(&b" \n"[..]), "unusable"),
        (Some(b"\xff\xfehush"), "unusable"),
        (Some(b"hush, no token"), "unusable"),
        (Some(&long), "unusable"),
    ] {
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let keeping = wanted(FilePlace(path.clone())).keep(SecretMetrics::default(), |_| {});
        let unread = keeping.await.unwrap_err();
        assert_eq!(unread.reason(), reason);
        assert!(!format!("{unread} {unread:?}").contains("hush"), "{unread}");
    }
    fs::remove_file(&path).unwrap();
}
