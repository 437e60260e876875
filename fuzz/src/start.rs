//! How libFuzzer runs a target.

use std::panic;
use std::path::Path;
use std::process;
use std::sync::Once;

use crate::memory;
use crate::targets::{self, Target};

/// Where packages of the registry lie, in the paths of their sources.
const REGISTRY: &str = "/registry/src/";

/// The variable that names a folder: seeds are written there, and nothing else is done.
const SEEDS: &str = "CC_ARCHIVER_FUZZ_SEEDS";

/// The variable with which panics of others are shown, too: to see which of them leaves the program.
const SHOW_ALL: &str = "CC_ARCHIVER_FUZZ_PANICS";

/// Runs the target of a name on some bytes.
pub fn one(name: &str, data: &[u8]) {
    static PREPARED: Once = Once::new();
    let target = targets::find(name);
    PREPARED.call_once(|| prepare(target));
    memory::bounded(target, data);
}

fn prepare(target: &Target) {
    if let Some(folder) = std::env::var_os(SEEDS) {
        let folder = Path::new(&folder);
        std::fs::create_dir_all(folder).expect("a folder");
        for (index, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{index:02}")), seed).expect("a seed");
        }
        process::exit(0);
    }
    // the program takes panics of the readers of Parquet and of zip for what they are: damage. Its own are findings.
    let shows_all = std::env::var_os(SHOW_ALL).is_some();
    panic::set_hook(Box::new(move |panicked| {
        let is_of_others = panicked.location().is_some_and(|place| place.file().contains(REGISTRY));
        if shows_all || !is_of_others {
            eprintln!("{panicked}\n{}", std::backtrace::Backtrace::force_capture());
        }
        if !is_of_others {
            process::abort();
        }
    }));
}

/// Makes the entry of libFuzzer.
#[macro_export]
macro_rules! fuzz {
    ($name:literal) => {
        ::libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::one($name, data));
    };
}
