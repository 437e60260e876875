//! Large buffers that are used again.
//!
//! A fresh one costs a page fault every 4 KiB, and what an allocator keeps of freed ones grows with the threads that had
//! them: with these a run's memory does not depend on how many hosts it has seen.

use std::collections::TryReserveError;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Smaller ones are left to the allocator, which is good at them.
const LARGE: usize = 128 << 10;
/// A buffer is not given to who needs less than this part of it.
const MOST_WASTE: usize = 4;

/// Buffers that wait to be used again. Clones share them.
#[derive(Clone, Debug)]
pub struct Buffers {
    waiting: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Bytes that may wait, at most.
    limit: usize,
}

/// Bytes that go back to where they were taken from when they are dropped.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    home: Option<Buffers>,
}

impl Buffers {
    /// Keeps at most `limit` bytes that nobody uses.
    pub fn new(limit: usize) -> Self {
        Self { waiting: Arc::default(), limit }
    }

    /// An empty buffer with room for `room` bytes. Without memory for it the process ends: for sizes of our own.
    pub fn take(&self, room: usize) -> Buffer {
        self.try_take(room).unwrap_or_else(|_| Buffer { bytes: Vec::with_capacity(room), home: None })
    }

    /// An empty buffer with room for `room` bytes, a size that somebody else names.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn try_take(&self, room: usize) -> Result<Buffer, TryReserveError> {
        let large = room >= LARGE;
        let waiting = if large { self.waiting(room) } else { None };
        let mut bytes = waiting.unwrap_or_default();
        if bytes.capacity() < room {
            bytes.try_reserve_exact(if large { size_class(room) } else { room })?;
        }
        Ok(Buffer { bytes, home: large.then(|| self.clone()) })
    }

    /// The smallest that is large enough, and not far too large.
    fn waiting(&self, room: usize) -> Option<Vec<u8>> {
        let mut waiting = self.lock();
        let fits = |bytes: &Vec<u8>| (room..=room.saturating_mul(MOST_WASTE)).contains(&bytes.capacity());
        let (index, _) = waiting.iter().enumerate().filter(|(_, bytes)| fits(bytes)).min_by_key(|(_, bytes)| bytes.capacity())?;
        Some(waiting.remove(index))
    }

    fn give_back(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        let mut waiting = self.lock();
        waiting.push(bytes);
        // the longer one was not wanted, the less it will be
        let mut kept: usize = waiting.iter().map(Vec::capacity).sum();
        while kept > self.limit {
            kept -= waiting.remove(0).capacity();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A quarter of a power of two, rounded up: buffers of about one size fit each other's users.
fn size_class(room: usize) -> usize {
    let step = room.next_power_of_two() / 8;
    room.div_ceil(step.max(1)) * step.max(1)
}

impl Buffer {
    /// Makes its bytes shareable; it goes back when the last of them is dropped.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            home.give_back(std::mem::take(&mut self.bytes));
        }
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;
    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn a_buffer_is_used_again_when_the_last_of_its_bytes_is_gone() {
        let buffers = Buffers::new(8 * MIB);
        let mut first = buffers.take(MIB);
        first.extend_from_slice(b"abc");
        let place = first.as_ptr();
        let bytes = first.freeze();
        let slice = bytes.slice(1..);
        drop(bytes);
        assert_ne!(buffers.take(MIB).as_ptr(), place, "it is still in use");
        assert_eq!(&slice[..], b"bc");
        drop(slice);
        let again = [buffers.take(MIB), buffers.take(MIB)];
        assert!(again.iter().all(|buffer| buffer.is_empty() && buffer.capacity() >= MIB));
        assert!(again.iter().any(|buffer| buffer.as_ptr() == place));
    }

    #[test]
    fn no_more_is_kept_than_allowed_and_nothing_is_wasted_on_small_ones() {
        let buffers = Buffers::new(3 * MIB);
        drop([buffers.take(2 * MIB), buffers.take(2 * MIB), buffers.take(10)]);
        assert_eq!(buffers.lock().iter().map(Vec::capacity).sum::<usize>(), 2 * MIB);
        assert!(buffers.take(MIB / 4).capacity() < MIB, "eight times too large");
    }

    #[test]
    fn classes_are_close() {
        for room in [LARGE, LARGE + 1, 1_700_000, MIB, 3 * MIB + 7] {
            let class = size_class(room);
            assert!(class >= room && class <= room + room / 4, "{room} {class}");
        }
    }
}
