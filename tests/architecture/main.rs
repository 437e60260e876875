//! The rules of the source that no compiler knows, read from the source as text. A rule that is broken is shown with
//! file, line, and what the rule is. What stands in comments, in strings and in test modules does not count.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use imports::{circles, upwards};
use source::{Source, Token, from_root, named, sources, without_tests};

mod imports;
mod source;

/// The most lines of a file, its tests not counted.
const MOST_LINES: usize = 400;
/// The most lines of a function.
const MOST_LINES_OF_FUNCTION: usize = 60;
/// The stages that there are at least; lib.rs says which there are.
const KNOWN_STAGES: [&str; 17] = [
    "scan",
    "hold",
    "catalog",
    "plan",
    "read",
    "checkpoint",
    "merge",
    "rescue",
    "rows",
    "encode",
    "upload",
    "prove",
    "prune",
    "verify",
    "compact",
    "table",
    "restore",
];
/// Which module outside of the pipeline may name which stage, and for what.
const MAY_NAME: [(&str, &str, &str); 2] = [("prune", "prove", "Proven"), ("compact", "prove", "ObjectProof")];

/// Modules of lib.rs under the comment that begins with `heading`, with their lines.
fn modules<'a>(lib: &'a str, heading: &str) -> Vec<(usize, &'a str)> {
    let lines = lib.lines().enumerate().skip_while(|(_, line)| !line.starts_with(heading)).skip(1);
    let section = lines.take_while(|(_, line)| !line.starts_with("//")).filter(|(_, line)| line.contains("mod "));
    section.filter_map(|(n, line)| Some((n + 1, line.split("mod ").nth(1)?.trim_end_matches(';')))).collect()
}

fn stages(lib: &str) -> Vec<&str> {
    modules(lib, "// the stages").into_iter().map(|(_, name)| name).collect()
}

// ---- the rules; each gives what breaks it ----

fn names_another_stage(source: &Source, stages: &[&str]) -> Vec<String> {
    let module = source.module();
    if module == "pipeline" {
        return Vec::new();
    }
    let says = |line: usize, what: String| format!("src/{}:{line}: {what}", source.path);
    let mut broken = Vec::new();
    for (token, behind) in from_root(source) {
        let name = token.text.as_str();
        let allowed = MAY_NAME.iter().any(|(by, stage, what)| *by == module && *stage == name && behind.get(1) == Some(what));
        if name == "*" || name == "crate" {
            broken.push(says(token.line, "takes all of the crate under another name, so that nobody sees which stage it uses".into()));
        } else if name == "pipeline" && module != "commands" {
            broken.push(says(token.line, "uses the pipeline; only what runs a command does, and the pipeline uses the stages".into()));
        } else if stages.contains(&name) && name != module && !allowed {
            broken.push(says(token.line, format!("names the stage {name}; only the pipeline knows stages, and hands on what they give")));
        }
    }
    if source.path == "lib.rs" {
        let uses = source.tokens.windows(2).filter(|pair| stages.contains(&pair[0].text.as_str()) && pair[1].text == "::");
        broken.extend(uses.map(|pair| says(pair[0].line, format!("names the stage {}; only the pipeline knows stages", pair[0].text))));
    }
    broken
}

fn reads_the_environment(source: &Source) -> Vec<String> {
    if source.path == "config.rs" {
        return Vec::new();
    }
    let text = |at: usize| source.tokens.get(at).map_or("", |t| t.text.as_str());
    let reads = |at: &usize| match text(*at) {
        // not `env!("…")`, which the compiler reads, nor the `env = "…"` of an option
        "env" => text(at + 1) == "::" || (*at > 0 && text(at - 1) == "::") || ("{,".contains(text(at.wrapping_sub(1))) && ",}".contains(text(at + 1))),
        "from_env" => true,
        _ => false,
    };
    let say = |at: usize| format!("src/{}:{}: reads the environment; only config.rs does", source.path, source.tokens[at].line);
    (0..source.tokens.len()).filter(reads).map(say).collect()
}

