//! The check of compatibility itself: each kind of change, and whether it breaks anybody.

use serde_json::{Value, json};

use crate::compatibility::breaks;

const RULE: &str = "self.size() > 1";

/// A definition with something of everything.
fn definition() -> Value {
    json!({"spec": {
        "group": "foredeck.dev", "scope": "Namespaced",
        "names": {"kind": "Thing", "listKind": "ThingList", "plural": "things", "singular": "thing",
            "shortNames": ["th"], "categories": ["foredeck"]},
        "versions": [{
            "name": "v1alpha1", "served": true, "storage": true, "subresources": {"status": {}},
            "additionalPrinterColumns": [{"name": "Name", "jsonPath": ".spec.name"}],
            "selectableFields": [{"jsonPath": ".spec.name"}],
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {
                "type": "object", "required": ["name"],
                "properties": {
                    "name": {"type": "string", "maxLength": 10, "minLength": 1, "pattern": "^a"},
                    "mode": {"type": "string", "enum": ["One", "Two"], "default": "One"},
                    "at": {"type": "string", "format": "date-time"},
                    "some": {"type": "string", "nullable": true},
                    "count": {"type": "integer", "minimum": 0, "maximum": 5},
                    "list": {"type": "array", "maxItems": 3, "items": {"type": "string", "maxLength": 5},
                        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
                    "map": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 5}},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "ruled": {"type": "string", "x-kubernetes-validations": [{"rule": RULE}]},
                    "plain": {"type": "string"},
                },
            }}}},
        }],
    }})
}

const VERSION: &str = "/spec/versions/0";
const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";

/// With a change somewhere: a null takes away.
fn changed(path: &str, to: Value) -> Value {
    let mut definition = definition();
    let (parent, last) = path.rsplit_once('/').unwrap();
    let parent = definition.pointer_mut(parent).unwrap();
    match parent {
        Value::Object(object) if to.is_null() => {
            object.remove(last).unwrap();
        }
        Value::Object(object) => {
            object.insert(last.to_owned(), to);
        }
        other => other[last.parse::<usize>().unwrap()] = to,
    }
    definition
}

fn property(path: &str, to: Value) -> Value {
    changed(&format!("{SPEC}/properties/{path}"), to)
}

#[test]
fn nothing_changed_breaks_nobody() {
    assert_eq!(breaks(&definition(), &definition()), []);
}

#[test]
fn what_grows_breaks_nobody() {
    let other_version = {
        let mut grown = definition();
        let versions = grown.pointer_mut("/spec/versions").unwrap();
        let mut other = versions[0].clone();
        other["name"] = json!("v1");
        other["storage"] = json!(false);
        versions.as_array_mut().unwrap().push(other);
        grown
    };
    let kept =
        json!([{"fieldPath": ".fresh", "rule": "has(self.fresh) == has(oldSelf.fresh) && true"}]);
    for grown in [
        other_version,
        property(
            "fresh",
            json!({"type": "string", "maxLength": 1, "default": "x"}),
        ),
        property("name/maxLength", json!(11)),
        property("name/maxLength", Value::Null),
        property("name/minLength", json!(0)),
        property("name/pattern", Value::Null),
        property("plain/minLength", json!(0)),
        property("mode/enum", json!(["One", "Two", "Three"])),
        property("mode/enum", Value::Null),
        property("at/format", Value::Null),
        property("plain/nullable", json!(true)),
        property("count/maximum", Value::Null),
        property("count/minimum", json!(-1)),
        property("list/maxItems", json!(4)),
        property("list/items/maxLength", json!(6)),
        property("map/additionalProperties/maxLength", json!(6)),
        property("ruled/x-kubernetes-validations", Value::Null),
        property("plain/description", json!("words")),
        changed(&format!("{SPEC}/required"), json!([])),
        // What is required and given anyway.
        changed(&format!("{SPEC}/required"), json!(["name", "mode"])),
        changed(&format!("{SPEC}/x-kubernetes-validations"), kept),
        changed("/spec/names/shortNames", json!(["th", "thing"])),
        changed(
            &format!("{VERSION}/additionalPrinterColumns"),
            json!([{"name": "New", "jsonPath": ".spec.mode"}, {"name": "Name", "jsonPath": ".spec.name"}]),
        ),
    ] {
        let found = breaks(&definition(), &grown);
        assert_eq!(found, [], "{grown}");
    }
}

