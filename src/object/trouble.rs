//! An error of a request for one object: the object's own trouble, or one of the whole archive.
//!
//! Whoever reads many objects goes on after the first, and ends at the second. What the answer leaves open, a listing decides:
//! where the object's folder can be listed, the rest of the archive can be read too.

use std::io;

use futures::StreamExt;
use object_store::ObjectStore;
use object_store::path::Path as Key;
use parquet::errors::ParquetError;

use crate::error::{Error, Result, brief, xml_field};
use crate::ledger::{NotOurs, Trouble};
use crate::partition::Partition;
use crate::store::Archive;

/// Codes of answers that concern no single object: nobody is let in, or there is nothing to be let into.
const OF_THE_ARCHIVE: [&str; 12] = [
    "AccountProblem",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "InvalidToken",
    "InvalidTokenId",
    "NoSuchBucket",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
];

/// What is wrong with the object at `location`, by an error of Parquet's reader, which may hold one of the store.
///
/// # Errors
/// If it is not this object's trouble.
pub async fn of_reader(archive: &Archive, location: &Key, what: &'static str, e: ParquetError) -> Result<NotOurs> {
    match e {
        ParquetError::External(e) if e.is::<object_store::Error>() => match e.downcast::<object_store::Error>() {
            Ok(e) => of_store(archive, location, what, *e).await,
            Err(e) => Err(Error::Internal(e.to_string())),
        },
        e => Ok(NotOurs::damaged(e.to_string())),
    }
}

/// The same by an error of the store.
///
/// # Errors
/// If it is not this object's trouble.
pub async fn of_store(archive: &Archive, location: &Key, what: &'static str, e: object_store::Error) -> Result<NotOurs> {
    let reason = format!("it cannot be read now: {}", brief(&e));
    let trouble = match said(&e) {
        Said::OfTheObject(trouble) => trouble,
        Said::Perhaps(trouble) if answers(archive, location).await => trouble,
        Said::Perhaps(_) | Said::OfTheArchive => return Err(Error::store(what, archive.name_of(location))(e)),
    };
    if trouble == Trouble::Withheld {
        // many that lie on a broken disk must not take all of --retry-for each
        archive.lose_patience();
    }
    Ok(NotOurs::Unusable(trouble, if trouble == Trouble::Gone { "it was listed, and is not there any more".into() } else { reason }))
}

/// Whose trouble an error is.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    OfTheObject(Trouble),
    OfTheArchive,
    /// The object's, if the archive answers otherwise.
    Perhaps(Trouble),
}

fn said(e: &object_store::Error) -> Said {
    let text = e.to_string();
    let code = xml_field(&text, "Code").unwrap_or_default();
    match e {
        _ if OF_THE_ARCHIVE.contains(&code) => Said::OfTheArchive,
        object_store::Error::Unauthenticated { .. } => Said::OfTheArchive,
        _ if code == "InvalidObjectState" => Said::OfTheObject(Trouble::Cold),
        object_store::Error::NotFound { .. } if code == "NoSuchKey" => Said::OfTheObject(Trouble::Gone),
        object_store::Error::PermissionDenied { .. } if code == "AccessDenied" => Said::OfTheObject(Trouble::Denied),
        // the answer to a HEAD has no code
        object_store::Error::NotFound { .. } => Said::Perhaps(Trouble::Gone),
        object_store::Error::PermissionDenied { .. } => Said::Perhaps(Trouble::Denied),
        e if is_denied(e) => Said::OfTheObject(Trouble::Denied),
        _ => Said::Perhaps(Trouble::Withheld),
    }
}

/// A file that this user may not read.
fn is_denied(e: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(e);
    while let Some(e) = cause {
        if e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::PermissionDenied) {
            return true;
        }
        cause = e.source();
    }
    false
}

/// One listing of the object's folder, tried a few times only.
async fn answers(archive: &Archive, location: &Key) -> bool {
    let folder = Partition::parse(location).map(|(partition, _)| partition.path());
    archive.first_contact().list(folder.as_ref()).next().await.is_none_or(|listed| listed.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: &str) -> Box<dyn std::error::Error + Send + Sync> {
        format!("403: <Error><Code>{code}</Code><Message>no</Message></Error>").into()
    }

    #[test]
    fn an_answer_is_of_the_object_or_of_the_archive() {
        let denied = |code| said(&object_store::Error::PermissionDenied { path: "o".into(), source: answered(code) });
        assert_eq!(denied("AccessDenied"), Said::OfTheObject(Trouble::Denied));
        assert_eq!(denied("InvalidObjectState"), Said::OfTheObject(Trouble::Cold));
        for code in ["InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"] {
            assert_eq!(denied(code), Said::OfTheArchive, "{code}");
        }
        let missing = |code| said(&object_store::Error::NotFound { path: "o".into(), source: answered(code) });
        assert_eq!((missing("NoSuchKey"), missing("NoSuchBucket")), (Said::OfTheObject(Trouble::Gone), Said::OfTheArchive));
        let other = |code| said(&object_store::Error::Generic { store: "S3", source: answered(code) });
        assert_eq!((other("ExpiredToken"), other("InternalError")), (Said::OfTheArchive, Said::Perhaps(Trouble::Withheld)));
        assert_eq!((denied("status 403"), missing("")), (Said::Perhaps(Trouble::Denied), Said::Perhaps(Trouble::Gone)));
        assert_eq!(said(&object_store::Error::Unauthenticated { path: "o".into(), source: answered("") }), Said::OfTheArchive);
        let file = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(said(&object_store::Error::Generic { store: "LocalFileSystem", source: file.into() }), Said::OfTheObject(Trouble::Denied));
    }
}
