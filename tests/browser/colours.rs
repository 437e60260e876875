//! Colours: light and dark, text that can be read, and a scale for eyes that see no red, no green or no blue.

use serde_json::{Value, json};

use crate::chromium::Tab;
use crate::data::{Cluster, NONE, PARTLY, UNKNOWN, WAITING};
use crate::shown;

/// A page on which all sorts of text and all colours are.
fn colourful() -> Cluster {
    let mut cluster = Cluster::numbered("fritz", 60, 20);
    cluster.set(3..4, 100..480, NONE);
    cluster.set(10..20, 0..100, NONE);
    cluster.set(20..30, 300..310, 50);
    cluster.set(30..31, 400..401, NONE);
    cluster.set(40..50, 400..480, WAITING);
    cluster.set(50..52, 400..480, PARTLY);
    cluster.set(52..54, 400..480, UNKNOWN);
    cluster.set_aside = vec![("a".to_owned(), "b".to_owned())];
    cluster
}

/// Red, green and blue from 0 to 1, linear in light.
fn linear(colour: [f64; 3]) -> [f64; 3] {
    colour.map(|value| value / 255.0).map(|value| if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) })
}

fn times(matrix: [[f64; 3]; 3], [a, b, c]: [f64; 3]) -> [f64; 3] {
    matrix.map(|row| row[0] * a + row[1] * b + row[2] * c)
}

/// The contrast of WCAG 2, from 1 to 21.
fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
    let light = |colour| {
        let [r, g, b] = linear(colour);
        0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05
    };
    let (a, b) = (light(a), light(b));
    a.max(b) / a.min(b)
}

/// What is left of colours for whoever lacks a sort of cones, in linear light: Machado, Oliveira and Fernandes 2009, at full severity.
const SIGHT: [(&str, [[f64; 3]; 3]); 4] = [
    ("all cones", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    ("no red", [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    ("no green", [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]),
    ("no blue", [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]),
];

/// The colour in CIELAB (D65), where a distance of 2 is just seen.
fn lab(light: [f64; 3]) -> [f64; 3] {
    let xyz = times([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], light.map(|value| value.clamp(0.0, 1.0)));
    let [x, y, z] = [xyz[0] / 0.95047, xyz[1], xyz[2] / 1.08883].map(|t: f64| if t > 0.008856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 });
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

fn colour(value: &Value) -> [f64; 3] {
    std::array::from_fn(|at| value[at].as_f64().unwrap_or_else(|| panic!("no colour: {value}")))
}

fn in_both(check: impl Fn(&mut Tab, &str)) {
    let mut tab = shown(&[colourful()]);
    for (name, dark) in [("light", false), ("dark", true)] {
        tab.media("screen", dark);
        check(&mut tab, name);
    }
}

/// Each text of the page: what it says, its colour, and the colour behind it; those of the canvas by the colours it is drawn with.
const TEXTS: &str = r#"(() => {
  const rgb = (text) => { const c = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true}); c.fillStyle = text; c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data]; };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own && element.tagName !== "INPUT" || !element.checkVisibility() || element.closest("script, noscript")) continue;
    let behind = element;
    while (behind && rgb(getComputedStyle(behind).backgroundColor)[3] < 255) behind = behind.parentElement;
    const colour = element.tagName === "INPUT" ? getComputedStyle(element, "::placeholder").color : getComputedStyle(element).color;
    found.push([element.textContent.slice(0, 40) || element.placeholder, rgb(colour), rgb(getComputedStyle(behind ?? document.body).backgroundColor)]);
  }
  for (const name of ["text", "muted"]) found.push(["canvas: " + name, rgb(page.map.style[name]), rgb(getComputedStyle(document.body).backgroundColor)]);
  return found;
})()"#;

#[test]
fn text_has_contrast() {
    in_both(|tab, name| {
        tab.hover((700.0, 600.0));
        assert_ne!(crate::tip(tab), "", "the words beside the pointer are looked at too");
        let texts = tab.eval(TEXTS);
        let texts = texts.as_array().expect("texts");
        assert!(texts.len() > 60, "{}", texts.len());
        for text in texts {
            let found = contrast(colour(&text[1]), colour(&text[2]));
            assert!(found >= 4.5, "{name}: {found:.2} of {text}");
        }
    });
}

#[test]
fn colours_of_the_map_stay_apart_for_all_eyes() {
    in_both(|tab, name| {
        let colours = tab.eval("palette()");
        let names = ["all", "half", "few", "none", "before", "waiting", "partly", "unknown"];
        for (sight, matrix) in SIGHT {
            let seen = names.map(|name| lab(times(matrix, linear(colour(&colours[name])))));
            for (at, a) in names.iter().enumerate() {
                for (b, other) in names.iter().zip(seen).skip(at + 1) {
                    let apart = distance(seen[at], other);
                    assert!(apart >= 10.0, "{name}, {sight}: {a} and {b} are {apart:.1} apart");
                }
            }
            // the scale goes one way, and what is missing stands out
            let light = |at: usize| seen[at][0];
            assert!((light(0) - light(1)) * (light(1) - light(2)) > 0.0, "{name}, {sight}: all, half, few");
            assert!(distance(seen[0], seen[3]) > 40.0, "{name}, {sight}: no data beside all data");
        }
    });
}

#[test]
fn dark_and_light_differ_and_paper_is_light() {
    let mut tab = shown(&[colourful()]);
    let seen = |tab: &mut Tab| {
        // a copy is read, as what is read often is drawn in another way
        tab.text(
            "(() => { const copy = new OffscreenCanvas(1, 1).getContext('2d'), map = page.map; copy.drawImage(map.canvas, -(map.left + 40), -(TOP + 2)); \
             return getComputedStyle(document.body).backgroundColor + ' ' + copy.getImageData(0, 0, 1, 1).data.join(); })()",
        )
    };
    let light = seen(&mut tab);
    tab.media("screen", true);
    let dark = seen(&mut tab);
    assert!(light.rsplit(' ').next() != dark.rsplit(' ').next() && light != dark, "{light} {dark}");
    tab.media("print", true);
    assert_eq!(seen(&mut tab), light);
    assert_eq!(tab.eval("document.getElementById('filter').checkVisibility()"), json!(false));
    assert!(tab.paper().starts_with(b"%PDF"));
    tab.media("screen", false);
    assert_eq!(seen(&mut tab), light);
    assert_eq!(tab.complaints(), Vec::<String>::new());
}

#[test]
fn a_telephone_shows_it_too() {
    let mut tab = shown(&[colourful()]);
    for width in [360, 420, 700, 2400] {
        tab.resize(width, 800);
        tab.frames();
        assert!(tab.number("document.documentElement.scrollWidth") <= f64::from(width), "{width}: {}", tab.number("document.documentElement.scrollWidth"));
        assert!(tab.number("page.map.width") > 200.0);
    }
}
