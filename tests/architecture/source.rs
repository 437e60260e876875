//! Source as text: without comments, literals and test modules, taken apart into words and signs.

use std::fs;
use std::path::Path;

/// A file of src.
pub struct Source {
    /// Relative to src.
    pub path: String,
    pub text: String,
    pub tokens: Vec<Token>,
}

/// A word, or a sign.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub line: usize,
    pub text: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), tokens: tokens(&blank(without_tests(text))) }
    }

    /// `checkpoint` for checkpoint.rs and for everything below checkpoint/.
    pub fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or(&self.path);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// How many `super::` lead to the crate's root.
    pub fn depth(&self) -> usize {
        if ["lib.rs", "main.rs"].contains(&self.path.as_str()) { 0 } else { self.path.trim_end_matches("/mod.rs").split('/').count() }
    }
}

/// All of src.
pub fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut open, mut found) = (vec![root.clone()], Vec::new());
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).expect("listed").map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(&root).expect("inside").to_str().expect("UTF-8");
            found.push(Source::new(name, &fs::read_to_string(&path).expect("read")));
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 12, "src is somewhere else");
    found
}

/// The text up to its test module.
pub fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text)
}

/// The text with comments and literals blanked; lines stay where they are.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    while i < chars.len() {
        let starts = |s: &str| s.chars().enumerate().all(|(k, c)| chars.get(i + k) == Some(&c));
        let end = if starts("//") {
            chars[i..].iter().position(|c| *c == '\n').map_or(chars.len(), |n| i + n)
        } else if starts("/*") {
            let mut end = i + 2;
            while end < chars.len() && !(chars[end - 1] == '*' && chars[end] == '/' && end > i + 2) {
                end += 1;
            }
            end + 1
        } else if chars[i] == '"' {
            let mut end = i + 1;
            while end < chars.len() && chars[end] != '"' {
                end += if chars[end] == '\\' { 2 } else { 1 };
            }
            end + 1
        } else if chars[i] == 'r' && (i == 0 || !is_word(chars[i - 1]) || chars[i - 1] == 'b') && raw_string(&chars[i + 1..]).is_some() {
            i + 1 + raw_string(&chars[i + 1..]).unwrap_or(0)
        } else if chars[i] == '\'' && chars.get(i + 1) == Some(&'\\') {
            chars[i + 3..].iter().position(|c| *c == '\'').map_or(chars.len(), |n| i + 4 + n)
        } else if chars[i] == '\'' && chars.get(i + 2) == Some(&'\'') {
            i + 3
        } else {
            out.push(chars[i]);
            i += 1;
            continue;
        };
        let end = end.min(chars.len());
        out.extend(chars[i..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        i = end;
    }
    out
}

/// How long the rest of a raw string is, from behind its `r`.
fn raw_string(chars: &[char]) -> Option<usize> {
    let hashes = chars.iter().take_while(|c| **c == '#').count();
    if chars.get(hashes) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = &chars[hashes + 1..];
    body.windows(close.len()).position(|window| window == close).map(|at| hashes + 1 + at + close.len())
}

/// Words, `::`, and all other characters one by one.
fn tokens(code: &str) -> Vec<Token> {
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let len = if word > 0 {
                word
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            found.push(Token { line: number + 1, text: rest[..len].to_owned() });
            rest = rest[len..].trim_start();
        }
    }
    found
}

/// What `tokens[at..]`, which stands behind a `::`, names at its first level: one word, or several in braces. A word
/// comes with what stands behind it, up to the end of its path.
pub fn named(tokens: &[Token], at: usize) -> Vec<(&Token, Vec<&str>)> {
    let path = |from: usize| tokens[from..].iter().map(|t| t.text.as_str()).take_while(|t| !matches!(*t, "," | ";" | "}" | "(" | ")")).collect();
    match tokens.get(at) {
        Some(open) if open.text == "{" => {
            let (mut depth, mut found) = (0, Vec::new());
            for (i, token) in tokens.iter().enumerate().skip(at) {
                let first = depth == 1 && matches!(tokens[i - 1].text.as_str(), "{" | ",");
                match token.text.as_str() {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    _ if first => found.push((token, path(i + 1))),
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
            found
        }
        Some(word) => vec![(word, path(at + 1))],
        None => Vec::new(),
    }
}

/// All names that a file takes from the crate's root, by `crate::` or by `super::`.
pub fn from_root(source: &Source) -> Vec<(&Token, Vec<&str>)> {
    let tokens = &source.tokens;
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|t| t.text == text);
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let supers = (0..source.depth()).all(|n| is(at + 2 * n, "super") && is(at + 2 * n + 1, "::"));
        if is(at, "crate") && is(at + 1, "::") {
            found.extend(named(tokens, at + 2));
        } else if source.depth() > 0 && supers {
            found.extend(named(tokens, at + 2 * source.depth()));
        } else if is(at, "crate") && is(at + 1, "as") {
            found.push((&tokens[at], Vec::new()));
        }
    }
    found
}
