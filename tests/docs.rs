//! What the pages say is there: every reason and phase is explained, and every link leads somewhere.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use foredeck::api::deploy_request::Phase;

#[test]
fn operations_explains_every_phase() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/operations.md"))?;
    for phase in Phase::ALL {
        assert!(page.contains(&format!("\n| `{phase:?}` |")), "{phase:?}");
    }
    Ok(())
}

#[test]
fn operations_explains_every_reason_that_is_used_and_no_other() -> Result<()> {
    let known = reasons(&fs::read_to_string(root().join("src/api/conditions.rs"))?);
    assert!(known.contains("Restored") && known.len() > 40, "{known:?}");
    let mut used = BTreeSet::new();
    for path in files("src", "rs")? {
        let text = fs::read_to_string(&path)?;
        used.extend(text.match_indices("Reason::").filter_map(|(at, _)| {
            let word = text[at + "Reason::".len()..]
                .split(|next: char| !next.is_alphanumeric())
                .next()?;
            known.get(word).cloned()
        }));
    }
    let page = fs::read_to_string(root().join("docs/operations.md"))?;
    let (_, section) = page
        .split_once("\n## Reasons\n")
        .context("a section on reasons")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let explained: BTreeSet<String> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| line.split('|').nth(1).unwrap_or_default().split(", "))
        .map(|word| word.trim().trim_matches('`').to_owned())
        .chain(["ConfigurationValid".to_owned()])
        .collect();
    let missing: Vec<_> = used.difference(&explained).collect();
    assert!(
        missing.is_empty(),
        "docs/operations.md doesn't explain {missing:?}"
    );
    let unknown: Vec<_> = explained.difference(&known).collect();
    assert!(
        unknown.is_empty(),
        "docs/operations.md explains {unknown:?}, which no code says"
    );
    Ok(())
}

#[test]
fn every_link_leads_somewhere() -> Result<()> {
    let mut dead = Vec::new();
    for path in [
        files("docs", "md")?,
        files("examples", "md")?,
        pages_at_the_root()?,
    ]
    .concat()
    {
        let text = fs::read_to_string(&path)?;
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() {
                path.clone()
            } else {
                path.with_file_name(file)
            };
            let found = if anchor.is_empty() {
                file.exists()
            } else {
                fs::read_to_string(&file).is_ok_and(|text| anchors(&text).contains(anchor))
            };
            if !found {
                dead.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert_eq!(dead, Vec::<String>::new());
    Ok(())
}

/// What stands in backticks and has the form of a test's name: at least four words.
#[test]
fn every_test_that_security_names_is_there() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/security.md"))?;
    let is_name = |word: &&str| {
        word.split('_').count() > 3
            && word
                .chars()
                .all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_')
    };
    let named: BTreeSet<&str> = page.split('`').filter(is_name).collect();
    assert!(named.len() > 50, "{named:?}");
    let mut sources = String::new();
    for folder in ["src", "tests", "testkit"] {
        for path in files(folder, "rs")? {
            sources.push_str(&fs::read_to_string(path)?);
        }
    }
    let missing: Vec<_> = named
        .into_iter()
        .filter(|name| !sources.contains(&format!("fn {name}(")))
        .collect();
    assert!(missing.is_empty(), "there are no such tests: {missing:?}");
    Ok(())
}

/// What the page has beyond what one conversation brings (`tests/conversation/telemetry.rs` compares that by the letter).
#[test]
fn every_metric_that_monitoring_explains_is_registered() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/monitoring.md"))?;
    let mut sources = String::new();
    for path in files("src", "rs")? {
        sources.push_str(&fs::read_to_string(path)?);
    }
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("foredeck_") || name.starts_with("process_"));
    let mut missing = Vec::new();
    let mut count = 0;
    for name in rows {
        count += 1;
        let own = name.trim_start_matches("foredeck_");
        let own = own
            .strip_suffix("_total")
            .or_else(|| own.strip_suffix("_info"));
        let own = own.unwrap_or(name.trim_start_matches("foredeck_"));
        if !sources.contains(&format!("\"{own}\",")) {
            missing.push(name);
        }
    }
    assert!(count > 30 && missing.is_empty(), "{count} {missing:?}");
    Ok(())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The variants of the enum of reasons.
fn reasons(source: &str) -> BTreeSet<String> {
    let body = source.split("pub enum Reason {").nth(1).unwrap_or_default();
    let body = body.split("\n}").next().unwrap_or_default();
    body.lines()
        .map(|line| line.trim().trim_end_matches(','))
        .filter(|line| {
            line.starts_with(char::is_uppercase) && line.chars().all(char::is_alphanumeric)
        })
        .map(str::to_owned)
        .collect()
}

/// As what a page's headings can be linked to.
fn anchors(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .replace(' ', "-")
                .chars()
                .filter(|next| next.is_alphanumeric() || matches!(next, '-' | '_'))
                .collect()
        })
        .collect()
}

fn pages_at_the_root() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Files below a folder of the repository, by extension.
fn files(folder: &str, extension: &str) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    Ok(found)
}
