//! What the chart gives to Prometheus and Grafana: taken by the real definitions, and every expression in it is about what
//! foredeck measures, as docs/monitoring.md has it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, anyhow, ensure};
use foredeck::api::deploy_request::Phase;
use foredeck_testkit::{ControlPlane, definitions};
use promql_parser::{
    label::MatchOp,
    parser::{self, Expr, LabelModifier, VectorSelector},
    util::{ExprVisitor, walk_expr},
};
use serde_json::{Value, json};

use crate::support::{HOME, render, root};

const ALL: [&str; 5] = [
    "git.enabled=true",
    "slack.enabled=true",
    "monitoring.podMonitor.enabled=true",
    "monitoring.prometheusRule.enabled=true",
    "monitoring.dashboard.enabled=true",
];

/// What Prometheus itself puts to everything that it reads.
const OF_PROMETHEUS: [&str; 1] = ["instance"];

#[tokio::test]
async fn what_others_define_is_well_formed() -> Result<()> {
    let plane = ControlPlane::shared().await;
    plane
        .install_crds(&definitions::prometheus_operator().await?)
        .await?;
    let home = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}});
    plane.apply(&home.to_string()).await?;
    let labelled = [
        "monitoring.podMonitor.labels.release=prometheus",
        "monitoring.podMonitor.interval=1m30s",
        "monitoring.prometheusRule.labels.role=alert-rules",
        "monitoring.prometheusRule.alertLabels.team=platform",
        "monitoring.prometheusRule.alertLabels.severity=none",
        "monitoring.dashboard.annotations.grafana_folder=Deployments",
        "mode=single",
    ];
    for values in [ALL.to_vec(), [&ALL[..], &labelled].concat()] {
        for template in ["podmonitor", "prometheusrule", "dashboard"] {
            plane
                .apply(&rendered(&values, template).await?)
                .await
                .with_context(|| format!("{template} with {values:?}"))?;
        }
    }
    let rules = rules(&[&ALL[..], &labelled].concat()).await?;
    for rule in &rules {
        let labels = &rule["labels"];
        assert_eq!(labels["team"], "platform", "{rule}");
        assert!(labels["severity"] != "none", "{rule}");
    }
    Ok(())
}

#[tokio::test]
async fn nothing_for_prometheus_or_grafana_is_there_unless_it_is_wanted() -> Result<()> {
    let plain = render(&["--set", "slack.enabled=true"]).await?;
    for kind in ["PodMonitor", "PrometheusRule", "foredeck-dashboard"] {
        assert!(!plain.contains(kind), "{kind}");
    }
    Ok(())
}

/// The monitor is of the Pods that the Deployments make, and of a port that they have.
#[tokio::test]
async fn the_monitor_reads_every_pod_of_every_role() -> Result<()> {
    let monitor = documents(&rendered(&ALL, "podmonitor").await?)?.remove(0);
    let selector = monitor["spec"]["selector"]["matchLabels"]
        .as_object()
        .context("a selector")?;
    let port = &monitor["spec"]["podMetricsEndpoints"][0]["port"];
    for (mode, components) in [
        ("separate", &["controller", "receiver", "relay"][..]),
        ("single", &["single"]),
    ] {
        let mode = format!("mode={mode}");
        for component in components {
            let values = [&ALL[..], &[&mode]].concat();
            let role = documents(&rendered(&values, component).await?)?;
            let pods: Vec<&Value> = role
                .iter()
                .filter(|document| document["kind"] == "Deployment")
                .map(|deployment| &deployment["spec"]["template"])
                .collect();
            assert_eq!(pods.len(), 1, "{component}");
            for (label, value) in selector {
                assert_eq!(&pods[0]["metadata"]["labels"][label], value, "{component}");
            }
            let ports = &pods[0]["spec"]["containers"][0]["ports"];
            assert!(
                items(ports).iter().any(|has| &has["name"] == port),
                "{component} has no port {port}: {ports}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_alert_says_what_it_means_and_leads_to_what_to_do() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/monitoring.md"))?;
    let explained: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|heading| heading.starts_with("Foredeck"))
        .collect();
    let base = "https://wiki.corp.example/foredeck";
    let runbook = format!("monitoring.prometheusRule.runbook={base}");
    let rules = rules(&[&ALL[..], &[&runbook]].concat()).await?;
    let mut names = BTreeSet::new();
    for rule in &rules {
        let name = word(&rule["alert"]);
        names.insert(name);
        assert!(
            ["critical", "warning"].contains(&word(&rule["labels"]["severity"])),
            "{rule}"
        );
        let told = &rule["annotations"];
        for what in ["summary", "description"] {
            assert!(word(&told[what]).len() > 20, "{name} has no {what}");
            assert!(!word(&told[what]).contains('!'), "{name}");
        }
        let lower = name.to_lowercase();
        assert_eq!(word(&told["runbook_url"]), format!("{base}#{lower}"));
        // What is shown of labels is there to be shown.
        let query = parser::parse(word(&rule["expr"])).map_err(|error| anyhow!(error))?;
        let mut grouped = Grouped::default();
        walk_expr(&mut grouped, &query)?;
        for shown in told.to_string().split("$labels.").skip(1) {
            let end = shown.find(|next: char| !next.is_alphanumeric() && next != '_');
            let label = &shown[..end.unwrap_or(shown.len())];
            assert!(
                grouped.0.contains(label),
                "{name} shows {label}, and sums it away"
            );
        }
    }
    assert_eq!(names, explained);
    Ok(())
}

