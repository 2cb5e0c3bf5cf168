//! Which connection counts.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::selector::{LabelExpression, LabelOperator, LabelSelector};

fn connection(uid: &str, selector: &Value) -> SpinnakerConnection {
    let mut connection: SpinnakerConnection = serde_json::from_value(json!({
        "metadata": {"name": "gate", "uid": uid},
        "spec": {"gateUrl": format!("https://{uid}.example")},
    }))
    .unwrap();
    connection.spec.namespace_selector = serde_json::from_value(selector.clone()).unwrap();
    connection
}

fn labels(all: &[(&str, &str)]) -> Labels {
    all.iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Who asks, the selectors of its own connection and of the home namespace's, the tier of who asks, which one counts.
type Row<'a> = (
    &'a str,
    Option<&'a Value>,
    Option<&'a Value>,
    &'a str,
    Option<&'a str>,
);

#[test]
fn its_own_counts_first_and_a_shared_one_only_where_it_is_selected() {
    let prod = json!({"matchLabels": {"tier": "prod"}});
    let (none, all) = (Value::Null, json!({}));
    let table: &[Row<'_>] = &[
        ("team", Some(&none), None, "prod", Some("own")),
        ("team", Some(&none), Some(&all), "prod", Some("own")),
        ("team", Some(&prod), Some(&prod), "test", Some("own")),
        ("team", None, None, "prod", None),
        ("team", None, Some(&none), "prod", None),
        ("team", None, Some(&all), "test", Some("shared")),
        ("team", None, Some(&prod), "prod", Some("shared")),
        ("team", None, Some(&prod), "test", None),
        ("home", Some(&none), Some(&none), "test", Some("own")),
        ("home", Some(&prod), Some(&prod), "test", Some("own")),
        // Seen in one of two reads: gone by now.
        ("home", None, Some(&all), "prod", None),
    ];
    for (namespace, own, shared, tier, wanted) in table {
        let own = own.map(|selector| connection("own", selector));
        let shared = shared.map(|selector| connection("shared", selector));
        let meant = meant(namespace, own, "home", shared);
        let found = meant.by(&labels(&[("tier", tier)]));
        let uid = found.and_then(|found| found.metadata.uid);
        assert_eq!(uid.as_deref(), *wanted, "{namespace} {tier}");
    }
}

#[test]
fn a_selector_matches_as_in_kubernetes_and_an_invalid_one_matches_nothing() {
    let rule = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    let both = json!({"matchLabels": {"tier": "prod"}, "matchExpressions": [{"key": "team", "operator": "Exists"}]});
    let prod = labels(&[("tier", "prod")]);
    let full = labels(&[("tier", "prod"), ("team", "shop")]);
    let table: &[(Value, &Labels, bool)] = &[
        (json!({}), &prod, true),
        (json!({}), &Labels::new(), true),
        (json!({"matchLabels": {"tier": "prod"}}), &prod, true),
        (
            json!({"matchLabels": {"tier": "prod"}}),
            &Labels::new(),
            false,
        ),
        (
            json!({"matchLabels": {"tier": "prod", "team": "cart"}}),
            &full,
            false,
        ),
        (both.clone(), &full, true),
        (both, &prod, false),
        (rule("tier", "In", &["test", "prod"]), &prod, true),
        (rule("tier", "In", &["test"]), &prod, false),
        (rule("team", "In", &["shop"]), &prod, false),
        (rule("tier", "NotIn", &["prod"]), &prod, false),
        (rule("team", "NotIn", &["shop"]), &prod, true),
        (rule("tier", "Exists", &[]), &prod, true),
        (rule("team", "Exists", &[]), &prod, false),
        (rule("tier", "DoesNotExist", &[]), &prod, false),
        (rule("team", "DoesNotExist", &[]), &prod, true),
        // What the API server refuses, and an older definition may have let in.
        (rule("tier", "In", &[]), &prod, false),
        (rule("team", "NotIn", &[]), &prod, false),
        (rule("tier", "Exists", &["prod"]), &prod, false),
        (rule("team", "DoesNotExist", &["shop"]), &prod, false),
        (rule("", "DoesNotExist", &[]), &prod, false),
    ];
    for (selector, labels, wanted) in table {
        let read: LabelSelector = serde_json::from_value(selector.clone()).unwrap();
        assert_eq!(selects(&read, labels), *wanted, "{selector} {labels:?}");
    }
}

