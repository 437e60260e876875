//! Which file imports from which: the arrows between the files of src, circles of them, and arrows that run upwards.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, Token};

/// `a` takes `name` from `b`.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrow {
    pub from: String,
    pub line: usize,
    pub to: String,
    pub name: String,
}

/// A module by the names that lead to it from the crate's root.
type Module = Vec<String>;

/// `["cli", "s3"]` for cli/s3.rs.
fn module_of(path: &str) -> Module {
    match path.trim_end_matches(".rs").trim_end_matches("/mod") {
        "lib" => Vec::new(),
        module => module.split('/').map(str::to_owned).collect(),
    }
}

fn child_of(module: &Module, name: &str) -> Module {
    [module.as_slice(), &[name.to_owned()]].concat()
}

/// All files, and the names that they have by `use`.
struct Files<'a> {
    paths: BTreeMap<Module, &'a str>,
    bound: BTreeMap<Module, BTreeMap<String, Module>>,
}

impl<'a> Files<'a> {
    fn new(sources: &'a [Source]) -> Self {
        let mut files = Self { paths: sources.iter().map(|source| (module_of(&source.path), source.path.as_str())).collect(), bound: BTreeMap::new() };
        for source in sources {
            let names = files.taken(source).into_iter().filter_map(|taken| Some((taken.bound?, taken.path)));
            let names = names.collect();
            files.bound.insert(module_of(&source.path), names);
        }
        files
    }

    /// The file in which `path` is defined, through those that only hand it on.
    fn home_of(&self, path: &[String], hops: usize) -> &'a str {
        let known = (0..=path.len()).rev().find(|count| self.paths.contains_key(&path[..*count])).unwrap_or(0);
        let handed_on = path.get(known).and_then(|name| self.bound.get(&path[..known])?.get(name));
        match handed_on {
            Some(to) if hops > 0 => self.home_of(&[to, &path[known + 1..]].concat(), hops - 1),
            _ => self.paths.get(&path[..known]).copied().unwrap_or(""),
        }
    }

    /// All that a file takes by paths that begin with `crate`, `super`, `self`, or a module of its own.
    fn taken(&self, source: &Source) -> Vec<Taken> {
        let module = module_of(&source.path);
        let (mut found, mut at, mut in_use) = (Vec::new(), 0, false);
        while let Some(Token { text, line }) = source.tokens.get(at) {
            let continues = at > 0 && source.tokens[at - 1].text == "::";
            let is_path = source.tokens.get(at + 1).is_some_and(|next| next.text == "::");
            match text.as_str() {
                "use" => in_use = true,
                ";" => in_use = false,
                _ if continues || !is_path => {}
                word if ["crate", "super", "self"].contains(&word) || self.paths.contains_key(&child_of(&module, word)) => {
                    let ends = Tree { tokens: &source.tokens, at }.ends(module.clone());
                    found.extend(ends.into_iter().map(|(path, bound)| Taken { path, line: *line, bound: bound.filter(|_| in_use) }));
                }
                _ => {}
            }
            at += 1;
        }
        found
    }
}

struct Taken {
    path: Module,
    line: usize,
    /// What it is called here from now on.
    bound: Option<String>,
}

/// The tree of a path that may branch in braces.
struct Tree<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Tree<'_> {
    fn text(&self) -> &str {
        self.tokens.get(self.at).map_or("", |token| token.text.as_str())
    }

    /// All paths behind `base`, each with its last name, or the one that follows `as`.
    fn ends(&mut self, mut base: Module) -> Vec<(Module, Option<String>)> {
        loop {
            match self.text() {
                "crate" => base.clear(),
                "super" => drop(base.pop()),
                "self" => {}
                "{" => return self.branches(&base),
                word if word.chars().all(|c| c.is_alphanumeric() || c == '_') && !word.is_empty() => base.push(word.to_owned()),
                _ => return vec![(base, None)],
            }
            self.at += 1;
            match self.text() {
                "::" => self.at += 1,
                "as" => {
                    let name = self.tokens.get(self.at + 1).map(|token| token.text.clone());
                    self.at += 2;
                    return vec![(base, name)];
                }
                _ => {
                    let name = base.last().cloned();
                    return vec![(base, name)];
                }
            }
        }
    }

    fn branches(&mut self, base: &Module) -> Vec<(Module, Option<String>)> {
        let mut found = Vec::new();
        self.at += 1;
        while !["}", ""].contains(&self.text()) {
            match self.text() {
                "," | "*" => self.at += 1,
                _ => found.extend(self.ends(base.clone())),
            }
        }
        self.at += 1;
        found
    }
}

/// All arrows. What files of a folder share may stand in the file above them, so what they take from there is no arrow. A name that a file only
/// hands on by `use` is taken from where it is defined.
pub fn arrows(sources: &[Source]) -> Vec<Arrow> {
    let files = Files::new(sources);
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !["lib.rs", "main.rs"].contains(&source.path.as_str())) {
        for taken in files.taken(source) {
            let to = files.home_of(&taken.path, 8);
            if !to.is_empty() && to != source.path && to != "lib.rs" && !module_of(&source.path).starts_with(&module_of(to)) {
                let name = taken.path.last().cloned().unwrap_or_default();
                found.push(Arrow { from: source.path.clone(), line: taken.line, to: to.to_owned(), name });
            }
        }
    }
    found
}

/// Files that import each other in a circle.
pub fn circles(sources: &[Source]) -> Vec<String> {
    let arrows = arrows(sources);
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for arrow in &arrows {
        next.entry(&arrow.from).or_default().insert(&arrow.to);
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> = next.keys().map(|file| (*file, reached_from(file, &next))).collect();
    let leads = |a: &str, b: &str| reached.get(a).is_some_and(|files| files.contains(b));
    let circles: BTreeSet<Vec<&str>> =
        reached.keys().filter(|file| leads(file, file)).map(|a| reached[a].iter().copied().filter(|b| leads(b, a)).collect()).collect();
    let mut broken = Vec::new();
    for circle in &circles {
        let within = arrows.iter().filter(|arrow| circle.contains(&arrow.from.as_str()) && circle.contains(&arrow.to.as_str()));
        let shown: Vec<String> = within.map(|Arrow { from, line, to, name }| format!("  src/{from}:{line}: takes {name} from src/{to}")).collect();
        broken.push(format!("these files import each other in a circle; what they share belongs into a file below them:\n{}", shown.join("\n")));
    }
    broken
}

fn reached_from<'a>(file: &'a str, next: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let (mut open, mut found) = (vec![file], BTreeSet::new());
    while let Some(file) = open.pop() {
        open.extend(next.get(file).into_iter().flatten().filter(|to| found.insert(**to)));
    }
    found
}

/// Imports from a module that does not stand before the importing one in lib.rs; `order` has the modules of lib.rs.
pub fn upwards(sources: &[Source], order: &[&str]) -> Vec<String> {
    let top = |path: &str| path.split(['/', '.']).next().unwrap_or_default().to_owned();
    let rank = |path: &str| order.iter().position(|module| *module == top(path));
    let is_upwards = |arrow: &&Arrow| top(&arrow.from) != top(&arrow.to) && rank(&arrow.to) > rank(&arrow.from);
    let say = |Arrow { from, line, to, name }: &Arrow| {
        format!("src/{from}:{line}: takes {name} from src/{to}, whose module stands below it in lib.rs; a module imports only from those before it")
    };
    arrows(sources).iter().filter(is_upwards).map(say).collect()
}
