//! Progress: counters of a run, shown as a bar on a terminal, or as a line of the log now and then.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::{Watch, thousands};
use crate::settings::{OutputSettings, When};

/// The bar on the terminal, which must step aside for log lines.
pub(super) static BAR: OnceLock<ProgressBar> = OnceLock::new();

/// Time between two lines of progress where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Time between two states of the bar.
const DRAWN_EVERY: Duration = Duration::from_millis(200);

/// A terminal of fewer columns has no room for a bar.
const NARROW: u16 = 60;

/// Counters that go up while a run is under way.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of snapshots to read, as far as they are known.
    pub bytes_expected: AtomicU64,
    /// Bytes of snapshots read.
    pub bytes_read: AtomicU64,
    /// Clusters that were planned, and clusters of the tree. A run of `archive` tells.
    pub clusters: (AtomicU64, AtomicU64),
    /// Dates that are written, and dates to write, of the clusters that were planned.
    pub dates: (AtomicU64, AtomicU64),
    /// Since when snapshots are read.
    pub since: OnceLock<Instant>,
    /// Hosts done.
    pub hosts: AtomicU64,
    /// Hosts to do.
    pub hosts_expected: AtomicU64,
    /// Rows written.
    pub rows: AtomicU64,
    /// Bytes sent to the archive.
    pub bytes_sent: AtomicU64,
    /// What metrics tell.
    pub watch: Watch,
}

impl Progress {
    /// What is known so far.
    fn line(&self) -> String {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut parts = Vec::new();
        // of clusters that are not planned yet it is not known what they have
        if get(&self.clusters.1) > 1 {
            parts.push(format!("cluster {}/{}", get(&self.clusters.0), get(&self.clusters.1)));
        }
        // a run that counts dates has hosts in each of them
        if get(&self.dates.1) > 0 {
            parts.push(format!("dates {}/{}", get(&self.dates.0), get(&self.dates.1)));
        } else if get(&self.hosts_expected) > 0 {
            parts.push(format!("hosts {}/{}", get(&self.hosts), get(&self.hosts_expected)));
        }
        // what is cut off on a narrow terminal comes last
        let (read, expected) = (get(&self.bytes_read), get(&self.bytes_expected));
        if expected > 0 {
            parts.extend(self.seconds_left().map(|left| format!("about {} left", humantime::format_duration(left))));
            let rate = self.rate(read).map_or(String::new(), |rate| format!(" at {}/s", ByteSize(rate)));
            parts.push(format!("read {} of {}{rate}", ByteSize(read), ByteSize(expected)));
        }
        let (rows, sent) = (get(&self.rows), get(&self.bytes_sent));
        parts.extend((rows > 0).then(|| format!("rows {}", thousands(rows))));
        parts.extend((sent > 0).then(|| format!("uploaded {}", ByteSize(sent))));
        if parts.is_empty() { "looking at what is there".into() } else { parts.join(", ") }
    }

    /// How long what is planned still takes, by what was read until now. None if that is too little to tell.
    fn seconds_left(&self) -> Option<Duration> {
        const ENOUGH: Duration = Duration::from_secs(10);
        let (read, expected) = (self.bytes_read.load(Ordering::Relaxed), self.bytes_expected.load(Ordering::Relaxed));
        let elapsed = self.since.get()?.elapsed();
        left_after(elapsed, read, expected).filter(|_| elapsed >= ENOUGH)
    }

    /// Bytes a second until now. None in the first second, which tells nothing.
    fn rate(&self, read: u64) -> Option<u64> {
        let elapsed = self.since.get()?.elapsed().as_secs_f64();
        (elapsed >= 1.0).then(|| (read as f64 / elapsed) as u64)
    }

    /// Shows the counters until the future is dropped: as a bar, or as a log line now and then.
    pub async fn show(self: Arc<Self>, output: &OutputSettings) {
        let with_bar = match output.progress {
            When::Always => true,
            When::Auto => std::io::stderr().is_terminal() && !output.quiet,
            When::Never => return std::future::pending().await,
        };
        let every = if with_bar { DRAWN_EVERY } else { LINE_EVERY };
        if output.progress == When::Auto {
            // of what is done in no time nothing need be shown
            tokio::time::sleep(every).await;
        }
        let bar = with_bar.then(Bar::new);
        loop {
            let expected = self.bytes_expected.load(Ordering::Relaxed);
            if expected > 0 {
                self.since.get_or_init(Instant::now);
            }
            match &bar {
                Some(bar) => bar.draw(self.bytes_read.load(Ordering::Relaxed), expected, self.line()),
                None => tracing::info!("{}", self.line()),
            }
            tokio::time::sleep(every).await;
        }
    }
}

/// The bar, until it is dropped: then its line is empty again.
struct Bar(&'static ProgressBar);

impl Bar {
    fn new() -> Self {
        let target = if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::term_like(Box::new(PlainTerm)) };
        Self(BAR.get_or_init(|| ProgressBar::with_draw_target(Some(0), target)))
    }

    /// Before it is known how much there is to read, there is only what the line says.
    fn draw(&self, read: u64, expected: u64, line: String) {
        let is_narrow = rustix::termios::tcgetwinsize(std::io::stderr()).is_ok_and(|size| size.ws_col < NARROW);
        let template = match expected {
            0 => "{spinner} {wide_msg}",
            _ if is_narrow => "{percent:>3}% {wide_msg}",
            _ => "{bar:24} {percent:>3}% {wide_msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(style);
        }
        self.0.set_length(expected);
        self.0.set_position(read);
        self.0.set_message(line);
        self.0.tick();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Lines without cursor movements, for `--progress always` into a file.
#[derive(Debug)]
struct PlainTerm;

impl indicatif::TermLike for PlainTerm {
    fn width(&self) -> u16 {
        160
    }
    fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
        Ok(())
    }
    fn write_line(&self, line: &str) -> std::io::Result<()> {
        writeln!(std::io::stderr(), "{}", line.trim_end())
    }
    fn write_str(&self, text: &str) -> std::io::Result<()> {
        match text.trim() {
            "" => Ok(()),
            line => self.write_line(line),
        }
    }
    fn clear_line(&self) -> std::io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// Time that is left after `read` of `expected` bytes, in whole seconds.
fn left_after(elapsed: Duration, read: u64, expected: u64) -> Option<Duration> {
    let left = expected.checked_sub(read).filter(|_| read > 0)?;
    Some(Duration::from_secs((elapsed.as_secs_f64() * left as f64 / read as f64) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_goes_by_bytes() {
        let left = |read, expected| left_after(Duration::from_secs(20), read, expected).map(|left| left.as_secs());
        assert_eq!([left(1, 4), left(4, 4), left(0, 4), left(5, 4)], [Some(60), Some(0), None, None]);
    }

    #[test]
    fn progress_tells_dates_where_they_are_known() {
        let progress = Progress::default();
        assert_eq!(progress.line(), "looking at what is there");
        progress.hosts_expected.store(7, Ordering::Relaxed);
        assert_eq!(progress.line(), "hosts 0/7");
        progress.dates.1.store(365, Ordering::Relaxed);
        progress.bytes_expected.store(2048, Ordering::Relaxed);
        assert_eq!(progress.line(), "dates 0/365, read 0 B of 2.0 KiB");
        progress.clusters.1.store(2, Ordering::Relaxed);
        assert!(progress.line().starts_with("cluster 0/2, dates 0/365, "), "{}", progress.line());
    }
}
