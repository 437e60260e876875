//! Log lines: each says the run that it belongs to, whichever thread wrote it.

use std::fmt;
use std::io::{IsTerminal, Write};
use std::str::FromStr;

use anstream::{AutoStream, ColorChoice};
use chrono::SecondsFormat;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::progress::BAR;
use crate::settings::{LogFormat, OutputSettings};
use crate::{clock, random};

/// The most characters of a run's name.
const LONGEST_ID: usize = 64;

/// A run's name: letters, digits, `.`, `_` and `-`, so that it stands anywhere without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunId(String);

impl RunId {
    /// The time of day, and four random digits: runs of several machines can begin in the same second.
    pub fn new() -> Self {
        // without random bits the time must do; what needs them more says so
        let random = random::number().unwrap_or_default() as u16;
        Self(format!("{}-{random:04x}", clock::now().format("%Y%m%dT%H%M%SZ")))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for RunId {
    fn default() -> Self {
        Self::new()
    }
}

impl FromStr for RunId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        match text.len() {
            1..=LONGEST_ID if fits => Ok(Self(text.into())),
            _ => Err(format!("1 to {LONGEST_ID} letters, digits, '.', '_' and '-' are allowed")),
        }
    }
}

/// Sets logs up, once a process.
pub fn init(output: &OutputSettings, run: &RunId) {
    let level = match (output.quiet, output.verbose) {
        (true, _) => LevelFilter::WARN,
        (_, 0) => LevelFilter::INFO,
        (_, 1) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let others = if output.verbose > 1 { LevelFilter::DEBUG } else { LevelFilter::ERROR };
    let filter = Targets::new().with_target("cc_archiver", level).with_default(others);
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(|| LogWriter);
    let format = tracing_subscriber::fmt::format().with_target(false);
    let run = run.0.clone();
    let set = match output.log_format {
        LogFormat::Text => {
            // as the help and its errors: on a terminal, unless NO_COLOR, CLICOLOR or TERM say otherwise
            let inner =
                format.with_timer(Clock { local: std::io::stderr().is_terminal() }).with_ansi(AutoStream::choice(&std::io::stderr()) != ColorChoice::Never);
            registry.with(lines.event_format(OfRun { inner, run, is_json: false })).try_init()
        }
        LogFormat::Json => {
            let inner = format.json().flatten_event(true).with_timer(Clock { local: false });
            registry.with(lines.fmt_fields(JsonFields::new()).event_format(OfRun { inner, run, is_json: true })).try_init()
        }
    };
    if set.is_err() {
        tracing::debug!("logs were set up already");
    }
}

// a span would not do: it does not follow into tasks and threads of its own accord, and those of other crates have none

/// Log lines with the run's name. For people it ends each line, also those of one message; for programs it is the first field.
struct OfRun<F> {
    inner: F,
    run: String,
    is_json: bool,
}

impl<S, N, F> FormatEvent<S, N> for OfRun<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut text = String::new();
        self.inner.format_event(context, Writer::new(&mut text), event)?;
        if self.is_json {
            return write!(writer, "{{\"run_id\":\"{}\",{}", self.run, text.trim_start_matches('{'));
        }
        text.lines().try_for_each(|line| writeln!(writer, "{line} run_id={}", self.run))
    }
}

/// The time of a line: for people where they are, with its offset; in logs UTC.
struct Clock {
    local: bool,
}

impl FormatTime for Clock {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        let now = clock::now();
        if self.local {
            write!(w, "{}", now.with_timezone(&chrono::Local).format("%Y-%m-%d %H:%M:%S %:z"))
        } else {
            write!(w, "{}", now.to_rfc3339_opts(SecondsFormat::Micros, true))
        }
    }
}

/// Writes log lines to stderr, above the bar.
struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let write = || std::io::stderr().write_all(line);
        match BAR.get() {
            Some(bar) => bar.suspend(write)?,
            None => write()?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runs_name_needs_no_quotes_anywhere() {
        assert!(RunId::new().as_str().parse::<RunId>().is_ok());
        assert_ne!((RunId::new(), RunId::new()), (RunId::new(), RunId::new()));
        for wrong in ["", "a b", "a\"", "a\n", "ä", &"a".repeat(65)] {
            assert!(wrong.parse::<RunId>().is_err(), "{wrong:?}");
        }
    }
}
