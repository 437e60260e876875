//! Many writers at once for one key: some servers look first and write later, so that two of them win.

use futures::future::join_all;
use object_store::path::Path as Key;
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, Result};

use super::Check;
use super::probe::{begin, told};
use crate::store::Archive;

/// Always the same keys, so that at most two objects stay where none may be deleted.
pub const KEYS: [&str; 2] = ["_doctor/race", "_doctor/race-of-parts"];

const NAME: &str = "races";

/// How many writers there are.
const WRITERS: usize = 32;

/// Lets writers race for a key, by PUT and by completion: one must win, and its object must be there then.
pub async fn check(archive: &Archive) -> Check {
    let [put, parts] = KEYS.map(Key::from);
    for key in [&put, &parts] {
        let _ = archive.store().delete(key).await;
        match archive.store().head(key).await {
            Err(Error::NotFound { .. }) => {}
            Ok(_) => return Check::ok(NAME, "not tried again: what is left of an earlier trial may not be deleted"),
            Err(e) => return Check::warning(NAME, format!("not known: {}", told(e)), "look at it again when the server answers"),
        }
    }
    let raced = async {
        let by_put = winners(archive, &put, join_all((0..WRITERS).map(|writer| write(archive, &put, writer))).await).await?;
        let uploads: Vec<_> = join_all((0..WRITERS).map(|writer| prepare(archive, &parts, writer))).await.into_iter().collect::<Result<_>>()?;
        let by_completion = winners(archive, &parts, join_all(uploads.into_iter().map(complete)).await).await?;
        Ok::<_, Error>((by_put, by_completion))
    };
    match raced.await {
        Ok((Ok(()), Ok(()))) => Check::ok(NAME, format!("of {WRITERS} writers for one key one wins, by PUT and by completion")),
        Ok((Err(found), _) | (_, Err(found))) => Check::warning(
            NAME,
            found,
            "let one machine alone write to this archive, or use a server that writes on condition: with this one two writers at once can overwrite each other",
        ),
        Err(e) => Check::warning(NAME, format!("not known: {}", told(e)), "look at it again when the server answers"),
    }
}

/// Bytes that tell the writer, and are of one length.
fn body(writer: usize) -> PutPayload {
    PutPayload::from(format!("writer {writer:02}").into_bytes())
}

async fn write(archive: &Archive, key: &Key, writer: usize) -> Result<()> {
    let options = PutOptions { mode: PutMode::Create, attributes: archive.attributes("doctor"), tags: archive.tags(), ..Default::default() };
    archive.store().put_opts(key, body(writer), options).await.map(drop)
}

async fn prepare(archive: &Archive, key: &Key, writer: usize) -> Result<Box<dyn MultipartUpload>> {
    let mut upload = begin(archive, key).await?;
    upload.put_part(body(writer)).await?;
    Ok(upload)
}

async fn complete(mut upload: Box<dyn MultipartUpload>) -> Result<()> {
    let completed = upload.complete().await;
    if completed.is_err() {
        // one that was refused is still there
        let _ = upload.abort().await;
    }
    completed.map(drop)
}

/// What is wrong with the end of a race, if anything is.
async fn winners(archive: &Archive, key: &Key, ends: Vec<Result<()>>) -> Result<std::result::Result<(), String>> {
    let won: Vec<usize> = ends.iter().enumerate().filter_map(|(writer, end)| end.is_ok().then_some(writer)).collect();
    let is_refusal = |e: &Error| matches!(e, Error::AlreadyExists { .. } | Error::Precondition { .. });
    if let Some(e) = ends.into_iter().filter_map(Result::err).find(|e| !is_refusal(e)) {
        return Err(e);
    }
    let there = archive.store().get(key).await?.bytes().await?;
    Ok(match won[..] {
        [winner] if there == body(winner).into_iter().flatten().collect::<Vec<u8>>() => Ok(()),
        [_] => Err(format!("one writer of {WRITERS} has won {key}, and another one's object is there")),
        _ => Err(format!("{} writers of {WRITERS} have won {key}, where one may", won.len())),
    })
}
