//! The targets, and what they share.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use cc_archiver::buffers::Buffers;
use cc_archiver::checkpoint::{Extent, Form, Raw, Room, decode};
use cc_archiver::data::Snapshot;
use cc_archiver::files::{Compression, Format, Kind};
use cc_archiver::spool::Tools;

mod import;
mod ledger;
mod object;
mod parquet_rows;
mod rescue;
mod settings;
mod snapshot;
mod table;
mod tree;
mod wal;
mod zip;

/// One target.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Panics if something does not hold.
    pub run: fn(&[u8]),
    /// Bytes of memory that it may take: so many, and so many more for each byte.
    pub memory: (usize, usize),
    /// What to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

const MIB: usize = 1 << 20;

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "bin", run: snapshot::bin, memory: (4 * MIB, 64), seeds: || golden("bin") },
    Target { name: "json", run: snapshot::json, memory: (4 * MIB, 64), seeds: || golden("json") },
    Target { name: "compressed", run: snapshot::compressed, memory: (48 * MIB, 64), seeds: snapshot::compressed_seeds },
    Target { name: "tree", run: tree::run, memory: (16 * MIB, 1 << 10), seeds: tree::seeds },
    Target { name: "wal", run: wal::run, memory: (4 * MIB, 64), seeds: wal::seeds },
    Target { name: "zip", run: zip::run, memory: (80 * MIB, 64), seeds: zip::seeds },
    Target { name: "ledger", run: ledger::run, memory: (4 * MIB, 1 << 10), seeds: ledger::seeds },
    Target { name: "table", run: table::run, memory: (16 * MIB, 256), seeds: table::seeds },
    Target { name: "table-checkpoint", run: table::checkpoint, memory: (16 * MIB, 1 << 10), seeds: table::checkpoint_seeds },
    Target { name: "rescue", run: rescue::run, memory: (256 * MIB, 1 << 10), seeds: rescue::seeds },
    // eight columns at a time, of which each may have a large page
    Target { name: "import", run: import::run, memory: (2 * 8 * 128 * MIB, 1 << 10), seeds: import::seeds },
    Target { name: "object", run: object::run, memory: (96 * MIB, 1 << 10), seeds: object::seeds },
    Target { name: "cc-backend", run: settings::run, memory: (16 * MIB, 256), seeds: settings::seeds },
];

/// The target of a name.
///
/// # Panics
/// There is none.
pub fn find(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("there is no target {name}"))
}

/// The tree of the golden files.
fn golden_tree() -> String {
    const HERE: &str = env!("CARGO_MANIFEST_DIR");
    let root = [HERE.to_owned(), format!("{HERE}/..")].map(|base| format!("{base}/tests/fixtures/golden/checkpoints"));
    root.into_iter().find(|root| std::path::Path::new(root).is_dir()).expect("golden files")
}

/// The golden files of a kind: what cc-backend has written.
fn golden(extension: &str) -> Vec<Vec<u8>> {
    let below = |path: &std::path::Path| -> Vec<std::path::PathBuf> {
        let mut found: Vec<_> = std::fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        found.sort();
        found
    };
    let files = below(golden_tree().as_ref()).into_iter().flat_map(|cluster| below(&cluster)).flat_map(|host| below(&host));
    files.filter(|file| file.extension().is_some_and(|found| found == extension)).map(|file| std::fs::read(file).expect("a golden file")).collect()
}

/// A file without a name.
fn file_of(bytes: &[u8]) -> File {
    let mut file = File::from(rustix::fs::memfd_create("fuzz", rustix::fs::MemfdFlags::CLOEXEC).expect("a file in memory"));
    file.write_all(bytes).expect("written");
    file
}

/// A series: its key, start, frequency and the bits of its values.
type Series = ([String; 4], i64, i64, Vec<u32>);

/// A decoded snapshot, as it can be compared.
#[derive(Debug, PartialEq)]
struct Decoded {
    extent: Extent,
    series: Vec<Series>,
}

/// Room for all.
const AMPLE: Room = Room { values: 1 << 20, index: 1 << 20 };
/// Room for hardly anything: values go to a file, and the index is made in parts.
const SCARCE: Room = Room { values: 64, index: 300 };

fn tools() -> Tools {
    Tools { buffers: Buffers::new(0), folder: "/dev/shm".into() }
}

fn form(kind: Kind, compression: Compression, size: usize) -> Form {
    Form { format: Format { kind, compression }, from: 1_772_323_200, size: size as u64, of_rows: false }
}

/// Decodes bytes in memory.
fn in_memory(bytes: &[u8], kind: Kind, compression: Compression, room: Room) -> Result<Decoded, String> {
    let raw = Raw::Memory(Bytes::copy_from_slice(bytes));
    let (_, snapshot) = decode(&raw, form(kind, compression, bytes.len()), room, &tools()).map_err(|refusal| refusal.to_string())?;
    Ok(decoded(snapshot))
}

/// Decodes a file of these bytes.
fn in_file(bytes: &[u8], kind: Kind, compression: Compression, room: Room) -> Result<Decoded, String> {
    let raw = Raw::File(Arc::new(file_of(bytes)));
    let (_, snapshot) = decode(&raw, form(kind, compression, bytes.len()), room, &tools()).map_err(|refusal| refusal.to_string())?;
    Ok(decoded(snapshot))
}

/// All that is in a snapshot, in the order in which it is handed over.
fn decoded(snapshot: Snapshot) -> Decoded {
    let extent = (snapshot.from, snapshot.to);
    let snapshot = Arc::new(snapshot);
    let mut cursor = snapshot.cursor();
    let mut series: Vec<Series> = Vec::new();
    while let Some(key) = cursor.key().expect("gone through before") {
        while let Some(span) = cursor.next_of(&key) {
            let values = snapshot.place.values(&span).expect("values where the index says");
            let bits = cc_archiver::data::floats(&values).map(|value| if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() });
            series.push((key.rank().map(str::to_owned), span.start, span.frequency, bits.collect()));
        }
    }
    // where those without values stand among others of their key does not matter
    series.retain(|series| !series.3.is_empty());
    assert!(series.is_sorted_by(|a, b| a.0 <= b.0), "series are in the archive's order");
    Decoded { extent, series }
}
