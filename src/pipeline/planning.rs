//! From the scan and the ledgers to a plan, reading no more footers than the dates in question have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::handed::{Refuted, Sources};
use super::moved::{self, digest_of};
use super::{Choice, Context, check_schema};
use crate::catalog;
use crate::checkpoint::{self, Extent, Flaw, Form};
use crate::error::{Error, Result, SetAside};
use crate::files::{ClusterFiles, SnapshotFile, Unread};
use crate::floor::Floor;
use crate::info::ArchiveInfo;
use crate::ledger::{Doubt, Holdings, Unreadable};
use crate::names::{Cluster, Date};
use crate::partition::{Bucket, Partition};
use crate::plan::{self, ClusterPlan, Known, Left, Work};
use crate::read;
use crate::store::Archive;
use crate::telemetry::MovedHost;

/// Partitions listed at a time.
const CONCURRENT_LISTINGS: usize = 8;
/// Home dates that are looked up at a time: bounds the ledgers in memory where nothing is left to do.
const DATES_AT_A_TIME: usize = 16;
/// Headers that a worker reads at a time.
const HEADERS_AT_A_TIME: usize = 64;
/// Snapshots that are looked up at a time, if they are of more than one date.
const SNAPSHOTS_AT_A_TIME: usize = 50_000;

/// A plan, and what does not take part in it.
pub struct Planned {
    /// What to do, bucket by bucket.
    pub plans: Vec<ClusterPlan>,
    /// Snapshots that are archived on all of their dates.
    pub archived: u64,
    /// Snapshots that begin after `--before`.
    pub too_recent: u64,
    /// Snapshots whose names are of dates that the run does not take.
    pub other_dates: u64,
    /// New snapshots whose bytes are archived as those of another host.
    pub moved: Vec<MovedHost>,
    /// Snapshots all of whose dates lie below the floor.
    pub below_the_floor: u64,
    /// Snapshots that cannot be decided on, as an object that may hold them cannot be read; and what does not fit together in the archive.
    pub set_aside: Vec<SetAside>,
}

/// Plans one cluster, or `only` some sources of it, by (index of the host, index of the snapshot).
///
/// `refuted` has the dates of those whose headers are wrong.
pub async fn plan_cluster(context: &Context, info: ArchiveInfo, files: &ClusterFiles, only: Option<&Sources>, refuted: &Refuted) -> Result<Planned> {
    let floor = catalog::floors(&context.archive).await?.of(&files.cluster);
    let Chosen { homes, too_recent, other_dates, mut below } = chosen(&context.choice, floor, files, only);
    let mut moved = moved::Found::new(context, files, refuted);
    let mut ledgers = Ledgers { context, info, floor, cluster: &files.cluster, loaded: BTreeMap::new(), doubts: Vec::new() };
    let (mut work, mut archived, mut needed) = (Vec::new(), 0, BTreeSet::new());
    for some in at_a_time(homes) {
        let mut found = Vec::new();
        ledgers.load(some.iter().map(|(date, _)| *date).collect()).await?;
        for (h, s) in some.iter().flat_map(|(_, sources)| sources) {
            match left_of(context, files, *h, *s, &mut ledgers).await? {
                Some(item) => found.push(item),
                None => {
                    archived += 1;
                    // of a partition that another writer was faster in it can be archived by now
                    context.progress.watch.left().settle(files, (*h, *s));
                }
            }
        }
        let found = moved.look_at(found, |file| ledgers.get(floor.first_from(file.home()))).await?;
        let claimed = with_claims(context, files, floor, found, refuted).await?;
        let (found, gone) = above(claimed, floor);
        below.extend(gone);
        needed.extend(found.iter().flat_map(|item| item.left.dates()));
        work.extend(found);
        ledgers.load(needed.clone()).await?;
        // samples can lie a little before their snapshot
        let last = some.last().map(|(date, _)| *date);
        ledgers.loaded.retain(|date, _| needed.contains(date) || Some(*date) >= last);
    }
    ledgers.loaded.retain(|date, _| needed.contains(date));
    below.iter().for_each(|source| context.progress.watch.left().settle(files, *source));
    work.sort_by_key(|w| (w.host, w.snapshot));
    context.progress.watch.left().plan(files, work.iter().map(|w| (w.host, w.snapshot)));
    let (work, mut set_aside) = without_unreadable(files, work, &ledgers.loaded);
    set_aside.append(&mut ledgers.doubts);
    let mut buckets: BTreeMap<Bucket, Vec<Work>> = BTreeMap::new();
    for item in work {
        buckets.entry(info.buckets.of(&files.cluster, files.hosts[item.host].host.as_str())).or_default().push(item);
    }
    let plan = |(bucket, work)| ClusterPlan::new(bucket, floor, work, &ledgers.loaded);
    let plans = buckets.into_iter().map(plan).collect();
    Ok(Planned { plans, archived, too_recent, other_dates, moved: moved.hosts(), below_the_floor: below.len() as u64, set_aside })
}

