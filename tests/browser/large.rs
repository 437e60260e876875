//! 3,000 hosts and a year: 26 million cells.

use cc_archiver::coverage_page::page;

use crate::chromium::Tab;
use crate::data::{LONELY, json_of, large};
use crate::{hour_text, place, tip};

#[test]
fn a_year_of_three_thousand_hosts_is_fluent() {
    let json = json_of(&[large(3000, 365)], 2);
    let html = page(&json);
    if let Some(folder) = std::env::var_os("CC_ARCHIVER_TEST_PICTURES") {
        std::fs::write(std::path::Path::new(&folder).join("large.html"), &html).expect("written");
    }
    let mut tab = Tab::new(1280, 900);
    tab.open(&html);
    assert_eq!(tab.shown("#headline"), "2,967 of 3,000 hosts up to date");
    // the browser may stop a script that takes very long: so this must hold on a slow machine too
    let shown = tab.number("performance.getEntriesByName('shown')[0].startTime");
    let loaded = tab.number("performance.getEntriesByType('navigation')[0].responseEnd");
    let frame = |tab: &mut Tab| tab.number("(() => { const t = performance.now(); page.map.drawNow(); return performance.now() - t; })()");
    let mut frames: Vec<f64> = (0..5).map(|_| frame(&mut tab)).collect();
    frames.sort_by(f64::total_cmp);
    let (all, mut slowest) = (frames[2], frames[4]);
    for _ in 0..16 {
        let at = place(&mut tab, LONELY.0, LONELY.1);
        tab.wheel(at, -150.0);
        slowest = slowest.max(frame(&mut tab));
    }
    println!(
        "{:.1} MB of HTML; shown {shown:.0} ms after the navigation began ({:.0} ms after its last byte); a frame with all cells {all:.0} ms, the slowest on the way to one cell {slowest:.0} ms",
        html.len() as f64 / 1e6,
        shown - loaded
    );
    assert!(slowest < 2_000.0, "nobody can work with frames of {slowest} ms");
    let at = place(&mut tab, LONELY.0, LONELY.1);
    tab.hover(at);
    assert_eq!(tip(&mut tab), format!("f0008 | {} | no data", hour_text(LONELY.1)));
    tab.click("[data-kind=never]");
    assert_eq!(tab.number("page.map.order.length"), 1.0);
    assert_eq!(tab.complaints(), Vec::<String>::new());
}

#[test]
fn an_hour_without_data_is_seen_among_a_year_of_all_hosts() {
    let mut cluster = large(3000, 365);
    let mut tab = Tab::new(1280, 900);
    tab.open(&page(&json_of(&[cluster_without_jitter(&mut cluster)], 2)));
    let (x, y) = place(&mut tab, LONELY.0, LONELY.1);
    tab.hover((x, y));
    let told = tip(&mut tab);
    assert!(told.contains("1 × no data") && told.contains("worst: f0008, 2026-02-11 16:00, no data"), "{told}");
    let pixel = |tab: &mut Tab, dx: i32| {
        tab.text(&format!(
            "(() => {{ const b = document.getElementById('map').getBoundingClientRect(); return page.map.context.getImageData(Math.floor({x} - b.x) + {dx}, Math.floor({y} - b.y), 1, 1).data.join(); }})()"
        ))
    };
    let (gap, beside) = (pixel(&mut tab, 0), pixel(&mut tab, 6));
    let parts = |text: &str| text.split(',').map(|part| part.parse::<i32>().expect("a number")).collect::<Vec<_>>();
    let distance: i32 = parts(&gap).iter().zip(parts(&beside)).map(|(a, b)| (a - b).abs()).sum();
    assert!(distance > 120, "{gap} and {beside} look the same");
}

/// All hours that have some data have all of it.
fn cluster_without_jitter(cluster: &mut crate::data::Cluster) -> crate::data::Cluster {
    let cells = cluster.cells.iter().map(|cell| if *cell > 0 { 100 } else { 0 }).collect();
    crate::data::Cluster { name: "fritz".to_owned(), hosts: cluster.hosts.clone(), dates: cluster.dates, cells, metrics: Vec::new(), set_aside: Vec::new() }
}
