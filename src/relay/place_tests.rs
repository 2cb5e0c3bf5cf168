//! Who is told where.

use serde_json::json;

use super::*;
use crate::{
    api::deploy_request::Phase,
    relay::testing::{changed, environment},
};

/// `C0ASKED`, `C0ASKED/1.2` for a thread, `@U01` for a person.
fn shown(spot: &Spot) -> String {
    match (&spot.to, &spot.thread) {
        (Destination::Channel(channel), None) => channel.to_string(),
        (Destination::Channel(channel), Some(thread)) => format!("{channel}/{thread}"),
        (Destination::Person(user), _) => format!("@{user}"),
    }
}

fn asked(place: &serde_json::Value) -> DeployRequest {
    changed(
        Phase::Running,
        &json!({"spec": {"notify": {"slack": place}}}),
    )
}

/// A name, who asked where, under which settings; the spots of the live message, that of the link, further channels.
type Row<'a> = (
    &'a str,
    &'a DeployRequest,
    Option<&'a Environment>,
    &'a [&'a str],
    Option<&'a str>,
    &'a [&'a str],
);

#[test]
fn the_live_message_goes_to_the_environments_channel_else_where_it_was_asked() {
    let here = asked(&json!({"channel": "C0ASKED"}));
    let thread = asked(&json!({"channel": "C0ASKED", "threadTs": "1.2"}));
    let direct = asked(&json!({"channel": "D0ALICE"}));
    let kubectl = changed(
        Phase::Running,
        &json!({"spec": {"notify": null, "requester": null}}),
    );
    let own = environment(&json!({"channel": "C0OWN", "also": ["C0ALSO", "C0OWN"]}));
    let same = environment(&json!({"channel": "C0ASKED"}));
    let also = environment(&json!({"also": ["C0ASKED", "C0ALSO"]}));
    let rows: [Row<'_>; 9] = [
        (
            "asked in a channel",
            &here,
            None,
            &["C0ASKED", "@U01"],
            None,
            &[],
        ),
        (
            "in a thread",
            &thread,
            None,
            &["C0ASKED/1.2", "C0ASKED", "@U01"],
            None,
            &[],
        ),
        (
            "in a direct message",
            &direct,
            None,
            &["D0ALICE", "@U01"],
            None,
            &[],
        ),
        (
            "own channel",
            &here,
            Some(&own),
            &["C0OWN", "C0ASKED", "@U01"],
            Some("C0ASKED"),
            &["C0ALSO"],
        ),
        (
            "own channel, thread",
            &thread,
            Some(&own),
            &["C0OWN", "C0ASKED/1.2", "C0ASKED", "@U01"],
            Some("C0ASKED/1.2"),
            &["C0ALSO"],
        ),
        (
            "own channel is where it was asked",
            &thread,
            Some(&same),
            &["C0ASKED/1.2", "C0ASKED", "@U01"],
            None,
            &[],
        ),
        (
            "also where it was asked",
            &here,
            Some(&also),
            &["C0ASKED", "@U01"],
            None,
            &["C0ALSO"],
        ),
        (
            "kubectl, own channel",
            &kubectl,
            Some(&own),
            &["C0OWN"],
            None,
            &["C0ALSO"],
        ),
        (
            "kubectl, others only",
            &kubectl,
            Some(&also),
            &[],
            None,
            &["C0ALSO", "C0ASKED"],
        ),
    ];
    for (name, request, environment, live, link, also) in rows {
        let places = Places::of(request, environment, None);
        let spots: Vec<String> = places.live.iter().map(shown).collect();
        assert_eq!(spots, live, "{name}");
        assert_eq!(places.link.as_ref().map(shown).as_deref(), link, "{name}");
        let channels: Vec<&str> = places.also.iter().map(ChannelId::as_str).collect();
        assert_eq!(channels, also, "{name}");
    }
    assert!(Places::of(&kubectl, None, None).is_nowhere());
}

#[test]
fn a_refused_message_goes_on_until_nobody_is_left() {
    let request = asked(&json!({"channel": "C0ASKED", "threadTs": "1.2"}));
    let places = Places::of(&request, None, None);
    let mut way = Vec::new();
    let mut spot = places.live.first().cloned();
    while let Some(here) = spot {
        way.push(shown(&here));
        spot = places.after(&here);
    }
    assert_eq!(way, ["C0ASKED/1.2", "C0ASKED", "@U01"]);
    let direct = Spot::channel("D0ALICE".parse().unwrap(), None);
    assert_eq!(places.after(&direct), None);
    let former = Spot::channel("C0FORMER".parse().unwrap(), None);
    assert_eq!(
        places.after(&former).as_ref().map(shown).as_deref(),
        Some("@U01")
    );
}

#[test]
fn what_cannot_be_a_channel_is_nowhere() {
    let request = asked(&json!({"channel": "nowhere"}));
    assert!(Places::of(&request, None, None).is_nowhere());
}
