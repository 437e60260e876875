//! Zip archives of any bytes.

use std::io::{Cursor, Write};

use ::zip::write::SimpleFileOptions;
use ::zip::{CompressionMethod, ZipWriter};
use cc_archiver::files::packed;

use super::{file_of, golden};

/// No more comes out of a member here: what is claimed may be far more.
const MOST: u64 = 1 << 20;

/// Lists the members, and unpacks them: what comes out is as long as the directory says, or it fails.
pub fn run(bytes: &[u8]) {
    let file = file_of(bytes);
    let Ok((members, _)) = packed::members(&file) else { return };
    for member in members.iter().take(20).filter(|member| member.size <= MOST) {
        assert!(!member.name.contains(['/', '\\']), "a name that leads elsewhere");
        let mut out = Vec::new();
        if packed::unpack(&file, member.index, member.size, &mut out).is_ok() {
            assert_eq!(out.len() as u64, member.size, "as long as the directory says");
        }
    }
}

/// Archives of small golden files, stored and deflated.
pub fn seeds() -> Vec<Vec<u8>> {
    let archive = |method| {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (index, bytes) in golden("json").iter().filter(|bytes| bytes.len() < 500).enumerate() {
            zip.start_file(format!("{}.json", 1_772_323_200 + index), SimpleFileOptions::default().compression_method(method)).expect("a member");
            zip.write_all(bytes).expect("in memory");
        }
        zip.finish().expect("in memory").into_inner()
    };
    [CompressionMethod::Stored, CompressionMethod::Deflated].map(archive).into()
}
