//! What a scope covers; which changes a cache tells of, and when.

use futures::stream;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::Event;
use serde_json::json;

use super::*;

fn object(name: &str, uid: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"namespace": "team", "name": name, "uid": uid}}))
        .unwrap()
}

/// What is told, each with whether the cache has it at that moment.
async fn told(events: Vec<Event<ConfigMap>>) -> Vec<(String, bool)> {
    let (reader, writer) = reflector::store();
    let events = stream::iter(events.into_iter().map(Ok));
    let watch = Watches::default().watch("ConfigMap", "namespace team".to_owned());
    let told = changes(events, reader.clone(), writer, watch).map(move |object| {
        let stored = reader.get(&reference(&*object));
        let present = stored.is_some_and(|stored| stored.uid() == object.uid());
        (object.uid().unwrap(), present)
    });
    let mut told: Vec<_> = told.collect().await;
    told.sort();
    told
}

fn listed(objects: &[(&str, &str)]) -> Vec<Event<ConfigMap>> {
    let objects = objects
        .iter()
        .map(|(name, uid)| Event::InitApply(object(name, uid)));
    std::iter::once(Event::Init)
        .chain(objects)
        .chain([Event::InitDone])
        .collect()
}

fn is(all: &[(&str, bool)]) -> Vec<(String, bool)> {
    all.iter()
        .map(|(uid, present)| ((*uid).to_owned(), *present))
        .collect()
}

#[test]
fn a_namespace_that_is_covered_has_no_scope_of_its_own() {
    let named = |name: &str| Scope::Namespace(name.to_owned());
    let beside = |scopes: &[Scope]| Scope::beside(scopes, "home");
    assert_eq!(beside(&[Scope::Cluster]), None);
    assert_eq!(beside(&[named("shop"), named("home")]), None);
    assert_eq!(beside(&[named("shop")]), Some(named("home")));
}

#[tokio::test]
async fn what_is_listed_is_told_once_the_cache_has_it() {
    let first = told(listed(&[("one", "1"), ("two", "2")])).await;
    assert_eq!(first, is(&[("1", true), ("2", true)]));
    let mut broken = listed(&[("one", "1")]);
    broken.pop();
    assert_eq!(told(broken.clone()).await, [], "half a list");
    let again = [broken, listed(&[("one", "1")])].concat();
    assert_eq!(told(again).await, is(&[("1", true)]));
}

#[tokio::test]
async fn what_a_watch_missed_is_told_when_all_is_listed_anew() {
    let before = listed(&[("stays", "1"), ("goes", "2"), ("anew", "3")]);
    let after = listed(&[("stays", "1"), ("anew", "4"), ("comes", "5")]);
    let all = [
        ("1", true),
        ("1", true),
        ("2", false),
        ("2", true),
        ("3", false),
        ("3", true),
        ("4", true),
        ("5", true),
    ];
    assert_eq!(told([before, after].concat()).await, is(&all));
}

#[tokio::test]
async fn what_a_watch_shows_is_told_at_once() {
    let mut events = listed(&[("one", "1")]);
    events.push(Event::Apply(object("two", "2")));
    events.push(Event::Delete(object("one", "1")));
    let all = [("1", false), ("1", true), ("2", true)];
    assert_eq!(told(events).await, is(&all));
}
