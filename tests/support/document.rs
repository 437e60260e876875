//! The queries in `docs/queries.md` and in the README: taken out of the text, run by one reader, and held to the outputs that stand below
//! them. `INSTA_UPDATE=always` writes the outputs anew instead.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::{fixture, repository, run, without_environment, write};

/// A fenced block of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// The heading of level two that it stands below.
    pub section: String,
    /// The nearest heading.
    pub heading: String,
    /// What stands behind the fence.
    pub language: String,
    /// Its lines.
    pub code: String,
    /// The output below it, if it has one.
    pub output: Option<String>,
    /// Line behind its closing fence.
    end: usize,
    /// Line behind the closing fence of its output, or the same.
    after: usize,
}

impl Block {
    /// As a failure names it.
    pub fn place(&self) -> String {
        format!("{} › {}, the block before line {}", self.section, self.heading, self.end + 1)
    }
}

fn closing(lines: &[&str], open: usize) -> usize {
    lines[open + 1..].iter().position(|line| *line == "```").map_or_else(|| panic!("line {}: the block has no end", open + 1), |n| open + 1 + n)
}

/// All blocks of a text but outputs, which belong to the ones above them.
pub fn blocks(text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut section, mut heading, mut found, mut at) = (String::new(), String::new(), Vec::new(), 0);
    while at < lines.len() {
        if let Some(language) = lines[at].strip_prefix("```") {
            assert!(!["", "text"].contains(&language), "line {}: an output with no query above it, or no language", at + 1);
            let end = closing(&lines, at) + 1;
            let code = lines[at + 1..end - 1].join("\n");
            let (output, after) = match lines.get(end..end + 2) {
                Some(["", "```text"]) => {
                    let after = closing(&lines, end + 1) + 1;
                    (Some(lines[end + 2..after - 1].join("\n")), after)
                }
                _ => (None, end),
            };
            found.push(Block { section: section.clone(), heading: heading.clone(), language: language.to_owned(), code, output, end, after });
            at = after;
            continue;
        }
        if let Some(title) = lines[at].strip_prefix("## ") {
            section = title.to_owned();
        }
        if lines[at].starts_with('#') {
            heading = lines[at].trim_start_matches(['#', ' ']).to_owned();
        }
        at += 1;
    }
    found
}

/// The text with other outputs for some blocks of it.
pub fn with_outputs(text: &str, outputs: &[(Block, String)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for block in blocks(text).iter().rev() {
        let same = |other: &Block| (&other.section, &other.heading, &other.code) == (&block.section, &block.heading, &block.code);
        if let Some((_, output)) = outputs.iter().find(|(other, _)| same(other)) {
            lines.splice(block.end..block.after, [String::new(), "```text".to_owned(), output.clone(), "```".to_owned()]);
        }
    }
    lines.join("\n") + "\n"
}

/// A document of the repository.
#[derive(Debug)]
pub struct Document {
    path: PathBuf,
}

impl Document {
    /// The one at this path of the repository.
    pub fn at(path: &str) -> Self {
        Self { path: repository().join(path) }
    }

    /// The one that holds all queries.
    pub fn of_queries() -> Self {
        Self::at("docs/queries.md")
    }

    /// Its text.
    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap_or_else(|e| panic!("{}: {e}", self.path.display()))
    }

    /// The blocks below a heading, of level two or deeper.
    #[track_caller]
    pub fn below(&self, heading: &str) -> Vec<Block> {
        let found: Vec<Block> = blocks(&self.text()).into_iter().filter(|block| block.section == heading || block.heading == heading).collect();
        assert!(!found.is_empty(), "{}: no block below {heading:?}", self.path.display());
        found
    }

    /// Holds what blocks printed to the outputs below them, or writes it there.
    #[track_caller]
    pub fn hold(&self, what: &str, outputs: Vec<(Block, String)>) {
        static ONE_WRITER: Mutex<()> = Mutex::new(());
        if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
            let _writer = ONE_WRITER.lock().expect("no writer failed");
            return std::fs::write(&self.path, with_outputs(&self.text(), &outputs)).expect("written");
        }
        for (block, printed) in outputs {
            let place = format!("{what}, {}: {}", self.path.display(), block.place());
            assert!(block.output.is_some(), "{place} has no output");
            let hint = "INSTA_UPDATE=always cargo test --locked --test queries writes the outputs anew";
            assert!(block.output.as_ref() == Some(&printed), "{place} printed\n{printed}\nand the document says\n{}\n{hint}", block.output.expect("one"));
        }
    }
}

/// Without blanks at the ends of lines, which editors take away, and empty lines at the end.
fn tidy(printed: &str) -> String {
    let lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned()
}

/// Runs blocks in a folder with a reader's Python, and gives each with what it printed. `replaced` are words of the document that stand for
/// others.
#[track_caller]
pub fn run_blocks(python: &str, reader: &str, folder: &Path, blocks: &[Block], replaced: &[(&str, &str)]) -> Vec<(Block, String)> {
    let replace = |code: &str| replaced.iter().fold(code.to_owned(), |code, (from, to)| code.replace(from, to));
    let codes: Vec<String> = blocks.iter().map(|block| replace(&block.code)).collect();
    write(&folder.join("blocks.json"), serde_json::to_string(&codes).expect("JSON").as_bytes());
    write(&folder.join("meta.json"), &std::fs::read(fixture("jobs/meta.json")).expect("the job"));
    let mut command = Command::new(python);
    without_environment(&mut command).args(["-I", "-B"]).arg(repository().join("tests/readers/run.py")).arg(reader).arg(folder);
    let run = run(&mut command);
    assert!(run.code == 0, "{reader}\n{}", run.stderr);
    let printed: Vec<String> = serde_json::from_str(run.stdout.lines().last().unwrap_or("")).expect("a list of outputs");
    assert_eq!(printed.len(), blocks.len());
    blocks.iter().cloned().zip(printed.iter().map(|printed| tidy(printed))).collect()
}
