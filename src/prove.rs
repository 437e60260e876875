//! Stage 10: proofs. Of an object, that it stands in the archive as it was written; of a source, that its very bytes on
//! disk are archived, on every date that it feeds, in objects that are proven.
//!
//! [`ObjectProof`] and [`Proven`] have no constructor but the functions here, and those look for themselves: whatever
//! deletes asks for a [`Proven`], so code that deletes without proof does not compile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use object_store::{Attribute, GetOptions, ObjectStoreExt};

use crate::error::{Error, Result};
use crate::etag::ETag;
use crate::files::{Hashed, Identity, Place};
use crate::floor::Floor;
use crate::ledger::{self, Entry, Holdings, NotOurs, ObjectLedger, Trouble, Unreadable};
use crate::names::{Date, Digest, Host};
use crate::object::{self, Found, Hashers, Uploaded, trouble};
use crate::partition::{Bucket, ObjectKey};
use crate::settings::Depth;
use crate::store::{Archive, UPLOAD_TOKEN};

/// What is claimed of an object after its upload.
#[derive(Debug)]
pub struct Claim {
    /// As it was sent.
    pub object: Uploaded,
    /// Rows written.
    pub rows: u64,
    /// Of its ledger.
    pub ledger: Digest,
    /// Its sources, as the ledger calls them, and their digests.
    pub sources: Box<[(Box<str>, Digest)]>,
}

/// An object that stands in the archive as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectProof {
    key: ObjectKey,
    size: u64,
    digest: Digest,
    e_tag: Option<ETag>,
}

impl ObjectProof {
    /// Its key.
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    fn of(ledger: &ObjectLedger) -> Self {
        Self { key: ledger.key.clone(), size: ledger.size, digest: ledger.digest, e_tag: ledger.e_tag.clone() }
    }

    /// True if it is a proof of what was listed, and not of an object that has been replaced.
    fn is_of(&self, ledger: &ObjectLedger) -> bool {
        *self == Self::of(ledger)
    }
}

/// Proofs of objects, or what is wrong with them, by key.
pub type Proofs = BTreeMap<ObjectKey, Result<ObjectProof, String>>;

/// Proves an object that this run uploaded: a HEAD, and the footer read back; and all of its bytes, if asked to.
/// An error is one of this program, or an interruption; whatever the store says makes the proof fail.
pub async fn uploaded(archive: &Archive, hashers: &Hashers, claim: &Claim, depth: Depth) -> Result<Result<ObjectProof, String>> {
    let sent = &claim.object;
    let location = sent.key.path();
    let head = match archive.store().get_opts(&location, GetOptions { head: true, ..Default::default() }).await {
        Ok(head) => head,
        Err(e) => return Ok(Err(Error::store("cannot look up", archive.name_of(&sent.key))(e).to_string())),
    };
    let token = head.attributes.get(&Attribute::Metadata(UPLOAD_TOKEN.into())).map(|token| token.as_ref().to_owned());
    if head.meta.size != sent.size {
        return Ok(Err(format!("it has {} bytes, and {} were sent", head.meta.size, sent.size)));
    }
    if sent.token.is_some() && token != sent.token {
        return Ok(Err("its upload token is not ours: another process has written under the same key".into()));
    }
    let e_tag = ETag::of(head.meta.e_tag.as_deref());
    if sent.e_tag.is_some() && e_tag != sent.e_tag {
        let shown = |tag: &Option<ETag>| tag.as_ref().map_or_else(|| "none".into(), ETag::to_string);
        return Ok(Err(format!("its ETag is {}, and the answer to the upload said {}", shown(&e_tag), shown(&sent.e_tag))));
    }
    archive.compare(&location, &head.extensions).await;
    let ledger = match object::ledger(archive, &head.meta).await {
        Ok(Ok(ledger)) => ledger,
        Ok(Err(why)) => return Ok(Err(why.to_string())),
        Err(e) => return Ok(Err(e.to_string())),
    };
    if ledger.digest != sent.digest || ledger.rows != claim.rows || ledger.ledger != claim.ledger {
        return Ok(Err("its footer is not the one that was sent".into()));
    }
    match in_full(hashers, ledger, depth).await {
        Ok(proof) => Ok(proof.map_err(|why| why.to_string())),
        Err(e @ (Error::Interrupted | Error::Internal(_))) => Err(e),
        Err(e) => Ok(Err(e.to_string())),
    }
}

/// Proves an object that was there before, whose ledger was read. What keeps it from being read comes with what to do.
pub async fn present(archive: &Archive, hashers: &Hashers, listed: &ObjectLedger, depth: Depth) -> Result<Result<ObjectProof, String>> {
    let proof = looked_at(archive, hashers, listed, depth).await?;
    Ok(proof.map_err(|why| match why {
        NotOurs::Unusable(Trouble::Damaged, reason) => reason,
        why => Unreadable::new(archive.name_of(&listed.key), why).to_string(),
    }))
}

