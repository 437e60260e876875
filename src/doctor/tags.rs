//! ETags: a proof compares the one of an upload's answer with the one that the object has later.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutOptions, PutPayload};

use super::Check;
use super::probe::{begin, told};
use crate::etag::ETag;
use crate::store::Archive;

const NAME: &str = "ETags";

/// Writes an object at `key`, another one in parts at `parts`, and compares what each answer calls them.
pub async fn check(archive: &Archive, key: &Key, parts: &Key) -> Check {
    let mut forms = BTreeSet::new();
    for asked in [put(archive, key).await, completed(archive, parts).await] {
        let (what, tags) = match asked {
            Ok(asked) => asked,
            Err(e) => return Check::warning(NAME, format!("not known: {}", told(e)), "look at it again when the server answers"),
        };
        let known: Vec<(&str, &str, ETag)> = tags.iter().filter_map(|(answer, tag)| Some((*answer, tag.as_str(), ETag::parse(tag)?))).collect();
        if let Some((answer, other, _)) = known.iter().find(|(.., tag)| *tag != known[0].2) {
            let (first, expected, _) = &known[0];
            return Check::error(
                NAME,
                format!("{what} has another tag in each answer: {expected} in {first}, {other} in {answer}"),
                "use another server, or a newer version of it: whether an object is the one that was uploaded cannot be told, and nothing is pruned",
            );
        }
        forms.extend(known.iter().map(|(_, spelled, tag)| spelled.replace(tag.to_string().trim_matches('"'), "tag")));
    }
    Check::ok(
        NAME,
        match forms.len() {
            0 => "no answer has one".to_owned(),
            1 => "all answers have the same".to_owned(),
            _ => format!("all answers have the same, spelled in {} ways ({}): that works", forms.len(), forms.into_iter().collect::<Vec<_>>().join(", ")),
        },
    )
}

/// What was written, and its tag by answer.
type Asked = (&'static str, Vec<(&'static str, String)>);

async fn put(archive: &Archive, key: &Key) -> object_store::Result<Asked> {
    let options = PutOptions { attributes: archive.attributes("doctor"), tags: archive.tags(), ..Default::default() };
    let answer = archive.store().put_opts(key, PutPayload::from_static(b"tagged"), options).await?;
    Ok(("an object", later(archive, key, ("the answer to a PUT", answer.e_tag)).await?))
}

/// One that stays there, as nothing may be deleted, is not completed again: its other answers are compared.
async fn completed(archive: &Archive, key: &Key) -> object_store::Result<Asked> {
    let mut upload = begin(archive, key).await?;
    upload.put_part(PutPayload::from_static(b"tagged")).await?;
    let answer = match upload.complete().await {
        Ok(answer) => answer.e_tag,
        Err(_) => {
            let _ = upload.abort().await;
            None
        }
    };
    Ok(("an object of several parts", later(archive, key, ("the answer to its completion", answer)).await?))
}

/// All that is said of an object, from its upload on.
async fn later(archive: &Archive, key: &Key, upload: (&'static str, Option<String>)) -> object_store::Result<Vec<(&'static str, String)>> {
    let head = archive.store().head(key).await?.e_tag;
    let folder = Key::from_iter(key.parts().next());
    let listed: Vec<ObjectMeta> = archive.store().list(Some(&folder)).try_collect().await?;
    let listed = listed.into_iter().find(|object| object.location == *key).and_then(|object| object.e_tag);
    let tags = [upload, ("a HEAD", head), ("a listing", listed)];
    Ok(tags.into_iter().filter_map(|(answer, tag)| Some((answer, tag?))).collect())
}
