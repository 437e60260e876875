//! The archive: what runs will ask of a store is tried, with one small object that readers pass over.

use std::path::Path;

use bytes::Bytes;
use bytesize::ByteSize;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetResult, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use rustix::fs::Access;
use tokio::time::Instant;

use super::probe::{begin, told};
use super::{Check, Level, races, tags};
use crate::error::{Error, Escaped, rights};
use crate::random;
use crate::store::{Archive, Created, Lifecycle, Naming, UPLOAD_TOKEN};

/// Readers pass over what begins with an underscore. Always the same keys, so that no more than these stay where none may be deleted.
const PROBE: &str = "_doctor/probe";
const PROBE_OF_PARTS: &str = "_doctor/probe-of-parts";

/// Clocks that are further apart are worth a word; S3 refuses requests from 15 minutes on. Seconds.
const SKEW: u64 = 60;
const MOST_SKEW: u64 = 10 * 60;

/// Of these one stands in the answer of a server that has noticed other bytes than were signed.
const NOTICED: [&str; 4] = ["digest", "checksum", "sha256", "signature"];

/// Less space than this is worth a word.
const LITTLE: u64 = 10 << 30;
/// With less than this the next object does not fit.
const NEARLY_NONE: u64 = 64 << 20;

/// An archive in a directory that exists. `None` for `archive` says that it does not, yet.
pub async fn check_directory(path: &Path, archive: Option<&Archive>) -> Vec<Check> {
    const NAME: &str = "archive";
    let Some(archive) = archive else {
        if let Some(file) = path.ancestors().find(|above| above.exists() && !above.is_dir()) {
            return vec![Check::error(NAME, format!("{} is no directory", Escaped(file)), "name a directory, or s3://bucket/prefix")];
        }
        let parent = path.ancestors().skip(1).find(|parent| parent.is_dir()).unwrap_or(Path::new("."));
        return vec![match rustix::fs::access(parent, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => Check::ok(NAME, format!("{} is not there yet, and can be made{}; the first run makes it", Escaped(path), super::by_whom())),
            Err(e) => Check::error(
                NAME,
                format!("{} is not there, and cannot be made: {e}: {}", Escaped(path), rights::missing(parent)),
                "make it, and let this user write to it",
            ),
        }];
    };
    let space = rustix::fs::statvfs(path).ok().map(|status| {
        // a file system that does not count files says that there are none
        let files = (status.f_files > 0).then_some(status.f_favail);
        space(status.f_bavail.saturating_mul(status.f_frsize), files)
    });
    // where nothing fits, nothing else would be learned
    if space.as_ref().is_some_and(|check| check.level == Level::Error) {
        return space.into_iter().collect();
    }
    let written = match try_directory(archive).await {
        Ok(naming) if naming.is_exclusive() => {
            Check::ok(NAME, format!("{} can be written to{}; what is there is not overwritten", Escaped(path), super::by_whom()))
        }
        Ok(_) => Check::warning(
            NAME,
            format!("{} can be written to{}; its file system has neither hard links nor renames that never overwrite", Escaped(path), super::by_whom()),
            "let one machine alone write to this archive: if two write at once, rows can stand twice, and keys get random numbers",
        ),
        Err(why) => Check::error(NAME, why, "let this user write there"),
    };
    std::iter::once(written).chain(space).collect()
}

/// Whether there is room for the next objects: bytes, and files where their number is limited.
fn space(free: u64, files: Option<u64>) -> Check {
    const NAME: &str = "archive's space";
    let found = format!("{} free", ByteSize(free));
    let advice = "give it more space: a full disk ends runs";
    match files {
        Some(0) => Check::error(NAME, format!("{found}, and no file can be made any more: all inodes are in use"), advice),
        _ if free < NEARLY_NONE => Check::error(NAME, format!("{found}: it is full"), advice),
        _ if free < LITTLE => Check::warning(NAME, found, advice),
        _ => Check::ok(NAME, found),
    }
}

/// Stages an object and gives it a name, as an upload does; a second one of its name must be refused. Gives how names are given.
async fn try_directory(archive: &Archive) -> Result<Naming, String> {
    let shown = |e: Error| super::on_one_line(&e);
    let name = Key::from(format!("_tmp/doctor-{}", random::token().map_err(shown)?));
    let attempt = async {
        let mut ends = Vec::new();
        for body in ["first", "second"] {
            let staged = archive.staged(&Key::from(PROBE)).map_err(shown)?.ok_or_else(|| "it is no directory".to_owned())?;
            archive.store().put(&staged, PutPayload::from_static(body.as_bytes())).await.map_err(told)?;
            ends.push(archive.publish(&staged, &name).await.map_err(shown)?);
        }
        match ends[..] {
            [Created::Done(_), Created::Taken] => archive.naming().await.map_err(shown),
            _ => Err("a file was overwritten that should not have been".into()),
        }
    };
    let done = attempt.await;
    let _ = archive.store().delete(&name).await;
    done
}

