//! Settings of the commands that look into an archive.

use super::places::{check_lies_outside, check_places, resolved};
use super::{S3Environment, check_is_there, has_colours, part, readers, s3_settings};
use crate::cli::{CoverageArgs, LsArgs};
use crate::error::{Error, Result};
use crate::settings::{CoverageSettings, LsSettings, LsView};

/// Settings of `ls`.
///
/// # Errors
/// [`Error::Usage`]: there is no such archive, or what the options say makes no sense.
pub fn ls(args: LsArgs, environment: &S3Environment) -> Result<LsSettings> {
    check_is_there(&args.archive, "ls takes the archive")?;
    let asked = [(args.hosts, LsView::Hosts), (args.metrics, LsView::Metrics), (args.objects, LsView::Objects)];
    let asked: Vec<LsView> = asked.into_iter().filter(|(asked, _)| *asked).map(|(_, view)| view).collect();
    let view = match asked[..] {
        [] => LsView::Dates,
        [view] => view,
        _ => return Err(Error::Usage("of --hosts, --metrics and --objects only one can be asked for\n  hint: run ls once for each".into())),
    };
    Ok(LsSettings { s3: s3_settings(&args.archive, &args.s3, environment)?, archive: args.archive, part: part(args.part), view })
}

/// Characters of a line where stdout is no terminal.
const WIDTH: usize = 110;

fn terminal_width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdout()).map(|size| usize::from(size.ws_col)).ok().filter(|width| *width > 0).unwrap_or(WIDTH)
}

/// Settings of `coverage`.
///
/// # Errors
/// [`Error::Usage`]: there is no such archive, or what the options say makes no sense.
pub fn coverage(args: CoverageArgs, environment: &S3Environment) -> Result<CoverageSettings> {
    let workers = readers(&args.resources)?;
    check_is_there(&args.archive, "coverage takes the archive, and the tree as --checkpoints")?;
    if let Some(tree) = &args.checkpoints {
        check_places(tree, &args.archive, None)?;
        if let Some(page) = &args.html {
            check_lies_outside(&resolved(tree), tree, "page", page)?;
        }
    }
    Ok(CoverageSettings {
        s3: s3_settings(&args.archive, &args.s3, environment)?,
        archive: args.archive,
        part: part(args.part),
        host: args.host,
        checkpoints: args.checkpoints,
        exact: args.exact,
        all: args.all,
        check: args.check,
        width: terminal_width(),
        colours: has_colours(),
        html: args.html,
        workers,
    })
}
