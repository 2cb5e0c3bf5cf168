//! Arrows point one way: who may import whom, what pure modules must not know, and how long a file may get.
//!
//! The source is read as tokens, not compiled, so code behind `cfg` and in macros counts too.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Each top-level module of `src/`, and which others it may import. A new module wants a row.
const MAY_IMPORT: [(&str, &[&str]); 15] = [
    ("access", &["api", "domain", "runtime"]),
    ("api", &[]),
    ("domain", &["api"]),
    ("secrets", &["api", "domain", "runtime"]),
    ("spinnaker", &["api", "runtime"]),
    ("slack", &["api", "runtime"]),
    ("runtime", &["api"]),
    ("git", &["api", "domain", "runtime"]),
    ("identity", &["api", "domain", "runtime", "slack"]),
    (
        "controller",
        &[
            "access",
            "api",
            "domain",
            "git",
            "runtime",
            "secrets",
            "spinnaker",
        ],
    ),
    (
        "receiver",
        &[
            "access", "api", "domain", "git", "identity", "runtime", "slack",
        ],
    ),
    ("relay", &["api", "domain", "runtime", "slack"]),
    (
        "doctor",
        &["access", "api", "domain", "git", "runtime", "slack"],
    ),
    ("import", &["api", "domain", "runtime", "spinnaker"]),
    (
        "cli",
        &[
            "access",
            "api",
            "controller",
            "doctor",
            "domain",
            "git",
            "identity",
            "import",
            "receiver",
            "relay",
            "runtime",
            "secrets",
            "slack",
            "spinnaker",
        ],
    ),
];

/// Modules that decide and describe, and so touch nothing: no network, no API server, no clock.
const PURE: [&str; 2] = ["api", "domain"];

/// Folders within other modules of which the same holds.
const PURE_FOLDERS: [&str; 5] = [
    "src/doctor/judge",
    "src/import/guess",
    "src/receiver/plan",
    "src/receiver/team",
    "src/receiver/grammar",
];

/// What a pure module must not name: paths by their beginning, or by their last two words.
const IMPURE: [&str; 14] = [
    "reqwest",
    "axum",
    "tokio",
    "kube_runtime",
    "kube::runtime",
    "kube::client",
    "kube::Client",
    "kube::Api",
    "kube::api",
    "std::time::SystemTime",
    "std::time::Instant",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
];

/// At this length there is a second idea in a file.
const MOST_LINES: usize = 700;

#[test]
fn arrows_point_one_way() -> Result<()> {
    let mut found = Vec::new();
    for (path, text) in sources("src")? {
        let Some(module) = top_level_module(&path) else {
            continue;
        };
        found.extend(
            misdirected(module, &path, &text)
                .into_iter()
                .map(|problem| format!("{}: {problem}", path.display())),
        );
    }
    assert_eq!(found, Vec::<String>::new());
    Ok(())
}

#[test]
fn pure_modules_touch_nothing() -> Result<()> {
    let mut found = Vec::new();
    for (path, text) in sources("src")? {
        let module = top_level_module(&path).is_some_and(|module| PURE.contains(&module));
        if module || PURE_FOLDERS.iter().any(|folder| path.starts_with(folder)) {
            found.extend(
                impure(&text)
                    .into_iter()
                    .map(|name| format!("{} names {name}", path.display())),
            );
        }
    }
    assert_eq!(found, Vec::<String>::new());
    Ok(())
}

#[test]
fn the_testkit_never_imports_foredeck() -> Result<()> {
    let manifest = fs::read_to_string(root().join("testkit/Cargo.toml"))?;
    for line in manifest.lines() {
        let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
        assert_ne!(name, "foredeck", "testkit/Cargo.toml: {line}");
    }
    for (path, text) in sources("testkit")? {
        for name in paths(&text) {
            assert_ne!(
                name.first().map(String::as_str),
                Some("foredeck"),
                "{}",
                path.display()
            );
        }
    }
    Ok(())
}

#[test]
fn every_file_begins_with_its_purpose() -> Result<()> {
    for folder in ["src", "testkit", "tests", "examples"] {
        for (path, text) in sources(folder)? {
            assert!(
                text.starts_with("//! "),
                "{} does not begin with //!",
                path.display()
            );
        }
    }
    Ok(())
}

/// All roles can be one process (`foredeck run`), and two gates of one name would open and close each other.
#[test]
fn each_readiness_gate_has_a_name_of_its_own() -> Result<()> {
    let mut names = Vec::new();
    for (path, text) in sources("src")? {
        for rest in text.split("readiness.gate(\"").skip(1) {
            let name = rest.split('"').next().unwrap_or_default().to_owned();
            names.push((name, path.clone()));
        }
    }
    assert!(names.len() >= 5, "{names:?}");
    names.sort();
    for pair in names.windows(2) {
        assert_ne!(pair[0].0, pair[1].0, "{pair:?}");
    }
    Ok(())
}

