//! The manifests, held to the rules of Slack's schema as far as they touch them.

use std::collections::BTreeSet;

use super::*;

fn command() -> CommandName {
    CommandName::new("/deploy").unwrap()
}

fn http(base: &str) -> Mode {
    Mode::Http(RequestUrls::below(&base.parse().unwrap()).unwrap())
}

/// A field: where it is, and what may be there.
enum Rule {
    Text(usize, usize),
    Address,
    Flag,
    Texts(usize, usize),
    Number,
}

/// Every field that a manifest of ours may have. What isn't here, Slack refuses or we don't need.
const RULES: [(&str, Rule); 23] = [
    ("/_metadata/major_version", Rule::Number),
    ("/display_information/name", Rule::Text(1, 35)),
    ("/display_information/description", Rule::Text(1, 140)),
    ("/features/app_home/home_tab_enabled", Rule::Flag),
    ("/features/app_home/messages_tab_enabled", Rule::Flag),
    (
        "/features/app_home/messages_tab_read_only_enabled",
        Rule::Flag,
    ),
    ("/features/bot_user/display_name", Rule::Text(1, 80)),
    ("/features/bot_user/always_online", Rule::Flag),
    ("/features/slash_commands/0/command", Rule::Text(2, 32)),
    (
        "/features/slash_commands/0/description",
        Rule::Text(1, 2000),
    ),
    ("/features/slash_commands/0/usage_hint", Rule::Text(1, 1000)),
    ("/features/slash_commands/0/should_escape", Rule::Flag),
    ("/features/slash_commands/0/url", Rule::Address),
    ("/oauth_config/scopes/bot", Rule::Texts(255, 50)),
    ("/oauth_config/scopes/bot_optional", Rule::Texts(255, 50)),
    (
        "/settings/event_subscriptions/bot_events",
        Rule::Texts(100, 50),
    ),
    ("/settings/event_subscriptions/request_url", Rule::Address),
    ("/settings/interactivity/is_enabled", Rule::Flag),
    ("/settings/interactivity/request_url", Rule::Address),
    (
        "/settings/interactivity/message_menu_options_url",
        Rule::Address,
    ),
    ("/settings/org_deploy_enabled", Rule::Flag),
    ("/settings/socket_mode_enabled", Rule::Flag),
    ("/settings/token_rotation_enabled", Rule::Flag),
];

/// The pointers of all leaves; a list of texts is one.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                leaves(value, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (index, value) in items.iter().enumerate() {
                leaves(value, &format!("{at}/{index}"), found);
            }
        }
        _ => found.push(at.to_owned()),
    }
}

fn keeps(rule: &Rule, value: &Value) -> bool {
    let length = |value: &Value| value.as_str().map(|text| text.chars().count());
    match rule {
        Rule::Text(least, most) => {
            length(value).is_some_and(|length| (*least..=*most).contains(&length))
        }
        Rule::Address => value
            .as_str()
            .is_some_and(|text| text.starts_with("https://") && text.len() <= 3000),
        Rule::Flag => value.is_boolean(),
        Rule::Number => value.is_u64(),
        Rule::Texts(most, longest) => value.as_array().is_some_and(|texts| {
            let unique: BTreeSet<&str> = texts.iter().filter_map(Value::as_str).collect();
            unique.len() == texts.len()
                && texts.len() <= *most
                && texts
                    .iter()
                    .all(|text| length(text).is_some_and(|length| length <= *longest))
        }),
    }
}

#[test]
fn both_manifests_keep_slacks_rules() {
    for mode in [Mode::Socket, http("https://foredeck.example/below/")] {
        let manifest = manifest(&mode, &command());
        let mut found = Vec::new();
        leaves(&manifest, "", &mut found);
        assert!(found.len() > 15, "{found:?}");
        for pointer in found {
            let rule = RULES.iter().find(|(known, _)| *known == pointer);
            let Some((_, rule)) = rule else {
                panic!("Slack knows no {pointer}");
            };
            let value = manifest.pointer(&pointer).unwrap();
            assert!(keeps(rule, value), "{pointer}: {value}");
        }
    }
}

#[test]
fn only_the_http_manifest_names_addresses() {
    let socket = manifest(&Mode::Socket, &command());
    assert!(!socket.to_string().contains("http"), "{socket}");
    assert_eq!(socket["settings"]["socket_mode_enabled"], true);
    let http = manifest(&http("https://foredeck.example/below/"), &command());
    assert_eq!(http["settings"]["socket_mode_enabled"], false);
    for (pointer, path) in [
        ("/features/slash_commands/0/url", "commands"),
        ("/settings/event_subscriptions/request_url", "events"),
        ("/settings/interactivity/request_url", "interactivity"),
        (
            "/settings/interactivity/message_menu_options_url",
            "interactivity",
        ),
    ] {
        let expected = format!("https://foredeck.example/below/slack/{path}");
        assert_eq!(http.pointer(pointer).unwrap(), &expected, "{pointer}");
    }
}

#[test]
fn every_event_has_its_scope_and_every_scope_is_asked_for_once() {
    let scopes: BTreeSet<&str> = SCOPES.iter().map(|scope| scope.name).collect();
    assert_eq!(scopes.len(), SCOPES.len());
    for event in EVENTS {
        assert!(
            event.scope.is_none_or(|scope| scopes.contains(scope)),
            "{}",
            event.event
        );
    }
    // What the client's methods want, by the method reference.
    for scope in [
        "chat:write",
        "im:write",
        "users:read",
        "channels:read",
        "channels:history",
        "usergroups:read",
    ] {
        assert!(scopes.contains(scope), "{scope}");
    }
    for broad in [
        "chat:write.public",
        "channels:join",
        "reactions:write",
        "files:write",
        "admin",
    ] {
        assert!(!scopes.contains(broad), "{broad} is more than is used");
    }
}

#[test]
fn what_can_not_be_a_command_or_an_address_is_refused() {
    for good in [
        "/deploy",
        "/ship-it",
        "/d",
        "/deploy_2",
        &format!("/{}", "a".repeat(31)),
    ] {
        let manifest = manifest(&Mode::Socket, &CommandName::new(good).unwrap());
        assert_eq!(manifest["features"]["slash_commands"][0]["command"], good);
    }
    for bad in [
        "",
        "/",
        "deploy",
        "/Deploy",
        "/de ploy",
        "//deploy",
        "/deploy\n",
        "/dé",
        &format!("/{}", "a".repeat(32)),
    ] {
        assert!(CommandName::new(bad).is_err(), "{bad:?}");
    }
    for bad in [
        "http://foredeck.example/",
        "https://a:b@foredeck.example/",
        "https://foredeck.example/?a",
        "https://foredeck.example/#a",
        "file:///tmp",
    ] {
        let error = RequestUrls::below(&bad.parse().unwrap()).unwrap_err();
        assert_eq!(error.reason(), "base-url", "{bad}");
    }
}

#[test]
fn the_manifests_look_like_this() {
    insta::assert_json_snapshot!("socket", manifest(&Mode::Socket, &command()));
    let http = manifest(
        &http("https://foredeck.example.com"),
        &CommandName::new("/ship").unwrap(),
    );
    insta::assert_json_snapshot!("http", http);
}
