//! Points between stages at which a test kills the process, or holds it. They are compiled in with the feature `fail-points` only;
//! without it, [`reach`] is nothing.
//!
//! The crate `fail` has no action that kills, and its macro returns from the function that it stands in; this is less than it would
//! take to bend it.

/// All points, in the order of the data.
pub const POINTS: [&str; 34] = [
    "locked",
    "scanned",
    "opened",
    "planned",
    "reading",
    "read",
    "decoded",
    "merged",
    "handed-over",
    "encoded",
    "finishing",
    "sent",
    "completed",
    "visible",
    "proven",
    "window-done",
    "held",
    "judged",
    "logs-proven",
    "to-be-released",
    "released",
    "to-be-deleted",
    "deleted",
    "done",
    "joined",
    "compacted",
    "compared",
    "tabled",
    "to-be-replaced",
    "replaced",
    "floor-raised",
    "floor-tabled",
    "to-be-expired",
    "expired",
];

/// Says that a point is reached.
#[cfg(not(feature = "fail-points"))]
pub const fn reach(_: &str) {}

#[cfg(feature = "fail-points")]
pub use armed::{arm, reach};

#[cfg(feature = "fail-points")]
mod armed {
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    struct Armed {
        point: String,
        /// How often it is passed before.
        left: AtomicU64,
        /// Not to be killed there, but to wait until this file is gone.
        hold: Option<PathBuf>,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();

    /// Arms one point, once a process: `<point>:<passes before>`, and `:<file>` to make that file and wait until it is gone.
    pub fn arm(text: &str) {
        let mut parts = text.splitn(3, ':');
        let point = parts.next().unwrap_or_default().to_owned();
        assert!(super::POINTS.contains(&&*point), "{point:?} is no fail point");
        let left = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0).into();
        ARMED.get_or_init(|| Armed { point, left, hold: parts.next().map(PathBuf::from) });
    }

    /// Says that a point is reached.
    #[expect(clippy::disallowed_methods, reason = "the thread is to be held up")]
    pub fn reach(point: &str) {
        debug_assert!(super::POINTS.contains(&point), "{point:?} is not in the list");
        let Some(armed) = ARMED.get().filter(|armed| armed.point == point) else { return };
        if armed.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return;
        }
        match &armed.hold {
            Some(file) => {
                // only once: what is held goes on then
                armed.left.store(u64::MAX, Ordering::SeqCst);
                std::fs::write(file, point).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
                while file.exists() {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            None => {
                // as from outside: no handler runs, nothing is flushed
                let killed = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
                unreachable!("killed: {killed:?}")
            }
        }
    }
}