async fn looked_at(archive: &Archive, hashers: &Hashers, listed: &ObjectLedger, depth: Depth) -> Found<ObjectProof> {
    let location = listed.key.path();
    let meta = match archive.for_reading().head(&location).await {
        Ok(meta) => meta,
        Err(e) => return Ok(Err(trouble::of_store(archive, &location, "cannot look up", e).await?)),
    };
    let ledger = match object::ledger(archive, &meta).await? {
        Ok(ledger) => ledger,
        Err(why) => return Ok(Err(why)),
    };
    if !ObjectProof::of(&ledger).is_of(listed) || ledger.ledger != listed.ledger {
        return Ok(Err(NotOurs::damaged("it was replaced during this run")));
    }
    in_full(hashers, ledger, depth).await
}

async fn in_full(hashers: &Hashers, ledger: ObjectLedger, depth: Depth) -> Found<ObjectProof> {
    if depth == Depth::Footer {
        return Ok(Ok(ObjectProof::of(&ledger)));
    }
    let checked = hashers.check(&ledger.key.path(), ledger.size, ledger.digest).await?;
    Ok(checked.map(|()| ObjectProof::of(&ledger)))
}

/// Sources of an object that stand in another object of the partition too: (path of the source, object).
pub fn stand_twice<'a>(claim: &'a Claim, others: &'a Holdings) -> impl Iterator<Item = (&'a str, &'a ObjectLedger)> {
    let twins = move |(path, digest): &'a (Box<str>, Digest)| {
        let same = move |(object, other): &(&ObjectLedger, &Entry)| object.key != claim.object.key && other.path == *path && other.blake3 == *digest;
        others.of_host(ledger::host_of(path)).filter(same).map(move |(object, _)| (&**path, object))
    };
    claim.sources.iter().flat_map(twins)
}

/// A source of which nothing is lost if its file is deleted.
#[derive(Debug)]
pub struct Proven {
    file: Hashed,
}

impl Proven {
    /// Where the file is.
    pub fn place(&self) -> &Place {
        self.file.place()
    }

    /// What the file was when it was hashed.
    pub fn identity(&self) -> Identity {
        self.file.identity()
    }

    /// Hashes the file again, as it is now; None if its bytes are others. Blocks.
    pub fn again(&self) -> Option<Self> {
        let file = Hashed::new(self.file.place().clone(), self.file.size(), || true).ok()?;
        (file.digest() == self.file.digest()).then_some(Self { file })
    }
}

/// Why a source is not proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unproven {
    /// No ledger names these bytes, or not on all dates.
    NotArchived(String),
    /// Values of it contradict archived ones.
    Conflict,
    /// Something in the archive is not as it must be.
    Doubt(String),
    /// An object that may concern it cannot be read.
    Unreadable(Unreadable),
}

/// The archive's ledgers of some dates of one cluster.
#[derive(Debug, Default)]
pub struct Ledgers {
    /// From which date on the cluster is kept. Of what lies before it nobody asks whether it is archived.
    pub floor: Floor,
    /// By date.
    pub loaded: BTreeMap<Date, Arc<Holdings>>,
}

impl Ledgers {
    /// None are loaded yet.
    pub fn new(floor: Floor) -> Self {
        Self { floor, loaded: BTreeMap::new() }
    }

    /// Those of a date, if they are loaded.
    pub fn get(&self, date: &Date) -> Option<&Arc<Holdings>> {
        self.loaded.get(date)
    }
}

/// What the archive has of a source: what it covers, and the objects that must be proven.
#[derive(Debug)]
pub struct Archived<'a> {
    /// End of what it covers: from its header, or its last sample where that is later.
    pub to: i64,
    /// The objects of all its dates, and of all that hold rows which it dropped.
    pub objects: Vec<&'a ObjectLedger>,
}

/// A source by what ledgers name it by: that it is archived can be looked up, but only a [`Hashed`] file can be proven.
#[derive(Debug)]
pub struct Named {
    /// Whose it is.
    pub host: Host,
    /// How a ledger calls it.
    pub path: Box<str>,
    /// Of its bytes.
    pub digest: Digest,
}

impl From<&Hashed> for Named {
    fn from(file: &Hashed) -> Self {
        Self { host: file.place().host.clone(), path: file.place().ledger_path(), digest: file.digest() }
    }
}

/// All dates that the source feeds, by its entry of the home date; `None` if there is none.
pub fn dates_of(source: &Named, home: &Holdings) -> Option<Vec<Date>> {
    entries_of(source, home).next().map(|(_, entry)| entry.dates.to_vec())
}

