//! Settings of `import`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::places::resolved;
use super::{S3Environment, arm_fail_point, check_archive, check_parts, checked, filter, layout, s3_settings, spool_folder};
use crate::cli::{ImportArgs, ObjectArgs};
use crate::error::{Error, Escaped, Result};
use crate::files::shape;
use crate::settings::{ArchiveSettings, Dates, ImportSettings, Location, Moved};

/// Settings of `import`.
///
/// # Errors
/// [`Error::Usage`]: what the options say makes no sense, or not together.
pub fn import(mut args: ImportArgs, environment: &S3Environment) -> Result<ImportSettings> {
    arm_fail_point();
    let (workers, memory) = checked(&args.resources)?;
    let archive = archive_of(&mut args)?;
    check_files(&args.files, &archive)?;
    let s3 = s3_settings(&archive, &args.s3, environment)?;
    check_parts(s3.as_ref(), &args.resources)?;
    let ObjectArgs { verify, object_size, format, with_cluster_column } = args.objects;
    let run = ArchiveSettings {
        layout: layout(&format, with_cluster_column, ("--object-size", object_size))?,
        checkpoints: PathBuf::new(),
        archive,
        filter: filter(args.selection)?,
        before: None,
        dates: Dates::default(),
        newest_first: false,
        moved: Moved::Archive,
        // a file that is still being written has no footer
        min_age: Duration::ZERO,
        dry_run: args.dry_run,
        workers,
        memory,
        verify,
        prune_after: None,
        spool: spool_folder(),
        encoder: format.encoder,
        wal: None,
        wal_hold: None,
        lock_file: None,
        removes_after: None,
        s3,
    };
    Ok(ImportSettings { files: args.files, run })
}

/// The archive, which comes last if no option names it.
fn archive_of(args: &mut ImportArgs) -> Result<Location> {
    if let Some(archive) = &args.archive {
        return Ok(archive.clone());
    }
    let wrong = |why: &str| Error::Usage(format!("{why}\n  hint: the files come first, then the archive: import FILES... ARCHIVE"));
    let last = args.files.pop().filter(|_| !args.files.is_empty()).ok_or_else(|| wrong("import needs files and an archive"))?;
    last.to_string_lossy().parse().map_err(|e: String| wrong(&format!("{} is no archive: {e}", Escaped(&last))))
}

/// Files come first, and the archive last.
fn check_files(files: &[PathBuf], archive: &Location) -> Result<()> {
    let wrong = |why: String, hint: &str| Err(Error::Usage(format!("{why}\n  hint: {hint}")));
    if let Location::Directory(path) = archive
        && path.is_file()
    {
        return wrong(format!("{} is a file, and no archive", Escaped(path)), "the files come first, then the archive: import FILES... ARCHIVE");
    }
    check_archive(archive, "the files come first, then the archive")?;
    for file in files {
        let shown = Escaped(file);
        if file.to_string_lossy().contains("://") {
            return wrong(format!("{shown} is a URL"), "import reads files of this machine; the archive comes last, unless --archive or a setting names it");
        }
        if file.is_dir() && shape::is_archive(file) {
            return wrong(format!("{shown} is an archive of cc-archiver"), "import takes files of cc-backend's own archiver; ls shows what an archive holds");
        }
        if file.is_dir() && shape::is_tree(file) && !has_parquet(file) {
            return wrong(format!("{shown} is a checkpoint tree"), "archive takes checkpoints: cc-archiver archive CHECKPOINTS ARCHIVE");
        }
        if matches!(archive, Location::Directory(path) if resolved(path).starts_with(resolved(file)) && file.is_dir()) {
            return wrong(format!("the archive {archive} lies in {shown}"), "put it beside the files");
        }
    }
    Ok(())
}

/// True if there is a Parquet file where cc-backend's archiver puts them.
fn has_parquet(folder: &Path) -> bool {
    let files = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    let is_parquet = |path: &PathBuf| path.extension().is_some_and(|end| end == "parquet");
    files(folder).iter().any(|path| is_parquet(path) || files(path).iter().any(is_parquet))
}
