//! What the page says of hosts, hours and dates.

use crate::chromium::Tab;
use crate::data::{ALL, Cluster, NONE, PARTLY, UNKNOWN, WAITING, json_of};
use crate::{hour_text, page, place, shown, tip, words};

/// Twelve hosts and three dates, with a cell of each sort. The last six hours are nobody's.
fn small() -> Cluster {
    let mut cluster = Cluster::numbered("alex", 12, 3);
    cluster.set(0..12, 66..72, NONE);
    cluster.set(1..2, 30..31, NONE); // f0002: an hour
    cluster.set(2..3, 20..21, 47); // f0003: fewer samples
    cluster.set(3..4, 40..66, NONE); // f0004, f0005: silent since 16:00 of the second date
    cluster.set(4..5, 40..66, NONE);
    cluster.set(5..6, 0..66, NONE); // f0006: never
    cluster.set(6..7, 0..26, NONE); // f0007: late
    cluster.set(7..8, 60..66, WAITING);
    cluster.set(8..9, 50..60, PARTLY);
    cluster.set(9..10, 10..12, UNKNOWN);
    cluster.set(10..11, 0..2, NONE); // two hours are no late host, but a gap
    cluster
}

#[test]
fn the_pointer_finds_host_hour_and_share() {
    let cluster = small();
    let mut tab = shown(&[small()]);
    for (host, hour) in [(0, 0), (0, 65), (1, 30), (1, 29), (2, 20), (3, 39), (5, 3), (7, 60), (8, 59), (9, 11), (10, 1), (11, 23)] {
        let at = place(&mut tab, host, hour);
        tab.hover(at);
        let expected = format!("{} | {} | {}", cluster.hosts[host], hour_text(hour), words(cluster.cell(host, hour)));
        assert_eq!(tip(&mut tab).split(" | silent").next(), Some(expected.as_str()), "{host} {hour}");
    }
    let at = place(&mut tab, 6, 25);
    tab.hover(at);
    assert_eq!(tip(&mut tab), format!("f0007 | {} | before the host's first data", hour_text(25)));
    let at = place(&mut tab, 4, 41);
    tab.hover(at);
    assert_eq!(tip(&mut tab), format!("f0005 | {} | no data | silent since 2026-01-02 16:00", hour_text(41)));
    let at = place(&mut tab, 4, 70);
    tab.hover(at);
    assert!(tip(&mut tab).ends_with("before the first or after the last data"));
    tab.hover((640.0, 5.0));
    assert_eq!(tip(&mut tab), "", "nothing is said of what is beside the map");
    assert_eq!(tab.complaints(), Vec::<String>::new());
}

#[test]
fn the_pointer_finds_them_on_a_fine_screen_too() {
    let cluster = small();
    let mut tab = shown(&[small()]);
    tab.call("Emulation.setDeviceMetricsOverride", serde_json::json!({"width": 900, "height": 1200, "deviceScaleFactor": 2.5, "mobile": false}));
    tab.frames();
    for (host, hour) in [(0, 0), (1, 30), (1, 31), (9, 11), (11, 65)] {
        let at = place(&mut tab, host, hour);
        tab.hover(at);
        assert_eq!(tip(&mut tab), format!("{} | {} | {}", cluster.hosts[host], hour_text(hour), words(cluster.cell(host, hour))));
    }
}

#[test]
fn bars_tell_rows_bytes_and_objects_of_a_date() {
    let cluster = small();
    let json = cluster.json();
    let mut tab = shown(&[cluster]);
    let (x, y) = place(&mut tab, 0, 30);
    tab.hover((x, y - 80.0));
    let grouped = |n: u64| {
        let digits = n.to_string();
        let parts: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|part| std::str::from_utf8(part).expect("digits")).collect();
        parts.join(",")
    };
    let rows = grouped(json["rows"][1].as_u64().expect("rows"));
    let size = json["bytes"][1].as_f64().expect("bytes") / 1024.0;
    assert_eq!(tip(&mut tab), format!("2026-01-02 | {rows} rows | {size:.1} KiB in 1 object"));
}

