//! Columns of text that are as wide as what stands in them; counts and times in words.

use std::fmt;

/// A column's heading, and whether it is aligned to the right, as numbers are.
pub type Column = (&'static str, bool);

/// Writes lines below their headings, each two characters in.
///
/// # Errors
/// Those of the formatter.
pub fn table(f: &mut fmt::Formatter<'_>, columns: &[Column], lines: &[Vec<String>]) -> fmt::Result {
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(column, (heading, _))| {
            lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).chain([heading.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let headings: Vec<String> = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    for line in std::iter::once(&headings).chain(lines) {
        let mut text = String::new();
        for ((cell, (_, right)), width) in line.iter().zip(columns).zip(&widths) {
            let width = *width;
            text.push_str(&if *right { format!("  {cell:>width$}") } else { format!("  {cell:<width$}") });
        }
        writeln!(f, "{}", text.trim_end())?;
    }
    Ok(())
}

/// A time in UTC, to the minute.
pub fn minute(time: i64) -> String {
    chrono::DateTime::from_timestamp(time, 0).map_or_else(|| time.to_string(), |time| time.format("%Y-%m-%d %H:%M").to_string())
}
