//! Settings of `expire`.

use std::time::Duration;

use super::places::check_places;
use super::{S3Environment, arm_fail_point, check_is_there, s3_settings};
use crate::cli::ExpireArgs;
use crate::error::{Error, Result};
use crate::settings::ExpireSettings;

/// What was archived today is kept; and whoever means months by `m` has not deleted anything.
const LEAST: Duration = Duration::from_secs(24 * 3_600);

/// Settings of `expire`.
///
/// # Errors
/// [`Error::Usage`]: there is no such archive, or what the options say makes no sense.
pub fn expire(args: ExpireArgs, environment: &S3Environment) -> Result<ExpireSettings> {
    arm_fail_point();
    check_is_there(&args.archive, "expire takes the archive, and the tree as --checkpoints")?;
    if let Some(tree) = &args.checkpoints {
        check_places(tree, &args.archive, None)?;
    }
    let keep: Duration = args.keep.into();
    if keep < LEAST {
        return Err(Error::Usage(format!("--keep {} is too little: the least is 1day\n  hint: 30m are minutes; write 30months, 90days or 5years", args.keep)));
    }
    Ok(ExpireSettings {
        s3: s3_settings(&args.archive, &args.s3, environment)?,
        archive: args.archive,
        clusters: args.cluster,
        keep,
        checkpoints: args.checkpoints,
        dry_run: args.dry_run,
    })
}
