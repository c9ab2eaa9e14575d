//! When samples last came, and how long they stayed away.
//!
//! The request that ends a silence is the one that knows how long it was, so it notes the outage there and then; whoever
//! reads back what was missed takes outages from here and gives them up only when that is done. The instant to store
//! for the next start ([`LastReceived::vouched_to`]) therefore lies before the oldest outage still open: a process that
//! dies over its backfill finds the same outage again.

use calendar::{Instant, Interval};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// More outages than this become one with the last.
const OUTAGES_MAX: usize = 64;

/// When samples last came.
#[derive(Debug)]
pub struct LastReceived {
    silence_microseconds: i64,
    state: Mutex<State>,
    noted: Notify,
}

#[derive(Debug)]
struct State {
    last: Option<Instant>,
    /// Outages that nobody has dealt with to the end, oldest first.
    open: Vec<Interval>,
    /// How many of them have been handed out, or put back behind.
    taken: usize,
}

impl LastReceived {
    /// `last`: as stored by the process before, if there was one. `silence_microseconds`: from how long a silence on it
    /// is an outage; 2 minutes is usual.
    pub fn new(last: Option<Instant>, silence_microseconds: i64) -> Self {
        let state = State { last, open: Vec::new(), taken: 0 };
        Self { silence_microseconds, state: Mutex::new(state), noted: Notify::new() }
    }

    /// Samples have come and are durable.
    pub fn note(&self, at: Instant) {
        let mut state = self.lock();
        if let Some(last) = state.last
            && at.microseconds_since(last) > self.silence_microseconds
        {
            let silence = Interval::new(last, at);
            match state.open.last().copied() {
                // The oldest may be in somebody's hands; the last of so many is not.
                Some(before) if state.open.len() >= OUTAGES_MAX => {
                    state.open.pop();
                    state.open.push(Interval::new(before.from, at));
                }
                _ => state.open.push(silence),
            }
            self.noted.notify_one();
        }
        state.last = Some(state.last.map_or(at, |last| last.max(at)));
    }

    /// When samples last came.
    pub fn last(&self) -> Option<Instant> {
        self.lock().last
    }

    /// Up to when everything that was sent has been taken in or read back; what to store for the next start.
    pub fn vouched_to(&self) -> Option<Instant> {
        let state = self.lock();
        state.open.first().map(|outage| outage.from).or(state.last)
    }

    /// Waits for an outage that has not been handed out.
    pub async fn outage(&self) -> Interval {
        loop {
            let noted = self.noted.notified();
            {
                let mut state = self.lock();
                if let Some(outage) = state.open.get(state.taken).copied() {
                    state.taken = state.taken.saturating_add(1);
                    return outage;
                }
            }
            noted.await;
        }
    }

    /// What was missed in the oldest outage handed out has been read back.
    pub fn settle(&self) {
        let mut state = self.lock();
        if state.taken > 0 {
            state.open.remove(0);
            state.taken = state.taken.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Instant {
        Instant::from_microseconds(seconds * 1_000_000).unwrap()
    }

    #[tokio::test]
    async fn a_silence_is_an_outage_until_settled() {
        let received = LastReceived::new(None, 120_000_000);
        for seconds in [0, 10, 130, 251] {
            received.note(at(seconds));
        }
        assert_eq!(received.last(), Some(at(251)));
        assert_eq!(received.vouched_to(), Some(at(130)));
        assert_eq!(received.outage().await, Interval::new(at(130), at(251)));
        received.note(at(255));
        assert_eq!(received.vouched_to(), Some(at(130)));
        received.settle();
        assert_eq!(received.vouched_to(), Some(at(255)));
    }

    #[tokio::test]
    async fn a_restart_after_silence_is_an_outage() {
        let received = LastReceived::new(Some(at(0)), 120_000_000);
        assert_eq!(received.vouched_to(), Some(at(0)));
        received.note(at(600));
        assert_eq!(received.outage().await, Interval::new(at(0), at(600)));
    }

    #[tokio::test]
    async fn outages_beyond_the_bound_become_one() {
        let received = LastReceived::new(Some(at(0)), 1_000_000);
        for number in 1..=100 {
            received.note(at(number * 10));
        }
        let mut covered = at(0);
        for _ in 0..OUTAGES_MAX {
            let outage = received.outage().await;
            assert_eq!(outage.from, covered);
            covered = outage.to;
            received.settle();
        }
        assert_eq!(covered, at(1000));
        assert_eq!(received.vouched_to(), Some(at(1000)));
    }

    #[test]
    fn a_clock_that_goes_back_takes_nothing_back() {
        let received = LastReceived::new(Some(at(100)), 120_000_000);
        received.note(at(50));
        assert_eq!(received.last(), Some(at(100)));
    }
}
