//! Which sink has which lines, as far as this process knows, and what is to be told next. Touches nothing: time comes in
//! as a value.
//!
//! The lines themselves stand in the objects; here are their ids. Only of an object that is gone are the lines kept, up to a
//! bound.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Instant,
};

use kube::ResourceExt;

use super::line::{self, Line};
use crate::api::DeployRequest;

/// Lines of objects that are gone, at most; what comes beyond them is lost.
const KEPT: usize = 10_000;
/// Ids of lines of such objects that every sink has.
const RECENT: usize = 10_000;

/// Which sink has which lines.
#[derive(Debug)]
pub(super) struct Ledger {
    entries: HashMap<String, Entry>,
    /// By sink: the requests of which it lacks lines, in the order in which they get their turn.
    queues: Vec<VecDeque<String>>,
    /// By sink: those that it refused, and until when they stand aside.
    aside: Vec<Vec<(Instant, String)>>,
    /// Requests of which every sink has lines that the object doesn't say so of.
    marks: BTreeSet<String>,
    kept: usize,
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
    /// Where the object is gone: its lines.
    gone: Option<Vec<Line>>,
    /// How many of its lines are counted as waiting.
    waiting: usize,
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
    pub(super) fn new(sinks: usize) -> Self {
        Self {
            entries: HashMap::new(),
            queues: vec![VecDeque::new(); sinks],
            aside: vec![Vec::new(); sinks],
            marks: BTreeSet::new(),
            kept: 0,
            waiting: 0,
            recent: VecDeque::new(),
        }
    }

    /// The object stands so now. How many lines fell off it before each of the sinks had them.
    pub(super) fn stands(&mut self, request: &DeployRequest) -> Vec<usize> {
        let uid = request.uid().unwrap_or_default();
        let all: Vec<String> = line::decisions(request)
            .iter()
            .map(|record| line::id(&uid, record))
            .collect();
        let marked = line::audited(request);
        let sinks = self.queues.len();
        let mut lost = vec![0; sinks];
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
        let known = self.entries.get(&uid);
        let before = known
            .and_then(|entry| entry.gone.clone())
            .unwrap_or_default();
        self.kept -= before.len();
        let is_whole = before.iter().all(|line| lines.contains(line));
        let mut all = if is_whole { Vec::new() } else { before };
        for line in lines {
            let everybody_has_it = self
                .entries
                .get(&uid)
                .is_some_and(|entry| entry.had.iter().all(|had| had.contains(&line.id)));
            if !everybody_has_it && !self.recent.contains(&line.id) && !all.contains(&line) {
                all.push(line);
            }
        }
        let room = KEPT.saturating_sub(self.kept);
        let lost = all.len().saturating_sub(room);
        all.truncate(room);
        if all.is_empty() {
            self.forget(&uid);
            return lost;
        }
        self.kept += all.len();
        let entry = self.entry(&uid, request);
        entry.ids = all.iter().map(|line| line.id.clone()).collect();
        entry.gone = Some(all);
        self.sort(&uid);
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
        let (due, later) = std::mem::take(&mut self.aside[sink])
            .into_iter()
            .partition(|(until, _)| *until <= now);
        self.aside[sink] = later;
        let due: Vec<(Instant, String)> = due;
        self.queues[sink].extend(due.into_iter().map(|(_, uid)| uid));
        let (mut parts, mut count) = (Vec::new(), 0);
        while parts.len() < requests && count < lines {
            let Some(uid) = self.queues[sink].pop_front() else {
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
            let lines: Vec<Line> = wanted.collect();
            if !lines.is_empty() {
                count += lines.len();
                parts.push(Part { uid, lines });
            }
        }
        parts
    }

    /// The sink has these.
    pub(super) fn told(&mut self, sink: usize, parts: &[Part]) {
        for Part { uid, lines } in parts {
            if let Some(entry) = self.entries.get_mut(uid) {
                entry.had[sink].extend(lines.iter().map(|line| line.id.clone()));
            }
            self.sort(uid);
        }
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

    /// The sink won't have what is told of this request: the others go first until then.
    pub(super) fn set_aside(&mut self, sink: usize, uid: String, until: Instant) {
        if let Some(entry) = self.entries.get_mut(&uid)
            && !std::mem::replace(&mut entry.queued[sink], true)
        {
            self.aside[sink].push((until, uid));
        }
    }

    /// When the first that stands aside gets its turn.
    pub(super) fn next_turn(&self, sink: usize) -> Option<Instant> {
        self.aside[sink].iter().map(|(until, _)| *until).min()
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
            self.recent.extend(std::mem::take(&mut entry.ids));
            let surplus = self.recent.len().saturating_sub(RECENT);
            self.recent.drain(..surplus);
            self.forget(uid);
        }
    }

    fn forget(&mut self, uid: &str) {
        self.marks.remove(uid);
        if let Some(entry) = self.entries.remove(uid) {
            self.waiting -= entry.waiting;
            self.kept -= entry.gone.map_or(0, |lines| lines.len());
        }
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
