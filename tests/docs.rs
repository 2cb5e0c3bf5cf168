//! What the pages say is there: every reason, phase and flag is explained, every link leads somewhere, and every page is found.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
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

/// What stands in backticks and has the form of a test's name: at least four words, and is no metric.
#[test]
fn every_test_that_security_names_is_there() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/security.md"))?;
    let is_name = |word: &&str| {
        word.split('_').count() > 3
            && !word.starts_with("foredeck_")
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

#[test]
fn every_flag_stands_on_a_page() -> Result<()> {
    let mut pages = String::new();
    for page in files("docs", "md")? {
        pages.push_str(&fs::read_to_string(page)?);
    }
    let is_of_flags = |char: char| char.is_ascii_alphanumeric() || char == '-';
    let words: BTreeSet<&str> = pages
        .split(|char| !is_of_flags(char))
        .filter(|word| word.starts_with("--"))
        .collect();
    let mut flags = BTreeSet::new();
    for command in [
        "controller",
        "receiver",
        "relay",
        "run",
        "doctor",
        "explain",
        "import",
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_foredeck"))
            .args([command, "--help"])
            .output()?;
        ensure!(output.status.success(), "{command} --help");
        let help = String::from_utf8(output.stdout)?;
        // `  -n, --namespace <NAMESPACE>`: what a flag is for stands on the lines below, or further to the right.
        let found = help.lines().filter_map(|line| {
            let line = line.trim_start();
            let line =
                line.split_once(", ").map_or(
                    line,
                    |(first, rest)| {
                        if first.len() == 2 { rest } else { line }
                    },
                );
            let flag = line.split(|char| !is_of_flags(char)).next()?;
            (flag.len() > 2 && flag.starts_with("--")).then(|| flag.to_owned())
        });
        flags.extend(found);
    }
    assert!(flags.remove("--help") && flags.len() > 60, "{flags:?}");
    let missing: Vec<_> = flags
        .iter()
        .filter(|flag| !words.contains(flag.as_str()))
        .collect();
    assert!(missing.is_empty(), "no page in docs names {missing:?}");
    Ok(())
}

#[test]
fn the_readme_leads_to_every_page() -> Result<()> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let pages = files("docs", "md")?;
    assert!(pages.len() > 6, "{pages:?}");
    for page in pages {
        let name = page.strip_prefix(root())?.display().to_string();
        let found = [")", "#"]
            .iter()
            .any(|end| readme.contains(&format!("({name}{end}")));
        assert!(found, "README.md has no link to {name}");
    }
    Ok(())
}

/// Where a page installs the chart or makes a checkout, that is of this version; an older one is `OLDER`.
#[test]
fn the_pages_install_this_version() -> Result<()> {
    let this = env!("CARGO_PKG_VERSION");
    let mut count = 0;
    for page in [files("docs", "md")?, pages_at_the_root()?].concat() {
        let text = fs::read_to_string(&page)?;
        for before in ["charts/foredeck --version ", "git clone --branch v"] {
            for rest in text.split(before).skip(1) {
                let end = rest.find(|next: char| next.is_whitespace() || next == '`');
                let version = &rest[..end.unwrap_or(rest.len())];
                assert!(
                    [this, "OLDER"].contains(&version),
                    "{}: {version}",
                    page.display()
                );
                count += 1;
            }
        }
    }
    assert!(count > 5, "{count}");
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
