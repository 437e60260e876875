//! How fast a run sends: a part begins when what was sent before is paid for.
//!
//! What a part costs is waited for before its request is made, and so before it is signed: however slow the rate is, no request
//! runs into its timeout by it, and no signature gets old. The price is that a part goes out as fast as the line is: it is the parts
//! that are apart. A request that failed is charged once more, as its repetition sends the same bytes again.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Bytes a second, of all parts of a run.
#[derive(Debug)]
pub struct RateLimit {
    rate: NonZeroU64,
    /// When all that was booked is paid for.
    paid: Mutex<Option<Instant>>,
}

impl RateLimit {
    /// So many bytes a second.
    pub fn new(rate: NonZeroU64) -> Self {
        Self { rate, paid: Mutex::new(None) }
    }

    /// Waits for one's turn to send so many bytes. Turns are in the order of the calls.
    pub async fn turn(&self, bytes: u64) {
        let begins = self.book(bytes);
        tokio::time::sleep_until(begins).await;
    }

    /// So many bytes have been sent, or are about to be, without a turn of their own.
    pub fn charge(&self, bytes: u64) {
        self.book(bytes);
    }

    fn book(&self, bytes: u64) -> Instant {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let begins = paid.map_or(now, |paid| paid.max(now));
        *paid = Some(begins + Duration::from_secs_f64(bytes as f64 / self.rate.get() as f64));
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn limit(rate: u64) -> Arc<RateLimit> {
        Arc::new(RateLimit::new(NonZeroU64::new(rate).expect("not zero")))
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_sent_than_the_rate_and_one_part() {
        let (limit, begun) = (limit(1_000), Instant::now());
        // four at a time, of unlike sizes, with a pause that nobody can make up for
        let mut senders = tokio::task::JoinSet::new();
        let sent: Arc<Mutex<Vec<(Duration, u64)>>> = Arc::default();
        for sender in 0..4_u64 {
            let (limit, sent) = (Arc::clone(&limit), Arc::clone(&sent));
            senders.spawn(async move {
                for part in 0..25 {
                    if part == 10 {
                        tokio::time::sleep(Duration::from_secs(3_600)).await;
                    }
                    let size = 500 + 100 * sender;
                    limit.turn(size).await;
                    sent.lock().expect("not poisoned").push((begun.elapsed(), size));
                }
            });
        }
        senders.join_all().await;
        let sent = sent.lock().expect("not poisoned");
        let largest = 800.0;
        for from in 0..sent.len() {
            let mut bytes = 0;
            for (at, size) in &sent[from..] {
                bytes += size;
                let seconds = (*at - sent[from].0).as_secs_f64();
                assert!(bytes as f64 <= seconds * 1_000.0 + largest + 1.0, "{bytes} bytes in {seconds} s");
            }
        }
        // and no less than it: 65,000 bytes, of which the last 600 or so need not be waited for, and the pause
        let took = begun.elapsed().as_secs_f64() - 3_600.0;
        assert!((20.0..=65.0).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_for_nothing_is_paid_for_too() {
        let (limit, begun) = (limit(1_000), Instant::now());
        limit.turn(1_000).await;
        limit.charge(5_000);
        assert_eq!(begun.elapsed(), Duration::ZERO, "the first one does not wait, and a charge never does");
        limit.turn(1_000).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(6));
    }
}
