//! Both encoders write the same rows, encodings, statistics and order, whatever the rows are.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cc_archiver::buffers::Buffers;
use cc_archiver::data::{Rows, SeriesKey, SeriesRun, TimeRun, Values};
use cc_archiver::encode::{ArrowEncoder, Format, ObjectEncoder, RunsEncoder, Tools};
use cc_archiver::names::{Cluster, Host, Selector};
use cc_archiver::schema::{Layout, ValueEncoding};
use futures::future::{BoxFuture, FutureExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{KeyValue, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use proptest::prelude::*;

use support::{Row, footer_size, rows_in};

mod support;

/// A sink in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl AsyncFileWriter for Memory {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, parquet::errors::Result<()>> {
        self.0.lock().expect("not poisoned").extend_from_slice(&bytes);
        std::future::ready(Ok(())).boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, parquet::errors::Result<()>> {
        std::future::ready(Ok(())).boxed()
    }
}

fn format(layout: Layout) -> Format {
    let tools = Arc::new(Tools::new(&layout, Buffers::new(1 << 20)));
    Format::new(layout, Cluster::new("c").expect("valid"), tools).expect("a format")
}

fn encoded<E: ObjectEncoder<Memory>>(format: &Format, groups: &[Rows]) -> Bytes {
    let sink = Memory::default();
    let mut encoder = E::begin(sink.clone(), format).expect("begun");
    support::block_on(async {
        for rows in groups {
            let group = E::encode(format, rows.clone()).expect("encoded");
            encoder.append(group).await.expect("appended");
        }
        encoder.finish(BLOCK.into(), vec![KeyValue::new("k".to_owned(), "v".to_owned())]).await.expect("finished");
    });
    assert_eq!(encoder.bytes_written(), sink.0.lock().expect("not poisoned").len() as u64);
    Bytes::from(sink.0.lock().expect("not poisoned").clone())
}

fn metadata(bytes: &Bytes) -> ParquetMetaData {
    ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required).parse_and_finish(bytes).expect("a footer and page indexes")
}

/// Stands before the footer.
const BLOCK: &[u8] = b"what no reader looks for";

const KEY: &str = "cluster=c/date=1970-01-01/x.parquet";

/// Shifts between runs of time: small steps, gaps, steps back at a new series, and the far ends of what a format can hold.
fn runs_of_time(rows: usize) -> impl Strategy<Value = Vec<TimeRun>> {
    let run = (prop_oneof![0..200_000_i64, 0..253_402_300_000_i64], prop::sample::select(vec![1_i64, 10, 60, 86_400, 3_000_000_000]), 1..700_usize);
    prop::collection::vec(run, 1..20).prop_map(move |runs| {
        let mut left = rows;
        let mut times = Vec::new();
        for (start, frequency, count) in runs.into_iter().cycle() {
            let count = count.min(left);
            if count == 0 {
                break;
            }
            times.push(TimeRun { start, frequency, rows: count });
            left -= count;
        }
        times
    })
}

/// Values in slices of one length, as snapshots give them.
fn values(rows: usize) -> impl Strategy<Value = Values> {
    let special = prop::sample::select(vec![0.0_f32, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE / 2.0, f32::MAX]);
    let all = prop::collection::vec(prop_oneof![4 => -1.0e4..1.0e4_f32, 1 => special], rows);
    (all, 1..200_usize).prop_map(|(all, length)| {
        let mut values = Values::default();
        all.chunks(length).for_each(|slice| values.push(slice.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>().into()));
        values
    })
}

fn rows() -> impl Strategy<Value = Rows> {
    // bounds stay whole, however long
    let text = prop_oneof![Just(String::new()), "[a-c]{1,2}", "\\PC{0,15}", "x{60,70}[a-c]{1,2}"];
    let series = (text.clone(), text.clone(), text, 1..900_usize);
    prop::collection::vec(series, 1..12).prop_flat_map(|series| {
        let total: usize = series.iter().map(|(.., rows)| rows).sum();
        (Just(series), runs_of_time(total), values(total)).prop_map(|(series, times, values)| {
            let run = |(host, metric, child, rows): (String, String, String, usize)| SeriesRun {
                host: Host::new(&host),
                key: SeriesKey { metric: metric.into(), selector: Arc::new(Selector::node().child(&child).expect("a short path")) },
                rows,
            };
            Rows { series: series.into_iter().map(run).collect(), times, values }
        })
    })
}

fn layout() -> impl Strategy<Value = Layout> {
    let codecs = [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(ZstdLevel::try_new(3).expect("valid"))];
    let encodings = [ValueEncoding::ByteStreamSplit, ValueEncoding::Plain];
    (prop::sample::select(codecs.to_vec()), prop::sample::select(encodings.to_vec()), any::<bool>()).prop_map(
        |(compression, value_encoding, cluster_column)| Layout { compression, value_encoding, cluster_column, row_group_rows: 1 << 20, object_size: 1 << 30 },
    )
}

/// The layout that is the default but for its compression.
fn compressed(compression: Compression) -> Layout {
    Layout { compression, value_encoding: ValueEncoding::ByteStreamSplit, cluster_column: false, row_group_rows: 1 << 20, object_size: 1 << 30 }
}