#[tokio::test]
async fn alerts_are_about_what_is_switched_on() -> Result<()> {
    let names = async |values: &[&str]| -> Result<BTreeSet<String>> {
        let mut all = vec!["monitoring.prometheusRule.enabled=true"];
        all.extend(values);
        let rules = rules(&all).await?;
        Ok(rules
            .iter()
            .map(|rule| word(&rule["alert"]).to_owned())
            .collect())
    };
    let quiet = names(&[]).await?;
    assert!(quiet.contains("ForedeckControllerDown"), "{quiet:?}");
    for of_slack in [
        "ForedeckReceiverDown",
        "ForedeckRelayDown",
        "ForedeckNoSocket",
    ] {
        assert!(!quiet.contains(of_slack), "{of_slack}");
    }
    let socket = names(&["slack.enabled=true"]).await?;
    let http = names(&["slack.enabled=true", "slack.transport=http"]).await?;
    let only_socket: Vec<_> = socket.difference(&http).collect();
    assert_eq!(only_socket, ["ForedeckNoSocket"]);
    let less = "monitoring.prometheusRule.without={ForedeckGateSlow}";
    let less = names(&["slack.enabled=true", less]).await?;
    let left_out: Vec<_> = socket.difference(&less).collect();
    assert_eq!(left_out, ["ForedeckGateSlow"]);
    let unknown = "monitoring.prometheusRule.without={ForedeckGateSlo}";
    let refused = names(&[unknown]).await.err().context("it is let through")?;
    assert!(
        refused.to_string().contains("no alert is called so"),
        "{refused}"
    );
    Ok(())
}

#[tokio::test]
async fn every_expression_is_about_what_foredeck_measures() -> Result<()> {
    let mut check = Check {
        measured: measured()?,
        said: sources()?,
    };
    ensure!(check.measured.len() > 35, "{:?}", check.measured.keys());
    for rule in rules(&ALL).await? {
        let name = word(&rule["alert"]);
        check
            .expression(word(&rule["expr"]))
            .with_context(|| name.to_owned())?;
    }
    for panel in panels(&dashboard()?) {
        for target in items(&panel["targets"]) {
            check
                .expression(word(&target["expr"]))
                .with_context(|| panel["title"].to_string())?;
        }
    }
    // That the check itself sees what is wrong.
    for wrong in [
        "foredeck_leader{lease=",
        "foredeck_leaders",
        "foredeck_leader{pod=\"a\"}",
        "foredeck_leader{lease=\"foredeck-nobody\"}",
        "foredeck_requests{phase=~\"Unknown|Gone\"}",
        "sum by (kind) (foredeck_leader)",
        "foredeck_gate_call_seconds",
        "foredeck_leader_bucket",
        "sum by (le) (rate(foredeck_gate_calls_total[5m]))",
        "rate(foredeck_gate_calls_total)",
    ] {
        assert!(check.expression(wrong).is_err(), "{wrong}");
    }
    Ok(())
}