#[test]
fn no_file_holds_two_ideas() -> Result<()> {
    for (path, text) in sources("src")? {
        let lines = text.lines().count();
        assert!(
            lines <= MOST_LINES,
            "{} has {lines} lines: look for the second idea in it",
            path.display()
        );
    }
    Ok(())
}

// === The checks themselves can fail ===

#[test]
fn a_wrong_arrow_is_found_however_it_is_written() {
    let check = |module: &str, path: &str, text: &str| misdirected(module, Path::new(path), text);
    let in_domain = |text| check("domain", "src/domain/decide.rs", text);
    for bad in [
        "use crate::spinnaker::Gate;",
        "use crate::{api, spinnaker::{Gate, model}};",
        "pub use {std::fmt, crate::controller as c};",
        "fn f() { crate::cli::main() }",
        "use super::super::runtime::client;",
        "use crate::*;",
        "use crate::{self as everything};",
        "#[cfg(test)] mod tests { use crate::spinnaker; }",
        "use crate :: /* hidden */ spinnaker;",
        "use foredeck::spinnaker;",
        "use crate::nowhere::Thing;",
    ] {
        assert!(!in_domain(bad).is_empty(), "{bad}");
    }
    for good in [
        "use crate::{api::{self, Phase}, domain::ids};",
        "use super::{ids, spinnaker_name};",
        "pub(crate) fn f() {}",
        "// use crate::spinnaker;\n/* crate::cli /* nested */ crate::cli */ /// [`crate::controller`]",
        "const TEXT: &str = \"crate::cli\"; const RAW: &str = r#\"\" crate::cli\"#; const C: char = '\"'; use crate::api;",
        "fn f<'a>(x: &'a str) { let _ = 'c'; let _ = '\\''; x.crate_cli() }",
    ] {
        assert_eq!(in_domain(good), Vec::<String>::new(), "{good}");
    }
    assert_eq!(
        check("api", "src/api/mod.rs", "use super::domain;").len(),
        1
    );
    assert_eq!(check("api", "src/api/mod.rs", "use self::domain;").len(), 0);
    assert_eq!(
        check("runtime", "src/runtime/mod.rs", "use crate::cli;").len(),
        1
    );
    assert_eq!(
        check("cli", "src/cli/mod.rs", "use crate::controller;").len(),
        0
    );
    assert_eq!(
        check("elsewhere", "src/elsewhere/mod.rs", "").len(),
        1,
        "a module without a row"
    );
}

#[test]
fn what_is_impure_is_found_however_it_is_written() {
    for bad in [
        "use tokio::time::sleep;",
        "use kube::{CustomResource, Client};",
        "use kube::{Api, core::Duration};",
        "use kube::runtime::watcher;",
        "use std::{time::{Duration, Instant}, fmt};",
        "use std::time; fn f() { time::SystemTime::now(); }",
        "fn f() { jiff::Timestamp::now(); }",
        "use jiff::Timestamp; fn f() { Timestamp::now(); }",
        "fn f() { let _: Option<reqwest::Url> = None; }",
    ] {
        assert!(!impure(bad).is_empty(), "{bad}");
    }
    let good = "use kube::{CustomResource, ResourceExt, core::Duration}; use std::time::Duration as D; \
                // tokio::spawn\nfn f(now: Timestamp) { \"Timestamp::now()\" }";
    assert_eq!(impure(good), Vec::<String>::new());
}

// === Reading ===

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a folder of the repository, by their path in it.
fn sources(folder: &str) -> Result<BTreeMap<PathBuf, String>> {
    fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, String>) -> Result<()> {
        let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                walk(&path, found)?;
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path)?;
                found.insert(path.strip_prefix(root())?.to_owned(), text);
            }
        }
        Ok(())
    }
    let mut found = BTreeMap::new();
    walk(&root().join(folder), &mut found)?;
    Ok(found)
}

/// `domain` for `src/domain/decide.rs`; nothing for `src/lib.rs` and `src/main.rs`, which put together.
fn top_level_module(path: &Path) -> Option<&str> {
    let mut parts = path.iter().skip(1).filter_map(|part| part.to_str());
    let first = parts.next()?;
    match (first, parts.next()) {
        ("lib.rs" | "main.rs", None) => None,
        (file, None) => file.strip_suffix(".rs"),
        (folder, Some(_)) => Some(folder),
    }
}