fn model(groups: &[Rows]) -> Vec<Row> {
    let mut all = Vec::new();
    for rows in groups {
        let series = rows.series.iter().flat_map(|run| std::iter::repeat_n(run, run.rows));
        for ((run, (timestamp, frequency)), value) in series.zip(rows.expanded_times()).zip(rows.values.iter()) {
            let selector = &run.key.selector;
            all.push(Row {
                cluster: "c".into(),
                date: "1970-01-01".into(),
                hostname: run.host.as_str().into(),
                metric: run.key.metric.to_string(),
                scope: selector.scope.to_string(),
                scope_id: selector.scope_id.to_string(),
                selector: selector.path.to_string(),
                timestamp,
                frequency,
                bits: value.to_bits(),
            });
        }
    }
    all
}

/// What of a footer must not depend on the encoder: schema, order, and for each column its encodings of data and its statistics.
fn described(metadata: &ParquetMetaData) -> Vec<String> {
    let file = metadata.file_metadata();
    let mut lines = vec![format!("{:?} {} {:?}", file.schema(), file.num_rows(), file.created_by())];
    for group in metadata.row_groups() {
        lines.push(format!("{} {:?}", group.num_rows(), group.sorting_columns()));
        for column in group.columns() {
            let statistics = column.statistics().expect("statistics");
            let exact = (statistics.min_is_exact(), statistics.max_is_exact());
            let text = column.unencoded_byte_array_data_bytes();
            let bounds = (statistics.min_bytes_opt(), statistics.max_bytes_opt(), exact, statistics.null_count_opt(), text);
            let mut encodings: Vec<_> = column.encodings().map(|e| e.to_string()).collect();
            encodings.sort();
            let pages = column.page_encoding_stats_mask();
            lines.push(format!("{} {encodings:?} {pages:?} {:?} {bounds:?}", column.column_path(), column.compression()));
        }
    }
    lines
}

proptest! {
    #[test]
    fn both_encoders_write_the_same_rows_and_statistics(groups in prop::collection::vec(rows(), 0..3), layout in layout()) {
        let format = format(layout);
        let (runs, arrow) = (encoded::<RunsEncoder<Memory>>(&format, &groups), encoded::<ArrowEncoder<Memory>>(&format, &groups));
        let expected = model(&groups);
        prop_assert_eq!(&rows_in(KEY, &runs), &expected);
        prop_assert_eq!(&rows_in(KEY, &arrow), &expected);
        prop_assert_eq!(described(&metadata(&runs)), described(&metadata(&arrow)));
        for bytes in [&runs, &arrow] {
            prop_assert!(bytes[..bytes.len() - 8 - footer_size(bytes)].ends_with(BLOCK));
        }
    }
}

#[test]
fn pages_are_cut_in_the_same_places_and_bounded_alike() {
    // three hosts over more than two pages, the second one in all of them
    let count = 400_000;
    let hosts = [("a", 100_000), ("b", 200_000), ("c", 100_000)];
    let key = SeriesKey { metric: "m".into(), selector: Arc::new(Selector::node()) };
    let series = hosts.map(|(host, rows)| SeriesRun { host: Host::new(host), key: key.clone(), rows }).to_vec();
    let times = vec![TimeRun { start: 0, frequency: 60, rows: 100_000 }, TimeRun { start: 30, frequency: 10, rows: 300_000 }];
    let rows = Rows { series, times, values: (0..count).map(|i| (i % 977) as f32).collect() };
    let format = format(compressed(Compression::SNAPPY));
    let groups = [rows];
    let files = [encoded::<RunsEncoder<Memory>>(&format, &groups), encoded::<ArrowEncoder<Memory>>(&format, &groups)];
    for bytes in &files {
        let metadata = metadata(bytes);
        let index = metadata.page_index_for_row_group(0);
        let column = |name: &str| metadata.file_metadata().schema_descr().columns().iter().position(|c| c.name() == name).expect("there");
        for name in ["hostname", "frequency", "timestamp", "value"] {
            let starts: Vec<i64> = index.page_locations(column(name)).expect("an offset index").iter().map(|p| p.first_row_index).collect();
            assert_eq!(starts, [0, 175_104, 350_208], "{name}");
        }
        let bounds = format!("{:?}", index.column_index(column("hostname")).expect("a column index"));
        assert!(bounds.contains("ASCENDING"), "{bounds}");
    }
    assert_eq!(rows_in(KEY, &files[0]), rows_in(KEY, &files[1]));
}

#[test]
fn values_that_were_damaged_are_an_error_to_a_reader() {
    const COUNT: usize = 3_000;
    let key = SeriesKey { metric: "m".into(), selector: Arc::new(Selector::node()) };
    let rows = Rows {
        series: vec![SeriesRun { host: Host::new("a"), key, rows: COUNT }],
        times: vec![TimeRun { start: 0, frequency: 1, rows: COUNT }],
        // they do not compress
        values: support::noise(7, COUNT).into_iter().collect(),
    };
    let whole = encoded::<RunsEncoder<Memory>>(&format(compressed(Compression::ZSTD(ZstdLevel::try_new(3).expect("valid")))), &[rows]);
    let metadata = metadata(&whole);
    let chunk = metadata.row_group(0).columns().last().expect("columns").byte_range();
    // past the page's header, and a frame's
    let page = chunk.0 as usize + 64..(chunk.0 + chunk.1) as usize;
    assert!(page.len() > 2 * COUNT, "{page:?}: they do compress");
    for at in page.step_by(97) {
        let mut damaged = whole.to_vec();
        damaged[at] ^= 1 << (at % 8);
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(damaged)).expect("a footer").build().expect("a reader");
        assert!(reader.into_iter().any(|batch| batch.is_err()), "byte {at}");
    }
}
