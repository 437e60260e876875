//! What time it is. Only this module asks the system.
//!
//! How long something takes is measured with [`tokio::time::Instant`], which a test can stop.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// The date and the time, which can jump.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the time")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Since the machine started, asleep or not. It never goes back.
pub fn uptime() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let id = rustix::time::ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let id = rustix::time::ClockId::Monotonic;
    of_system(id)
}

/// CPU time of this process.
pub fn cpu_time() -> Duration {
    of_system(rustix::time::ClockId::ProcessCPUTime)
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the time")]
fn of_system(id: rustix::time::ClockId) -> Duration {
    let time = rustix::time::clock_gettime(id);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
