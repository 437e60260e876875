//! Write-ahead logs as cc-backend writes them.

/// What a log begins with.
const MAGIC: [u8; 4] = 0xCC1D_A701_u32.to_le_bytes();

/// A record: one sample of a metric at a level below the host.
pub fn record(time: i64, metric: &str, levels: &[&str], value: f32) -> Vec<u8> {
    let mut payload = time.to_le_bytes().to_vec();
    payload.extend((metric.len() as u16).to_le_bytes());
    payload.extend(metric.as_bytes());
    payload.push(levels.len() as u8);
    levels.iter().for_each(|name| payload.extend([&[name.len() as u8], name.as_bytes()].concat()));
    payload.extend(value.to_le_bytes());
    let mut record = 0xCC1D_A7A1_u32.to_le_bytes().to_vec();
    record.extend((payload.len() as u32).to_le_bytes());
    record.extend(&payload);
    record.extend(crc32fast::hash(&payload).to_le_bytes());
    record
}

/// A log with a sample of the host's metric `load` at each of these times.
pub fn log_of(samples: &[(i64, f32)]) -> Vec<u8> {
    let records: Vec<u8> = samples.iter().flat_map(|(time, value)| record(*time, "load", &[], *value)).collect();
    [&MAGIC[..], &records].concat()
}
