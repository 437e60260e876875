//! `inspect`: one file is opened, told apart by its name or its first bytes, and what its decoder finds is handed to what shows it.

use std::fs::File;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path as Key;

use super::stopped_by;
use crate::error::{Error, Escaped, Result};
use crate::files::{Compression, Format, Kind, trusted};
use crate::info::{self, ArchiveInfo};
use crate::inspect::{Damages, Holds, Inspected, Of, Sample, Writer};
use crate::partition::Partition;
use crate::read::Opened;
use crate::settings::{InspectSettings, Location, SampleFilter};
use crate::store::Archive;
use crate::telemetry::{Progress, Stage};
use crate::workers::{Workers, blocking};

mod decoding;
mod member;
mod object;

use member::Unpacked;

/// Shows a file, or hands its samples to `writer`; `shutdown` ends it early.
pub async fn inspect_in(
    settings: &InspectSettings,
    writer: Option<Writer>,
    progress: Arc<Progress>,
    shutdown: impl Future<Output = ()>,
) -> Result<Box<Inspected>> {
    let workers = Workers::new(settings.workers)?;
    let output = Output { writer, filter: settings.filter.clone(), is_closed: false };
    let inspecting = Inspecting { settings, workers: workers.clone(), progress: Arc::clone(&progress) };
    let done = stopped_by(|| workers.stop(), shutdown, progress.watch.hurried(), inspecting.run(output)).await;
    progress.watch.at(Stage::Read, done).map(Box::new)
}

/// What a file is, as far as its name or its beginning tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Snapshot(Format),
    Log,
    Parquet,
    /// The archive's own object.
    Info,
}

/// What samples are handed to.
struct Output {
    /// None if facts are wanted.
    writer: Option<Writer>,
    filter: SampleFilter,
    /// A reader that closed the pipe has seen enough.
    is_closed: bool,
}

impl Output {
    fn put(&mut self, sample: &Sample<'_>) -> Result<()> {
        let done = self.writer.as_mut().map_or(Ok(()), |writer| writer.write(sample));
        self.check(done)
    }

    fn check(&mut self, done: io::Result<()>) -> Result<()> {
        match done {
            Err(e) if e.kind() == ErrorKind::BrokenPipe => self.is_closed = true,
            done => done.map_err(Error::io("cannot write to", Path::new("stdout")))?,
        }
        Ok(())
    }
}

/// What was found, and the output back.
struct Seen {
    holds: Holds,
    notes: Vec<String>,
    damage: Damages,
    output: Output,
}

struct Inspecting<'a> {
    settings: &'a InspectSettings,
    workers: Workers,
    progress: Arc<Progress>,
}

