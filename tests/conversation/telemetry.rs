//! What the roles tell of themselves: numbers, traces and lines, of one conversation over three processes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use foredeck::api::{DeployRequest, deploy_request::Phase};
use foredeck_testkit::{
    Collector,
    collector::{CollectedSpan, Manner},
    gate::Operation,
    wait_for,
};
use serde_json::{Value, json};

use crate::support::{Bed, PATIENCE, Process};

/// What somebody writes who would like to be a label, a line or an attribute.
const HOSTILE: &str = "hostile\"}-9";

#[tokio::test]
async fn one_request_is_one_trace_over_all_roles_and_what_they_tell_is_what_the_page_says()
-> Result<()> {
    let bed = Bed::new("telemetry", Duration::from_secs(1)).await?;
    let collector = Collector::start().await?;
    let own = ["--otlp-endpoint", collector.url(), "--log-format", "json"];
    let roles = [
        ("controller", bed.role("controller", &own).await?),
        ("receiver", bed.role("receiver", &own).await?),
        ("relay", bed.role("relay", &own).await?),
    ];
    let alice = bed.slack.user("alice");
    alice.command(
        crate::support::CHANNEL,
        &format!("/deploy {HOSTILE} to staging"),
    )?;
    bed.ask_and_confirm("alice", "/deploy checkout hush-4711 to staging")
        .await?;
    let name = kube::ResourceExt::name_any(&bed.only_request().await?);
    let request = bed.until_phase(&name, Phase::Succeeded).await?;
    let uid = request.metadata.uid.clone().context("no uid")?;
    let trace = uid.replace('-', "");
    let status = request.status.clone().context("no status")?;
    assert_eq!(status.trace_id.as_deref(), Some(trace.as_str()));
    let starts = bed.gate.calls_of(Operation::Start);
    let sent: Vec<_> = starts
        .iter()
        .map(|call| call.headers.get("x-spinnaker-request-id"))
        .collect();
    assert_eq!(sent, [Some(&trace)]);

    let spans = wait_for("spans of every role", PATIENCE, async || {
        let spans = collector.spans();
        for name in ["request", "request.create", "gate.start", "chat.update"] {
            let known: BTreeSet<_> = spans.iter().map(|span| &span.name).collect();
            ensure!(
                spans.iter().any(|span| span.name == name),
                "{name}: {known:?}"
            );
        }
        Ok(spans)
    })
    .await?;
    one_trace(&spans, &trace, &bed)?;
    let documented = documented()?;
    for (role, process) in &roles {
        numbers(role, &process.metrics().await?, &documented)
            .with_context(|| format!("the {role}'s page"))?;
        lines(process, &trace).with_context(|| format!("the {role}'s log"))?;
    }
    Ok(())
}

/// Whose spans are in the trace, and how they hang together.
fn one_trace(spans: &[CollectedSpan], trace: &str, bed: &Bed) -> Result<()> {
    let by_name: BTreeMap<&str, &CollectedSpan> = spans
        .iter()
        .map(|span| (span.name.as_str(), span))
        .collect();
    let find = |name: &str| by_name.get(name).copied().context(name.to_owned());
    let root = find("request")?;
    assert_eq!(root.parent, "");
    for (name, service) in [
        ("request", "foredeck-controller"),
        ("request.create", "foredeck-receiver"),
        ("request.see", "foredeck-controller"),
        ("target.claim", "foredeck-controller"),
        ("start.send", "foredeck-controller"),
        ("target.finish", "foredeck-controller"),
        ("status.write", "foredeck-controller"),
        ("message.post", "foredeck-relay"),
        ("message.update", "foredeck-relay"),
    ] {
        let span = find(name)?;
        assert_eq!(span.trace, trace, "{name}");
        assert_eq!(span.resource["service.name"], service, "{name}");
        assert_eq!(span.attributes["foredeck.request.namespace"], bed.namespace);
        assert!(span.ended >= span.began, "{name}");
        if name != "request" {
            assert_eq!(span.parent, root.span, "{name}");
        }
    }
    let (send, start) = (find("start.send")?, find("gate.start")?);
    assert_eq!(start.parent, send.span);
    assert_eq!(send.attributes["foredeck.start.outcome"], "accepted");
    assert_eq!(start.attributes["http.request.method"], "POST");
    assert_eq!(root.attributes["foredeck.phase"], "Succeeded");
    let posts = find("chat.postMessage")?;
    assert_eq!(posts.trace, trace);
    // Looking after what runs leaves no span: lists are read where the target is prepared, and nowhere else.
    let prepared = find("target.prepare")?;
    let mut looks = spans.iter().filter(|span| span.name == "gate.executions");
    ensure!(
        looks.all(|span| span.parent == prepared.span),
        "{by_name:?}"
    );
    let all = format!("{spans:?}");
    for secret in [
        bed.slack.bot_token(),
        bed.slack.app_token(),
        bed.slack.signing_secret(),
        "hush-4711".to_owned(),
        "hostile".to_owned(),
        "eks-staging".to_owned(),
    ] {
        ensure!(!all.contains(secret.as_str()), "{secret} is in {all}");
    }
    Ok(())
}

