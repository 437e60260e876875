//! How much memory a target takes: all allocations of Rust are counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::targets::Target;

struct Counting;

static TAKEN: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static COUNTING: Counting = Counting;

fn add(size: usize) {
    let taken = TAKEN.fetch_add(size, Relaxed) + size;
    MOST.fetch_max(taken, Relaxed);
}

// SAFETY: all is done by the system's allocator
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, bytes: *mut u8, layout: Layout) {
        TAKEN.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(bytes, layout) }
    }

    unsafe fn realloc(&self, bytes: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        TAKEN.fetch_sub(layout.size(), Relaxed);
        add(size);
        unsafe { System.realloc(bytes, layout, size) }
    }
}

/// Runs a target, and holds what it took at most against what it may take.
///
/// # Panics
/// It took more, or something does not hold.
pub fn bounded(target: &Target, data: &[u8]) {
    let before = TAKEN.load(Relaxed);
    MOST.store(before, Relaxed);
    (target.run)(data);
    let took = MOST.load(Relaxed).saturating_sub(before);
    let may = target.memory.0 + target.memory.1 * data.len();
    assert!(took <= may, "{} took {took} bytes of memory for {} bytes, and may take {may}", target.name, data.len());
}