fn ends_the_process(source: &Source) -> Vec<String> {
    let tokens = &source.tokens;
    let at = (0..tokens.len()).filter(|at| tokens[*at].text == "process" && tokens.get(at + 1).is_some_and(|t| t.text == "::"));
    let named = at.flat_map(|at| named(tokens, at + 2)).filter(|(token, _)| matches!(token.text.as_str(), "exit" | "abort"));
    let say = |token: &Token| format!("src/{}:{}: ends the process, and drops nothing; give the error or the exit code back", source.path, token.line);
    named.map(|(token, _)| say(token)).collect()
}

/// The image is built of little more than src: .dockerignore.
fn includes_from_elsewhere(source: &Source) -> Vec<String> {
    let here = source.path.matches('/').count();
    let lines = without_tests(&source.text).lines().enumerate().filter(|(_, line)| line.contains("include_str!(\"") || line.contains("include_bytes!(\""));
    let leaves = lines.filter(|(_, line)| line.matches("../").count() > here);
    leaves.map(|(at, _)| format!("src/{}:{}: what is built in lies in src, as the image is built of that alone", source.path, at + 1)).collect()
}

fn is_too_long(source: &Source) -> Vec<String> {
    let lines = without_tests(&source.text).lines().count();
    let say = || format!("src/{}:{MOST_LINES}: the file goes on to line {lines}; {MOST_LINES} are the most, tests not counted", source.path);
    (lines > MOST_LINES).then(say).into_iter().collect()
}

fn long_functions(sources: &[Source]) -> Vec<String> {
    let too_long = sources.iter().flat_map(functions).filter(|(.., lines)| *lines > MOST_LINES_OF_FUNCTION);
    let say = |(source, name, lines): (&Source, &Token, usize)| {
        format!("src/{}:{}: {} has {lines} lines; {MOST_LINES_OF_FUNCTION} are the most", source.path, name.line, name.text)
    };
    too_long.map(say).collect()
}

/// The name of each function, and its lines from `fn` to the last brace.
fn functions(source: &Source) -> Vec<(&Source, &Token, usize)> {
    let tokens = &source.tokens;
    let mut found = Vec::new();
    for at in (0..tokens.len()).filter(|at| tokens[*at].text == "fn") {
        // a function pointer has no name, a trait's function may have no body
        let Some(name) = tokens.get(at + 1).filter(|name| name.text != "(") else { continue };
        let (mut depth, mut begun) = (0_usize, false);
        let end = tokens[at..].iter().find(|token| {
            match token.text.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
            begun |= token.text == "{" && depth == 1;
            depth == 0 && (token.text == ";" || begun)
        });
        found.extend(end.filter(|end| end.text == "}").map(|end| (source, name, end.line - tokens[at].line + 1)));
    }
    found
}

/// All modules of lib.rs, in their order.
fn order(lib: &str) -> Vec<&str> {
    lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect()
}

fn is_out_of_order(lib: &str) -> Vec<String> {
    // the drawing: words between arrows, in the first block of the documentation
    let drawn: Vec<(usize, String)> = lib
        .lines()
        .enumerate()
        .filter(|(_, line)| line.starts_with("//!") && line.contains(['→', '⇢']))
        .flat_map(|(n, line)| line.trim_start_matches("//!").split(['→', '⇢']).map(move |part| (n + 1, part)).collect::<Vec<_>>())
        .filter_map(|(n, part)| Some((n, part.split_whitespace().next()?.to_owned())))
        .collect();
    let listed = modules(lib, "// the stages");
    let say = |line: usize, is: &str, expected: &str| {
        format!("src/lib.rs:{line}: {is} stands where {expected} is expected; stages are listed in the order of the data, as they are drawn")
    };
    let mut broken: Vec<String> =
        listed.iter().zip(&drawn).filter(|((_, is), (_, expected))| is != expected).map(|((line, is), (_, expected))| say(*line, is, expected)).collect();
    if listed.len() != drawn.len() {
        broken.push(format!("src/lib.rs:1: {} stages are drawn, and {} listed", drawn.len(), listed.len()));
    }
    broken
}

// ---- and that the source keeps them ----

fn assert_kept(broken: Vec<String>) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