#[test]
fn the_summary_says_which_hosts_are_missing_and_since_when() {
    let mut cluster = small();
    cluster.set(0..12, 55..58, NONE); // an outage of all
    let mut tab = shown(&[cluster]);
    assert_eq!(tab.shown("#headline"), "9 of 12 hosts up to date");
    assert_eq!(tab.shown("#range"), "Data from 2026-01-01 00:00 to 2026-01-03 18:00 UTC, which was 8 hours before this page was made");
    let tiles = tab.text("[...document.querySelectorAll('#tiles button')].map((tile) => tile.innerText.replace(/\\s+/g, ' ')).join('; ')");
    assert_eq!(tiles, "2 silent; 1 never archived; 2 with gaps; 1 late; 1 partly archived; 1 not known; 1 with fewer samples; 3 complete");
    let findings = tab.text("[...document.querySelectorAll('#findings button')].map((row) => [...row.children].map((cell) => cell.textContent).filter(Boolean).join(': ')).join('\\n')");
    let expected = "f0004 – f0005: 2 hosts silent since 2026-01-02 16:00: 26 hours\n\
        f0009: on disk, only partly archived, 2026-01-03 02:00–12:00: 10 hours\n\
        f0010: not known, as an object could not be read, 2026-01-01 10:00–12:00: 2 hours\n\
        All hosts: no data 2026-01-03 07:00–10:00: 3 hours\n\
        f0002: no data 2026-01-02 06:00–07:00: 1 hour\n\
        f0011: no data 2026-01-01 00:00–02:00: 2 hours";
    assert_eq!(findings, expected);
    assert_eq!(tab.shown("#more"), "All 8 findings");
    tab.click("#more");
    let rest = tab.text("[...document.querySelectorAll('#findings button')].slice(6).map((row) => row.querySelector('.who').textContent + ': ' + row.querySelector('.what').textContent).join('\\n')");
    assert_eq!(rest, "f0007: first seen 2026-01-02 02:00\nf0006: never archived");
}

/// The hosts of the map, in its order.
fn hosts(tab: &mut Tab) -> String {
    tab.text("page.map.order.map((at) => page.cluster.hosts[at].name).join(' ')")
}

#[test]
fn hosts_are_found_by_name_kind_and_finding() {
    let mut tab = shown(&[small()]);
    for (typed, expected) in
        [("f000*, f0012", "f0001 f0002 f0003 f0004 f0005 f0006 f0007 f0008 f0009 f0012"), ("0010", "f0010"), ("F0*2", "f0002 f0012"), ("(", "")]
    {
        tab.eval("document.getElementById('filter').value = ''; document.getElementById('filter').focus()");
        tab.call("Input.insertText", serde_json::json!({"text": typed}));
        tab.frames();
        assert_eq!(hosts(&mut tab), expected, "{typed}");
        assert_eq!(tab.eval("!document.getElementById('nothing').hidden"), serde_json::json!(expected.is_empty()));
    }
    tab.eval("document.getElementById('filter').value = ''; showHosts()");
    tab.click("[data-kind=gaps]");
    assert_eq!(hosts(&mut tab), "f0002 f0011");
    assert_eq!(tab.eval("document.querySelector('[data-kind=gaps]').ariaPressed"), serde_json::json!("true"));
    tab.click("[data-kind=gaps]");
    tab.click("#findings li:first-child button");
    assert_eq!(hosts(&mut tab), "f0004 f0005");
    assert!(tab.number("page.map.view.hour") <= 40.0 && tab.number("page.map.view.hour + page.map.view.hours") >= 66.0, "its hours are seen");
    tab.click("#picked");
    tab.eval("document.getElementById('order').value = 'missing'; document.getElementById('order').onchange()");
    assert_eq!(hosts(&mut tab), "f0006 f0004 f0005 f0007 f0011 f0002 f0003 f0001 f0008 f0009 f0010 f0012");
    assert_eq!(tab.complaints(), Vec::<String>::new());
}

