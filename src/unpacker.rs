//! Pages of Parquet as they are stored, decompressed within a bound: what the header of a page claims of its size is not believed.

use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result};
use zstd::bulk::Decompressor;
use zstd::zstd_safe::get_frame_content_size;

/// The most that Snappy makes of a byte.
const MOST_OF_SNAPPY: usize = 32;

/// Decompresses pages, one after the other in the same memory.
#[derive(Default)]
pub struct Unpacker {
    zstd: Option<Decompressor<'static>>,
    page: Vec<u8>,
}

impl Unpacker {
    /// The page as it was before it was compressed.
    ///
    /// # Errors
    /// It was more than `most` bytes, or these are no compressed page.
    pub fn unpack<'a>(&'a mut self, compression: Compression, packed: &'a [u8], most: usize) -> Result<&'a [u8]> {
        match compression {
            Compression::UNCOMPRESSED => return Ok(packed),
            Compression::SNAPPY => {
                let len = snap::raw::decompress_len(packed).map_err(external)?;
                if len > most || len / MOST_OF_SNAPPY > packed.len() {
                    return Err(too_large());
                }
                self.page.resize(len, 0);
                snap::raw::Decoder::new().decompress(packed, &mut self.page).map_err(external)?;
            }
            Compression::ZSTD(_) => {
                let size = get_frame_content_size(packed).map_err(|e| ParquetError::General(e.to_string()))?;
                // a writer of streams does not say it
                let size = size.map_or(most, |size| usize::try_from(size).unwrap_or(usize::MAX));
                if size > most {
                    return Err(too_large());
                }
                self.page.clear();
                self.page.reserve(size);
                let zstd = match &mut self.zstd {
                    Some(zstd) => zstd,
                    none => none.insert(Decompressor::new()?),
                };
                zstd.decompress_to_buffer(packed, &mut self.page)?;
            }
            other => return Err(ParquetError::General(format!("it has pages that are compressed by {other}"))),
        }
        Ok(&self.page)
    }
}

fn too_large() -> ParquetError {
    ParquetError::General("it has pages that are larger than they can be".into())
}

fn external(e: snap::Error) -> ParquetError {
    ParquetError::External(Box::new(e))
}

#[cfg(test)]
mod tests {
    use parquet::basic::ZstdLevel;

    use super::*;

    #[test]
    fn a_page_that_says_that_it_is_larger_than_its_column_is_not_unpacked() {
        let page = vec![0; 1 << 20];
        let zstd = zstd::bulk::compress(&page, 3).expect("compressed");
        let snappy = snap::raw::Encoder::new().compress_vec(&page).expect("compressed");
        for (compression, packed) in [(Compression::ZSTD(ZstdLevel::default()), zstd), (Compression::SNAPPY, snappy)] {
            let unpacked = |most| Unpacker::default().unpack(compression, &packed, most).map(<[u8]>::len);
            assert_eq!(unpacked(1 << 20).expect("unpacked"), 1 << 20);
            assert!(unpacked((1 << 20) - 1).is_err_and(|e| e.to_string().contains("larger than they can be")));
        }
    }

    #[test]
    fn a_frame_that_does_not_say_its_size_is_unpacked_as_far_as_it_may_go() {
        let page = vec![7; 100_000];
        let mut stream = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("an encoder");
        std::io::Write::write_all(&mut stream, &page).expect("in memory");
        let packed = stream.finish().expect("in memory");
        assert_eq!(get_frame_content_size(&packed).expect("a frame"), None);
        let zstd = Compression::ZSTD(ZstdLevel::default());
        assert_eq!(Unpacker::default().unpack(zstd, &packed, 100_000).expect("unpacked"), page);
        assert!(Unpacker::default().unpack(zstd, &packed, 99_999).is_err());
    }
}
