//! A tree of levels and metrics, written as `.bin` and as `.json`, compressed and in a zip archive: it must be read as it was made.

use std::io::{Cursor, Write};

use ::zip::write::SimpleFileOptions;
use ::zip::{CompressionMethod, ZipWriter};
use arbitrary::Unstructured;
use cc_archiver::checkpoint::claim;
use cc_archiver::files::{Compression, Kind, packed};
use cc_archiver::names::Selector;

use super::{AMPLE, Decoded, SCARCE, Series, file_of, form, in_file, in_memory};

/// The first instant of a value, and seconds between two: so that all lie in the years that are known.
const BEGIN: i64 = 1_772_323_200;

struct Level {
    metrics: Vec<(String, i64, i64, Vec<f32>)>,
    children: Vec<(String, Level)>,
}

/// Bytes to make trees of.
pub fn seeds() -> Vec<Vec<u8>> {
    (1..6_u8).map(|seed| (0..400_usize).map(|i| (i as u8).wrapping_mul(seed.wrapping_mul(29) | 1).rotate_left(i as u32 % 8)).collect()).collect()
}

/// Makes a tree of these bytes, writes it in all ways, and reads it.
pub fn run(data: &[u8]) {
    let mut choices = Unstructured::new(data);
    let _ = written(&mut choices);
}

fn written(choices: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let extent = (BEGIN, BEGIN + i64::from(choices.arbitrary::<u16>()?));
    let level = level(choices, 0)?;
    let mut series = Vec::new();
    list(&level, &Selector::node(), &mut series);
    series.retain(|series: &Series| !series.3.is_empty());
    series.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = Decoded { extent, series };
    let (bin, json) = (bin(&level, extent), json(&level, extent, choices.arbitrary()?));
    for (kind, bytes) in [(Kind::Binary, &bin), (Kind::Json, &json)] {
        assert_eq!(claim(&file_of(bytes), form(kind, Compression::None, bytes.len())), Ok(extent), "the header alone");
        for room in [AMPLE, SCARCE] {
            assert_eq!(in_memory(bytes, kind, Compression::None, room).as_ref(), Ok(&expected), "{kind:?} in memory");
            assert_eq!(in_file(bytes, kind, Compression::None, room).as_ref(), Ok(&expected), "{kind:?} from a file");
        }
        let packed = zstd::encode_all(&bytes[..], 1).expect("compressed");
        assert_eq!(in_memory(&packed, kind, Compression::Zstd, AMPLE).as_ref(), Ok(&expected), "{kind:?}.zst");
        assert_eq!(claim(&file_of(&packed), form(kind, Compression::Zstd, packed.len())), Ok(extent), "the header of a compressed one");
        assert_eq!(unzipped(bytes, kind, choices.arbitrary()?), *bytes, "out of a zip archive");
    }
    Ok(())
}

fn level(choices: &mut Unstructured<'_>, depth: usize) -> arbitrary::Result<Level> {
    let mut of = Level { metrics: Vec::new(), children: Vec::new() };
    for _ in 0..choices.int_in_range(0..=3)? {
        let (start, frequency) = (BEGIN + i64::from(choices.arbitrary::<u16>()?), choices.int_in_range(1..=3_600)?);
        let mut values = Vec::new();
        for _ in 0..choices.int_in_range(0..=20)? {
            let bits: u32 = if choices.ratio(1, 4)? { f32::NAN.to_bits() } else { choices.arbitrary()? };
            values.push(f32::from_bits(bits));
        }
        of.metrics.push((name(choices)?, start, frequency, values));
    }
    for _ in 0..if depth < 4 { choices.int_in_range(0..=2)? } else { 0 } {
        of.children.push((name(choices)?, level(choices, depth + 1)?));
    }
    Ok(of)
}

fn name(choices: &mut Unstructured<'_>) -> arbitrary::Result<String> {
    let known = ["socket0", "core1", "hwthread12", "accelerator/0", "%", "", "\"[1,2]", "memoryDomain", "load\n"];
    Ok(if choices.ratio(2, 3)? { (*choices.choose(&known)?).to_owned() } else { choices.arbitrary::<&str>()?.chars().take(40).collect() })
}