#[test]
fn what_was_sent_is_followed_through_the_same_connection_whatever_its_name_means_now() {
    let (own, shared) = (
        connection("own", &Value::Null),
        connection("shared", &Value::Null),
    );
    let through = |own: Option<&SpinnakerConnection>, shared, uid: &str, gate: &str| {
        sent_through(own, Some(shared), uid, &format!("https://{gate}.example"))
            .unwrap()
            .and_then(|found: &SpinnakerConnection| found.metadata.uid.clone())
    };
    let (own, shared) = (Some(&own), Some(&shared));
    let is = |uid: &str| Some(uid.to_owned());
    assert_eq!(through(own, shared, "shared", "shared"), is("shared"));
    assert_eq!(through(own, shared, "own", "own"), is("own"));
    assert_eq!(
        through(own, shared, "own", "shared"),
        is("own"),
        "pointed elsewhere"
    );
    assert_eq!(
        through(own, shared, "old", "shared"),
        is("shared"),
        "made anew"
    );
    assert_eq!(through(own, shared, "old", "own"), is("own"), "made anew");
    assert_eq!(through(own, shared, "old", "elsewhere"), is("own"));
    assert_eq!(through(None, shared, "old", "elsewhere"), None);
    assert_eq!(through(None, None, "old", "own"), None);
}

#[test]
fn while_the_shared_ones_are_not_known_only_the_very_one_that_was_used_counts() {
    let own = connection("own", &Value::Null);
    let through = |own: Option<&SpinnakerConnection>, uid: &str| {
        sent_through(own, None, uid, "https://own.example")
            .map(|found: Option<&SpinnakerConnection>| found.is_some())
    };
    assert_eq!(through(Some(&own), "own"), Ok(true));
    assert_eq!(through(Some(&own), "shared"), Err(HomeUnknown));
    assert_eq!(through(None, "shared"), Err(HomeUnknown));
}

fn any_labels() -> impl Strategy<Value = Labels> {
    prop::collection::btree_map("[ab]", "[xy]", 0..3)
}

fn any_selector() -> impl Strategy<Value = LabelSelector> {
    let operator = prop::sample::select(vec![
        LabelOperator::In,
        LabelOperator::NotIn,
        LabelOperator::Exists,
        LabelOperator::DoesNotExist,
    ]);
    let values = prop::collection::vec("[xy]", 0..3);
    let rule = ("[ab]?", operator, values).prop_map(|(key, operator, values)| LabelExpression {
        key,
        operator,
        values,
    });
    (any_labels(), prop::collection::vec(rule, 0..3)).prop_map(
        |(match_labels, match_expressions)| LabelSelector {
            match_labels,
            match_expressions,
        },
    )
}

proptest! {
    /// Each rule narrows: no rule lets in what fewer rules would have kept out.
    #[test]
    fn every_rule_can_only_narrow(selector in any_selector(), labels in any_labels()) {
        let selected = selects(&selector, &labels);
        for left_out in 0..selector.match_expressions.len() {
            let mut fewer = selector.clone();
            fewer.match_expressions.remove(left_out);
            prop_assert!(!selected || selects(&fewer, &labels));
        }
        let equal = selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        prop_assert!(!selected || equal);
    }

    /// Nobody gets a shared connection but by its selector, and nobody loses their own.
    #[test]
    fn a_selector_alone_shares(
        has_own in any::<bool>(),
        selector in prop::option::of(any_selector()),
        labels in any_labels(),
        at_home in any::<bool>(),
    ) {
        let own = has_own.then(|| connection("own", &Value::Null));
        let mut shared = connection("shared", &Value::Null);
        shared.spec.namespace_selector = selector.clone();
        let namespace = if at_home { "home" } else { "team" };
        let found = meant(namespace, own, "home", Some(shared)).by(&labels);
        let uid = found.and_then(|found| found.metadata.uid);
        let selected = selector.is_some_and(|selector| selects(&selector, &labels));
        let wanted = match (has_own, at_home, selected) {
            (true, ..) => Some("own"),
            (false, false, true) => Some("shared"),
            _ => None,
        };
        prop_assert_eq!(uid.as_deref(), wanted);
    }
}
