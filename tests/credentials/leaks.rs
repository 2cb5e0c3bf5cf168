//! Everything that was written while a suite ran, searched for the secrets that it used. Touches files and the API server
//! (reads of them).
//!
//! Any sixteen characters in a row of a secret are a leak, so what an error text cut off is found too; and so is what was
//! encoded on its way: Base64 at any offset (a basic login), in URLs, in forms. Only the places are told, and never the secret.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Debug,
    fs,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use foredeck_testkit::{ControlPlane, StandInGate, StandInSlack};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap, events::v1::Event};
use kube::{
    Api, Resource,
    api::{ApiResource, ListParams},
    core::{DynamicObject, GroupVersionKind},
};

/// So many characters of a secret are a leak.
const PIECE: usize = 16;
/// Shorter secrets are found by chance.
const SHORTEST: usize = 8;

/// What must be found nowhere.
#[derive(Default)]
pub(crate) struct Secrets {
    names: Vec<String>,
    /// The pieces of those that are long enough, each with the secret that it is of.
    pieces: HashMap<[u8; PIECE], usize>,
    /// Those that are shorter, as a whole.
    short: Vec<(Vec<u8>, usize)>,
}

impl Secrets {
    /// Adds one: a token, a password, a private key in PEM. Of a JSON Web Token only the signature is secret, since what it
    /// says and who signed it is no secret; of PEM only what stands between its lines of dashes.
    ///
    /// # Errors
    /// When it is so short that it is found by chance.
    pub(crate) fn add(&mut self, name: &str, secret: &str) -> Result<()> {
        let index = self.names.len();
        self.names.push(name.to_owned());
        for part in parts(secret) {
            ensure!(
                part.len() >= SHORTEST,
                "{name} has fewer than {SHORTEST} characters, and would be found by chance"
            );
            for form in forms(&part) {
                if form.len() < PIECE {
                    self.short.push((form.into_bytes(), index));
                    continue;
                }
                for piece in form.as_bytes().array_windows::<PIECE>() {
                    self.pieces.insert(*piece, index);
                }
            }
        }
        Ok(())
    }

    /// The names of those that stand in a text.
    fn found_in(&self, text: &[u8]) -> BTreeSet<&str> {
        let pieces = text
            .array_windows::<PIECE>()
            .filter_map(|piece| self.pieces.get(piece));
        let short = self.short.iter().filter_map(|(short, index)| {
            let found = text.windows(short.len()).any(|window| window == short);
            found.then_some(index)
        });
        pieces
            .chain(short)
            .filter_map(|index| self.names.get(*index))
            .map(String::as_str)
            .collect()
    }
}

/// What of it is secret.
fn parts(secret: &str) -> Vec<String> {
    let secret = secret.trim();
    if secret.starts_with("-----BEGIN ") {
        // The first line of a key says mostly what kind of key it is.
        let lines = secret.lines().filter(|line| !line.starts_with("-----"));
        return lines.skip(1).map(str::to_owned).collect();
    }
    let segments: Vec<&str> = secret.split('.').collect();
    match segments[..] {
        [header, _, signature] if header.starts_with("eyJ") => vec![signature.to_owned()],
        _ => vec![secret.to_owned()],
    }
}

/// The ways in which it may be written.
fn forms(part: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::from([part.to_owned()]);
    for before in 0..3 {
        // What comes before shifts it within Base64's groups of three bytes; the groups that it shares with others are left out.
        let shifted = [vec![0; before], part.as_bytes().to_vec()].concat();
        let whole = shifted.len() / 3 * 3;
        let shared = if before == 0 { 0 } else { 3 };
        for engine in [STANDARD, URL_SAFE] {
            forms.insert(engine.encode(&shifted[shared..whole]));
        }
    }
    forms.insert(form_urlencoded::byte_serialize(part.as_bytes()).collect());
    forms.retain(|form| form.len() >= SHORTEST);
    forms
}

/// What was written, each with where.
#[derive(Default)]
pub(crate) struct Written {
    texts: Vec<(String, Vec<u8>)>,
}

impl Written {
    /// Any text.
    pub(crate) fn text(&mut self, place: impl Into<String>, text: impl Into<Vec<u8>>) {
        self.texts.push((place.into(), text.into()));
    }

    /// Each of some things, as it prints itself.
    pub(crate) fn each<T: Debug>(&mut self, place: &str, things: impl IntoIterator<Item = T>) {
        for (index, thing) in things.into_iter().enumerate() {
            self.text(
                format!("{place}, number {}", index + 1),
                format!("{thing:?}"),
            );
        }
    }

    /// Every file below a folder, such as the one with the logs of all processes.
    pub(crate) fn files(&mut self, folder: &Path) -> Result<()> {
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let text = fs::read(&path).with_context(|| path.display().to_string())?;
                    self.text(path.display().to_string(), text);
                }
            }
        }
        Ok(())
    }

    /// What foredeck writes into the API server: every object of its kinds, in any namespace, all events, Leases and
    /// `ConfigMap`s.
    pub(crate) async fn objects(&mut self, plane: &ControlPlane) -> Result<()> {
        let mut resources = vec![
            ApiResource::erase::<Event>(&()),
            ApiResource::erase::<Lease>(&()),
            ApiResource::erase::<ConfigMap>(&()),
        ];
        for definition in foredeck::api::crds() {
            let names = &definition.spec.names;
            let version = definition.spec.versions.first().context("a version")?;
            let gvk = GroupVersionKind::gvk(&definition.spec.group, &version.name, &names.kind);
            resources.push(ApiResource::from_gvk_with_plural(&gvk, &names.plural));
        }
        for resource in resources {
            let api: Api<DynamicObject> = Api::all_with(plane.admin(), &resource);
            let listed = api.list(&ListParams::default()).await;
            for object in listed.with_context(|| resource.plural.clone())? {
                let meta = object.meta();
                let what = format!(
                    "the {} {}/{}",
                    resource.kind,
                    meta.namespace.as_deref().unwrap_or_default(),
                    meta.name.as_deref().unwrap_or_default()
                );
                self.text(what, serde_json::to_vec(&object)?);
            }
        }
        Ok(())
    }

    /// What a Gate was asked, bodies included.
    pub(crate) fn gate(&mut self, gate: &StandInGate) {
        self.each(&format!("the calls of {}", gate.url()), gate.calls());
    }

    /// What Slack was asked, bodies included.
    pub(crate) fn slack(&mut self, slack: &StandInSlack) {
        self.each("the calls of Slack", slack.calls());
    }

    /// Where which secrets were found, in a line each.
    pub(crate) fn with(&self, secrets: &Secrets) -> Vec<String> {
        let mut found = Vec::new();
        for (place, text) in &self.texts {
            let names = secrets.found_in(text);
            found.extend(names.into_iter().map(|name| format!("{name} in {place}")));
        }
        found
    }

    /// Checks that none of them was written anywhere, and that there were things to look through.
    ///
    /// # Errors
    /// When one was, with its name and the place.
    pub(crate) fn has_none_of(&self, secrets: &Secrets) -> Result<()> {
        ensure!(!self.texts.is_empty(), "nothing was looked through");
        ensure!(!secrets.names.is_empty(), "nothing was looked for");
        let found = self.with(secrets);
        ensure!(
            found.is_empty(),
            "secrets were written where they don't belong: {}",
            found.join("; ")
        );
        Ok(())
    }
}