/// An archive in a bucket. `spoiled` reaches the same place, and changes what is sent on its way.
pub async fn check_store(archive: &Archive, spoiled: Option<&Archive>) -> Vec<Check> {
    let begun = Instant::now();
    let first = archive.first_contact().list_with_delimiter(None).await;
    let mut checks = vec![match first {
        Ok(_) => Check::ok("listing", format!("{archive:?} answers in {} ms", begun.elapsed().as_millis())),
        Err(e) => return vec![Check::error("listing", told(e), "correct this first; nothing else was tried")],
    }];
    checks.push(clock(archive));
    let key = Key::from(PROBE);
    let Ok(token) = random::token() else { return checks };
    let written = write(archive, &key, &token).await;
    let can_write = written.is_ok();
    checks.push(match written {
        Ok(()) => Check::ok("writing", "an object can be written"),
        Err(e) => Check::error("writing", told(e), "allow s3:PutObject below the prefix, for archive; prune and verify need not write"),
    });
    if can_write {
        checks.push(reading(archive, &key, &token).await);
        checks.push(conditional(archive, &key).await);
        // where a single writer overwrites, or is not read, many of them need not be tried
        if checks.iter().rev().take(2).all(|check| check.level == Level::Ok) {
            checks.push(races::check(archive).await);
        }
        checks.push(tags::check(archive, &key, &Key::from(PROBE_OF_PARTS)).await);
        checks.push(multipart(archive, &key).await);
        if let Some(spoiled) = spoiled {
            checks.push(integrity(spoiled, &key).await);
        }
        checks.push(deleting(archive, &key).await);
    }
    checks.push(lifecycle(archive).await);
    checks
}

fn clock(archive: &Archive) -> Check {
    const NAME: &str = "clock";
    let Some(ahead) = archive.clock_ahead() else {
        return Check::warning(NAME, "the server does not tell its time", "keep this machine's clock right: requests are refused from 15 minutes on");
    };
    let found = match ahead.unsigned_abs() {
        seconds if seconds <= 2 => "it is the same as the server's".to_owned(),
        seconds => format!("this machine is {} {} the server", super::said(seconds), if ahead > 0 { "ahead of" } else { "behind" }),
    };
    match ahead.unsigned_abs() {
        seconds if seconds > MOST_SKEW => Check::error(NAME, found, "set the clock: requests are refused from 15 minutes on"),
        seconds if seconds > SKEW => Check::warning(NAME, found, "set the clock by NTP"),
        _ => Check::ok(NAME, found),
    }
}

fn options(archive: &Archive, token: &str, mode: PutMode) -> PutOptions {
    PutOptions { mode, attributes: archive.attributes(token), tags: archive.tags(), ..Default::default() }
}

async fn write(archive: &Archive, key: &Key, token: &str) -> object_store::Result<()> {
    let body = PutPayload::from(Bytes::copy_from_slice(token.as_bytes()));
    archive.store().put_opts(key, body, options(archive, token, PutMode::Overwrite)).await.map(drop)
}

async fn reading(archive: &Archive, key: &Key, token: &str) -> Check {
    const NAME: &str = "reading";
    let read = async {
        let head: GetResult = archive.store().get_opts(key, GetOptions { head: true, ..Default::default() }).await?;
        let bytes = archive.store().get(key).await?.bytes().await?;
        archive.compare(key, &head.extensions).await;
        let named = head.attributes.get(&object_store::Attribute::Metadata(UPLOAD_TOKEN.into())).is_some_and(|found| **found == *token);
        Ok::<_, object_store::Error>((bytes == token.as_bytes(), named))
    };
    match read.await {
        Ok((true, true)) => Check::ok(NAME, "it comes back as it was written, with its metadata"),
        Ok((false, _)) => Check::error(NAME, "it comes back with other bytes than were written", "do not use this server: it does not keep what it is given"),
        Ok((_, false)) => Check::error(NAME, "its metadata are lost", "do not use this server: a lost answer could not be told from somebody else's upload"),
        Err(e) => Check::error(NAME, told(e), "allow s3:GetObject below the prefix"),
    }
}

/// A PUT and a completion that must not overwrite what is there.
async fn conditional(archive: &Archive, key: &Key) -> Check {
    const NAME: &str = "no overwriting";
    let advice =
        "use a server that honours If-None-Match; with this one let one machine alone write to the archive: rows can stand twice, and keys get random numbers";
    let put = archive.store().put_opts(key, PutPayload::from_static(b"second"), options(archive, "second", PutMode::Create)).await;
    if !matches!(put, Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. })) {
        let found = put.map_or_else(|e| format!("a conditional PUT is not understood: {}", told(e)), |_| "a conditional PUT overwrites all the same".into());
        return Check::error(NAME, found, advice);
    }
    match complete_over(archive, key).await {
        Ok(true) => Check::warning(NAME, "a conditional completion of an upload overwrites all the same", advice),
        Ok(false) => Check::ok(NAME, "conditional writes and completions are refused if an object is there"),
        Err(e) => Check::error(NAME, format!("a conditional completion of an upload is not understood: {}", told(e)), advice),
    }
}

