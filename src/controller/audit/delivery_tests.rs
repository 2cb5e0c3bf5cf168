//! What a process that ends does with lines that nobody else knows.

use std::fs;

use serde_json::json;

use super::{super::sink::open, *};
use crate::controller::AuditSettings;

fn lines(count: usize) -> Vec<Line> {
    let decisions: Vec<_> = (0..count)
        .map(|by| json!({"at": "2026-11-22T10:00:00Z", "what": "Refused", "by": by.to_string()}))
        .collect();
    let request: DeployRequest = serde_json::from_value(json!({
        "metadata": {"name": "one", "namespace": "shop", "uid": "one"},
        "spec": {"application": "checkout", "environment": "production"},
        "status": {"decisions": decisions},
    }))
    .unwrap();
    Line::all(&request)
}

#[tokio::test]
async fn at_the_end_every_kept_line_is_told_or_counted_as_lost() {
    let name = format!("foredeck-last-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let metrics = AuditMetrics::default();
    let settings = |file| AuditSettings {
        file: Some(file),
        server: None,
    };
    let count = LINES * 2 + 5;
    let time = Duration::from_mins(1);
    let sinks = open(&settings(path.clone()));
    offer_last(&sinks[0], &metrics, lines(count), time).await;
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), count);
    assert_eq!(metrics.counted("file", "accepted"), 205);
    assert_eq!(metrics.counted("file", "lost"), 0);
    fs::remove_file(&path).unwrap();

    let sinks = open(&settings(path.join("in-no-folder")));
    offer_last(&sinks[0], &metrics, lines(count), time).await;
    assert_eq!(metrics.counted("file", "lost"), 205);
}
