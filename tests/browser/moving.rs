//! Zoom, drag and the cursor of the keyboard.

use serde_json::json;

use crate::chromium::Tab;
use crate::data::{Cluster, NONE};
use crate::{hour_text, place, shown, tip, words};

fn cluster() -> Cluster {
    let mut cluster = Cluster::numbered("fritz", 300, 60);
    cluster.jitter(20);
    cluster.set(123..124, 700..701, NONE);
    cluster
}

/// Hour, hours, row and rows that are seen.
fn view(tab: &mut Tab) -> [f64; 4] {
    let seen = tab.eval("[page.map.view.hour, page.map.view.hours, page.map.view.row, page.map.view.rows]");
    std::array::from_fn(|at| seen[at].as_f64().expect("a number"))
}

#[test]
fn the_wheel_zooms_and_what_is_below_the_pointer_stays() {
    let mut tab = shown(&[cluster()]);
    assert_eq!(view(&mut tab), [0.0, 1440.0, 0.0, 300.0]);
    // the pointer stands on whole pixels, and an hour is less than one at first: so it is aimed anew each time
    let mut before = view(&mut tab);
    for _ in 0..30 {
        let (x, y) = place(&mut tab, 123, 700);
        tab.wheel((x.floor(), y.floor()), -120.0);
        let after = view(&mut tab);
        assert!(after[1] <= before[1] && after[3] <= before[3], "{before:?} {after:?}");
        let moved = place(&mut tab, 123, 700);
        // what is at most a pixel beside the pointer moves away from it by the factor of the zoom
        assert!((moved.0 - x).abs() <= 1.0 && (moved.1 - y).abs() <= 1.0, "from {x}, {y} to {moved:?}");
        before = after;
    }
    let at = place(&mut tab, 123, 700);
    assert_eq!(before[1], 6.0, "down to hours");
    assert!(before[3] < 40.0, "down to rows that can be told apart");
    tab.hover(at);
    assert_eq!(tip(&mut tab), format!("f0124 | {} | no data", hour_text(700)));
    for _ in 0..40 {
        tab.wheel(at, 120.0);
    }
    assert_eq!(view(&mut tab), [0.0, 1440.0, 0.0, 300.0]);
    assert_eq!(tab.complaints(), Vec::<String>::new());
}

#[test]
fn over_the_axis_time_zooms_alone_and_over_the_names_hosts_alone() {
    let mut tab = shown(&[cluster()]);
    let (x, y) = place(&mut tab, 0, 700);
    tab.wheel((x, y - 20.0), -200.0);
    let [_, hours, _, rows] = view(&mut tab);
    assert!(hours < 1440.0 && rows == 300.0, "{hours} {rows}");
    tab.wheel((60.0, y + 200.0), -200.0);
    let after = view(&mut tab);
    assert!(after[1] == hours && after[3] < 300.0, "{after:?}");
}

#[test]
fn when_all_is_seen_the_wheel_scrolls_the_page() {
    let mut tab = shown(&[cluster()]);
    tab.resize(1280, 700);
    tab.frames();
    let at = place(&mut tab, 20, 700);
    tab.wheel(at, 120.0);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(tab.number("scrollY") > 0.0);
    assert_eq!(view(&mut tab), [0.0, 1440.0, 0.0, 300.0]);
}

#[test]
fn dragging_moves_hours_and_rows() {
    let mut tab = shown(&[cluster()]);
    tab.click("#in");
    tab.click("#in");
    let before = view(&mut tab);
    assert_eq!((before[1], before[3]), (360.0, 75.0));
    let held = place(&mut tab, 150, 720);
    tab.drag(held, (held.0 + 90.0, held.1 + 60.0));
    let now = place(&mut tab, 150, 720);
    assert!((now.0 - held.0 - 90.0).abs() < 1.0 && (now.1 - held.1 - 60.0).abs() < 1.0, "{held:?} {now:?}");
    tab.drag(held, (held.0 + 5000.0, held.1 + 5000.0));
    let after = view(&mut tab);
    assert_eq!((after[0], after[2]), (0.0, 0.0), "no further than the first hour and host");
}

