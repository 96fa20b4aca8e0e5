//! When questions were last changed.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, futures::Notified};

use super::key::PageId;
use crate::db::Change;

/// The number of counters for questions, which share them by their ids.
const QUESTIONS: usize = 1024;

/// Numbers the changes of questions. A page that was rendered with what was read at number `n` is up to date while the last change
/// of its questions has a number up to `n`.
#[derive(Debug)]
pub struct Changes {
    /// The number of the last change.
    last: AtomicU64,
    /// The number of the last change of unknown questions.
    last_of_any: AtomicU64,
    /// The number of the last change of each question, by its id.
    last_of_question: Box<[AtomicU64]>,
    /// Wakes those that wait for a change.
    notify: Notify,
}

impl Changes {
    /// No changes yet.
    pub fn new() -> Self {
        Self {
            last: AtomicU64::new(0),
            last_of_any: AtomicU64::new(0),
            last_of_question: (0..QUESTIONS).map(|_| AtomicU64::new(0)).collect(),
            notify: Notify::new(),
        }
    }

    /// The number of the last change, to be remembered before a page's data is read.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::SeqCst)
    }

    /// The number of the last change that concerns a page.
    pub fn last_of(&self, page: PageId) -> u64 {
        let question = match page {
            // Its questions may be any.
            PageId::Index => return self.last(),
            PageId::Detail(id) | PageId::Results(id) => self.of_question(id),
        };
        let any = self.last_of_any.load(Ordering::SeqCst);
        question.load(Ordering::SeqCst).max(any)
    }

    /// Completes at the next change after this call.
    pub fn next(&self) -> Notified<'_> {
        self.notify.notified()
    }

    /// Numbers a committed change of a question or its choices.
    pub fn add(&self, question_id: i32) {
        self.number(self.of_question(question_id));
    }

    /// Numbers a committed change of unknown questions.
    pub fn add_any(&self) {
        self.number(&self.last_of_any);
    }

    /// Numbers what the database has notified of: ids of questions separated by commas, or `*`.
    pub fn apply(&self, change: Change<'_>) {
        let Change::Notified(payload) = change else {
            return self.add_any();
        };
        for id in payload.split(',') {
            match id.parse() {
                Ok(id) => self.add(id),
                Err(_) => self.add_any(),
            }
        }
    }

    fn of_question(&self, id: i32) -> &AtomicU64 {
        &self.last_of_question[id.unsigned_abs() as usize % QUESTIONS]
    }

    fn number(&self, counter: &AtomicU64) {
        let number = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        counter.fetch_max(number, Ordering::SeqCst);
        self.notify.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_concerns_the_pages_of_its_question_and_the_index() {
        let changes = Changes::new();
        let pages = [PageId::Index, PageId::Detail(1), PageId::Results(2)];
        let last = || pages.map(|page| changes.last_of(page));
        assert_eq!(last(), [0, 0, 0]);
        changes.add(1);
        assert_eq!(last(), [1, 1, 0]);
        changes.apply(Change::Notified("3,2"));
        assert_eq!(last(), [3, 1, 3]);
        changes.apply(Change::Notified("*"));
        assert_eq!(last(), [4, 4, 4]);
        changes.add(1 + QUESTIONS as i32);
        assert_eq!(last(), [5, 5, 4]);
        changes.apply(Change::Any);
        assert_eq!(last(), [6, 6, 6]);
    }
}
