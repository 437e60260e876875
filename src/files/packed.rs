//! Snapshots in zip archives, as old releases of cc-metric-store kept them: `<cluster>/<host>/<from>.zip`, with `<from>.json` in it.
//!
//! What a member claims is checked before it is unpacked: its name must be that of a snapshot, and not lead anywhere; its size must be one that can
//! come out of its bytes. The checksum of what comes out is the zip archive's own.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use zip::{CompressionMethod, ZipArchive};

use super::{Compression, FileName, Format, most_decompressed};

/// How the names of zip archives end.
const END: &[u8] = b".zip";

/// The most members of an archive, whose directory is read again for each of them. cc-metric-store put the snapshots of a clean-up into one.
const MOST_MEMBERS: usize = 2_000;

/// No archive is larger. A sparse file can claim anything.
const MOST_BYTES: u64 = 1 << 30;

/// The end record of an archive: its mark, its length, and where it has the number of members.
const END_MARK: &[u8] = b"PK\x05\x06";
const END_LEN: usize = 22;
const END_MEMBERS: usize = 10;
/// The longest comment behind it.
const MOST_COMMENT: usize = 0xffff;

/// Where a snapshot lies that is in a zip archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zipped {
    /// The archive's name.
    pub zip: FileName,
    /// Its bytes.
    pub size: u64,
    /// The member's index in it.
    pub index: usize,
}

/// A snapshot in a zip archive.
#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The part of it before the format.
    pub stem: Vec<u8>,
    /// What the name says.
    pub format: Format,
    /// Its index in the archive.
    pub index: usize,
    /// Its bytes when it is unpacked.
    pub size: u64,
}

/// The part of a file's name before `.zip`, if it is digits.
pub fn stem(name: &[u8]) -> Option<&[u8]> {
    name.strip_suffix(END).filter(|stem| !stem.is_empty() && stem.iter().all(u8::is_ascii_digit))
}

fn opened(file: &File) -> io::Result<ZipArchive<BufReader<&File>>> {
    // a library may give up on what no program has written
    let open = || ZipArchive::new(BufReader::new(file)).map_err(io::Error::other);
    catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|_| Err(io::Error::other("its directory makes no sense")))
}

fn check_count(members: usize) -> io::Result<()> {
    if members > MOST_MEMBERS {
        Err(io::Error::other(format!("it has {members} members, and no archive of snapshots has more than {MOST_MEMBERS}")))
    } else {
        Ok(())
    }
}

/// Looks at what an archive claims, before its directory is read into memory.
fn check_size(file: &File) -> io::Result<()> {
    let size = file.metadata()?.len();
    if size > MOST_BYTES {
        return Err(io::Error::other(format!("it has {size} bytes, and no archive of snapshots has more than {MOST_BYTES}")));
    }
    let len = size.min((END_LEN + MOST_COMMENT) as u64);
    let mut end = vec![0; len as usize];
    file.read_exact_at(&mut end, size - len)?;
    let record = end.windows(END_LEN).rfind(|record| record.starts_with(END_MARK));
    let members = record.and_then(|record| record.get(END_MEMBERS..END_MEMBERS + 2)).and_then(|count| Some(u16::from_le_bytes(*count.first_chunk()?)));
    check_count(members.ok_or_else(|| io::Error::other("it has no directory"))?.into())
}

/// The snapshots in an archive, and what is wrong with those members that only look like one: (name, reason). Others are left alone. Blocks.
///
/// # Errors
/// It is no zip archive, or its directory is damaged.
#[allow(clippy::type_complexity, reason = "what is there, and what is wrong")]
pub fn members(file: &File) -> io::Result<(Vec<Member>, Vec<(String, String)>)> {
    check_size(file)?;
    let mut archive = opened(file)?;
    check_count(archive.len())?;
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index).map_err(io::Error::other)?;
        let name = String::from_utf8_lossy(member.name_raw()).into_owned();
        let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
        let Some((stem, format)) = Format::of_name(last.as_bytes()) else { continue };
        let stem = stem.to_owned();
        let (size, packed) = (member.size(), member.compressed_size());
        let is_known = [CompressionMethod::Stored, CompressionMethod::Deflated].contains(&member.compression());
        let reason = if last != name {
            "it does not lie at the top of the zip archive".into()
        } else if format.compression != Compression::None {
            "it is compressed by itself, in a zip archive".into()
        } else if member.encrypted() {
            "it is encrypted".into()
        } else if !is_known {
            format!("it is compressed by {:?}, which no cc-metric-store wrote", member.compression())
        } else if size > most_decompressed(packed) {
            format!("it says that {size} bytes come out of {packed}, which no snapshot has")
        } else {
            found.push(Member { name, stem, format, index, size });
            continue;
        };
        wrong.push((name, reason));
    }
    Ok((found, wrong))
}

/// Unpacks a member of which `size` bytes must come. Blocks.
///
/// # Errors
/// More or fewer come, or others than those that were packed; or those of `to`.
pub fn unpack(file: &File, index: usize, size: u64, to: &mut impl Write) -> io::Result<()> {
    let mut archive = opened(file)?;
    let mut unpack = || {
        let mut member = archive.by_index(index).map_err(io::Error::other)?;
        // it is read to its end, where the checksum is looked at, and no further
        match io::copy(&mut member.by_ref().take(size + 1), to)? {
            copied if copied == size => Ok(()),
            _ => Err(io::Error::other(format!("other than the {size} bytes come out that its directory says"))),
        }
    };
    catch_unwind(AssertUnwindSafe(&mut unpack)).unwrap_or_else(|_| Err(io::Error::other("it cannot be unpacked")))
}
