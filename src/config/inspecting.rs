//! Settings of `inspect`.

use super::{S3Environment, checked, places, s3_settings, spool_folder};
use crate::cli::InspectArgs;
use crate::error::{Error, Result};
use crate::settings::{Form, InspectSettings, SampleFilter, Show};

/// Settings of `inspect`; `json` if the result is to be JSON.
///
/// # Errors
/// [`Error::Usage`]: a directory was named, or what the options say makes no sense, or not together.
pub fn inspect(args: InspectArgs, json: bool, environment: &S3Environment) -> Result<InspectSettings> {
    let (workers, memory) = checked(&args.resources)?;
    places::check_file(&args.file)?;
    let show = match (args.values || args.csv, args.csv, json) {
        (_, true, true) => return Err(Error::Usage("--csv and --json are two forms of the same samples\n  hint: leave one of them out".into())),
        (true, ..) if args.ledger => return Err(Error::Usage("--ledger shows sources, and --values samples\n  hint: leave one of them out".into())),
        (true, true, false) => Show::Samples(Form::Csv),
        (true, false, true) => Show::Samples(Form::Json),
        (true, false, false) => Show::Samples(Form::Table),
        (false, ..) => Show::Facts { whole_ledger: args.ledger },
    };
    let (from, to) = (args.from.map(|time| time.0), args.to.map(|time| time.0));
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        return Err(Error::Usage("--from does not come before --to\n  hint: --to is the first time that is not shown".into()));
    }
    Ok(InspectSettings {
        s3: s3_settings(&args.file, &args.s3, environment)?,
        file: args.file,
        show,
        filter: SampleFilter { selector: args.selector, metric: args.metric, host: args.host, from, to },
        workers,
        memory,
        spool: spool_folder(),
    })
}