fn list(level: &Level, selector: &Selector, series: &mut Vec<Series>) {
    for (name, start, frequency, values) in &level.metrics {
        let key = [&*selector.scope, name, &selector.scope_id, &selector.path].map(str::to_owned);
        let bits = values.iter().map(|value| if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() });
        series.push((key, *start, *frequency, bits.collect()));
    }
    for (name, below) in &level.children {
        list(below, &selector.child(name).expect("short names"), series);
    }
}

fn bin(level: &Level, (from, to): (i64, i64)) -> Vec<u8> {
    let mut out = 0xCC5B_0001_u32.to_le_bytes().to_vec();
    out.extend([from, to].map(i64::to_le_bytes).concat());
    bin_level(level, &mut out);
    out
}

/// A `.bin` of two metrics of a host and one of its socket, with a value a minute for an hour.
pub fn hour(from: i64) -> Vec<u8> {
    let metric = |name: &str| (name.to_owned(), from, 60, (0..60_u8).map(f32::from).collect());
    let socket = Level { metrics: vec![metric("flops")], children: Vec::new() };
    bin(&Level { metrics: vec![metric("load"), metric("flops")], children: vec![("socket0".into(), socket)] }, (from, from + 3_600))
}

fn bin_level(level: &Level, out: &mut Vec<u8>) {
    let name_of = |name: &str, out: &mut Vec<u8>| {
        out.extend((name.len() as u16).to_le_bytes());
        out.extend(name.as_bytes());
    };
    out.extend((level.metrics.len() as u32).to_le_bytes());
    for (name, start, frequency, values) in &level.metrics {
        name_of(name, out);
        out.extend([*frequency, *start].map(i64::to_le_bytes).concat());
        out.extend((values.len() as u32).to_le_bytes());
        values.iter().for_each(|value| out.extend(value.to_le_bytes()));
    }
    out.extend((level.children.len() as u32).to_le_bytes());
    for (name, below) in &level.children {
        name_of(name, out);
        bin_level(below, out);
    }
}

/// With the header at its end, as cc-backend has it, or at its beginning.
fn json(level: &Level, (from, to): (i64, i64), is_header_first: bool) -> Vec<u8> {
    let (header, body) = (format!("\"from\":{from},\"to\":{to}"), json_level(level));
    if is_header_first { format!("{{{header},{body}}}") } else { format!("{{{body},{header}}}") }.into()
}

fn json_level(level: &Level) -> String {
    let quoted = |name: &str| serde_json::to_string(name).expect("a text");
    let metrics: Vec<String> = level
        .metrics
        .iter()
        .map(|(name, start, frequency, values)| {
            let values: Vec<String> = values.iter().map(|value| number(*value)).collect();
            format!("{}:{{\"frequency\":{frequency},\"start\":{start},\"data\":[{}]}}", quoted(name), values.join(","))
        })
        .collect();
    let children: Vec<String> = level.children.iter().map(|(name, below)| format!("{}:{{{}}}", quoted(name), json_level(below))).collect();
    format!("\"metrics\":{{{}}},\"children\":{{{}}}", metrics.join(","), children.join(","))
}

/// A value as text that is read with the same bits.
fn number(value: f32) -> String {
    match value {
        _ if value.is_nan() => "null".into(),
        _ if value.is_infinite() => if value > 0.0 { "1e39" } else { "-1e39" }.into(),
        _ => format!("{}", f64::from(value)),
    }
}

/// What comes out of a zip archive that these bytes were put into.
fn unzipped(bytes: &[u8], kind: Kind, is_deflated: bool) -> Vec<u8> {
    let method = if is_deflated { CompressionMethod::Deflated } else { CompressionMethod::Stored };
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let extension = if kind == Kind::Json { "json" } else { "bin" };
    zip.start_file(format!("{BEGIN}.{extension}"), SimpleFileOptions::default().compression_method(method)).expect("a member");
    zip.write_all(bytes).expect("in memory");
    let file = file_of(&zip.finish().expect("in memory").into_inner());
    let (members, wrong) = packed::members(&file).expect("a zip archive");
    let [member] = &members[..] else { panic!("one member: {members:?}, {wrong:?}") };
    assert_eq!(member.size, bytes.len() as u64, "its size");
    let mut out = Vec::new();
    packed::unpack(&file, member.index, member.size, &mut out).expect("unpacked");
    out
}
