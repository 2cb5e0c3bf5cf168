//! What a change of a definition breaks, by the two definitions alone. Touches nothing.
//!
//! Compatible is: whatever the old definition took, the new one takes, keeps and means the same. So what is new must be
//! optional, and what was there stays as wide as it was.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

/// Something that was possible and isn't any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Break {
    /// Where in the definition: `deployrequests v1alpha1 spec.cancel.reason`.
    pub(crate) path: String,
    /// What, and whom it breaks.
    pub(crate) why: String,
}

impl fmt::Display for Break {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.why)
    }
}

/// Bounds that may grow and not shrink, and bounds that may shrink and not grow.
const MOST: [&str; 4] = ["maxLength", "maxItems", "maxProperties", "maximum"];
const LEAST: [&str; 4] = ["minLength", "minItems", "minProperties", "minimum"];

/// What else has to stay as it is, and whom a change of it breaks.
const FIXED: [(&str, &str); 13] = [
    (
        "type",
        "objects that are stored have the old type, and can't be written any more",
    ),
    (
        "x-kubernetes-list-type",
        "who applies a part of the list now replaces all of it, or the other way round",
    ),
    (
        "x-kubernetes-list-map-keys",
        "who applies a part of the list now means other entries",
    ),
    (
        "x-kubernetes-map-type",
        "who applies a part of the map now replaces all of it, or the other way round",
    ),
    (
        "x-kubernetes-int-or-string",
        "objects that have the other of the two are refused",
    ),
    (
        "x-kubernetes-embedded-resource",
        "objects are checked otherwise",
    ),
    ("multipleOf", "objects with other numbers are refused"),
    ("uniqueItems", "objects with an entry twice are refused"),
    ("exclusiveMaximum", "objects at the bound are refused"),
    ("exclusiveMinimum", "objects at the bound are refused"),
    ("not", "objects may be refused"),
    ("allOf", "objects may be refused"),
    ("anyOf", "objects may be refused"),
];

/// All that `new` breaks of what `old` promised.
pub(crate) fn breaks(old: &Value, new: &Value) -> Vec<Break> {
    let plural = old["spec"]["names"]["plural"].as_str().unwrap_or_default();
    let mut found = Found(Vec::new());
    for (name, whom) in [
        ("group", "nobody finds the objects"),
        ("scope", "stored objects are lost"),
    ] {
        found.differs(plural, name, &old["spec"], &new["spec"], whom);
    }
    for name in ["kind", "listKind", "plural", "singular"] {
        let whom = "manifests, clients and rights name it so";
        found.differs(
            plural,
            name,
            &old["spec"]["names"],
            &new["spec"]["names"],
            whom,
        );
    }
    for name in ["shortNames", "categories"] {
        let (old, new) = (&old["spec"]["names"][name], &new["spec"]["names"][name]);
        for gone in texts(old).difference(&texts(new)) {
            found.add(
                plural,
                format!("{name} {gone} is gone: who types it finds nothing"),
            );
        }
    }
    for version in items(&old["spec"]["versions"]) {
        let name = version["name"].as_str().unwrap_or_default();
        let at = format!("{plural} {name}");
        let now = items(&new["spec"]["versions"]).find(|now| now["name"] == name);
        match now {
            Some(now) => found.version(&at, version, now),
            None => found.add(
                &at,
                "the version is gone: clients and stored objects have it",
            ),
        }
    }
    found.0.sort();
    found.0
}

struct Found(Vec<Break>);

impl Found {
    fn add(&mut self, path: &str, why: impl Into<String>) {
        let why = why.into();
        self.0.push(Break {
            path: path.to_owned(),
            why,
        });
    }

    /// Both say the same of it, or it breaks whom.
    fn differs(&mut self, path: &str, name: &str, old: &Value, new: &Value, whom: &str) {
        let (old, new) = (&old[name], &new[name]);
        if old != new {
            self.add(path, format!("{name} was {old} and is {new}: {whom}"));
        }
    }

    fn version(&mut self, at: &str, old: &Value, new: &Value) {
        if old["served"] == true && new["served"] != true {
            self.add(at, "is served no more: clients ask for it");
        }
        if old["storage"] == true && new["storage"] != true {
            self.add(
                at,
                "is stored no more: objects have to be converted, and there is nobody who does",
            );
        }
        for name in ["status", "scale"] {
            if !old["subresources"][name].is_null() && new["subresources"][name].is_null() {
                let why = format!("has no subresource {name} any more: who writes it is refused");
                self.add(at, why);
            }
        }
        let columns = |version: &Value| -> BTreeSet<String> {
            let all = items(&version["additionalPrinterColumns"]);
            all.map(|column| format!("{} ({})", column["name"], column["jsonPath"]))
                .collect()
        };
        for gone in columns(old).difference(&columns(new)) {
            let why = format!(
                "the column {gone} is gone: people and scripts read it in kubectl's tables"
            );
            self.add(at, why);
        }
        let selectable = |version: &Value| -> BTreeSet<String> {
            let all = items(&version["selectableFields"]);
            all.map(|field| field["jsonPath"].to_string()).collect()
        };
        for gone in selectable(old).difference(&selectable(new)) {
            let why = format!("{gone} can't be selected by any more: who lists by it is refused");
            self.add(at, why);
        }
        let schema = |version: &Value| version["schema"]["openAPIV3Schema"].clone();
        self.schema(at, "", &schema(old), &schema(new));
    }