/// Completes an upload over an object. True if the server let it.
async fn complete_over(archive: &Archive, key: &Key) -> object_store::Result<bool> {
    let mut upload = begin(archive, key).await?;
    let completed = match upload.put_part(PutPayload::from_static(b"third")).await {
        Ok(()) => upload.complete().await.map(|_| true),
        Err(e) => Err(e),
    };
    if completed.is_err() {
        let _ = upload.abort().await;
    }
    match completed {
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
        other => other,
    }
}

async fn multipart(archive: &Archive, key: &Key) -> Check {
    const NAME: &str = "multipart uploads";
    let mut upload = match begin(archive, key).await {
        Ok(upload) => upload,
        Err(e) => return Check::error(NAME, told(e), "allow s3:PutObject: large objects are uploaded in parts"),
    };
    let sent = upload.put_part(PutPayload::from_static(b"part")).await;
    let aborted = upload.abort().await;
    // one that was completed by a check before is as good
    let completed = complete_over(archive, &Key::from(PROBE_OF_PARTS)).await;
    match (sent, aborted) {
        (Ok(()), Ok(())) if completed.is_ok() => Check::ok(NAME, "they can be begun, completed and given up"),
        (Ok(()), Ok(())) => {
            let found = completed.map_or_else(told, |_| String::new());
            Check::error(
                NAME,
                format!("they cannot be completed: {found}"),
                "allow s3:PutObject, and kms:Decrypt with --sse kms: large objects are uploaded in parts",
            )
        }
        (Err(e), _) => Check::error(NAME, format!("no part can be sent: {}", told(e)), "allow s3:PutObject: large objects are uploaded in parts"),
        (_, Err(e)) => Check::error(NAME, format!("they cannot be given up: {}", told(e)), "allow s3:AbortMultipartUpload"),
    }
}

/// Bytes that change on their way must not be stored.
async fn integrity(spoiled: &Archive, key: &Key) -> Check {
    const NAME: &str = "integrity";
    let put = spoiled.first_contact().put_opts(key, PutPayload::from_static(b"these bytes change"), options(spoiled, "spoiled", PutMode::Overwrite)).await;
    match put.map_err(told) {
        Err(why) if NOTICED.iter().any(|word| why.to_ascii_lowercase().contains(word)) => Check::ok(NAME, "bytes that change on their way are refused"),
        Err(why) => Check::warning(NAME, format!("not known: {why}"), "look at it again when the server answers"),
        Ok(_) => {
            Check::error(NAME, "bytes that change on their way are stored", "archive with --verify full, or use a server that checks signatures and checksums")
        }
    }
}

async fn deleting(archive: &Archive, key: &Key) -> Check {
    const NAME: &str = "cleaning up";
    let mut deleted = archive.store().delete(key).await;
    for other in races::KEYS.into_iter().chain([PROBE_OF_PARTS]) {
        match archive.store().delete(&Key::from(other)).await {
            // where the server does not overwrite on condition, there was no race
            Err(object_store::Error::NotFound { .. }) => {}
            done => deleted = deleted.and(done),
        }
    }
    match deleted {
        Ok(()) => Check::ok(NAME, "the objects of this check are gone"),
        Err(_) => Check::ok(NAME, format!("{} stays: nothing may be deleted, and no run needs to", archive.name_of(key))),
    }
}

async fn lifecycle(archive: &Archive) -> Check {
    const NAME: &str = "lifecycle rule";
    let advice = "give the bucket a rule that aborts incomplete multipart uploads after two days (deploy/iam): a run that is killed can leave one, which costs its bytes";
    match archive.lifecycle().await {
        Ok(Lifecycle::Aborts) => Check::ok(NAME, "a rule removes unfinished uploads"),
        Ok(Lifecycle::Needless) => Check::ok(NAME, "this server takes no such rule: it removes unfinished uploads by itself"),
        Ok(Lifecycle::Lacks) => Check::warning(NAME, "unfinished uploads stay", advice),
        Ok(Lifecycle::Hidden(why)) => {
            Check::warning(NAME, format!("not known: {why}"), format!("allow s3:GetLifecycleConfiguration to have it looked at; {advice}"))
        }
        Err(e) => Check::warning(NAME, format!("not known: {}", told(e)), advice),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_an_error_and_one_that_is_nearly_full_a_warning() {
        let level = |free, files| space(free, files).level;
        assert_eq!([level(20 << 30, None), level(20 << 30, Some(1_000)), level(9 << 30, None)], [Level::Ok, Level::Ok, Level::Warning]);
        assert_eq!([level(0, None), level(63 << 20, Some(1_000)), level(20 << 30, Some(0))], [Level::Error; 3]);
    }
}