/// Each line of a log is an object of its own, and those about the request say so.
fn lines(process: &Process, trace: &str) -> Result<()> {
    let log = process.log();
    let mut about = 0;
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let said = line.as_object().context("no object")?;
        for own in ["timestamp", "level", "target", "message"] {
            ensure!(
                said.get(own).is_some_and(Value::is_string),
                "no {own}: {line}"
            );
        }
        let values: Vec<_> = said.values().collect();
        ensure!(values.iter().all(|value| !value.is_object()), "{line}");
        if said.contains_key("request.name") {
            ensure!(said.contains_key("request.namespace"), "{line}");
        }
        about += usize::from(line["trace_id"] == json!(trace));
    }
    ensure!(about > 0 || !log.contains(trace), "{log}");
    Ok(())
}

/// A row of the page.
#[derive(Debug)]
struct Row {
    kind: String,
    labels: BTreeSet<String>,
    roles: String,
}

fn documented() -> Result<BTreeMap<String, Row>> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/monitoring.md"))?;
    let (_, section) = page.split_once("\n## Metrics\n").context("no section")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut rows = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        ensure!(cells.len() == 7, "{line}");
        let words = |cell: &str| {
            let words = cell.split('`').skip(1).step_by(2);
            words.map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let row = Row {
            kind: cells[2].to_owned(),
            labels: words(cells[3]),
            roles: cells[4].to_owned(),
        };
        ensure!(
            rows.insert(cells[1].trim_matches('`').to_owned(), row)
                .is_none(),
            "{line}"
        );
    }
    ensure!(rows.len() > 30, "{rows:?}");
    Ok(rows)
}

/// The page of a role is `OpenMetrics`, by the letter, and holds nothing that isn't written down.
fn numbers(role: &str, page: &str, documented: &BTreeMap<String, Row>) -> Result<()> {
    let mut family: Option<(String, String)> = None;
    let (mut seen, mut series) = (BTreeSet::new(), BTreeSet::new());
    let lines: Vec<&str> = page.lines().collect();
    ensure!(page.ends_with("\n# EOF\n"), "no end");
    for line in &lines[..lines.len() - 1] {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').context("no help")?;
            ensure!(!help.is_empty() && seen.insert(name.to_owned()), "{line}");
            family = Some((name.to_owned(), String::new()));
            continue;
        }
        let (name, kind) = family.as_mut().context("a sample before its family")?;
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (typed, word) = rest.split_once(' ').context("no type")?;
            ensure!(typed == name && kind.is_empty(), "{line}");
            word.clone_into(kind);
            continue;
        }
        let (sample, labels, value) = sample(line)?;
        ensure!(value.parse::<f64>().is_ok(), "{line}");
        ensure!(
            series.insert(line.rsplit_once(' ').map(|(key, _)| key)),
            "twice: {line}"
        );
        let suffix = sample
            .strip_prefix(name.as_str())
            .context((*line).to_owned())?;
        let suffixes: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "info" => &["_info"],
            "gauge" => &[""],
            other => bail!("a {other}: {line}"),
        };
        ensure!(suffixes.contains(&suffix), "{line}");
        let public = match kind.as_str() {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.clone(),
        };
        let row = documented
            .get(&public)
            .with_context(|| format!("{public} is not documented"))?;
        ensure!(row.kind == *kind, "{public} is a {kind}");
        ensure!(
            row.roles == "every" || row.roles.contains(role),
            "{public} is of {}",
            row.roles
        );
        for (label, value) in labels {
            ensure!(
                label == "le" || row.labels.contains(&label),
                "{public} has a label {label}"
            );
            let fixed = value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._+".contains(&byte));
            ensure!(
                fixed && value.len() <= 63 && !value.contains("hostile"),
                "{line}"
            );
        }
    }
    for name in ["process_cpu_seconds", "process_open_fds", "foredeck_build"] {
        ensure!(seen.contains(name), "no {name}");
    }
    Ok(())
}

