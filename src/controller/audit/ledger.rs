//! Which sink has which lines, as far as this process knows, and what is to be told next. Touches nothing: time comes in
//! as a value.
//!
//! The lines themselves stand in the objects; here are their ids. Only of an object that is gone are the lines kept, up to a
//! bound.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use kube::ResourceExt;

use super::line::{self, Line};
use crate::api::DeployRequest;

/// Lines of objects that are gone, at most in a process; what comes beyond them is lost.
const KEPT: usize = 10_000;
/// How long a line is offered to a sink that takes others and not it.
const REFUSED_FOR: Duration = Duration::from_hours(24);
/// How long a request stands aside of which a sink doesn't want the lines.
const ASIDE: Duration = Duration::from_mins(2);
/// Ids of lines of such objects that every sink has.
const RECENT: usize = 10_000;

/// How many lines of objects that are gone a process keeps, whichever set of namespaces they are from.
#[derive(Debug, Clone, Default)]
pub(in crate::controller) struct Room(Arc<AtomicUsize>);

impl Room {
    /// Takes room for so many lines, or for as many as there is any; how many these are.
    fn take(&self, lines: usize) -> usize {
        let room = |taken: usize| KEPT.saturating_sub(taken).min(lines);
        let take = |taken| Some(taken + room(taken));
        let before = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        before.map_or(0, room)
    }

    fn give_back(&self, lines: usize) {
        self.0.fetch_sub(lines, Ordering::Relaxed);
    }
}

/// Which sink has which lines.
#[derive(Debug)]
pub(super) struct Ledger {
    entries: HashMap<String, Entry>,
    /// By sink: the requests of which it lacks lines, in the order in which they get their turn.
    queues: Vec<VecDeque<String>>,
    /// By sink: those that it refused, and until when they stand aside.
    aside: Vec<BinaryHeap<Reverse<(Instant, String)>>>,
    /// By sink: when it took lines last.
    accepted: Vec<Option<Instant>>,
    /// Requests of which every sink has lines that the object doesn't say so of.
    marks: BTreeSet<String>,
    room: Room,
    waiting: usize,
    /// Of lines that were kept: an object's end is heard of twice.
    recent: VecDeque<String>,
}

/// One request of which lines are to be told, or to be marked as told.
#[derive(Debug)]
struct Entry {
    namespace: String,
    name: String,
    /// Of the lines that the object doesn't mark as told, in their order.
    ids: Vec<String>,
    /// By sink: what it has of them.
    had: Vec<BTreeSet<String>>,
    /// By sink: whether it stands in the queue.
    queued: Vec<bool>,
    /// By sink: how it is offered.
    manner: Vec<Manner>,
    /// Where the object is gone: its lines.
    gone: Option<Vec<Line>>,
    /// How many of its lines are counted as waiting.
    waiting: usize,
}

/// How what a sink lacks of a request is offered to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Together,
    /// It refused some of it: line by line, to find which; and since when it refuses the first of them.
    OneByOne(Option<Instant>),
}

/// What is to be told of one request at once.
#[derive(Debug)]
pub(super) struct Part {
    /// The request.
    pub uid: String,
    /// In their order.
    pub lines: Vec<Line>,
}

impl Ledger {
    /// Nothing is known to so many sinks.
    pub(super) fn new(sinks: usize, room: Room) -> Self {
        Self {
            entries: HashMap::new(),
            queues: vec![VecDeque::new(); sinks],
            aside: vec![BinaryHeap::new(); sinks],
            accepted: vec![None; sinks],
            marks: BTreeSet::new(),
            room,
            waiting: 0,
            recent: VecDeque::new(),
        }
    }

    /// The object stands so now. How many lines fell off it before each of the sinks had them.
    pub(super) fn stands(&mut self, request: &DeployRequest) -> Vec<usize> {
        let uid = request.uid().unwrap_or_default();
        let marked = line::audited(request);
        let sinks = self.queues.len();
        let mut lost = vec![0; sinks];
        if marked == line::decisions(request).len() && !self.entries.contains_key(&uid) {
            return lost;
        }
        let all: Vec<String> = line::decisions(request)
            .iter()
            .map(|record| line::id(&uid, record))
            .collect();
        if let Some(entry) = self.entries.get(&uid) {
            if entry.gone.is_some() {
                // An old version: its end was heard of elsewhere.
                return lost;
            }
            let fallen = entry.ids.iter().filter(|id| !all.contains(id));
            for id in fallen {
                for (sink, lost) in lost.iter_mut().enumerate() {
                    *lost += usize::from(!entry.had[sink].contains(id));
                }
            }
        }
        let ids = all[marked..].to_vec();
        if ids.is_empty() {
            self.forget(&uid);
            return lost;
        }
        let entry = self.entry(&uid, request);
        entry.ids = ids;
        self.sort(&uid);
        lost
    }

