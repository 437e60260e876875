//! How fast each stage is that computes, alone and on one thread: `cargo bench --bench stages`.

use std::sync::Arc;

use bytes::Bytes;
use cc_archiver::buffers::Buffers;
use cc_archiver::checkpoint::{Form, Raw, Room, decode};
use cc_archiver::data::{Rows, Snapshot};
use cc_archiver::encode::{ArrowEncoder, Format, ObjectEncoder, RunsEncoder, Tools};
use cc_archiver::files;
use cc_archiver::merge::{Input, Merge};
use cc_archiver::names::{Cluster, Date, Host};
use cc_archiver::rows::{Behind, RowGroups, rows_of};
use cc_archiver::schema::{Layout, ValueEncoding};
use cc_archiver::spool;
use divan::Bencher;
use divan::counter::ItemsCount;
use futures::executor::block_on;
use futures::future::{BoxFuture, FutureExt};
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::basic::{Compression, ZstdLevel};

/// 2026-03-01T00:00:00Z.
const BEGIN: i64 = 1_772_323_200;
/// Values of a series: twelve hours, one a minute.
const VALUES: usize = 720;
const THREADS: usize = 72;
const METRICS: usize = 8;
/// Samples of a snapshot, NaN included.
const SAMPLES: usize = VALUES * THREADS * METRICS;

fn main() {
    divan::main();
}

/// A metric that wanders, and misses a value now and then; the same in every run.
fn walk(seed: usize) -> impl Iterator<Item = Option<f32>> {
    let mut state = (seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut level = 1_000.0_f32;
    std::iter::repeat_with(move || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        level += (state >> 40) as f32 / (1_u32 << 24) as f32 - 0.5;
        (!state.is_multiple_of(500)).then_some((level * 100.0).round() / 100.0)
    })
    .take(VALUES)
}

fn bin(from: i64) -> Bytes {
    let text = |out: &mut Vec<u8>, text: String| {
        out.extend((text.len() as u16).to_le_bytes());
        out.extend(text.into_bytes());
    };
    let mut out = 0xCC5B_0001_u32.to_le_bytes().to_vec();
    out.extend(from.to_le_bytes());
    out.extend((from + 60 * VALUES as i64).to_le_bytes());
    out.extend(0_u32.to_le_bytes());
    out.extend((THREADS as u32).to_le_bytes());
    for thread in 0..THREADS {
        text(&mut out, format!("hwthread{thread}"));
        out.extend((METRICS as u32).to_le_bytes());
        for metric in 0..METRICS {
            text(&mut out, format!("metric{metric}"));
            out.extend(60_i64.to_le_bytes());
            out.extend(from.to_le_bytes());
            out.extend((VALUES as u32).to_le_bytes());
            walk(thread * METRICS + metric).for_each(|value| out.extend(value.unwrap_or(f32::NAN).to_le_bytes()));
        }
        out.extend(0_u32.to_le_bytes());
    }
    out.into()
}