fn entries_of<'a>(source: &Named, holdings: &'a Holdings) -> impl Iterator<Item = (&'a ObjectLedger, &'a Entry)> {
    holdings.of_host(source.host.as_str()).filter(move |(_, entry)| entry.path == source.path && entry.blake3 == source.digest)
}

/// Looks a source up on all of its dates that are kept, `home` being the first on which it must be named. `ledgers` must have those of all of them.
pub fn look_up<'a>(source: &Named, home: Date, ledgers: &'a Ledgers, conflicting: bool) -> Result<Archived<'a>, Unproven> {
    let missing = |date: Date| Unproven::NotArchived(format!("it is not archived on {date}"));
    let damaged = |holdings: &Holdings| holdings.unreadable_of(source.host.as_str()).cloned().map(Unproven::Unreadable);
    let home_holdings = ledgers.get(&home).ok_or_else(|| missing(home))?;
    if let Some(doubt) = damaged(home_holdings).or_else(|| broken(home_holdings, source)) {
        return Err(doubt);
    }
    let Some(dates) = dates_of(source, home_holdings) else {
        return Err(Unproven::NotArchived("its bytes as they are now are not archived".into()));
    };
    let (mut objects, mut to) = (BTreeMap::new(), i64::MIN);
    let mut conflicts = false;
    for date in dates.into_iter().filter(|date| ledgers.floor.keeps(*date)) {
        let holdings = ledgers.get(&date).ok_or_else(|| missing(date))?;
        if let Some(doubt) = damaged(holdings).or_else(|| broken(holdings, source)) {
            return Err(doubt);
        }
        let mut found = entries_of(source, holdings);
        let (object, entry) = found.next().ok_or_else(|| missing(date))?;
        if let Some((other, _)) = found.next() {
            return Err(Unproven::Doubt(format!("it stands in two objects, {} and {}", object.key, other.key)));
        }
        conflicts |= entry.conflicting > 0;
        to = to.max(entry.to).max(entry.from).max(entry.last.unwrap_or(i64::MIN));
        objects.insert(&object.key, object);
        for holder in holders(&source.host, entry, holdings)? {
            objects.insert(&holder.key, holder);
        }
    }
    if conflicts && !conflicting {
        return Err(Unproven::Conflict);
    }
    Ok(Archived { to, objects: objects.into_values().collect() })
}

/// Rows stand twice in a sequence that the host has rows in: which of them will stay is not known. What was removed by hand shows where its rows
/// are missed.
fn broken(holdings: &Holdings, source: &Named) -> Option<Unproven> {
    let buckets: BTreeSet<Bucket> = holdings.of_host(source.host.as_str()).map(|(object, _)| object.key.bucket).collect();
    let doubt = holdings.doubts().iter().find(|doubt| doubt.is_double() && buckets.contains(&doubt.bucket))?;
    Some(Unproven::Doubt(format!("{}: {doubt}", doubt.key)))
}

/// The objects of all sources that hold rows which `entry` dropped, and of those that hold rows which these dropped.
fn holders<'a>(host: &Host, entry: &Entry, holdings: &'a Holdings) -> Result<Vec<&'a ObjectLedger>, Unproven> {
    let (mut open, mut seen, mut objects) = (entry.held_by.to_vec(), BTreeSet::new(), Vec::new());
    while let Some(digest) = open.pop() {
        if !seen.insert(digest) {
            continue;
        }
        let mut paths = BTreeSet::new();
        for (object, holder) in holdings.of_host(host.as_str()).filter(|(_, holder)| holder.blake3 == digest) {
            if !paths.insert(&holder.path) {
                return Err(Unproven::Doubt(format!("{}, which holds rows of it, stands in two objects, one of them {}", holder.path, object.key)));
            }
            objects.push(object);
            open.extend(&holder.held_by);
        }
        if paths.is_empty() {
            return Err(Unproven::Doubt(format!("some of its rows were held by a source that is in no object any more (BLAKE3 {digest})")));
        }
    }
    Ok(objects)
}

/// Proves a source: its bytes, all its dates, all holders, and an object proof of each.
pub fn source(file: &Hashed, home: Date, ledgers: &Ledgers, proofs: &Proofs, conflicting: bool) -> Result<Proven, Unproven> {
    let proven = |object: &&ObjectLedger| match proofs.get(&object.key) {
        Some(Ok(proof)) if proof.is_of(object) => Ok(()),
        Some(Ok(_)) => Err(Unproven::Doubt(format!("{} was replaced during this run", object.key))),
        Some(Err(reason)) => Err(Unproven::Doubt(format!("the proof of {} failed: {reason}", object.key))),
        None => Err(Unproven::Doubt(format!("{} is not proven", object.key))),
    };
    look_up(&file.into(), home, ledgers, conflicting)?.objects.iter().try_for_each(proven)?;
    Ok(Proven { file: file.clone() })
}