    fn schema(&mut self, root: &str, within: &str, old: &Value, new: &Value) {
        let at = &if within.is_empty() {
            root.to_owned()
        } else {
            format!("{root} {within}")
        };
        for (name, whom) in FIXED {
            self.differs(at, name, old, new, whom);
        }
        self.differs(at, "oneOf", old, new, "objects may be refused");
        if !new["format"].is_null() {
            self.differs(at, "format", old, new, "objects in the old one are refused");
        }
        if !new["pattern"].is_null() {
            self.differs(
                at,
                "pattern",
                old,
                new,
                "objects that fit the old one may be refused",
            );
        }
        if old["nullable"] == true && new["nullable"] != true {
            self.add(
                at,
                "is nullable no more: objects with a null lose it or are refused",
            );
        }
        let unknown = "x-kubernetes-preserve-unknown-fields";
        if old[unknown] == true && new[unknown] != true {
            self.add(at, "keeps unknown fields no more: objects lose theirs");
        }
        self.differs(
            at,
            "default",
            old,
            new,
            "objects that leave it out mean something else",
        );
        self.bounds(at, old, new);
        if let Some(now) = new["enum"].as_array() {
            match old["enum"].as_array() {
                None => self.add(
                    at,
                    "takes certain values only: objects with others are refused",
                ),
                Some(before) => {
                    for gone in before.iter().filter(|value| !now.contains(value)) {
                        self.add(
                            at,
                            format!("{gone} is no value any more: objects with it are refused"),
                        );
                    }
                }
            }
        }
        self.properties(root, within, at, old, new);
        self.rules(at, old, new);
        let (before, now) = (&old["items"], &new["items"]);
        if before.is_object() && now.is_object() {
            self.schema(root, &format!("{within}[]"), before, now);
        }
        let (before, now) = (&old["additionalProperties"], &new["additionalProperties"]);
        match (open(before), open(now)) {
            (true, false) => self.add(at, "takes no further keys any more: objects lose theirs"),
            (true, true) if before.is_object() && now.is_object() => {
                self.schema(root, &format!("{within}.*"), before, now);
            }
            (true, true) if now.is_object() => {
                self.add(
                    at,
                    "its further keys take certain values only: objects with others are refused",
                );
            }
            _ => {}
        }
    }

    fn bounds(&mut self, at: &str, old: &Value, new: &Value) {
        for name in MOST {
            let (before, now) = (old[name].as_f64(), new[name].as_f64());
            if now.is_some_and(|now| before.is_none_or(|before| now < before)) {
                let why = format!(
                    "{name} was {} and is {}: larger objects are refused",
                    old[name], new[name]
                );
                self.add(at, why);
            }
        }
        for name in LEAST {
            let least = if name == "minimum" {
                f64::NEG_INFINITY
            } else {
                0.0
            };
            let before = old[name].as_f64().unwrap_or(least);
            if new[name].as_f64().is_some_and(|now| now > before) {
                let why = format!(
                    "{name} was {} and is {}: smaller objects are refused",
                    old[name], new[name]
                );
                self.add(at, why);
            }
        }
    }

    fn properties(&mut self, root: &str, within: &str, at: &str, old: &Value, new: &Value) {
        let none = Map::new();
        let before = old["properties"].as_object().unwrap_or(&none);
        let now = new["properties"].as_object().unwrap_or(&none);
        for (name, before) in before {
            let below = if within.is_empty() {
                name.clone()
            } else {
                format!("{within}.{name}")
            };
            match now.get(name) {
                Some(now) => self.schema(root, &below, before, now),
                None => self.add(
                    &format!("{root} {below}"),
                    "is gone: objects lose it when they are written next, and who reads it finds nothing",
                ),
            }
        }
        for name in texts(&new["required"]).difference(&texts(&old["required"])) {
            let given = now.get(*name).is_some_and(|now| !now["default"].is_null());
            if !given {
                self.add(
                    at,
                    format!("{name} is required: objects without it are refused"),
                );
            }
        }
    }

    fn rules(&mut self, at: &str, old: &Value, new: &Value) {
        let known: BTreeSet<&str> = items(&old["x-kubernetes-validations"])
            .filter_map(|rule| rule["rule"].as_str())
            .collect();
        for rule in items(&new["x-kubernetes-validations"]) {
            let text = rule["rule"].as_str().unwrap_or_default();
            if !known.contains(text) && !keeps_what_is_new(old, rule) {
                let why = format!(
                    "a new rule ({text}): objects that break it are refused once the field is written"
                );
                self.add(at, why);
            }
        }
    }
}

/// Whether a rule only keeps a property from changing that the old schema didn't have: no object has it yet.
fn keeps_what_is_new(old: &Value, rule: &Value) -> bool {
    let path = rule["fieldPath"]
        .as_str()
        .and_then(|path| path.strip_prefix('.'));
    path.is_some_and(|name| {
        let keeps = format!("has(self.{name}) == has(oldSelf.{name}) && ");
        let text = rule["rule"].as_str().unwrap_or_default();
        old["properties"][name].is_null() && text.starts_with(&keeps)
    })
}

fn open(additional: &Value) -> bool {
    additional.is_object() || additional == true
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn texts(list: &Value) -> BTreeSet<&str> {
    items(list).filter_map(Value::as_str).collect()
}