#[test]
fn two_fingers_zoom() {
    let mut tab = shown(&[cluster()]);
    let middle = place(&mut tab, 150, 720);
    let touch = |kind: &str, apart: f64| {
        let points: Vec<_> = if kind == "touchEnd" {
            vec![]
        } else {
            [-apart, apart].iter().enumerate().map(|(id, x)| json!({"x": middle.0 + x, "y": middle.1, "id": id})).collect()
        };
        ("Input.dispatchTouchEvent", json!({"type": kind, "touchPoints": points}))
    };
    tab.call("Emulation.setTouchEmulationEnabled", json!({"enabled": true, "maxTouchPoints": 2}));
    for (kind, apart) in [("touchStart", 50.0), ("touchMove", 100.0), ("touchMove", 150.0), ("touchMove", 200.0), ("touchEnd", 0.0)] {
        let (method, params) = touch(kind, apart);
        tab.call(method, params);
        tab.frames();
    }
    let seen = view(&mut tab);
    assert!((seen[1] - 360.0).abs() < 30.0, "four times as large: {seen:?}");
    assert!((seen[0] + seen[1] / 2.0 - 720.0).abs() < 20.0, "around the fingers: {seen:?}");
}

#[test]
fn buttons_show_the_last_days() {
    let mut tab = shown(&[cluster()]);
    for (hours, from) in [(24.0, 1416.0), (168.0, 1272.0), (720.0, 720.0)] {
        tab.click(&format!("[data-last=\"{hours}\"]"));
        assert_eq!(view(&mut tab), [from, hours, 0.0, 300.0]);
    }
    tab.click("[data-last=\"0\"]");
    assert_eq!(view(&mut tab), [0.0, 1440.0, 0.0, 300.0]);
}

/// Goes to the map as the keyboard does.
fn enter(tab: &mut Tab) {
    tab.eval("document.querySelector('#out').focus()");
    for _ in 0..5 {
        if tab.text("document.activeElement.id") == "map" {
            return;
        }
        tab.key("Tab", false);
    }
    panic!("the map is not reached: {}", tab.text("document.activeElement.id"));
}

#[test]
fn keys_move_a_cursor_that_says_where_it_is() {
    let cluster = cluster();
    let mut tab = shown(&[self::cluster()]);
    enter(&mut tab);
    let says = |tab: &mut Tab, host: usize, hour: usize| {
        let cell = words(cluster.cell(host, hour));
        let expected = [cluster.hosts[host].clone(), hour_text(hour), cell];
        assert_eq!(tip(tab), expected.join(" | "));
        assert_eq!(tab.text("document.getElementById('spoken').textContent"), expected.join(", "), "a screen reader hears the same");
        assert_eq!(tab.text("document.getElementById('cross').style.visibility"), "visible");
    };
    says(&mut tab, 0, 1439);
    for (key, shift, host, hour) in [
        ("ArrowLeft", false, 0, 1438),
        ("ArrowDown", false, 1, 1438),
        ("ArrowLeft", true, 1, 1414),
        ("ArrowDown", true, 11, 1414),
        ("ArrowUp", false, 10, 1414),
        ("ArrowRight", false, 10, 1415),
        ("Home", false, 10, 0),
        ("ArrowLeft", false, 10, 0),
        ("End", false, 10, 1439),
        ("PageDown", false, 299, 1439),
        ("ArrowRight", true, 299, 1439),
    ] {
        tab.key(key, shift);
        says(&mut tab, host, hour);
    }
    for _ in 0..30 {
        tab.key("+", false);
    }
    says(&mut tab, 299, 1439);
    assert_eq!(view(&mut tab)[1], 6.0);
    for _ in 0..8 {
        tab.key("ArrowLeft", false);
    }
    says(&mut tab, 299, 1431);
    assert_eq!(view(&mut tab)[0], 1431.0, "the map follows");
    tab.key("-", false);
    assert_eq!(view(&mut tab)[1], 9.0);
    tab.key("0", false);
    assert_eq!(view(&mut tab)[1], 1440.0);
    tab.eval("document.activeElement.blur()");
    assert_eq!(tip(&mut tab), "");
    assert_eq!(tab.complaints(), Vec::<String>::new());
}
