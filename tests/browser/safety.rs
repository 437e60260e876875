//! Names that mean harm, data that is damaged, and the policy that lets nothing in or out.

use cc_archiver::coverage_page::page;
use serde_json::{Value, json};

use crate::chromium::Tab;
use crate::data::{Cluster, NONE, json_of};
use crate::{place, shown, tip};

const HOSTILE: [&str; 12] = [
    "</script><script>document.title='broken'</script>",
    "<img src=x onerror=\"document.title='broken'\">",
    "<!--<script>",
    "\"';alert(1)//",
    "{{data}}{{script}}",
    "${document.title='broken'}",
    "__proto__",
    "constructor",
    "\u{202e}gnp.exe",
    "n\u{0000}\u{2028}\u{2029}\u{feff}",
    "日本語🖥",
    "",
];

#[test]
fn names_are_text_and_nothing_else() {
    let mut names: Vec<String> = HOSTILE.map(str::to_owned).into();
    names.push("x".repeat(400));
    let mut cluster = Cluster::new("</title><script>alert(1)</script>", names.clone(), 2);
    cluster.set(0..names.len(), 20..21, NONE);
    cluster.set(0..2, 20..48, NONE);
    cluster.metrics = names.iter().map(|name| (name.clone(), 0.5)).collect();
    cluster.set_aside = names.iter().map(|name| (name.clone(), name.clone())).collect();
    let mut tab = shown(&[cluster, Cluster::numbered("<b>two</b>", 1, 1)]);
    for (host, name) in names.iter().enumerate() {
        let at = place(&mut tab, host, 20);
        tab.hover(at);
        assert_eq!(tip(&mut tab).split(" | ").next(), Some(name.as_str()));
    }
    assert_eq!(tab.text("document.title"), "Coverage of </title><script>alert(1)</script>");
    let files = tab.eval("[...document.querySelectorAll('#aside tbody tr')].map((row) => row.cells[0].textContent)");
    assert_eq!(files, json!(names));
    assert_eq!(tab.number("document.querySelectorAll('script').length"), 2.0);
    assert_eq!(tab.number("document.querySelectorAll('img, b b').length"), 0.0);
    assert!(tab.number("document.documentElement.scrollWidth") <= 1280.0, "a long name makes the page wider");
    assert_eq!(tab.complaints(), Vec::<String>::new());
}

#[test]
fn nothing_gets_in_or_out() {
    let mut tab = shown(&[Cluster::numbered("fritz", 2, 1)]);
    assert_eq!(tab.complaints(), Vec::<String>::new());
    let tries = [
        "fetch('http://127.0.0.1:9/').then(() => 'done', () => 'refused')",
        "new Promise((done) => { const i = new Image(); i.onload = () => done('done'); i.onerror = () => done('refused'); i.src = 'http://127.0.0.1:9/a.png'; })",
        "new Promise((done) => { const s = document.createElement('script'); s.onload = () => done('done'); s.onerror = () => done('refused'); s.src = 'http://127.0.0.1:9/a.js'; document.head.append(s); })",
        "(() => { const s = document.createElement('script'); s.textContent = 'window.ran = true'; document.head.append(s); return window.ran ? 'done' : 'refused'; })()",
        "(() => { const d = document.createElement('div'); d.innerHTML = '<p style=\"color: red\">'; document.body.append(d); return d.firstChild.style.color ? 'done' : 'refused'; })()",
    ];
    for (count, expression) in tries.iter().enumerate() {
        assert_eq!(tab.eval(expression), json!("refused"), "{expression}");
        let complaints = tab.complaints();
        assert!(complaints.len() > count, "{expression}: the browser says why: {complaints:?}");
        assert!(complaints.iter().all(|told| told.contains("Content Security Policy") || told.contains("a request")), "{complaints:?}");
    }
}

fn failure(json: &str) -> String {
    let mut tab = Tab::new(800, 600);
    tab.open(&page(json));
    assert_eq!(tab.eval("document.getElementById('content').hidden"), json!(true));
    tab.shown("#failure")
}

#[test]
fn a_page_that_cannot_be_shown_says_so() {
    let mut data: Value = serde_json::from_str(&json_of(&[Cluster::numbered("fritz", 2, 1)], 0)).expect("JSON");
    assert!(failure(&json_of(&[], 0)).contains("there is no cluster in s3://monitoring/archive"));
    data["clusters"][0]["dates"] = json!(["2026-01-01", "2026-01-02"]);
    assert_eq!(failure(&data.to_string()), "This page cannot be shown: fritz: 48 cells for 2 hosts and 48 hours");
    data["clusters"][0]["cells"] = json!("AAAA");
    assert!(failure(&data.to_string()).starts_with("This page cannot be shown: "));
    assert!(failure("{").starts_with("This page cannot be shown: "));
}
