//! How libFuzzer runs a target.

use std::panic;
use std::path::Path;
use std::process;
use std::sync::Once;

use crate::memory;
use crate::targets::{self, Target};

/// Where packages of the registry lie, in the paths of their sources.
const REGISTRY: &str = "/registry/src/";

/// Where the standard library lies, in the paths of its sources.
const STANDARD: &str = "/rustc/";

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

/// True if the first place in a backtrace that is neither of the standard library nor of this file is in a package of the registry.
fn is_asked_by_others(trace: &str) -> bool {
    let mut places = trace.lines().filter_map(|line| line.trim_start().strip_prefix("at "));
    places.find(|place| !place.starts_with(STANDARD) && !place.contains(file!())).is_some_and(|place| place.contains(REGISTRY))
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
        let is_of_others = match panicked.location().map(|place| place.file()) {
            // what the standard library refuses is the panic of who asked it
            Some(place) if place.starts_with(STANDARD) => is_asked_by_others(&std::backtrace::Backtrace::force_capture().to_string()),
            place => place.is_some_and(|place| place.contains(REGISTRY)),
        };
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
