//! Times, sizes and names as text.

use std::fmt;

use crate::telemetry::thousands;

/// A unix time in s, in UTC; as a number where no calendar goes.
pub fn time(seconds: i64) -> String {
    match chrono::DateTime::from_timestamp(seconds, 0) {
        Some(time) => time.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        None => seconds.to_string(),
    }
}

/// From when to when.
pub fn range(from: i64, to: i64) -> String {
    format!("{} to {}", time(from), time(to))
}

/// A span of time, by its two largest units.
pub fn span(seconds: u64) -> String {
    let text = humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A count of bytes.
pub fn bytes(count: u64) -> String {
    format!("{} bytes", thousands(count))
}

/// A count of things, of which one has another name than many.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { many })
}

/// A name on one line.
pub fn name(text: &str) -> String {
    text.escape_debug().collect()
}

/// Lines in columns, of which those of `numbers` are aligned to the right.
pub fn table<const N: usize>(f: &mut fmt::Formatter<'_>, lines: impl IntoIterator<Item = [String; N]>, numbers: &[usize]) -> fmt::Result {
    let lines: Vec<[String; N]> = lines.into_iter().collect();
    let widths: Vec<usize> = (0..N).map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()).collect();
    writeln!(f)?;
    for line in &lines {
        let cell = |(column, text): (usize, &String)| {
            let width = widths[column];
            if numbers.contains(&column) { format!("{text:>width$}") } else { format!("{text:<width$}") }
        };
        writeln!(f, "{}", line.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
