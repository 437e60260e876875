//! The coverage page in a Chromium without a window and without network: what it shows, by pointer and by keys, and that it asks for nothing.
//! With the feature `browser`, as it needs Debian's Chromium. `CC_ARCHIVER_TEST_PICTURES=FOLDER` leaves pictures for whoever works on the page.

mod chromium;
mod colours;
mod data;
mod large;
mod moving;
mod pictures;
mod reading;
mod safety;

use cc_archiver::coverage_page::page;
use chromium::Tab;
use data::{Cluster, json_of};

/// A tab that shows these clusters.
fn shown(clusters: &[Cluster]) -> Tab {
    let mut tab = Tab::new(1280, 900);
    tab.open(&page(&json_of(clusters, 2)));
    tab
}

/// Where a cell is in the tab: its middle.
fn place(tab: &mut Tab, host: usize, hour: usize) -> (f64, f64) {
    let place = tab.eval(&format!(
        "(() => {{ const b = document.getElementById('map').getBoundingClientRect(), p = page.map.place({hour}, page.map.order.indexOf({host})); return [b.x + p.x + p.width / 2, b.y + p.y + p.height / 2]; }})()"
    ));
    (place[0].as_f64().expect("x"), place[1].as_f64().expect("y"))
}

/// What the page says beside the pointer, its lines joined; empty if it says nothing.
fn tip(tab: &mut Tab) -> String {
    tab.text("document.getElementById('tip').hidden ? '' : [...document.getElementById('tip').children].map((line) => line.textContent).join(' | ')")
}

/// `2026-01-02 05:00–06:00 UTC` of an hour behind the first day of [`data`].
fn hour_text(hour: usize) -> String {
    let start = chrono::NaiveDate::from_ymd_opt(2026, 1, 1).and_then(|date| date.and_hms_opt(0, 0, 0)).expect("a time");
    let [from, to] = [hour, hour + 1].map(|hour| start + chrono::Duration::hours(hour as i64));
    let end = if from.date() == to.date() { format!("–{}", to.format("%H:%M")) } else { format!(" – {}", to.format("%Y-%m-%d %H:%M")) };
    format!("{}{end} UTC", from.format("%Y-%m-%d %H:%M"))
}

/// What the page calls a cell.
fn words(cell: u8) -> String {
    match cell {
        data::NONE => "no data".to_owned(),
        data::WAITING => "on disk, not archived yet".to_owned(),
        data::PARTLY => "on disk, only partly archived".to_owned(),
        data::UNKNOWN => "not known: an object could not be read".to_owned(),
        share => format!("{share} % of the samples"),
    }
}