fn lib() -> String {
    sources().into_iter().find(|source| source.path == "lib.rs").expect("there is a lib.rs").text
}

#[test]
fn a_stage_never_names_another_stage() {
    let lib = lib();
    let stages = stages(&lib);
    assert_kept(sources().iter().flat_map(|source| names_another_stage(source, &stages)).collect());
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    assert_kept(circles(&sources()));
}

#[test]
fn no_module_imports_from_one_that_stands_below_it() {
    assert_kept(upwards(&sources(), &order(&lib())));
}

#[test]
fn no_function_is_longer_than_a_reader_can_hold() {
    assert_kept(long_functions(&sources()));
}

#[test]
fn only_the_settings_read_the_environment() {
    assert_kept(sources().iter().flat_map(reads_the_environment).collect());
}

#[test]
fn nothing_ends_the_process_but_the_end_of_main() {
    assert_kept(sources().iter().flat_map(ends_the_process).collect());
}

#[test]
fn what_is_built_in_lies_in_src() {
    assert_kept(sources().iter().flat_map(includes_from_elsewhere).collect());
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    assert_kept(sources().iter().flat_map(is_too_long).collect());
}

#[test]
fn the_library_lists_its_stages_in_the_order_of_the_data() {
    assert_kept(is_out_of_order(&lib()));
}

#[test]
fn the_library_lists_every_module_and_every_stage_that_is_known() {
    let lib = lib();
    let listed: BTreeSet<&str> = order(&lib).into_iter().collect();
    let sources = sources();
    let on_disk: BTreeSet<&str> = sources.iter().map(Source::module).filter(|module| !["lib", "main"].contains(module)).collect();
    assert_eq!(listed, on_disk, "src/lib.rs: every module is public, stands on a line of its own, and has its file");
    let stages = stages(&lib);
    for stage in KNOWN_STAGES {
        assert!(stages.contains(&stage), "src/lib.rs: {stage} is not listed below the comment on the stages");
    }
}

/// Where the promises stand.
const GUARANTEES: &str = "docs/guarantees.md";

/// The tables of promises on that page: (promise, tests that hold it).
fn promises(page: &str) -> Vec<(String, Vec<String>)> {
    let section = page.split("\n## Promises\n").nth(1).unwrap_or("").split("\n## ").next().unwrap_or("");
    let rows = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise"));
    let row = |line: &str| {
        let (promise, tests) = line.trim_matches('|').rsplit_once('|').unwrap_or((line, ""));
        (promise.trim().to_owned(), tests.split('`').skip(1).step_by(2).map(str::to_owned).collect())
    };
    rows.map(row).collect()
}

#[test]
fn every_promise_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = String::new();
    let files = ["tests", "tests/faults", "tests/s3"].iter().flat_map(|folder| fs::read_dir(root.join(folder)).expect("listed"));
    for entry in files {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "rs") {
            tests.push_str(&fs::read_to_string(path).expect("read"));
        }
    }
    let promises = promises(&fs::read_to_string(root.join(GUARANTEES)).expect("read"));
    assert!(promises.len() > 15, "{GUARANTEES}: the promises are somewhere else");
    for (promise, names) in promises {
        assert!(!names.is_empty(), "{GUARANTEES}: no test holds {promise:?}");
        for name in names {
            assert!(tests.contains(&format!("#[test]\nfn {name}()")), "{GUARANTEES}: {promise:?} names {name}, and there is no such test");
        }
    }
}

// ---- and that each rule finds what breaks it ----

