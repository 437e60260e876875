#![no_main]

cc_archiver_fuzz::fuzz!("table-checkpoint");