/// What a file of `module` imports and must not.
fn misdirected(module: &str, path: &Path, text: &str) -> Vec<String> {
    let row = MAY_IMPORT.iter().find(|(name, _)| *name == module);
    let Some((_, allowed)) = row else {
        return vec![format!("MAY_IMPORT has no row for {module}")];
    };
    // How many modules deep the file itself is: `src/domain/mod.rs` is one deep, `src/domain/decide.rs` two.
    let depth = path.iter().count() - 1 - usize::from(path.ends_with("mod.rs"));
    let known = |name: &str| MAY_IMPORT.iter().any(|(module, _)| *module == name);
    paths(text)
        .into_iter()
        .filter_map(|path| {
            let supers = path.iter().take_while(|part| *part == "super").count();
            let name = match path.first()?.as_str() {
                "crate" | "foredeck" if path.len() > 1 => path[1].clone(),
                // A path that climbs out of nested modules may stay within; then what follows is none of ours.
                "super" if supers >= depth => path.get(supers).filter(|name| known(name))?.clone(),
                _ => return None,
            };
            let fine = name == module || allowed.contains(&name.as_str());
            (!fine).then(|| format!("{module} must not import {}", path.join("::")))
        })
        .collect()
}

/// What a pure file names and must not.
fn impure(text: &str) -> Vec<String> {
    paths(text)
        .into_iter()
        .filter(|path| {
            IMPURE.iter().any(|name| {
                let name: Vec<&str> = name.split("::").collect();
                let begins =
                    path.len() >= name.len() && path.iter().zip(&name).all(|(a, b)| a == b);
                let ends = name.len() == 2 && path.windows(2).any(|pair| pair == name);
                begins || ends
            })
        })
        .map(|path| path.join("::"))
        .collect()
}

/// Every path of a text with `::` in it or that a `use` names, with groups spread out: `a::{b, c::d}` is `a::b` and
/// `a::c::d`.
fn paths(text: &str) -> Vec<Vec<String>> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let before = at;
        if tokens[at] == "use" {
            at += 1;
            tree(&tokens, &mut at, &[], &mut found);
        } else if is_word(&tokens[at]) {
            let mut spread = Vec::new();
            tree(&tokens, &mut at, &[], &mut spread);
            found.extend(spread.into_iter().filter(|path| path.len() > 1));
        }
        at = at.max(before + 1);
    }
    found
}

/// Reads one path, or a group of them, that continues `prefix`.
fn tree(tokens: &[String], at: &mut usize, prefix: &[String], found: &mut Vec<Vec<String>>) {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(*at).map(String::as_str) {
            Some("{") => {
                *at += 1;
                while tokens.get(*at).is_some_and(|token| token != "}") {
                    let before = *at;
                    tree(tokens, at, &path, found);
                    // `as name` and commas.
                    while tokens
                        .get(*at)
                        .is_some_and(|token| !matches!(token.as_str(), "," | "}"))
                    {
                        *at += 1;
                    }
                    if tokens.get(*at).is_some_and(|token| token == ",") {
                        *at += 1;
                    }
                    *at = (*at).max(before + 1);
                }
                *at += 1;
                return;
            }
            Some(word) if is_word(word) || word == "*" => path.push(word.to_owned()),
            _ => break,
        }
        *at += 1;
        if tokens.get(*at).is_none_or(|token| token != "::") {
            break;
        }
        *at += 1;
    }
    if path.len() > prefix.len() {
        found.push(path);
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// The words and signs of a text, without comments and literals.
fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = string(rest) {
            length
        } else if first == '\'' {
            character(rest)
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|next: char| !next.is_alphanumeric() && next != '_');
            let length = end.unwrap_or(rest.len());
            found.push(rest[..length].to_owned());
            length
        } else if rest.starts_with("::") {
            found.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                found.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        if here.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the string literal that `text` begins with, if it does.
fn string(text: &str) -> Option<usize> {
    let body = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - body.len();
    if prefix > 1 {
        return None;
    }
    if let Some(raw) = body.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let inner = raw[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = inner.find(&end).map_or(inner.len(), |at| at + end.len());
        return Some(prefix + 1 + hashes + 1 + length);
    }
    let inner = body.strip_prefix('"')?;
    let mut escaped = false;
    for (at, next) in inner.char_indices() {
        match next {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(prefix + 1 + at + 1),
            _ => {}
        }
    }
    Some(text.len())
}

/// The length of a character literal, or of a lifetime's sign.
fn character(text: &str) -> usize {
    let inner = &text[1..];
    if let Some(escaped) = inner.strip_prefix('\\') {
        let end = escaped
            .char_indices()
            .skip(1)
            .find(|(_, next)| *next == '\'');
        return end.map_or(1, |(at, _)| 2 + at + 1);
    }
    let mut characters = inner.chars();
    match (characters.next(), characters.next()) {
        (Some(one), Some('\'')) => 1 + one.len_utf8() + 1,
        _ => 1,
    }
}