#[test]
fn the_rules_find_what_breaks_them() {
    let stages = ["scan", "plan", "checkpoint", "prove"];
    let stage = |path, text| names_another_stage(&Source::new(path, text), &stages).len();
    for text in [
        "use crate::plan::Work;",
        "use crate::plan;",
        "use crate::{error::Error, plan};",
        "use crate::{\n    error::{Error, Result},\n    plan::{Left, Work},\n};",
        "fn f() { crate::plan::new() }",
        "use super::plan;",
        "use crate::*;",
        "use crate as us;",
        "use crate :: plan;",
        "use crate::pipeline::Context;",
    ] {
        assert_eq!(stage("scan.rs", text), 1, "{text}");
    }
    assert_eq!(stage("checkpoint/json.rs", "use super::super::plan;"), 1);
    let includes = |path, text| includes_from_elsewhere(&Source::new(path, text)).len();
    assert_eq!(includes("config/file.rs", "const A: &str = include_str!(\"../../deploy/a.json\");"), 1);
    assert_eq!(includes("config/file.rs", "const A: &str = include_str!(\"../a.json\");"), 0);
    assert_eq!(stage("checkpoint/json.rs", "use super::plan; use crate::checkpoint::Flaw;"), 0, "its own");
    assert_eq!(stage("pipeline/host.rs", "use crate::plan;"), 0);
    assert_eq!(stage("telemetry.rs", "use crate::plan;"), 1);
    assert_eq!(stage("prune.rs", "use crate::prove::Proven;"), 0);
    assert_eq!(stage("prune.rs", "use crate::prove::source;"), 1);
    assert_eq!(stage("commands/archive.rs", "use crate::pipeline;"), 0);
    assert_eq!(stage("commands/archive.rs", "use crate::plan;"), 1);
    assert_eq!(stage("lib.rs", "pub mod plan;\nfn f() { plan::new() }"), 1);
    for text in [
        "//! [`crate::plan`]\n/* crate::plan */ // crate::plan",
        "const A: &str = \"crate::plan\"; const B: &str = r#\"\" crate::plan\"#; const C: char = '\"'; const D: char = '\\'';",
        "use crate::error::plan; use crate::{names::{plan, Date}};",
        "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    use crate::plan;\n}",
    ] {
        assert_eq!(stage("scan.rs", text), 0, "{text}");
    }
    assert_eq!(stage("scan.rs", "const A: char = '\"'; use crate::plan; const B: char = '\"';"), 1, "a quote is no string");

    let environment = |path, text| reads_the_environment(&Source::new(path, text)).len();
    for text in ["let a = std::env::var(\"A\");", "use std::env;", "use std::{env, fs};", "use std::{fs, env};", "env::vars()", "AmazonS3Builder::from_env()"] {
        assert_eq!(environment("store.rs", text), 1, "{text}");
    }
    assert_eq!(environment("config.rs", "std::env::vars()"), 0);
    assert_eq!(environment("cli.rs", "#[arg(long, env = \"A\")] const V: &str = env!(\"CARGO_PKG_VERSION\"); // std::env::var"), 0);

    let ends = |text| ends_the_process(&Source::new("main.rs", text)).len();
    assert_eq!([ends("std::process::exit(1)"), ends("use std::process::{ExitCode, abort};"), ends("use std::process::ExitCode;")], [1, 1, 0]);

    let long = "x\n".repeat(MOST_LINES);
    let length = |text: &str| is_too_long(&Source::new("a.rs", text)).len();
    assert_eq!([length(&long), length(&format!("{long}y")), length(&format!("{long}\n#[cfg(test)]\nmod tests {{\n}}"))], [0, 1, 0]);

    let lib = |list: &str| format!("//! a → b (or c) → d\n\n// words\npub mod x;\n\n// the stages\n{list}\n// the rest\npub mod z;\n");
    assert_eq!(is_out_of_order(&lib("pub mod a;\npub mod b;\npub mod d;\n")), Vec::<String>::new());
    assert_eq!(is_out_of_order(&lib("pub mod b;\npub mod a;\npub mod d;\n")).len(), 2);
    assert_eq!(is_out_of_order(&lib("pub mod a;\npub mod b;\n")).len(), 1);

    let shown = names_another_stage(&Source::new("scan.rs", "\n\nuse crate::plan;"), &stages);
    assert!(shown[0].starts_with("src/scan.rs:3: names the stage plan; "), "file, line and rule: {shown:?}");
}