type Labels = Vec<(String, String)>;

/// `name{label="value",…} value`, with the three escapes that there are.
fn sample(line: &str) -> Result<(String, Labels, String)> {
    let end = line.find(['{', ' ']).context("no value")?;
    let (name, rest) = line.split_at(end);
    let Some(mut rest) = rest.strip_prefix('{') else {
        return Ok((name.to_owned(), Vec::new(), rest.trim_start().to_owned()));
    };
    let mut labels = Vec::new();
    loop {
        let (label, after) = rest.split_once("=\"").context(line.to_owned())?;
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().context(line.to_owned())? {
                (at, '"') => break at,
                (_, '\\') => value.push(characters.next().context("an escape")?.1),
                (_, other) => value.push(other),
            }
        };
        labels.push((label.trim_start_matches(',').to_owned(), value));
        rest = &after[end + 1..];
        if let Some(value) = rest.strip_prefix("} ") {
            return Ok((name.to_owned(), labels, value.to_owned()));
        }
    }
}

#[tokio::test]
async fn a_collector_that_does_not_behave_costs_spans_and_nothing_else() -> Result<()> {
    for manner in [
        Manner::Silent,
        Manner::Failing,
        Manner::Elsewhere,
        Manner::Endless,
    ] {
        let bed = Bed::new("collector", Duration::from_millis(200)).await?;
        let collector = Collector::start().await?;
        collector.behave(manner);
        let own = ["--otlp-endpoint", collector.url(), "--log-format", "json"];
        // Nobody is there: what goes to a proxy never arrives.
        let proxy = ("HTTP_PROXY", "http://127.0.0.1:9");
        let controller = bed.role_in(&[proxy], "controller", &own).await?;
        let spec = json!({"application": "checkout", "environment": "free", "version": "main"});
        bed.create::<DeployRequest>("told-to-nobody", spec).await?;
        bed.until_phase("told-to-nobody", Phase::Succeeded).await?;
        wait_for("a call of the collector", PATIENCE, async || {
            ensure!(!collector.calls().is_empty(), "none yet");
            Ok(())
        })
        .await?;
        let calls = collector.calls();
        ensure!(calls[0].contains("application/x-protobuf"), "{calls:?}");
        wait_for("spans to be given up", PATIENCE, async || {
            let page = controller.metrics().await?;
            ensure!(
                page.contains("foredeck_trace_spans_total{outcome=\"dropped\"}"),
                "{page}"
            );
            Ok(())
        })
        .await
        .with_context(|| format!("{manner:?}"))?;
        let took = controller
            .end()
            .await
            .with_context(|| format!("{manner:?}"))?;
        ensure!(
            took < Duration::from_secs(8),
            "{manner:?}: it took {took:?} to end"
        );
        lines(&controller, "no trace")?;
        let log = controller.log();
        let told = log.matches("the collector doesn't take spans").count();
        ensure!(told == 1, "{manner:?}: told {told} times in {log}");
        ensure!(collector.spans().is_empty(), "{manner:?}");
    }
    Ok(())
}
