//! Real statuses under small numbers, and every decision that was made: `decide` is pure, so that each question is asked once.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
};

use foredeck::api::{deploy_request::DeployRequestStatus, deploy_target::DeployTargetStatus};
use serde::Serialize;

use crate::{
    facts::{self, Question},
    state::{Act, Id, Outside},
};

/// Values by number.
#[derive(Debug)]
struct Shelf<T> {
    values: Vec<T>,
    numbers: HashMap<String, Id>,
}

impl<T: Serialize> Shelf<T> {
    fn new() -> Self {
        Self {
            values: Vec::new(),
            numbers: HashMap::new(),
        }
    }

    fn number(&mut self, value: T) -> Id {
        let text = serde_json::to_string(&value).unwrap();
        if let Some(number) = self.numbers.get(&text) {
            return *number;
        }
        let number = Id::try_from(self.values.len()).unwrap();
        self.values.push(value);
        self.numbers.insert(text, number);
        number
    }
}

/// What a model has met.
#[derive(Debug)]
pub(crate) struct Book {
    statuses: Mutex<Shelf<DeployRequestStatus>>,
    targets: Mutex<Shelf<DeployTargetStatus>>,
    decided: Mutex<HashMap<Question, Option<Act>>>,
    marked: Mutex<HashMap<Mark, Option<Id>>>,
    open: Mutex<HashMap<Reading, bool>>,
    /// What may happen, and did in some state.
    pub seen: Seen,
}

/// What a mark hangs on: the request, what it asks for, when, and on which target's status which step is taken.
pub(crate) type Mark = (usize, Outside, u8, Id, Act);

/// What the last look before a POST hangs on: the request, what stood outside as was told and what stands there now, its target,
/// and when.
pub(crate) type Reading = (usize, [Outside; 2], Id, u8);

/// What may happen. A model in which it never does shows nothing.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// It was sent through a freeze, a lock or a hold, by an override.
    pub overridden: AtomicBool,
    /// A mark was taken back.
    pub taken_back: AtomicBool,
    /// It was sent a second time, the first having come to nothing.
    pub sent_again: AtomicBool,
}

/// What is known already, or is found now.
fn known<K: Hash + Eq, V: Copy>(all: &Mutex<HashMap<K, V>>, key: K, find: impl FnOnce() -> V) -> V {
    if let Some(known) = lock(all).get(&key) {
        return *known;
    }
    let found = find();
    lock(all).insert(key, found);
    found
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Book {
    pub(crate) fn new() -> Self {
        Self {
            statuses: Mutex::new(Shelf::new()),
            targets: Mutex::new(Shelf::new()),
            decided: Mutex::new(HashMap::new()),
            marked: Mutex::new(HashMap::new()),
            open: Mutex::new(HashMap::new()),
            seen: Seen::default(),
        }
    }

    pub(crate) fn status(&self, id: Id) -> DeployRequestStatus {
        lock(&self.statuses).values[usize::from(id)].clone()
    }

    pub(crate) fn target(&self, id: Id) -> DeployTargetStatus {
        lock(&self.targets).values[usize::from(id)].clone()
    }

    /// Looks at one without copying it.
    pub(crate) fn with_status<T>(&self, id: Id, look: impl FnOnce(&DeployRequestStatus) -> T) -> T {
        look(&lock(&self.statuses).values[usize::from(id)])
    }

    /// Looks at one without copying it.
    pub(crate) fn with_target<T>(&self, id: Id, look: impl FnOnce(&DeployTargetStatus) -> T) -> T {
        look(&lock(&self.targets).values[usize::from(id)])
    }

    /// The number of a status, its words and times left out: nothing is decided by them.
    pub(crate) fn status_id(&self, status: DeployRequestStatus) -> Id {
        lock(&self.statuses).number(facts::bare_status(status))
    }

    /// The same of a target's.
    pub(crate) fn target_id(&self, status: DeployTargetStatus) -> Id {
        lock(&self.targets).number(facts::bare_target(status))
    }

    /// What the answer to a question is; `decide` is asked where nobody asked before.
    pub(crate) fn answer(
        &self,
        question: Question,
        decide: impl FnOnce() -> Option<Act>,
    ) -> Option<Act> {
        known(&self.decided, question, decide)
    }

    /// The target after a step that marks it.
    pub(crate) fn marked(&self, mark: Mark, find: impl FnOnce() -> Option<Id>) -> Option<Id> {
        known(&self.marked, mark, find)
    }

    /// Whether everything is open.
    pub(crate) fn is_open(&self, reading: Reading, find: impl FnOnce() -> bool) -> bool {
        known(&self.open, reading, find)
    }

    /// How many different questions `decide` was asked.
    pub(crate) fn decisions(&self) -> usize {
        lock(&self.decided).len()
    }
}