fn json(from: i64) -> Bytes {
    let number = |value: Option<f32>| value.map_or("null".to_owned(), |v| v.to_string());
    let metric = |thread: usize, metric: usize| {
        let data: Vec<_> = walk(thread * METRICS + metric).map(number).collect();
        format!(r#""metric{metric}":{{"frequency":60,"start":{from},"data":[{}]}}"#, data.join(","))
    };
    let level = |thread: usize| {
        let metrics: Vec<_> = (0..METRICS).map(|m| metric(thread, m)).collect();
        format!(r#""hwthread{thread}":{{"metrics":{{{}}},"children":{{}}}}"#, metrics.join(","))
    };
    let levels: Vec<_> = (0..THREADS).map(level).collect();
    let to = from + 60 * VALUES as i64;
    format!(r#"{{"from":{from},"to":{to},"metrics":{{}},"children":{{{}}}}}"#, levels.join(",")).into()
}

fn decoded(bytes: &Bytes, kind: files::Kind, buffers: &Buffers) -> Snapshot {
    let form = Form { format: files::Format { kind, compression: files::Compression::None }, from: BEGIN, size: bytes.len() as u64, of_rows: false };
    let tools = spool::Tools { buffers: buffers.clone(), folder: "none".into() };
    decode(&Raw::Memory(bytes.clone()), form, Room { values: usize::MAX, index: usize::MAX }, &tools).expect("a snapshot").1
}

fn snapshot(from: i64) -> Snapshot {
    decoded(&bin(from), files::Kind::Binary, &Buffers::new(0))
}

#[divan::bench]
fn decode_bin(bencher: Bencher) {
    let (bytes, buffers) = (bin(BEGIN), Buffers::new(64 << 20));
    bencher.counter(ItemsCount::new(SAMPLES)).bench(|| decoded(&bytes, files::Kind::Binary, &buffers));
}

#[divan::bench]
fn decode_json(bencher: Bencher) {
    let (bytes, buffers) = (json(BEGIN), Buffers::new(64 << 20));
    bencher.counter(ItemsCount::new(SAMPLES)).bench(|| decoded(&bytes, files::Kind::Json, &buffers));
}

fn merge(snapshots: &[Arc<Snapshot>]) -> Merge {
    let date = Date::of(BEGIN).expect("valid");
    let inputs =
        snapshots.iter().map(|snapshot| Input { series: snapshot.cursor(), held: false, of_log: false, derived: false, times: date.start()..date.end() });
    Merge::new(inputs.collect()).expect("in memory")
}

/// Goes through a merge, and counts its series.
fn series_of(mut merge: Merge) -> usize {
    std::iter::from_fn(|| merge.next_series().expect("in memory")).count()
}

/// Two snapshots, the later one beginning so many seconds after the first.
fn merge_two(bencher: Bencher, later: i64) {
    let snapshots = [snapshot(BEGIN), snapshot(BEGIN + later)].map(Arc::new);
    bencher.counter(ItemsCount::new(2 * SAMPLES)).bench(|| series_of(merge(&snapshots)));
}

#[divan::bench]
fn merge_disjoint(bencher: Bencher) {
    merge_two(bencher, 60 * VALUES as i64);
}

#[divan::bench]
fn merge_overlapping(bencher: Bencher) {
    merge_two(bencher, 30 * VALUES as i64);
}

/// Rows of a host's day, in row groups of `limit`.
fn row_groups(limit: usize) -> (usize, impl Fn() -> Vec<Rows>) {
    let snapshots = [snapshot(BEGIN), snapshot(BEGIN + 60 * VALUES as i64)].map(Arc::new);
    let cut = move || {
        let mut merge = merge(&snapshots);
        let (mut groups, mut found) = (RowGroups::new(limit), Vec::new());
        let behind = Behind { kept: merge.memory(), loaded: usize::MAX };
        let rows = rows_of(&Host::new("n0001"), behind, || merge.next_series()).expect("in memory");
        groups.push(&rows, |rows| found.push(rows));
        found.extend(groups.finish());
        found
    };
    (cut().iter().map(Rows::len).sum(), cut)
}

#[divan::bench]
fn merge_rows_and_row_groups(bencher: Bencher) {
    let (rows, cut) = row_groups(1 << 18);
    bencher.counter(ItemsCount::new(rows)).bench(cut);
}

/// Takes bytes and forgets them.
struct Nowhere;

impl AsyncFileWriter for Nowhere {
    fn write(&mut self, _: Bytes) -> BoxFuture<'_, parquet::errors::Result<()>> {
        std::future::ready(Ok(())).boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, parquet::errors::Result<()>> {
        std::future::ready(Ok(())).boxed()
    }
}

/// A row group of an object: some encoders do their work when it is appended.
fn encode<E: ObjectEncoder<Nowhere>>(bencher: Bencher) {
    let layout = Layout {
        compression: Compression::ZSTD(ZstdLevel::try_new(3).expect("a level")),
        value_encoding: ValueEncoding::ByteStreamSplit,
        cluster_column: false,
        row_group_rows: 1 << 20,
        object_size: 1 << 30,
    };
    let tools = Arc::new(Tools::new(&layout, Buffers::new(64 << 20)));
    let format = Format::new(layout, Cluster::new("c").expect("valid"), tools).expect("a format");
    let (rows, cut) = row_groups(1 << 20);
    let group = cut().remove(0);
    assert_eq!(group.len(), rows, "one row group");
    bencher.counter(ItemsCount::new(rows)).with_inputs(|| group.clone()).bench_values(|rows| {
        let mut encoder = E::begin(Nowhere, &format).expect("begun");
        let group = E::encode(&format, rows).expect("encoded");
        block_on(encoder.append(group)).expect("appended");
        block_on(encoder.finish(bytes::Bytes::new(), Vec::new())).expect("finished");
        encoder.bytes_written()
    });
}

#[divan::bench]
fn encode_runs(bencher: Bencher) {
    encode::<RunsEncoder<Nowhere>>(bencher);
}

#[divan::bench]
fn encode_arrow(bencher: Bencher) {
    encode::<ArrowEncoder<Nowhere>>(bencher);
}
