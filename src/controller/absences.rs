//! How long what is looked for in a Gate has been missing. Touches the process's clock.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;

/// How long an id has been cleanly "not found", on this process's own clock.
#[derive(Default)]
pub(super) struct Absences(Mutex<BTreeMap<String, (Instant, Search)>>);

/// What is looked for, and where. Absence of one search says nothing about another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search {
    /// The Gate that is asked.
    pub gate_url: String,
    /// The send that is looked for. What was not there before it may be there after it, and another process that acts
    /// may have sent since we began to count.
    pub sent_at: Option<Timestamp>,
    /// Which send: two may fall into one second.
    pub sends: u32,
}

impl Absences {
    /// Another clean "not found"; how long they have been coming without anything else in between.
    pub(super) fn another(&self, uid: &str, search: Search) -> Duration {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match all.get(uid) {
            Some((since, known)) if *known == search => *since,
            _ => {
                let now = Instant::now();
                all.insert(uid.to_owned(), (now, search));
                now
            }
        };
        since.elapsed()
    }

    /// Anything but a clean "not found", or a new send: counting begins anew.
    pub(super) fn over(&self, uid: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(gate: &str, sent_at: i64) -> Search {
        Search {
            gate_url: gate.to_owned(),
            sent_at: Timestamp::from_second(sent_at).ok(),
            sends: 1,
        }
    }

    /// The clock is the process's own: it only has to have moved.
    fn counted(absences: &Absences, search: &Search) -> Duration {
        let first = absences.another("uid", search.clone());
        while absences.another("uid", search.clone()) == first {}
        absences.another("uid", search.clone())
    }

    #[test]
    fn absence_before_a_send_does_not_count_after_it() {
        let absences = Absences::default();
        for next in [search("one", 2), search("two", 2)] {
            let before = counted(&absences, &search("one", 1));
            assert!(absences.another("uid", next) < before);
            absences.over("uid");
        }
    }
}
