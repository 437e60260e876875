//! The pictures of the documentation, made from data as a cluster of 200 nodes has it. `INSTA_UPDATE=always` writes them anew.

use std::path::Path;

use crate::chromium::Tab;
use crate::data::{ALL, Cluster, NONE, PARTLY, Random, WAITING, json_of};

/// The most bytes of a picture.
const MOST: usize = 150_000;

/// 200 hosts and 60 dates, with the trouble of two months.
fn realistic() -> Cluster {
    let mut cluster = Cluster::numbered("fritz", 200, 60);
    cluster.jitter(900);
    let hours = cluster.hours();
    let end = hours - 6;
    let mut random = Random(11);
    cluster.set(0..200, 0..9, NONE); // the archive begins in the morning
    cluster.set(0..200, 31 * 24 + 2..31 * 24 + 9, NONE); // a night without cc-backend
    cluster.set(160..200, 9..22 * 24 + 10, NONE); // nodes that were bought later
    cluster.set(64..80, 52 * 24 + 14..end, NONE); // a rack without power
    cluster.set(23..24, 57 * 24 + 3..end, NONE);
    cluster.set(141..142, 40 * 24 + 17..end, NONE);
    cluster.set(118..119, 0..end, NONE); // a name without a node
    cluster.set(96..112, 44 * 24 + 8..45 * 24 + 16, NONE); // maintenance
    for host in 32..48 {
        for hour in 12 * 24..17 * 24 {
            if cluster.cell(host, hour) == ALL {
                let share = 56 + random.below(3) as u8; // a collector that was too slow
                cluster.set(host..host + 1, hour..hour + 1, share);
            }
        }
    }
    for _ in 0..14 {
        let (host, hour) = (random.below(160) as usize, 24 + random.below(1300) as usize);
        cluster.set(host..host + 1, hour..hour + 1 + random.below(30) as usize, NONE); // reboots
    }
    for host in (0..200).filter(|host| ![23, 118, 141].contains(host) && !(64..80).contains(host)) {
        cluster.set(host..host + 1, end - 12..end, WAITING);
        if (128..136).contains(&host) {
            cluster.set(host..host + 1, end - 36..end - 12, PARTLY);
        }
    }
    cluster.set(0..200, end..hours, NONE);
    cluster.metrics = [
        ("cpu_load", 1.0),
        ("cpu_user", 1.0),
        ("mem_used", 1.0),
        ("mem_bw", 0.994),
        ("flops_any", 0.994),
        ("clock", 0.994),
        ("ib_recv", 0.981),
        ("ib_xmit", 0.981),
    ]
    .into_iter()
    .chain([("acc_power", 0.962), ("acc_utilization", 0.962), ("nfs4_read", 0.713)])
    .map(|(name, share)| (name.to_owned(), share))
    .collect();
    cluster.set_aside = [
        ("fritz/f0087/1771545600.bin", "ends in the middle of a block: 8,192 bytes where 11,460 are announced"),
        ("fritz/f0129/1772020800.json", "not JSON: expected `,` or `}` at line 1, column 40961"),
        ("fritz/f0134/1772020800.json", "not JSON: expected `,` or `}` at line 1, column 16385"),
    ]
    .map(|(path, reason)| (path.to_owned(), reason.to_owned()))
    .into();
    cluster
}

#[test]
fn pictures_of_a_real_cluster_stay_small() {
    let page = cc_archiver::coverage_page::page(&json_of(&[realistic()], 2));
    let write = std::env::var("INSTA_UPDATE").is_ok_and(|value| value == "always");
    let mut tab = Tab::new(1180, 760);
    tab.open(&page);
    let mut pictures = Vec::new();
    for (name, dark) in [("light", false), ("dark", true)] {
        tab.media("screen", dark);
        let picture = tab.picture("#legend");
        if let Some(folder) = std::env::var_os("CC_ARCHIVER_TEST_PICTURES") {
            std::fs::write(Path::new(&folder).join(format!("{name}.png")), &picture).expect("written");
        }
        assert!(picture.len() < MOST, "{name}: {} bytes", picture.len());
        if write {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join(format!("coverage-{name}.png")), &picture).expect("written");
        }
        pictures.push(picture);
    }
    assert_ne!(pictures[0], pictures[1]);
    if let Some(folder) = std::env::var_os("CC_ARCHIVER_TEST_PICTURES").map(std::path::PathBuf::from) {
        others(&mut tab, &folder);
    }
    assert_eq!(tab.complaints(), Vec::<String>::new());
}

/// Pictures for whoever works on the page: all of it, a finding, hours, a telephone, paper.
fn others(tab: &mut Tab, folder: &Path) {
    let save = |tab: &mut Tab, name: &str| std::fs::write(folder.join(name), tab.picture("main")).expect("written");
    save(tab, "all-dark.png");
    tab.media("screen", false);
    save(tab, "all-light.png");
    tab.click("#findings li:nth-child(2) button");
    tab.hover((700.0, 620.0));
    save(tab, "finding.png");
    tab.eval("choose(null); page.map.view.show(1400, 1440); page.map.view.zoom(8, 0, 0.2, {time: false}); page.map.draw()");
    tab.hover((700.0, 720.0));
    save(tab, "hours.png");
    tab.eval("page.map.view.show(0, page.cluster.hours); leaveCursor(); page.map.draw()");
    tab.media("print", true);
    save(tab, "print.png");
    std::fs::write(folder.join("print.pdf"), tab.paper()).expect("written");
    tab.media("screen", false);
    tab.resize(420, 800);
    tab.frames();
    save(tab, "telephone.png");
}
