//! What is told to whom, how often and in which order, without a sink.

use serde_json::json;

use super::*;

/// A request whose decisions were by these people, the first so many of which are marked as told.
fn request(uid: &str, by: &[&str], audited: Option<u32>) -> DeployRequest {
    let decisions: Vec<_> = by
        .iter()
        .map(|by| json!({"at": "2026-11-22T10:00:00Z", "what": "Refused", "by": by}))
        .collect();
    serde_json::from_value(json!({
        "metadata": {"name": uid, "namespace": "shop", "uid": uid},
        "spec": {"application": "checkout", "environment": "production"},
        "status": {"decisions": decisions, "audited": audited},
    }))
    .unwrap()
}

fn take(ledger: &mut Ledger, sink: usize, objects: &[&DeployRequest], now: Instant) -> Vec<Part> {
    ledger.take(sink, 100, 100, now, |_, name| {
        let found = objects.iter().find(|object| object.name_any() == name);
        found.map(|object| DeployRequest::clone(object))
    })
}

/// By whom what is told was decided.
fn names(parts: &[Part]) -> Vec<String> {
    let lines = parts.iter().flat_map(|part| &part.lines);
    let fields = lines.map(|line| serde_json::to_value(line).unwrap());
    fields
        .map(|fields| fields["by"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn each_sink_gets_each_line_once_in_order_and_the_mark_is_what_all_have() {
    let now = Instant::now();
    let mut ledger = Ledger::new(2, Room::default());
    let one = request("one", &["a", "b"], None);
    assert_eq!(ledger.stands(&one), [0, 0]);
    assert_eq!(ledger.waiting(), 2);
    let first = take(&mut ledger, 0, &[&one], now);
    assert_eq!(names(&first), ["a", "b"]);
    assert!(take(&mut ledger, 0, &[&one], now).is_empty());
    // It goes on while the first sink is told.
    let more = request("one", &["a", "b", "c"], None);
    ledger.stands(&more);
    ledger.told(0, &first, now);
    assert!(ledger.take_marks().is_empty(), "the other one has nothing");
    let next = take(&mut ledger, 0, &[&more], now);
    assert_eq!(names(&next), ["c"]);
    ledger.told(0, &next, now);
    let other = take(&mut ledger, 1, &[&more], now);
    assert_eq!(names(&other), ["a", "b", "c"]);
    ledger.told(1, &other, now);
    assert_eq!(ledger.waiting(), 0);
    let marks = ledger.take_marks();
    assert_eq!(marks.len(), 1);
    assert_eq!(ledger.count(&more), 3);
    ledger.mark_again("one");
    assert_eq!(ledger.take_marks(), marks);
    ledger.stands(&request("one", &["a", "b", "c"], Some(3)));
    assert!(ledger.take_marks().is_empty() && ledger.entries.is_empty());
}

#[test]
fn what_a_predecessor_marked_is_not_told_and_what_it_did_not_mark_is() {
    let mut ledger = Ledger::new(1, Room::default());
    let one = request("one", &["a", "b", "c"], Some(2));
    ledger.stands(&one);
    let parts = take(&mut ledger, 0, &[&one], Instant::now());
    assert_eq!(names(&parts), ["c"]);
    ledger.told(0, &parts, Instant::now());
    assert_eq!(ledger.count(&one), 3);
    // More than there is: somebody wrote that by hand.
    let odd = request("odd", &["a"], Some(7));
    ledger.stands(&odd);
    assert_eq!(ledger.count(&odd), 1);
    assert!(!ledger.entries.contains_key("odd"));
}

#[test]
fn what_was_not_taken_comes_first_again() {
    let now = Instant::now();
    let mut ledger = Ledger::new(1, Room::default());
    let (one, two) = (request("one", &["a"], None), request("two", &["b"], None));
    ledger.stands(&one);
    ledger.stands(&two);
    let parts = ledger.take(0, 1, 100, now, |_, _| Some(one.clone()));
    assert_eq!(names(&parts), ["a"]);
    ledger.back(0, parts);
    assert_eq!(names(&take(&mut ledger, 0, &[&one, &two], now)), ["a", "b"]);
}

#[test]
fn a_request_that_a_sink_will_not_have_lets_the_others_go_first() {
    let now = Instant::now();
    let mut ledger = Ledger::new(1, Room::default());
    let (one, two) = (request("one", &["a"], None), request("two", &["b"], None));
    ledger.stands(&one);
    let parts = take(&mut ledger, 0, &[&one], now);
    assert_eq!(ledger.refused(0, &parts[0], now), 0);
    let until = now + ASIDE;
    ledger.stands(&one);
    ledger.stands(&two);
    assert_eq!(names(&take(&mut ledger, 0, &[&one, &two], now)), ["b"]);
    assert_eq!(ledger.next_turn(0), Some(until));
    // Whoever is new comes before it, also once it is its turn.
    let three = request("three", &["c"], None);
    ledger.stands(&three);
    let all = [&one, &two, &three];
    assert_eq!(names(&take(&mut ledger, 0, &all, until)), ["c"]);
    assert_eq!(names(&take(&mut ledger, 0, &all, until)), ["a"]);
    assert_eq!(ledger.next_turn(0), None);
}

#[test]
fn a_line_that_a_sink_takes_others_than_is_found_and_in_the_end_given_up() {
    let mut now = Instant::now();
    let mut ledger = Ledger::new(1, Room::default());
    let one = request("one", &["a", "b", "c"], None);
    ledger.stands(&one);
    let (mut had, mut lost) = (Vec::new(), 0);
    for _ in 0..2_000 {
        now += ASIDE;
        for part in take(&mut ledger, 0, &[&one], now) {
            let by = names(std::slice::from_ref(&part));
            if by.contains(&"b".to_owned()) {
                lost += ledger.refused(0, &part, now);
            } else {
                had.extend(by);
                ledger.told(0, &[part], now);
            }
        }
        // It takes those of others.
        let part = Part {
            uid: "two".to_owned(),
            lines: Vec::new(),
        };
        ledger.told(0, &[part], now);
    }
    assert_eq!((had, lost), (vec!["a".to_owned(), "c".to_owned()], 1));
    assert_eq!((ledger.count(&one), ledger.waiting()), (3, 0));
}

#[test]
fn a_sink_that_takes_nothing_makes_nobody_give_up() {
    let mut now = Instant::now();
    let mut ledger = Ledger::new(1, Room::default());
    let one = request("one", &["a"], None);
    ledger.stands(&one);
    for _ in 0..2_000 {
        for part in take(&mut ledger, 0, &[&one], now) {
            assert_eq!(ledger.refused(0, &part, now), 0);
        }
        now += ASIDE;
    }
    assert_eq!((ledger.count(&one), ledger.waiting()), (0, 1));
}

#[test]
fn of_an_object_that_went_unreadably_nothing_waits_any_more() {
    let mut ledger = Ledger::new(2, Room::default());
    let one = request("one", &["a", "b"], None);
    ledger.stands(&one);
    let parts = take(&mut ledger, 0, &[&one], Instant::now());
    ledger.told(0, &parts, Instant::now());
    assert_eq!(ledger.vanished("one"), [0, 2]);
    assert_eq!((ledger.waiting(), ledger.vanished("one")), (0, vec![0, 0]));
    // Its target told of its end before.
    ledger.gone(&one, Line::all(&one));
    assert_eq!((ledger.vanished("one"), ledger.waiting()), (vec![0, 0], 2));
}

#[test]
fn an_object_that_is_gone_is_told_of_and_its_end_is_heard_of_twice() {
    let now = Instant::now();
    let mut ledger = Ledger::new(1, Room::default());
    let one = request("one", &["a", "b", "c"], Some(1));
    ledger.stands(&one);
    let all = Line::all(&one);
    // Its target tells of the last decision before the watch tells of the deletion.
    assert_eq!(ledger.gone(&one, all[2..].to_vec()), 0);
    assert_eq!(ledger.gone(&one, all[1..].to_vec()), 0);
    ledger.stands(&one);
    assert_eq!(ledger.kept(0), all[1..]);
    let parts = take(&mut ledger, 0, &[], now);
    assert_eq!(names(&parts), ["b", "c"]);
    ledger.told(0, &parts, Instant::now());
    assert!(
        ledger.take_marks().is_empty(),
        "there is nothing to write to"
    );
    assert_eq!((ledger.gone(&one, all), ledger.waiting()), (0, 1));
    assert_eq!(names(&take(&mut ledger, 0, &[], now)), ["a"]);
}

#[test]
fn what_falls_off_before_a_sink_had_it_is_counted() {
    let mut ledger = Ledger::new(2, Room::default());
    let one = request("one", &["a", "b"], None);
    ledger.stands(&one);
    let parts = take(&mut ledger, 0, &[&one], Instant::now());
    ledger.told(0, &parts, Instant::now());
    assert_eq!(ledger.stands(&request("one", &["b", "c"], None)), [0, 1]);
    assert_eq!(ledger.waiting(), 2);
}

#[test]
fn no_more_is_kept_of_what_is_gone_than_there_is_room_for_in_a_process() {
    let room = Room::default();
    let mut ledgers = [Ledger::new(1, room.clone()), Ledger::new(1, room.clone())];
    let names: Vec<String> = (0..KEPT + 5).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut lost = 0;
    for (number, part) in names.chunks(1_000).enumerate() {
        let one = request(&number.to_string(), part, None);
        lost += ledgers[number % 2].gone(&one, Line::all(&one));
    }
    let waiting: usize = ledgers.iter().map(Ledger::waiting).sum();
    assert_eq!((lost, waiting), (5, KEPT));
    let [first, mut second] = ledgers;
    let given_back = first.waiting();
    drop(first);
    assert_eq!(room.take(KEPT), given_back);
    room.give_back(given_back);
    let parts = take(&mut second, 0, &[], Instant::now());
    second.told(0, &parts, Instant::now());
    assert_eq!(room.take(KEPT), given_back + lines_of(&parts));
}

fn lines_of(parts: &[Part]) -> usize {
    parts.iter().map(|part| part.lines.len()).sum()
}