#[test]
fn what_shrinks_is_found_with_its_path_and_whom_it_breaks() {
    let rows = [
        (
            changed("/spec/group", json!("other.dev")),
            "things",
            "nobody finds",
        ),
        (
            changed("/spec/scope", json!("Cluster")),
            "things",
            "stored objects are lost",
        ),
        (
            changed("/spec/names/kind", json!("Other")),
            "things",
            "manifests",
        ),
        (
            changed("/spec/names/shortNames", json!([])),
            "things",
            "who types it",
        ),
        (
            changed("/spec/names/categories", json!([])),
            "things",
            "who types it",
        ),
        (
            changed(&format!("{VERSION}/name"), json!("v2")),
            "things v1alpha1",
            "the version is gone",
        ),
        (
            changed(&format!("{VERSION}/served"), json!(false)),
            "things v1alpha1",
            "served no more",
        ),
        (
            changed(&format!("{VERSION}/storage"), json!(false)),
            "things v1alpha1",
            "stored no more",
        ),
        (
            changed(&format!("{VERSION}/subresources"), json!({})),
            "things v1alpha1",
            "subresource status",
        ),
        (
            changed(&format!("{VERSION}/selectableFields"), json!([])),
            "things v1alpha1",
            "selected by",
        ),
        (
            changed(&format!("{VERSION}/additionalPrinterColumns"), json!([])),
            "things v1alpha1",
            "the column",
        ),
        (
            changed(&format!("{SPEC}/required"), json!(["name", "plain"])),
            "things v1alpha1 spec",
            "plain is required",
        ),
        (
            changed(
                &format!("{SPEC}/x-kubernetes-validations"),
                json!([{"rule": "self.count < 3"}]),
            ),
            "things v1alpha1 spec",
            "a new rule (self.count < 3)",
        ),
        (
            // It looks like one that keeps what is new, but the property was there.
            changed(
                &format!("{SPEC}/x-kubernetes-validations"),
                json!([{"fieldPath": ".plain", "rule": "has(self.plain) == has(oldSelf.plain) && true"}]),
            ),
            "things v1alpha1 spec",
            "a new rule",
        ),
        (
            property("plain", Value::Null),
            "things v1alpha1 spec.plain",
            "is gone",
        ),
        (
            property("plain/type", json!("integer")),
            "things v1alpha1 spec.plain",
            "old type",
        ),
        (
            property("plain/maxLength", json!(100)),
            "things v1alpha1 spec.plain",
            "larger",
        ),
        (
            property("plain/minLength", json!(1)),
            "things v1alpha1 spec.plain",
            "smaller",
        ),
        (
            property("plain/pattern", json!("^b")),
            "things v1alpha1 spec.plain",
            "fit the old one",
        ),
        (
            property("plain/enum", json!(["x"])),
            "things v1alpha1 spec.plain",
            "certain values only",
        ),
        (
            property("plain/default", json!("x")),
            "things v1alpha1 spec.plain",
            "mean something else",
        ),
        (
            property("plain/format", json!("date")),
            "things v1alpha1 spec.plain",
            "in the old one",
        ),
        (
            property("plain/oneOf", json!([{}])),
            "things v1alpha1 spec.plain",
            "may be refused",
        ),
        (
            property("name/maxLength", json!(9)),
            "things v1alpha1 spec.name",
            "maxLength was 10 and is 9",
        ),
        (
            property("name/minLength", json!(2)),
            "things v1alpha1 spec.name",
            "minLength was 1 and is 2",
        ),
        (
            property("name/pattern", json!("^ab")),
            "things v1alpha1 spec.name",
            "fit the old one",
        ),
        (
            property("mode/enum", json!(["One"])),
            "things v1alpha1 spec.mode",
            "\"Two\" is no value",
        ),
        (
            property("mode/default", json!("Two")),
            "things v1alpha1 spec.mode",
            "mean something else",
        ),
        (
            property("mode/default", Value::Null),
            "things v1alpha1 spec.mode",
            "mean something else",
        ),
        (
            property("at/format", json!("date")),
            "things v1alpha1 spec.at",
            "in the old one",
        ),
        (
            property("some/nullable", Value::Null),
            "things v1alpha1 spec.some",
            "nullable no more",
        ),
        (
            property("count/maximum", json!(4)),
            "things v1alpha1 spec.count",
            "larger",
        ),
        (
            property("count/minimum", json!(1)),
            "things v1alpha1 spec.count",
            "smaller",
        ),
        (
            property("list/maxItems", json!(2)),
            "things v1alpha1 spec.list",
            "larger",
        ),
        (
            property("list/items/maxLength", json!(4)),
            "things v1alpha1 spec.list[]",
            "larger",
        ),
        (
            property("list/x-kubernetes-list-type", json!("atomic")),
            "things v1alpha1 spec.list",
            "replaces all",
        ),
        (
            property("list/x-kubernetes-list-map-keys", json!(["x"])),
            "things v1alpha1 spec.list",
            "other entries",
        ),
        (
            property("map/additionalProperties", Value::Null),
            "things v1alpha1 spec.map",
            "no further keys",
        ),
        (
            property("map/additionalProperties/maxLength", json!(4)),
            "things v1alpha1 spec.map.*",
            "larger",
        ),
        (
            property("free/x-kubernetes-preserve-unknown-fields", Value::Null),
            "things v1alpha1 spec.free",
            "unknown fields no more",
        ),
        (
            property(
                "ruled/x-kubernetes-validations/0/rule",
                json!("self.size() > 2"),
            ),
            "things v1alpha1 spec.ruled",
            "a new rule",
        ),
    ];
    for (shrunk, path, why) in rows {
        let found = breaks(&definition(), &shrunk);
        let [only] = found.as_slice() else {
            panic!("{path}, {why}: {found:?}");
        };
        assert_eq!(only.path, path);
        assert!(only.why.contains(why), "{only}");
    }
}
