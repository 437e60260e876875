//! `init`: what a site needs is found or asked for, written down, and tried.

use std::fmt;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use dialoguer::{Input, Password};
use serde::Serialize;
use serde_json::Value;

use super::session::Session;
use crate::cc_backend::CcBackend;
use crate::cli::InitArgs;
use crate::config::{self, Draft};
use crate::error::{Error, Escaped, Exit, Result};
use crate::settings::Location;
use crate::setup::{self, Trial};

/// What was written, and what came of it.
#[derive(Serialize)]
struct Done {
    config: String,
    user: Option<String>,
    doctor: Option<Value>,
    dry_run: Option<Value>,
    next: Vec<String>,
}

/// Runs it.
pub fn run(args: InitArgs, session: &Session) -> Exit {
    session.tell(|| {
        let root = Path::new("/");
        let mut draft = config::draft(args, session.s3.clone(), session.config.as_deref(), session.given.clone())?;
        setup::check_is_free(&draft.file)?;
        look_around(&mut draft, root);
        ask(&mut draft)?;
        let settings = draft.settle()?;
        setup::write(&settings)?;
        let config = Escaped(&settings.file).to_string();
        let trial = Trial::new(root, &settings)?;
        tell(session, || format!("{config} is written; only its user can read it.\n"));
        let (doctor, mut exit) = try_it(session, &trial, &["doctor"])?;
        let mut done = Done { config, user: trial.user().map(str::to_owned), doctor, dry_run: None, next: Vec::new() };
        if exit == Exit::Complete {
            (done.dry_run, exit) = try_it(session, &trial, &["archive", "--dry-run"])?;
            done.next = trial.next(&settings.file).to_vec();
        } else {
            let again = if done.user.is_some() { "sudo " } else { "" };
            tell(session, || format!("\nCorrect the errors, and look again: {again}cc-archiver doctor --config {}\n", done.config));
        }
        session.show(&done);
        Ok(exit)
    })
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.next.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nWhat is left: a first run, a look at it, and runs by themselves:")?;
        self.next.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// What a person reads while it goes on.
fn tell(session: &Session, text: impl FnOnce() -> String) {
    if !session.is_json() {
        session.show_text(&text());
    }
}

/// A command of this program with the rights of the service: its result, if that is to be part of ours, and how it ended.
fn try_it(session: &Session, trial: &Trial, args: &[&str]) -> Result<(Option<Value>, Exit)> {
    let line = args.join(" ");
    tell(session, || format!("\ncc-archiver {line}{}:\n", trial.user().map_or(String::new(), |user| format!(", as {user}"))));
    let json: &[&str] = if session.is_json() { &["--json"] } else { &[] };
    let (printed, code) = trial.run(&[args, json].concat(), session.is_json())?;
    let exit = Exit::ALL.into_iter().find(|exit| Some(*exit as i32) == code).unwrap_or(Exit::Fatal);
    Ok((serde_json::from_slice(&printed).ok(), exit))
}

/// cc-backend's configuration, and the tree that it names.
fn look_around(draft: &mut Draft, root: &Path) {
    if draft.cc_backend.is_none() && draft.checkpoints.is_none() {
        draft.cc_backend = setup::configurations(root).iter().find_map(|path| CcBackend::read(path).ok());
    }
    let found = draft.cc_backend.as_ref().and_then(|cc_backend| cc_backend.directory.clone());
    draft.checkpoints = draft.checkpoints.take().or(found);
}

/// What could not be found out.
fn ask(draft: &mut Draft) -> Result<()> {
    if !draft.may_ask || !std::io::stdin().is_terminal() {
        return Ok(());
    }
    if draft.checkpoints.is_none() {
        draft.checkpoints = Some(PathBuf::from(answer(Input::<String>::new().with_prompt("Checkpoint tree, or cc-backend's config.json").interact_text())?));
        if draft.checkpoints.as_ref().is_some_and(|path| path.is_file()) {
            draft.cc_backend = draft.checkpoints.take().map(|path| CcBackend::read(&path)).transpose()?;
            draft.checkpoints = draft.cc_backend.as_ref().and_then(|cc_backend| cc_backend.directory.clone());
        }
    }
    if draft.archive.is_none() {
        let valid = |text: &String| text.parse::<Location>().map(drop);
        let text = answer(Input::<String>::new().with_prompt("Archive: a directory, or s3://bucket/prefix").validate_with(valid).interact_text())?;
        draft.archive = Some(text.parse().map_err(Error::Usage)?);
    }
    if draft.lacks_endpoint() {
        let text = answer(
            Input::<String>::new().with_prompt("The server's address, such as https://minio.example.org:9000; empty: AWS").allow_empty(true).interact_text(),
        )?;
        if !text.is_empty() {
            draft.put_endpoint(text);
        }
    }
    if draft.lacks_keys() {
        let id = answer(Input::<String>::new().with_prompt("Access key; empty: this machine has a role").allow_empty(true).interact_text())?;
        if !id.is_empty() {
            draft.put_keys(&id, &answer(Password::new().with_prompt("Secret key, which is not shown").interact())?);
        }
    }
    Ok(())
}

fn answer<T>(given: Result<T, dialoguer::Error>) -> Result<T> {
    given.map_err(|e| Error::Usage(format!("no answer: {e}\n  hint: --non-interactive asks nothing; see cc-archiver init --help")))
}
