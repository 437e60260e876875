//! Settings of `compact`.

use std::time::Duration;

use super::{S3Environment, arm_fail_point, check_is_there, check_parts, checked, layout, part, s3_settings, spool_folder};
use crate::cli::CompactArgs;
use crate::error::{Error, Result};
use crate::settings::CompactSettings;

/// Settings of `compact`.
///
/// # Errors
/// [`Error::Usage`]: there is no such archive, or what the options say makes no sense.
pub fn compact(args: CompactArgs, environment: &S3Environment) -> Result<CompactSettings> {
    arm_fail_point();
    let (workers, memory) = checked(&args.resources)?;
    check_is_there(&args.archive, "compact takes the archive")?;
    let s3 = s3_settings(&args.archive, &args.s3, environment)?;
    check_parts(s3.as_ref(), &args.resources)?;
    let min_age: Duration = args.min_object_age.into();
    if min_age < LEAST_OBJECT_AGE {
        let least = humantime::format_duration(LEAST_OBJECT_AGE);
        return Err(Error::Usage(format!(
            "--min-object-age {} is too little: a request that is under way may still want the place of an object that goes\n  hint: the least is {least}",
            args.min_object_age
        )));
    }
    if args.min_objects < 2 {
        return Err(Error::Usage(format!("--min-objects {} would join nothing with nothing\n  hint: the least is 2", args.min_objects)));
    }
    Ok(CompactSettings {
        layout: layout(&args.format, false, ("--max-size", args.max_size))?,
        archive: args.archive,
        part: part(args.part),
        min_objects: args.min_objects,
        min_age,
        max_size: args.max_size.as_u64().min(memory),
        dry_run: args.dry_run,
        workers,
        memory,
        spool: spool_folder(),
        encoder: args.format.encoder,
        s3,
    })
}

/// So long an object must have been there before it is deleted, at least: no request that was planned before it can be under way then, also where the
/// store's date of an object is that at which its upload began.
const LEAST_OBJECT_AGE: Duration = Duration::from_secs(24 * 3_600);