#[tokio::test]
async fn the_dashboard_is_whole() -> Result<()> {
    let dashboard = dashboard()?;
    let map = documents(&rendered(&ALL, "dashboard").await?)?.remove(0);
    let given: Value = serde_json::from_str(word(&map["data"]["foredeck.json"]))?;
    assert_eq!(given, dashboard);
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");

    let variable = &dashboard["templating"]["list"][0];
    assert_eq!(variable["type"], "datasource");
    assert_eq!(variable["query"], "prometheus");
    let source = format!("${{{}}}", word(&variable["name"]));
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeMap::new());
    let mut rows = Vec::new();
    for panel in panels(&dashboard) {
        let title = word(&panel["title"]);
        ensure!(!title.is_empty(), "{panel}");
        ensure!(ids.insert(panel["id"].as_u64()), "{title} has another's id");
        let place = |name: &str| panel["gridPos"][name].as_u64().context(title.to_owned());
        let (x, y, w, h) = (place("x")?, place("y")?, place("w")?, place("h")?);
        ensure!(w > 0 && h > 0 && x + w <= 24, "{title} is off the grid");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            if let Some(other) = taken.insert(cell, title) {
                anyhow::bail!("{title} covers {other} at {cell:?}");
            }
        }
        if panel["type"] == "row" {
            rows.push(title);
            continue;
        }
        ensure!(!word(&panel["description"]).is_empty(), "{title}");
        ensure!(
            ["timeseries", "stat"].contains(&word(&panel["type"])),
            "{title}"
        );
        ensure!(!word(&panel["fieldConfig"]["defaults"]["unit"]).is_empty());
        ensure!(
            !items(&panel["targets"]).is_empty(),
            "{title} shows nothing"
        );
        let mut letters = BTreeSet::new();
        for target in items(&panel["targets"]) {
            assert_eq!(target["datasource"]["uid"], source.as_str(), "{title}");
            ensure!(letters.insert(word(&target["refId"])), "{title}");
        }
        assert_eq!(panel["datasource"]["uid"], source.as_str(), "{title}");
    }
    let page = fs::read_to_string(root().join("docs/monitoring.md"))?;
    for row in &rows {
        assert!(page.contains(&format!("\n| {row} | ")), "{row}");
    }
    assert_eq!(rows.len(), 9);
    Ok(())
}

/// Each metric, as its lines are called without what a histogram adds, with its labels.
fn measured() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let page = fs::read_to_string(root().join("docs/monitoring.md"))?;
    let (_, section) = page.split_once("\n## Metrics\n").context("metrics")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut measured = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let quoted = |column: usize| {
            let cell = line.split('|').nth(column).unwrap_or_default();
            cell.split('`').skip(1).step_by(2).map(str::to_owned)
        };
        let kind = line.split('|').nth(2).unwrap_or_default().trim();
        let plain: BTreeSet<String> = quoted(3).collect();
        for name in quoted(1) {
            if kind != "histogram" {
                measured.insert(name, plain.clone());
                continue;
            }
            for part in ["count", "sum"] {
                measured.insert(format!("{name}_{part}"), plain.clone());
            }
            let mut bounded = plain.clone();
            bounded.insert("le".to_owned());
            measured.insert(format!("{name}_bucket"), bounded);
        }
    }
    Ok(measured)
}

/// All that the sources say.
fn sources() -> Result<String> {
    fn read(folder: &Path, all: &mut String) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                read(&path, all)?;
            } else {
                all.push_str(&fs::read_to_string(&path)?);
            }
        }
        Ok(())
    }
    let mut all = String::new();
    read(&root().join("src"), &mut all)?;
    Ok(all)
}

/// Whether expressions are about what is measured.
struct Check {
    measured: BTreeMap<String, BTreeSet<String>>,
    said: String,
}

impl Check {
    /// `$__rate_interval` is Grafana's.
    fn expression(&mut self, expression: &str) -> Result<()> {
        let expression = expression.replace("$__rate_interval", "5m");
        let query = parser::parse(&expression).map_err(|error| anyhow!("{expression}: {error}"))?;
        let read = Selected::of(&query);
        ensure!(!read.is_empty(), "{expression} reads nothing");
        walk_expr(self, &query)?;
        Ok(())
    }

