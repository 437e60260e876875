//! What fuzzing found stays mended: each target runs on the bytes of its findings, and on its seeds. fuzz/README.md

#[allow(dead_code, reason = "the bounds on memory are held by the fuzz targets' own allocator")]
#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

#[test]
fn what_fuzzing_found_stays_mended() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fuzz");
    let mut count = 0;
    for folder in std::fs::read_dir(&root).expect("findings") {
        let folder = folder.expect("an entry").path();
        let target = targets::find(&folder.file_name().expect("a name").to_string_lossy());
        for finding in std::fs::read_dir(&folder).expect("a folder") {
            (target.run)(&std::fs::read(finding.expect("an entry").path()).expect("a finding"));
            count += 1;
        }
    }
    assert!(count > 0, "there are findings");
}

#[test]
fn what_fuzzing_begins_with_is_read() {
    for target in targets::TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has seeds", target.name);
        seeds.iter().for_each(|seed| (target.run)(seed));
    }
}