#[test]
fn lists_name_metrics_and_files_that_were_set_aside() {
    let mut cluster = small();
    cluster.set_aside = vec![("alex/f0003/1767225600.json".to_owned(), "not JSON".to_owned())];
    let mut tab = shown(&[cluster]);
    assert_eq!(
        tab.text("[...document.querySelectorAll('#metrics li')].map((row) => row.innerText.replace(/\\s+/g, ' ')).join('; ')"),
        "mem_used 99.8 %; cpu_load 100 %"
    );
    assert_eq!(tab.text("[...document.querySelectorAll('#aside td')].map((cell) => cell.innerText).join('; ')"), "alex/f0003/1767225600.json; not JSON");
    let mut many = small();
    many.set_aside = (0..1234).map(|n| (format!("alex/f0001/{n}.bin"), "cut".to_owned())).collect();
    let mut tab = shown(&[many]);
    assert_eq!((tab.shown("#aside-count"), tab.shown("#aside tr:last-child td")), ("1,234".to_owned(), "and 734 more".to_owned()));
    let mut tab = shown(&[small()]);
    assert_eq!((tab.shown("#aside-count"), tab.eval("document.getElementById('aside').hidden")), ("none".to_owned(), serde_json::json!(true)));
}

#[test]
fn clusters_are_switched() {
    let mut other = Cluster::numbered("woody", 3, 2);
    other.set(1..2, 5..6, NONE);
    let mut tab = shown(&[small(), other]);
    assert_eq!(tab.eval("document.getElementById('choice').hidden"), serde_json::json!(false));
    tab.eval("(() => { const c = document.getElementById('cluster'); c.selectedIndex = 1; return c.onchange(); })()");
    tab.frames();
    assert_eq!(tab.shown("#headline"), "All 3 hosts up to date");
    let at = place(&mut tab, 1, 5);
    tab.hover(at);
    assert_eq!(tip(&mut tab), format!("f0002 | {} | no data", hour_text(5)));
    tab.eval("(() => { const c = document.getElementById('cluster'); c.selectedIndex = 0; return c.onchange(); })()");
    tab.frames();
    assert_eq!(tab.shown("#headline"), "9 of 12 hosts up to date");
    assert_eq!(tab.complaints(), Vec::<String>::new());
}

#[test]
fn no_host_is_up_to_date_when_all_data_is_old() {
    for (age, headline, range) in [
        (47, "All 3 hosts up to date", "which was 47 hours before this page was made"),
        (268 * 24, "No host is up to date: no data for 268 days", "which was 268 days before this page was made"),
    ] {
        let mut tab = Tab::new(1280, 900);
        tab.open(&page(&json_of(&[Cluster::numbered("alex", 3, 2)], age)));
        assert_eq!(tab.shown("#headline"), headline);
        assert!(tab.shown("#range").ends_with(range), "{}", tab.shown("#range"));
    }
}

#[test]
fn clusters_with_nothing_are_shown_too() {
    let mut silent = Cluster::numbered("none", 3, 2);
    silent.set(0..3, 0..48, NONE);
    for cluster in [silent, Cluster::numbered("empty", 0, 2), Cluster::numbered("dateless", 0, 0), Cluster::numbered("one", 1, 1)] {
        let (hosts, all) = (cluster.hosts.len(), cluster.cells.iter().all(|cell| *cell == ALL));
        let mut tab = shown(&[cluster]);
        let expected = if all && hosts == 1 {
            "The only host is up to date"
        } else if hosts == 0 {
            "There is no host"
        } else {
            "0 of 3 hosts up to date"
        };
        assert_eq!(tab.shown("#headline"), expected);
        tab.eval("document.getElementById('map').focus()");
        for key in ["ArrowRight", "+", "End"] {
            tab.key(key, false);
        }
        tab.hover((600.0, 350.0));
        assert_eq!(tab.complaints(), Vec::<String>::new(), "{hosts} hosts");
    }
}