impl Inspecting<'_> {
    async fn run(&self, output: Output) -> Result<Inspected> {
        let (size, mut seen) = match &self.settings.file {
            Location::Directory(path) => self.local(path, output).await?,
            Location::S3 { bucket, prefix } => {
                let (place, key) = split(prefix);
                let location = Location::S3 { bucket: bucket.clone(), prefix: place };
                let archive = Archive::open(&location, self.settings.s3.as_ref(), true)?;
                self.progress.watch.watch_requests(archive.requests());
                self.in_bucket(&archive, &parsed(&key)?, Path::new("/").join(prefix), output).await?
            }
        };
        if let Some(mut writer) = seen.output.writer.take() {
            seen.holds = Holds::Samples { count: writer.count() };
            let done = if seen.output.is_closed { Ok(()) } else { writer.finish(&seen.damage) };
            seen.output.check(done)?;
        } else if !self.settings.filter.is_open() {
            seen.notes.push("only what --selector, --metric, --host, --from and --to choose is shown".into());
        }
        Ok(Inspected { path: self.settings.file.to_string(), size, holds: seen.holds, notes: seen.notes, damage: seen.damage })
    }

    async fn local(&self, path: &Path, output: Output) -> Result<(u64, Seen)> {
        let (named, folder) = (path.to_owned(), self.settings.spool.clone());
        if let Some(Unpacked { opened, member, path }) = blocking(move || member::unpacked(&named, &folder)).await?? {
            let absolute = std::path::absolute(&path).unwrap_or(path);
            return Ok((member.size, self.file(opened, member.size, Sort::Snapshot(member.format), absolute, output).await?));
        }
        let named = path.to_owned();
        let (opened, size) = blocking(move || open(&named)).await??;
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let sort = by_name(name_of(path)).or_else(|| by_beginning(&opened.file));
        match sort {
            Some(Sort::Parquet) => {
                let text = absolute.to_str().ok_or_else(|| unknown(path, "its path is not UTF-8"))?;
                let (place, key) = split(text);
                let folder = Location::Directory(if place.is_empty() { "/".into() } else { place.into() });
                let archive = Archive::open(&folder, None, true)?;
                Ok((size, self.parquet(&archive, &parsed(&key)?, size, output).await?))
            }
            Some(sort) => Ok((size, self.file(opened, size, sort, absolute, output).await?)),
            None => Err(unknown(
                path,
                "neither its name nor its first bytes are those of a .json or .bin snapshot, of a zip archive of some, of current.wal, or of Parquet",
            )),
        }
    }

    /// Objects are read where they are. What else may lie in a bucket is brought here first.
    async fn in_bucket(&self, archive: &Archive, key: &Key, path: PathBuf, output: Output) -> Result<(u64, Seen)> {
        let failed = |e| match e {
            object_store::Error::NotFound { .. } => Error::Archive(format!(
                "cannot open {}: there is no such object\n  hint: name one object: PREFIX/cluster=NAME/date=YYYY-MM-DD/part-00-00000.parquet; ls shows what an archive holds",
                archive.name_of(key)
            )),
            e => Error::store("cannot open", archive.name_of(key))(e),
        };
        let sort = key.filename().and_then(|name| by_name(name.as_bytes())).unwrap_or(Sort::Parquet);
        if sort == Sort::Parquet {
            let size = archive.first_contact().head(key).await.map_err(failed)?.size;
            return Ok((size, self.parquet(archive, key, size, output).await?));
        }
        let folder = self.settings.spool.clone();
        let mut file = tempfile::tempfile_in(&folder).map_err(Error::io("cannot make a temporary file in", &folder))?;
        let mut pieces = archive.first_contact().get(key).await.map_err(failed)?.into_stream();
        let mut size = 0;
        while let Some(piece) = pieces.try_next().await.map_err(failed)? {
            size += piece.len() as u64;
            io::Write::write_all(&mut file, &piece).map_err(Error::io("cannot write a temporary file in", &folder))?;
        }
        let opened = Opened::new(Ok(file), |_| true).map_err(|why| Error::Internal(format!("{why:?}")))?;
        Ok((size, self.file(opened, size, sort, path, output).await?))
    }

    /// A snapshot or a log. What is computed is computed by a worker.
    async fn file(&self, opened: Opened, size: u64, sort: Sort, path: PathBuf, output: Output) -> Result<Seen> {
        let decoding = decoding::Decoding {
            file: Arc::clone(&opened.file),
            size,
            from: stem_of(name_of(&path)).unwrap_or_default(),
            of: if stem_of(name_of(&path)).is_some() || name_of(&path) == b"current.wal" { of(&path) } else { Of::default() },
            memory: self.settings.memory,
            spool: self.settings.spool.clone(),
            workers: self.workers.clone(),
            progress: Arc::clone(&self.progress),
            path: path.clone(),
        };
        let decode = move || match sort {
            Sort::Snapshot(format) => decoding.snapshot(format, output),
            Sort::Log => decoding.log(output),
            Sort::Info | Sort::Parquet => info_of(&decoding.file, &decoding.path, output),
        };
        let mut seen = self.workers.run(decode).await??;
        if name_of(&path).ends_with(b".tmp") {
            seen.notes.push("its name ends with .tmp: it was not complete when it was written last, and is never archived".into());
        }
        if opened.check().is_err() {
            seen.notes.push("it was written to while it was read".into());
        }
        Ok(seen)
    }
}

/// The archive's own object.
fn info_of(file: &File, path: &Path, output: Output) -> Result<Seen> {
    const MOST: usize = 64 << 10;
    let mut text = vec![0; MOST];
    let len = file.read_at(&mut text, 0).map_err(Error::io("cannot read", path))?;
    let mut damage = Damages::default();
    let holds = match ArchiveInfo::from_json(&text[..len]) {
        Ok(ArchiveInfo { buckets, cluster_column }) => Holds::Archive { buckets: buckets.count(), cluster_column },
        Err(why) => {
            damage.add(Some(0), None, why);
            Holds::Unknown
        }
    };
    Ok(Seen { holds, notes: Vec::new(), damage, output })
}