    /// The object is gone, and these lines stood in it. How many of them can't be kept.
    pub(super) fn gone(&mut self, request: &DeployRequest, lines: Vec<Line>) -> usize {
        let uid = request.uid().unwrap_or_default();
        self.marks.remove(&uid);
        let known = self.entries.get_mut(&uid);
        let before = known
            .and_then(|entry| entry.gone.take())
            .unwrap_or_default();
        self.room.give_back(before.len());
        let is_whole = before.iter().all(|line| lines.contains(line));
        let mut all = if is_whole { Vec::new() } else { before };
        for line in lines {
            let everybody_has_it = self
                .entries
                .get(&uid)
                .is_some_and(|entry| entry.had.iter().all(|had| had.contains(&line.id)));
            if everybody_has_it {
                self.remember([line.id.clone()]);
            } else if !self.recent.contains(&line.id) && !all.contains(&line) {
                all.push(line);
            }
        }
        let room = self.room.take(all.len());
        let lost = all.len() - room;
        all.truncate(room);
        if all.is_empty() {
            self.forget(&uid);
            return lost;
        }
        let entry = self.entry(&uid, request);
        entry.ids = all.iter().map(|line| line.id.clone()).collect();
        entry.gone = Some(all);
        self.sort(&uid);
        lost
    }

    /// The object is gone, and what stood in it can't be read. How many of its lines each of the sinks never gets.
    pub(super) fn vanished(&mut self, uid: &str) -> Vec<usize> {
        let Some(entry) = self.entries.get(uid) else {
            return vec![0; self.queues.len()];
        };
        if entry.gone.is_some() {
            // Its lines are kept since somebody else told of its end.
            return vec![0; self.queues.len()];
        }
        let lacks = |had: &BTreeSet<String>| {
            let lacking = entry.ids.iter().filter(|id| !had.contains(*id));
            lacking.count()
        };
        let lost = entry.had.iter().map(lacks).collect();
        self.forget(uid);
        lost
    }

    /// What a sink is to be told next: at most so many requests, and no further ones once there are so many lines. What
    /// is taken has to be put [`back`](Self::back) if it isn't told.
    pub(super) fn take(
        &mut self,
        sink: usize,
        requests: usize,
        lines: usize,
        now: Instant,
        object: impl Fn(&str, &str) -> Option<DeployRequest>,
    ) -> Vec<Part> {
        // What was refused before comes after all others, and not along with them.
        let again = self.queues[sink].is_empty();
        let (mut parts, mut count) = (Vec::new(), 0);
        while parts.len() < requests && count < lines {
            let next = if again {
                self.due(sink, now)
            } else {
                self.queues[sink].pop_front()
            };
            let Some(uid) = next else {
                break;
            };
            let Some(entry) = self.entries.get_mut(&uid) else {
                continue;
            };
            entry.queued[sink] = false;
            let all = match &entry.gone {
                Some(lines) => lines.clone(),
                None => object(&entry.namespace, &entry.name)
                    .filter(|object| object.uid().as_ref() == Some(&uid))
                    .map(|object| Line::all(&object))
                    .unwrap_or_default(),
            };
            let wanted = all
                .into_iter()
                .filter(|line| entry.ids.contains(&line.id) && !entry.had[sink].contains(&line.id));
            let at_once = match entry.manner[sink] {
                Manner::Together => usize::MAX,
                Manner::OneByOne(_) => 1,
            };
            let lines: Vec<Line> = wanted.take(at_once).collect();
            if !lines.is_empty() {
                count += lines.len();
                parts.push(Part { uid, lines });
            }
        }
        parts
    }

    /// The sink has these.
    pub(super) fn told(&mut self, sink: usize, parts: &[Part], now: Instant) {
        self.accepted[sink] = Some(now);
        for part in parts {
            self.over(sink, part);
        }
    }