/// What a plan looks at.
#[derive(Default)]
struct Chosen {
    /// Snapshots by the first date that names them.
    homes: BTreeMap<Date, Vec<(usize, usize)>>,
    too_recent: u64,
    other_dates: u64,
    /// Those that lie below the floor by their names.
    below: Vec<(usize, usize)>,
}

/// The snapshots that a run takes, by their names.
fn chosen(choice: &Choice, floor: Floor, files: &ClusterFiles, only: Option<&Sources>) -> Chosen {
    let mut chosen = Chosen::default();
    for (h, host) in files.hosts.iter().enumerate() {
        for (s, file) in host.snapshots.iter().enumerate() {
            if only.is_some_and(|only| !only.contains(&(h, s))) {
                continue;
            }
            if !choice.dates.has(file.home()) {
                chosen.other_dates += 1;
            } else if choice.before.is_some_and(|before| file.from >= before) {
                chosen.too_recent += 1;
            } else if plan::lies_below(file, floor) {
                chosen.below.push((h, s));
            } else {
                chosen.homes.entry(floor.first_from(file.home())).or_default().push((h, s));
            }
        }
    }
    chosen
}

/// What is left above the floor; and the sources all of whose dates lie below it, by (index of the host, index of the snapshot).
fn above(work: Vec<Work>, floor: Floor) -> (Vec<Work>, Vec<(usize, usize)>) {
    let (mut kept, mut below) = (Vec::with_capacity(work.len()), Vec::new());
    for Work { host, snapshot, left, changed } in work {
        match left.kept(floor) {
            Some(left) => kept.push(Work { host, snapshot, left, changed }),
            None => below.push((host, snapshot)),
        }
    }
    (kept, below)
}

/// A home date, and its sources by (index of the host, index of the snapshot).
type Home = (Date, Vec<(usize, usize)>);

/// Home dates in parts that are looked up together.
fn at_a_time(homes: BTreeMap<Date, Vec<(usize, usize)>>) -> Vec<Vec<Home>> {
    let (mut parts, mut snapshots) = (Vec::<Vec<Home>>::new(), 0);
    for (date, sources) in homes {
        snapshots += sources.len();
        match parts.last_mut() {
            Some(part) if part.len() < DATES_AT_A_TIME && snapshots <= SNAPSHOTS_AT_A_TIME => part.push((date, sources)),
            _ => {
                snapshots = sources.len();
                parts.push(vec![(date, sources)]);
            }
        }
    }
    parts
}

/// What does not fit together in a partition, as runs name it.
pub fn doubts(archive: &Archive, holdings: &Holdings) -> Vec<SetAside> {
    let note = |doubt: &Doubt| SetAside::new(archive.name_of(&doubt.key), format!("{doubt}; {}", doubt_advice(doubt)));
    holdings.doubts().iter().map(note).collect()
}

/// What to do about it.
fn doubt_advice(doubt: &Doubt) -> &'static str {
    if doubt.is_double() {
        "let one machine archive, and run compact: it joins the two. Until then their snapshots are not pruned"
    } else {
        "what is still on disk is archived again: do not put the object back. verify says what is missing. Snapshots whose rows it held are kept"
    }
}

/// Adds those of `dates` whose ledgers are not `loaded` yet, and gives them.
pub async fn load_ledgers(
    archive: &Archive,
    cluster: &Cluster,
    dates: BTreeSet<Date>,
    loaded: &mut BTreeMap<Date, Arc<Holdings>>,
) -> Result<Vec<Arc<Holdings>>> {
    let missing: Vec<Date> = dates.into_iter().filter(|date| !loaded.contains_key(date)).collect();
    let load = |date: Date| async move {
        let partition = Partition { cluster: cluster.clone(), date };
        Ok::<_, Error>((date, Arc::new(catalog::holdings(archive, &partition).await?)))
    };
    let found: Vec<_> = futures::stream::iter(missing).map(load).buffered(CONCURRENT_LISTINGS).try_collect().await?;
    let holdings = found.iter().map(|(_, holdings)| Arc::clone(holdings)).collect();
    loaded.extend(found);
    Ok(holdings)
}

struct Ledgers<'a> {
    context: &'a Context,
    info: ArchiveInfo,
    floor: Floor,
    /// What does not fit together in what was loaded.
    doubts: Vec<SetAside>,
    cluster: &'a Cluster,
    loaded: BTreeMap<Date, Arc<Holdings>>,
}

impl Ledgers<'_> {
    async fn load(&mut self, dates: BTreeSet<Date>) -> Result<()> {
        for holdings in load_ledgers(&self.context.archive, self.cluster, dates, &mut self.loaded).await? {
            for object in holdings.objects() {
                check_schema(self.context, self.info, object)?;
            }
            self.doubts.extend(doubts(&self.context.archive, &holdings));
        }
        Ok(())
    }

    fn get(&self, date: Date) -> Arc<Holdings> {
        self.loaded.get(&date).cloned().unwrap_or_default()
    }
}