/// Opens a file, and says its size. The user may name a link to one. Blocks.
fn open(path: &Path) -> Result<(Opened, u64)> {
    let failed = |e: io::Error| match e.kind() {
        ErrorKind::NotFound => Error::Usage(format!("cannot open {}: {}", Escaped(path), nearest(path))),
        _ => Error::io("cannot open", path)(e),
    };
    let real = path.canonicalize().map_err(failed)?;
    if !real.metadata().map_err(failed)?.is_file() {
        return Err(unknown(path, "it is no regular file"));
    }
    let file = trusted::open(&real).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let opened = Opened::new(Ok(file), |_| true).map_err(|_| unknown(path, "it is no regular file"))?;
    Ok((opened, size))
}

/// What is said of a file that is not there.
fn nearest(path: &Path) -> String {
    const ALIKE: f64 = 0.8;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (Some(folder), name) = (absolute.parent(), String::from_utf8_lossy(name_of(path))) else { return "there is no such file".into() };
    if !folder.is_dir() {
        return format!(
            "there is no directory {}\n  hint: name one file: CHECKPOINTS/alpha/n01/1772323200.bin, or s3://bucket/prefix/cluster=alpha/date=2026-03-01/part-00-00000.parquet",
            Escaped(folder)
        );
    }
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let rated = names.map(|known| (strsim::jaro_winkler(&known, &name), known));
    match rated.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(alike, _)| *alike >= ALIKE) {
        Some((_, known)) => format!("there is no such file\n  hint: the nearest name in its directory is {}", known.escape_debug()),
        None => "there is no such file in this directory".into(),
    }
}

fn unknown(path: &Path, why: &str) -> Error {
    Error::io("cannot inspect", path)(io::Error::new(ErrorKind::InvalidInput, why))
}

/// What a file's name says that it is.
fn by_name(name: &[u8]) -> Option<Sort> {
    let name = name.strip_suffix(b".tmp").unwrap_or(name);
    match name {
        name if name == info::KEY.as_bytes() => Some(Sort::Info),
        name if name.ends_with(b".wal") => Some(Sort::Log),
        name if name.ends_with(b".parquet") => Some(Sort::Parquet),
        name => Format::of_name(name).map(|(_, format)| Sort::Snapshot(format)),
    }
}

/// What a file's first bytes say that it is, where its name does not tell.
fn by_beginning(file: &File) -> Option<Sort> {
    let mut beginning = [0; 64];
    let len = file.read_at(&mut beginning, 0).ok()?;
    let beginning = &beginning[..len];
    let snapshot = |kind| Some(Sort::Snapshot(Format { kind, compression: Compression::None }));
    match beginning {
        [b'P', b'A', b'R', b'1', ..] => Some(Sort::Parquet),
        [0x01, 0xa7, 0x1d, 0xcc, ..] => Some(Sort::Log),
        [0x01, 0x00, 0x5b, 0xcc, ..] => snapshot(Kind::Binary),
        text if text.trim_ascii_start().starts_with(b"{") => snapshot(Kind::Json),
        _ => None,
    }
}

fn name_of(path: &Path) -> &[u8] {
    path.file_name().map(OsStrExt::as_bytes).unwrap_or_default()
}

/// The time in a snapshot's name.
fn stem_of(name: &[u8]) -> Option<i64> {
    let (stem, _) = Format::of_name(name.strip_suffix(b".tmp").unwrap_or(name))?;
    std::str::from_utf8(stem).ok()?.parse().ok()
}

/// Whose a file of a checkpoint tree is.
fn of(path: &Path) -> Of {
    let is_zip = |folder: &&Path| folder.extension().is_some_and(|end| end == "zip");
    let mut above = path.ancestors().skip(1).skip_while(is_zip).map(|folder| folder.file_name().and_then(|name| name.to_str()).map(str::to_owned));
    Of { host: above.next().flatten(), cluster: above.next().flatten() }
}

/// A place and a key in it: an object with its partition, or else a name.
fn split(text: &str) -> (String, String) {
    let at = |count: usize| text.rmatch_indices('/').nth(count).map_or((String::new(), text.to_owned()), |(at, _)| (text[..at].into(), text[at + 1..].into()));
    let (place, key) = at(2);
    if Key::parse(&key).is_ok_and(|key| Partition::parse(&key).is_some()) { (place, key) } else { at(0) }
}

fn parsed(key: &str) -> Result<Key> {
    Key::parse(key).map_err(|e| Error::Usage(format!("{} cannot be a key: {e}", key.escape_debug())))
}
