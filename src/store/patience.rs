//! A request that is tried again and again is spoken of: after the first seconds, then at a doubling pace, not at each attempt.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use object_store::client::{HttpError, HttpErrorKind, HttpResponse};
use tokio::time::Instant;

use super::request::{Request, is_temporary};
use crate::clock;

/// Speaks of a store's requests that fail.
#[derive(Debug)]
pub struct Patience {
    retry_for: Duration,
    after: Duration,
    failing: Mutex<Failing>,
}

#[derive(Debug, Default)]
struct Failing {
    /// When the first attempt began.
    since: HashMap<u64, Instant>,
    /// How long one fails until the next word; none was said yet.
    next: Option<Duration>,
}

/// What is to be said.
#[derive(Debug, PartialEq, Eq)]
struct Word {
    /// For how long the request fails.
    failing: Duration,
    /// Other requests that fail, too.
    others: usize,
    /// How long it is tried still.
    left: Duration,
}

/// What went wrong, if the request is tried again for it.
fn failure_of(answer: &Result<HttpResponse, HttpError>) -> Option<String> {
    match answer {
        Ok(answer) => is_temporary(answer.status().as_u16()).then(|| format!("the answer was {}", answer.status())),
        Err(e) if matches!(e.kind(), HttpErrorKind::Unknown | HttpErrorKind::Decode) => None,
        Err(e) => Some(e.source().map_or_else(|| e.to_string(), ToString::to_string)),
    }
}

impl Patience {
    /// Requests are tried again for `retry_for`; the first word on trouble comes `after` so long.
    pub fn new(retry_for: Duration, after: Duration) -> Self {
        Self { retry_for, after, failing: Mutex::default() }
    }

    /// Says what is to be said of an attempt that `began` then and has this answer now.
    pub fn speak_of(&self, request: &Request, began: Instant, answer: &Result<HttpResponse, HttpError>) {
        let (Request { kind, place, identity, .. }, now) = (request, Instant::now());
        match failure_of(answer) {
            Some(why) => {
                if let Some(Word { failing, others, left }) = self.failed(*identity, began, now) {
                    let until = (clock::now() + left).format("%H:%M:%SZ");
                    tracing::warn!(
                        request = kind.name(),
                        place,
                        others,
                        "no success for {} s, and the last time {why}; it is tried until {until}",
                        failing.as_secs()
                    );
                }
            }
            None => {
                if let Some(failed) = self.ended(*identity, now) {
                    tracing::info!(request = kind.name(), place, "it is answered, after {} s", failed.as_secs());
                }
            }
        }
    }

    /// An attempt that `began` then has failed `now`.
    fn failed(&self, identity: u64, began: Instant, now: Instant) -> Option<Word> {
        let mut state = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        // nobody waits any more for what was given up
        state.since.retain(|_, since| now.duration_since(*since) <= 2 * self.retry_for);
        let failing = now.duration_since(*state.since.entry(identity).or_insert(began));
        let Some(left) = self.retry_for.checked_sub(failing).filter(|left| !left.is_zero()) else {
            state.remove(identity);
            return None;
        };
        if failing < state.next.unwrap_or(self.after) {
            return None;
        }
        state.next = Some(2 * failing);
        Some(Word { failing, others: state.since.len() - 1, left })
    }

    /// A request was answered; gives how long it had failed, if that was spoken of.
    fn ended(&self, identity: u64, now: Instant) -> Option<Duration> {
        let mut state = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let was_told = state.next.is_some();
        let since = state.remove(identity)?;
        was_told.then(|| now.duration_since(since))
    }
}

impl Failing {
    fn remove(&mut self, identity: u64) -> Option<Instant> {
        let since = self.since.remove(&identity);
        if self.since.is_empty() {
            self.next = None;
        }
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_at_a_doubling_pace_until_the_request_is_given_up() {
        let s = Duration::from_secs;
        let spoken = Patience::new(s(60), s(3));
        let begin = Instant::now();
        let word_at = |second| spoken.failed(1, begin + s(second), begin + s(second)).map(|word| (word.failing.as_secs(), word.left.as_secs()));
        let said: Vec<_> = (0..=60).filter_map(word_at).collect();
        assert_eq!(said, [(3, 57), (6, 54), (12, 48), (24, 36), (48, 12)]);
        assert_eq!(spoken.ended(1, begin + s(61)), None, "it was given up");
    }

    #[test]
    fn many_requests_that_fail_at_once_share_the_words() {
        let s = Duration::from_secs;
        let spoken = Patience::new(s(60), s(3));
        let begin = Instant::now();
        let words: Vec<_> = (0..10).flat_map(|second| (0..5).map(move |id| (id, second))).collect();
        let said: Vec<_> = words.into_iter().filter_map(|(id, second)| spoken.failed(id, begin, begin + s(second))).collect();
        assert_eq!(said, [Word { failing: s(3), others: 4, left: s(57) }, Word { failing: s(6), others: 4, left: s(54) }]);
        assert_eq!((0..5).filter_map(|id| spoken.ended(id, begin + s(11))).collect::<Vec<_>>(), [s(11); 5]);
        // the next trouble is another one
        assert_eq!(spoken.failed(7, begin + s(20), begin + s(22)), None);
        assert!(spoken.failed(7, begin + s(23), begin + s(23)).is_some());
        // and what was never spoken of ends without a word
        assert!(spoken.ended(7, begin + s(24)).is_some() && spoken.failed(8, begin + s(30), begin + s(31)).is_none());
        assert_eq!(spoken.ended(8, begin + s(32)), None);
    }
}