    fn has(&self, metric: &str, label: &str) -> Result<()> {
        let labels = self
            .measured
            .get(metric)
            .with_context(|| format!("nothing measures {metric}"))?;
        ensure!(
            labels.contains(label) || OF_PROMETHEUS.contains(&label),
            "{metric} has no label {label}"
        );
        Ok(())
    }

    /// Whether something says such a word.
    fn says(&self, label: &str, value: &str) -> bool {
        match label {
            "phase" => Phase::ALL.iter().any(|phase| format!("{phase:?}") == value),
            "le" => self.said.contains(value),
            _ => self.said.contains(&format!("\"{value}\"")),
        }
    }
}

impl ExprVisitor for Check {
    type Error = anyhow::Error;

    fn pre_visit(&mut self, query: &Expr) -> Result<bool> {
        let (below, modifier) = match query {
            Expr::Aggregate(aggregate) => (Selected::of(query), aggregate.modifier.as_ref()),
            Expr::Binary(binary) => (
                Selected::of(query),
                binary
                    .modifier
                    .as_ref()
                    .and_then(|modifier| modifier.matching.as_ref()),
            ),
            _ => (Vec::new(), None),
        };
        for selector in &below {
            for label in modifier
                .iter()
                .flat_map(|modifier| &modifier.labels().labels)
            {
                self.has(selector.name.as_deref().unwrap_or_default(), label)?;
            }
        }
        let selector = match query {
            Expr::VectorSelector(selector) => selector,
            Expr::MatrixSelector(matrix) => &matrix.vs,
            _ => return Ok(true),
        };
        let name = selector.name.as_deref().context("a name")?;
        ensure!(self.measured.contains_key(name), "nothing measures {name}");
        for matcher in &selector.matchers.matchers {
            self.has(name, &matcher.name)?;
            let regular = !matches!(matcher.op, MatchOp::Equal | MatchOp::NotEqual);
            let values: Vec<&str> = if regular {
                matcher.value.split('|').collect()
            } else {
                vec![matcher.value.as_str()]
            };
            for value in values {
                ensure!(
                    self.says(&matcher.name, value),
                    "nothing says {value} as {} of {name}",
                    matcher.name
                );
            }
        }
        Ok(true)
    }
}

/// What an expression reads.
#[derive(Default)]
struct Selected(Vec<VectorSelector>);

impl Selected {
    fn of(query: &Expr) -> Vec<VectorSelector> {
        let mut selected = Self::default();
        // It can't fail.
        let _ = walk_expr(&mut selected, query);
        selected.0
    }
}

impl ExprVisitor for Selected {
    type Error = std::convert::Infallible;

    fn pre_visit(&mut self, query: &Expr) -> Result<bool, Self::Error> {
        match query {
            Expr::VectorSelector(selector) => self.0.push(selector.clone()),
            Expr::MatrixSelector(matrix) => self.0.push(matrix.vs.clone()),
            _ => {}
        }
        Ok(true)
    }
}

/// By what an expression sums.
#[derive(Default)]
struct Grouped(BTreeSet<String>);

impl ExprVisitor for Grouped {
    type Error = anyhow::Error;

    fn pre_visit(&mut self, query: &Expr) -> Result<bool> {
        if let Expr::Aggregate(aggregate) = query
            && let Some(LabelModifier::Include(labels)) = &aggregate.modifier
        {
            self.0.extend(labels.labels.iter().cloned());
        }
        Ok(true)
    }
}

async fn rules(values: &[&str]) -> Result<Vec<Value>> {
    let rule = documents(&rendered(values, "prometheusrule").await?)?.remove(0);
    Ok(items(&rule["spec"]["groups"])
        .iter()
        .flat_map(|group| items(&group["rules"]).to_vec())
        .collect())
}

async fn rendered(values: &[&str], template: &str) -> Result<String> {
    let template = format!("templates/{template}.yaml");
    let mut arguments = vec!["--show-only", &template];
    for value in values {
        arguments.extend(["--set", value]);
    }
    render(&arguments).await
}

fn dashboard() -> Result<Value> {
    let file = root().join("charts/foredeck/dashboards/foredeck.json");
    Ok(serde_json::from_str(&fs::read_to_string(file)?)?)
}

fn panels(dashboard: &Value) -> &[Value] {
    items(&dashboard["panels"])
}

fn documents(rendered: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(rendered)?)
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
