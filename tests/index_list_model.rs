//! Every interleaving of the ledger's slot list, by loom: no number is lost or held twice.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test, helpers included")]

mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
}
#[path = "../src/ledger/index_list.rs"]
mod index_list;

use atomic::{AtomicU32, Ordering};
use index_list::IndexList;
use loom::sync::Arc;
use loom::thread;

fn take_and_give_back(list: &IndexList, held: &[AtomicU32]) {
    let Some(number) = list.pop() else { return };
    let holders = &held[number as usize];
    assert_eq!(holders.fetch_add(1, Ordering::Relaxed), 0, "{number} is held twice");
    holders.fetch_sub(1, Ordering::Relaxed);
    list.push(number);
}

fn check(numbers: u32, threads: usize, rounds: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(move || {
        let list = Arc::new(IndexList::new(numbers as usize));
        (0..numbers).for_each(|number| list.push(number));
        let held: Arc<Vec<_>> = Arc::new((0..numbers).map(|_| AtomicU32::new(0)).collect());
        let spawn = |_| {
            let (list, held) = (list.clone(), held.clone());
            thread::spawn(move || (0..rounds).for_each(|_| take_and_give_back(&list, &held)))
        };
        let others: Vec<_> = (1..threads).map(spawn).collect();
        (0..rounds).for_each(|_| take_and_give_back(&list, &held));
        others.into_iter().for_each(|other| other.join().unwrap());
        let mut left: Vec<_> = std::iter::from_fn(|| list.pop()).collect();
        left.sort_unstable();
        assert!(left.into_iter().eq(0..numbers));
    });
}

#[test]
fn two_threads_that_come_back_for_more() {
    check(2, 2, 2);
}

#[test]
fn three_threads_on_two_numbers() {
    check(2, 3, 1);
}

/// What one thread stores before a push, the thread that pops sees.
#[test]
fn a_number_carries_what_was_stored_before_it() {
    loom::model(|| {
        let list = Arc::new(IndexList::new(1));
        let slot = Arc::new(AtomicU32::new(0));
        let (their_list, their_slot) = (list.clone(), slot.clone());
        let writer = thread::spawn(move || {
            their_slot.store(7, Ordering::Relaxed);
            their_list.push(0);
        });
        if list.pop().is_some() {
            assert_eq!(slot.load(Ordering::Relaxed), 7);
        }
        writer.join().unwrap();
    });
}