/// What is left to do of one file; None if it is archived on all dates that it feeds.
async fn left_of(context: &Context, files: &ClusterFiles, h: usize, s: usize, ledgers: &mut Ledgers<'_>) -> Result<Option<Work>> {
    let host = &files.hosts[h];
    let file = &host.snapshots[s];
    let home = ledgers.get(ledgers.floor.first_from(file.home()));
    let known = match plan::look_up(file, &host.host, &home, None) {
        Known::Unsure => match digest_of(context, files, (h, s)).await? {
            Some(digest) => plan::look_up(file, &host.host, &home, Some(digest)),
            None => Known::New { changed: true },
        },
        known => known,
    };
    let (left, changed) = match known {
        Known::Archived(digest, mut dates) => {
            dates.retain(|date| ledgers.floor.keeps(*date));
            ledgers.load(dates.iter().copied().collect()).await?;
            let left: Vec<Date> = dates.into_iter().filter(|date| !plan::is_done(file, &host.host, digest, &ledgers.get(*date))).collect();
            if left.is_empty() {
                return Ok(None);
            }
            (Left::Exactly(left.into()), false)
        }
        Known::New { changed } => (Left::claimed(file, None, ledgers.floor), changed),
        Known::Unsure => return Err(Error::Internal("a digest always decides".into())),
    };
    Ok(Some(Work { host: h, snapshot: s, left, changed }))
}

/// True if the floor keeps nothing of a snapshot, by its name and its header. Blocks.
pub fn is_expired(path: &Path, file: &SnapshotFile, floor: Floor) -> bool {
    !floor.keeps(file.home()) && (plan::lies_below(file, floor) || Left::claimed(file, extent(path, file), floor).kept(floor).is_none())
}

/// From when to when a snapshot goes, by its header, or rows by the footer of their file; or what is wrong with that. Blocks.
pub fn header(path: &Path, file: &SnapshotFile) -> std::result::Result<std::result::Result<Extent, Flaw>, Unread> {
    if let Some(group) = file.row_group() {
        return Ok(Ok((group.times.0, group.times.1.saturating_add(1))));
    }
    read::through(path, file, |raw| checkpoint::claim(raw, Form::from(file)))
}

/// The same; None if it cannot be read. Blocks.
pub fn extent(path: &Path, file: &SnapshotFile) -> Option<Extent> {
    header(path, file).ok()?.ok()
}

/// Says of sources that are new which dates they feed: those that were found, else by their headers. What cannot be read is reported when it is
/// decoded.
async fn with_claims(context: &Context, files: &ClusterFiles, floor: Floor, mut work: Vec<Work>, refuted: &Refuted) -> Result<Vec<Work>> {
    let mut unread = Vec::new();
    for item in work.iter_mut().filter(|item| matches!(item.left, Left::Claimed(..))) {
        match refuted.get(&(item.host, item.snapshot)) {
            Some(dates) => item.left = Left::Exactly(dates.clone()),
            None => unread.push(item),
        }
    }
    let place = |item: &&mut Work| (files.path_of(item.host, item.snapshot), files.hosts[item.host].snapshots[item.snapshot].clone());
    let claim = move |(path, file): (PathBuf, SnapshotFile)| Left::claimed(&file, extent(&path, &file), floor);
    let read = |some: Vec<_>| context.workers.run(move || some.into_iter().map(claim).collect::<Vec<_>>());
    let some = unread.chunks(HEADERS_AT_A_TIME).map(|some| some.iter().map(place).collect());
    let claims: Vec<Vec<Left>> = futures::stream::iter(some).map(read).buffered(context.workers.count()).try_collect().await?;
    unread.into_iter().zip(claims.into_iter().flatten()).for_each(|(item, claimed)| item.left = claimed);
    Ok(work)
}

/// Takes out sources that an unreadable object may hold: nobody can tell whether they are archived.
fn without_unreadable(files: &ClusterFiles, work: Vec<Work>, ledgers: &BTreeMap<Date, Arc<Holdings>>) -> (Vec<Work>, Vec<SetAside>) {
    let mut set_aside = Vec::new();
    let readable = |item: &Work| {
        let host = files.hosts[item.host].host.as_str();
        let first = item.left.dates().into_iter().find_map(|date| ledgers.get(&date)?.unreadable_of(host));
        if let Some(object) = first {
            set_aside.push(SetAside::new(files.path_of(item.host, item.snapshot), undecidable(object)));
        }
        first.is_none()
    };
    let work = work.into_iter().filter(readable).collect();
    (work, set_aside)
}

/// Why a source cannot be decided on.
pub fn undecidable(object: &Unreadable) -> String {
    format!("kept: {} may hold it, and {object}", object.name)
}
