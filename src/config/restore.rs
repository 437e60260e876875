//! Settings of `restore`.

use super::places::{check_lies_outside, resolved};
use super::{check_is_there, checked, s3_settings, spool_folder};
use crate::cli::RestoreArgs;
use crate::config::S3Environment;
use crate::error::{Error, Escaped, Result};
use crate::files::shape;
use crate::names::{DAY, Date, END_OF_TIME};
use crate::settings::{Dates, Location, Part, RestoreSettings, Windows};

/// The least that a file may cover, in s.
const LEAST_INTERVAL: i64 = 60;

/// Settings of `restore`.
///
/// # Errors
/// [`Error::Usage`]: there is no such archive, or what the options say makes no sense, or not together.
pub fn restore(args: RestoreArgs, environment: &S3Environment) -> Result<RestoreSettings> {
    let (workers, memory) = checked(&args.resources)?;
    check_is_there(&args.archive, "restore takes the archive first, then the directory that checkpoints go to")?;
    check_directory(&args)?;
    let windows = windows(&args)?;
    let dates = Dates { first: Date::of(windows.from), last: Date::of(windows.to - 1) };
    Ok(RestoreSettings {
        s3: s3_settings(&args.archive, &args.s3, environment)?,
        archive: args.archive,
        dir: args.dir,
        part: Part { clusters: args.cluster, dates },
        host: args.host,
        windows,
        format: args.format,
        force: args.force,
        dry_run: args.dry_run,
        workers,
        memory,
        spool: spool_folder(),
    })
}

/// How time is cut into files.
fn windows(args: &RestoreArgs) -> Result<Windows> {
    let (from, to) = (args.from.map_or(0, |time| time.0.max(0)), args.to.map_or(END_OF_TIME, |time| time.0.min(END_OF_TIME)));
    if from >= to {
        return Err(Error::Usage("--from must lie before --to, and both between 1970 and 9999".into()));
    }
    let every = args.interval.as_secs() as i64;
    if args.interval.subsec_nanos() > 0 || !(LEAST_INTERVAL..=DAY).contains(&every) || DAY % every != 0 {
        return Err(Error::Usage(format!(
            "--interval {} is no part of a day\n  hint: a day must be a multiple of it, as of 1h, 2h, 6h, 12h or 24h; the least is 1m",
            args.interval
        )));
    }
    Ok(Windows { from, to, every })
}

/// Checkpoints are not written into an archive, nor where a file stands.
fn check_directory(args: &RestoreArgs) -> Result<()> {
    let dir = &args.dir;
    if dir.exists() && !dir.is_dir() {
        return Err(Error::Usage(format!("{} is no directory\n  hint: name one that is empty, or not there yet", Escaped(dir))));
    }
    if shape::is_archive(dir) {
        return Err(Error::Usage(format!("{} is an archive\n  hint: the archive comes first, then the directory that checkpoints go to", Escaped(dir))));
    }
    match &args.archive {
        Location::Directory(archive) if resolved(dir).starts_with(resolved(archive)) => {
            Err(Error::Usage(format!("{} lies inside the archive {}\n  hint: checkpoints go to a directory of their own", Escaped(dir), args.archive)))
        }
        Location::Directory(archive) => check_lies_outside(&resolved(dir), dir, "archive", archive),
        Location::S3 { .. } => Ok(()),
    }
}