#[test]
fn circles_and_imports_upwards_are_found() {
    let of = |files: &[(&str, &str)]| files.iter().map(|(path, text)| Source::new(path, text)).collect::<Vec<_>>();
    let circles_of = |files: &[(&str, &str)]| circles(&of(files)).len();
    for (one, other) in [
        ("use crate::b::X;", "use crate::a;"),
        ("use crate::{c, b::{self, X as Z}};", "fn f() { crate::a::g() }"),
        ("use super::b::*;", "use crate::a::X;"),
        ("use super::b as other;", "type T = super::a::X;"),
    ] {
        assert_eq!(circles_of(&[("a.rs", one), ("b.rs", other), ("c.rs", "")]), 1, "{one} {other}");
    }
    assert_eq!(circles_of(&[("a.rs", "use crate::b::X;"), ("b.rs", "use crate::c::Y;"), ("c.rs", "use crate::a::Z;")]), 1);
    assert_eq!(
        circles_of(&[("a.rs", "use crate::b::X;"), ("b.rs", "// crate::a\nconst A: &str = \"crate::a\";\n\n#[cfg(test)]\nmod tests { use crate::a; }")]),
        0
    );
    assert_eq!(circles_of(&[("a.rs", "use crate::{b::X, c::Y};"), ("b.rs", "use crate::c::Y;"), ("c.rs", "use std::fmt;")]), 0);

    // what files of a folder share may stand above them; they are not to import each other
    let folder = |above: &'static str, c: &'static str, d: &'static str| circles_of(&[("a.rs", above), ("a/c.rs", c), ("a/d.rs", d)]);
    assert_eq!(folder("mod c;\nuse c::X;\npub struct Y;", "use super::Y;", "use super::c::X;"), 0);
    assert_eq!(folder("mod c;\nmod d;", "use super::d::X;", "use super::c::Y;"), 1);
    assert_eq!(folder("mod c;\nmod d;\npub use c::X;\nuse d::Y as Z;", "use super::{Z, W};", "use crate::a::X;"), 1, "names are handed on");
    assert_eq!(circles_of(&[("a.rs", "mod c;\nuse c::X;"), ("a/c.rs", "use crate::b::Y;"), ("b.rs", "use crate::a::X;")]), 1, "names are handed on");
    assert_eq!(
        circles_of(&[("a.rs", "mod c;\nuse c::X;\nstruct Z;"), ("a/c.rs", "use crate::b::Y;"), ("b.rs", "use crate::a::Z;")]),
        1,
        "a file leads to its folder"
    );

    let two = of(&[("a.rs", "use crate::b::X;"), ("b.rs", "\nuse crate::a::Y;")]);
    assert!(circles(&two)[0].contains("src/b.rs:2: takes Y from src/a.rs"), "file, line and name");

    assert_eq!([upwards(&two, &["a", "b"]).len(), upwards(&two, &["b", "a"]).len()], [1, 1]);
    assert!(upwards(&two, &["a", "b"])[0].starts_with("src/a.rs:1: takes X from src/b.rs, "));
    let inner = of(&[("a.rs", "mod c;"), ("a/c.rs", "use crate::b::X;"), ("b.rs", "")]);
    assert_eq!([upwards(&inner, &["a", "b"]).len(), upwards(&inner, &["b", "a"]).len()], [1, 0]);
}

#[test]
fn long_functions_are_found() {
    let long =
        |name: &str, lines: usize| format!("pub fn {name}(a: [u8; 4], f: fn(u8) -> u8) -> u8\nwhere\n    u8: Copy,\n{{\n{}}}\n", "x;\n".repeat(lines - 5));
    let of = |text: String| [Source::new("a.rs", &text)];
    let broken = |text: String| long_functions(&of(text)).len();
    assert_eq!([broken(long("a", MOST_LINES_OF_FUNCTION)), broken(long("a", MOST_LINES_OF_FUNCTION + 1))], [0, 1]);
    assert_eq!(broken(format!("trait T {{\n    fn a(&self);\n{}}}\n", "    // a line\n".repeat(99))), 0, "it has no body");
    let two = format!("{}{}", long("a", 9), long("b", 99));
    assert_eq!(long_functions(&of(two)), [format!("src/a.rs:10: b has 99 lines; {MOST_LINES_OF_FUNCTION} are the most")]);
}