    /// These are not to be told to it any more.
    fn over(&mut self, sink: usize, Part { uid, lines }: &Part) {
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.had[sink].extend(lines.iter().map(|line| line.id.clone()));
            let lacks = entry.ids.iter().any(|id| !entry.had[sink].contains(id));
            entry.manner[sink] = match entry.manner[sink] {
                Manner::OneByOne(_) if lacks => Manner::OneByOne(None),
                _ => Manner::Together,
            };
        }
        self.sort(uid);
    }

    /// The sink was not told these: they are first in line again.
    pub(super) fn back(&mut self, sink: usize, parts: Vec<Part>) {
        for Part { uid, .. } in parts.into_iter().rev() {
            if let Some(entry) = self.entries.get_mut(&uid)
                && !std::mem::replace(&mut entry.queued[sink], true)
            {
                self.queues[sink].push_front(uid);
            }
        }
    }

    /// The sink won't have this: the others go first for a while. How many lines are given up, because it has refused them
    /// for [`REFUSED_FOR`] and taken others meanwhile.
    pub(super) fn refused(&mut self, sink: usize, part: &Part, now: Instant) -> usize {
        let Some(entry) = self.entries.get_mut(&part.uid) else {
            return 0;
        };
        let known = match entry.manner[sink] {
            Manner::OneByOne(since) => since,
            Manner::Together => None,
        };
        // Of several nobody knows which it is.
        let since = (part.lines.len() == 1).then(|| known.unwrap_or(now));
        entry.manner[sink] = Manner::OneByOne(since);
        let hopeless = since.is_some_and(|since| {
            let takes_others = self.accepted[sink].is_some_and(|accepted| accepted > since);
            takes_others && now.duration_since(since) >= REFUSED_FOR
        });
        if hopeless {
            self.over(sink, part);
            return part.lines.len();
        }
        if !std::mem::replace(&mut entry.queued[sink], true) {
            self.aside[sink].push(Reverse((now + ASIDE, part.uid.clone())));
        }
        0
    }

    /// When the first that stands aside gets its turn.
    pub(super) fn next_turn(&self, sink: usize) -> Option<Instant> {
        let Reverse((until, _)) = self.aside[sink].peek()?;
        Some(*until)
    }

    /// One that has stood aside for long enough.
    fn due(&mut self, sink: usize, now: Instant) -> Option<String> {
        if self.next_turn(sink)? > now {
            return None;
        }
        self.aside[sink].pop().map(|Reverse((_, uid))| uid)
    }

    /// The requests whose objects are to say that more was told: where they are, and by uid.
    pub(super) fn take_marks(&mut self) -> Vec<(String, String, String)> {
        let marks = std::mem::take(&mut self.marks);
        let known = marks.into_iter().filter_map(|uid| {
            let entry = self.entries.get(&uid)?;
            Some((entry.namespace.clone(), entry.name.clone(), uid))
        });
        known.collect()
    }

    /// The mark was not written.
    pub(super) fn mark_again(&mut self, uid: &str) {
        if self
            .entries
            .get(uid)
            .is_some_and(|entry| entry.gone.is_none())
        {
            self.marks.insert(uid.to_owned());
        }
    }

    /// How many of this object's decisions, from the first, every sink has.
    pub(super) fn count(&self, request: &DeployRequest) -> usize {
        let uid = request.uid().unwrap_or_default();
        let marked = line::audited(request);
        let Some(entry) = self.entries.get(&uid) else {
            return marked;
        };
        let rest = line::decisions(request)[marked..].iter();
        let more = rest.take_while(|record| {
            let id = line::id(&uid, record);
            entry.had.iter().all(|had| had.contains(&id))
        });
        marked + more.count()
    }

    /// How many lines not every sink has.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// What this sink lacks of objects that are gone.
    pub(super) fn kept(&self, sink: usize) -> Vec<Line> {
        let all = self.entries.values().flat_map(|entry| {
            let gone = entry.gone.iter().flatten();
            gone.filter(move |line| !entry.had[sink].contains(&line.id))
        });
        all.cloned().collect()
    }

    fn entry(&mut self, uid: &str, request: &DeployRequest) -> &mut Entry {
        let sinks = self.queues.len();
        self.entries.entry(uid.to_owned()).or_insert_with(|| Entry {
            namespace: request.namespace().unwrap_or_default(),
            name: request.name_any(),
            ids: Vec::new(),
            had: vec![BTreeSet::new(); sinks],
            queued: vec![false; sinks],
            manner: vec![Manner::Together; sinks],
            gone: None,
            waiting: 0,
        })
    }

    /// Into the queues of those that lack something; and to be marked, or forgotten, when none does.
    fn sort(&mut self, uid: &str) {
        let Some(entry) = self.entries.get_mut(uid) else {
            return;
        };
        for (sink, queue) in self.queues.iter_mut().enumerate() {
            let lacks = entry.ids.iter().any(|id| !entry.had[sink].contains(id));
            if lacks && !std::mem::replace(&mut entry.queued[sink], true) {
                queue.push_back(uid.to_owned());
            }
        }
        let waiting = entry.lacking();
        self.waiting = self.waiting - entry.waiting + waiting;
        entry.waiting = waiting;
        let first = entry.ids.first();
        let news = first.is_some_and(|id| entry.had.iter().all(|had| had.contains(id)));
        if entry.gone.is_none() {
            if news {
                self.marks.insert(uid.to_owned());
            }
        } else if waiting == 0 {
            let ids = std::mem::take(&mut entry.ids);
            self.remember(ids);
            self.forget(uid);
        }
    }

    /// Into the queues whatever is in none, though a sink lacks it.
    pub(super) fn sort_all(&mut self) {
        let all: Vec<String> = self.entries.keys().cloned().collect();
        for uid in all {
            self.sort(&uid);
        }
    }

    fn remember(&mut self, ids: impl IntoIterator<Item = String>) {
        self.recent.extend(ids);
        let surplus = self.recent.len().saturating_sub(RECENT);
        self.recent.drain(..surplus);
    }

    fn forget(&mut self, uid: &str) {
        self.marks.remove(uid);
        if let Some(entry) = self.entries.remove(uid) {
            self.waiting -= entry.waiting;
            self.room
                .give_back(entry.gone.map_or(0, |lines| lines.len()));
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let kept = self
            .entries
            .values()
            .filter_map(|entry| entry.gone.as_ref());
        self.room.give_back(kept.map(Vec::len).sum());
    }
}

impl Entry {
    /// How many of its lines not every sink has.
    fn lacking(&self) -> usize {
        let lacks = |id: &&String| self.had.iter().any(|had| !had.contains(*id));
        self.ids.iter().filter(lacks).count()
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
