//! The table: read, compared with listing and footers, and committed, again and again until no other writer is faster.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStoreExt};
use parquet::file::metadata::ParquetMetaData;
use tokio::time::Instant;

use crate::catalog::{self, Listing, Surveyed};
use crate::clock;
use crate::error::{Error, Result, SetAside};
use crate::ledger::{ObjectLedger, Trouble};
use crate::object;
use crate::partition::{ObjectKey, Partition};
use crate::random;
use crate::settings::{Part, TableSettings, Upkeep};
use crate::store::{Archive, Way};
use crate::table::{self, Change, File, Found, Table, Tabled};
use crate::telemetry::{Progress, Stage, TableFigures, Watch};

/// How often a commit is tried against other writers.
const TRIES: u64 = 12;

/// The most ms that are waited after the first lost race; twice as many after each other one, up to 32 times.
const PAUSE: u64 = 100;

/// Makes a table, brings it up to date, or writes it anew; `shutdown` ends the run early.
///
/// # Errors
/// [`Error::Usage`]: there is no table, or the store overwrites. [`Error::Archive`]: the log cannot be read.
pub async fn table_in(
    settings: &TableSettings,
    open: impl FnOnce() -> Result<Archive>,
    progress: Arc<Progress>,
    shutdown: impl Future<Output = ()>,
) -> Result<Box<Tabled>> {
    let watch = &progress.watch;
    let archive = watch.at(Stage::Table, open())?;
    watch.watch_requests(archive.requests());
    tracing::info!(archive = %settings.archive, dry_run = settings.dry_run, version = env!("CARGO_PKG_VERSION"), "bringing the table up to date");
    let work = async {
        // an archive of a newer format is not touched
        catalog::info(&archive, None).await?;
        Tabling { archive: &archive, upkeep: settings.upkeep, dry_run: settings.dry_run }.run().await
    };
    let done = tokio::select! {
        done = work => done,
        () = shutdown => Err(Error::Interrupted),
    };
    let tabled = watch.at(Stage::Table, done)?.ok_or_else(|| {
        let archive = &settings.archive;
        Error::Usage(format!("{archive} has no table\n  hint: make it with cc-archiver table {archive} --init"))
    })?;
    tabled.unreadable.iter().for_each(|note| tracing::warn!(path = note.shown(), "unreadable: {}", note.reason));
    note(watch, &tabled);
    Ok(Box::new(tabled))
}

fn note(watch: &Watch, tabled: &Tabled) {
    if let Some(version) = tabled.version {
        watch.figures().table = Some(TableFigures { version, files: tabled.files });
    }
}

/// Brings the table up to date, if there is one: two small requests tell. A run does not fail by it: what is left is made up for by the next one.
/// Gives the version of the table.
pub(super) async fn keep_up(archive: &Archive, watch: &Watch) -> Option<u64> {
    let tabling = Tabling { archive, upkeep: Upkeep::Update, dry_run: false };
    match tabling.run().await {
        Ok(tabled) => {
            tabled.iter().for_each(|tabled| note(watch, tabled));
            tabled?.version
        }
        Err(e) => {
            watch.failed(Stage::Table);
            tracing::warn!("the table is not up to date; the next run makes up for it, or cc-archiver table: {e}");
            None
        }
    }
}

/// Commits that the objects `by` hold the rows of those that go, if there is a table; or, with none, that those and their rows go. It is called before
/// they are deleted. What else the table lacks stays for the next run. Gives the version.
///
/// # Errors
/// Those of the store, and [`Error::Archive`]: then the table still has those, and they must stay.
pub async fn replace(archive: &Archive, gone: &BTreeSet<ObjectKey>, by: &[ObjectKey]) -> Result<Option<u64>> {
    for lost in 0..TRIES {
        let table = match table::read(archive).await? {
            Found::Nothing => return Ok(None),
            Found::Broken(_, why) => return Err(broken(archive, &why)),
            Found::Table(table) => table,
        };
        check_store(archive).await?;
        // looked at after the log: what replaces them in turn is in the next version before it deletes them
        let mut add = files_of(archive, by).await?;
        // what has expired meanwhile goes, and must not come
        let floors = catalog::floors(archive).await?;
        add.retain(|key, _| floors.keeps(&key.partition));
        // where nothing comes, rows go with what goes
        let change = Change { is_rearrangement: !add.is_empty(), add, remove: gone.iter().map(ObjectKey::to_string).collect() };
        let now = clock::now().timestamp_millis();
        if let Some(mut table) = table.commit(archive, &change, now).await? {
            table.keep_checkpoint(archive, now).await;
            return Ok(Some(table.version()));
        }
        pause(lost).await?;
    }
    Err(busy(archive))
}

/// What a table says of these objects.
async fn files_of(archive: &Archive, keys: &[ObjectKey]) -> Result<BTreeMap<ObjectKey, File>> {
    let mut files = BTreeMap::new();
    for key in keys {
        let object = archive.store().head(&key.path()).await.map_err(Error::store("cannot read", archive.name_of(key)))?;
        match object::opened(archive, &object).await? {
            Ok((ledger, footer)) => {
                files.insert(ledger.key.clone(), file(&ledger, object.last_modified.timestamp_millis(), table::statistics(ledger.rows, &footer)));
            }
            Err(why) => return Err(Error::Archive(format!("{}: {why}", archive.name_of(&object.location)))),
        }
    }
    Ok(files)
}

/// Whether the table, if there is one, can be brought up to date later.
///
/// # Errors
/// [`Error::Archive`]: its log cannot be read. Those of the store.
pub(super) async fn check(archive: &Archive) -> Result<()> {
    match table::read(archive).await? {
        Found::Broken(_, why) => Err(broken(archive, &why)),
        Found::Nothing | Found::Table(_) => Ok(()),
    }
}

/// What is said of a log that cannot be read.
pub(super) fn broken(archive: &Archive, why: &str) -> Error {
    Error::Archive(format!("the log of the table of {archive:?} cannot be read: {why}\n  hint: write it anew, from the footers: cc-archiver table --rebuild"))
}

fn busy(archive: &Archive) -> Error {
    Error::Archive(format!("other writers to the table of {archive:?} were faster {TRIES} times\n  hint: run again when fewer runs are under way"))
}

/// Without conditions two writers would write the same version, and one of them would be lost.
async fn check_store(archive: &Archive) -> Result<()> {
    if archive.refuses(Way::Put).await? {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{archive:?} ignores conditional writes, so that a commit to a table could overwrite another one\n  hint: without a table, readers take the folder: docs/queries.md; doctor says what a server must do"
    )))
}

/// Waits a random time, longer after each lost race.
async fn pause(lost: u64) -> Result<()> {
    let most = PAUSE << lost.min(5);
    tokio::time::sleep(Duration::from_millis(random::number()? % most)).await;
    Ok(())
}

fn file(ledger: &ObjectLedger, modified: i64, statistics: String) -> File {
    File { size: ledger.size, digest: ledger.digest, modified, statistics }
}

/// One table, and what is to become of it.
struct Tabling<'a> {
    archive: &'a Archive,
    upkeep: Upkeep,
    dry_run: bool,
}

impl Tabling<'_> {
    /// None if there is no table, and none is to be made.
    async fn run(&self) -> Result<Option<Tabled>> {
        let begun = Instant::now();
        for conflicts in 0..TRIES {
            let found = match table::read(self.archive).await? {
                Found::Nothing if self.upkeep == Upkeep::Update => return Ok(None),
                Found::Broken(_, why) if self.upkeep != Upkeep::Rebuild => return Err(broken(self.archive, &why)),
                found => found,
            };
            let is_first = matches!(found, Found::Nothing);
            if let Some(mut tabled) = self.bring_up(found).await? {
                if is_first && tabled.committed {
                    self.look_again(&mut tabled).await?;
                }
                return Ok(Some(Tabled { conflicts, seconds: begun.elapsed().as_secs_f64(), ..tabled }));
            }
            pause(conflicts).await?;
        }
        Err(busy(self.archive))
    }

    /// Whoever compacted while there was no table yet could not tell it.
    async fn look_again(&self, tabled: &mut Tabled) -> Result<()> {
        let Found::Table(table) = table::read(self.archive).await? else { return Ok(()) };
        let again = Tabling { upkeep: Upkeep::Update, ..*self };
        if let Some(Tabled { version, files, bytes, rows, added, removed, .. }) = again.bring_up(Found::Table(table)).await? {
            let gone: BTreeSet<String> = removed.into_iter().collect();
            tabled.added.retain(|key| !gone.contains(key));
            tabled.added.extend(added);
            (tabled.version, tabled.files, tabled.bytes, tabled.rows) = (version, files, bytes, rows);
        }
        Ok(())
    }

    /// None if another writer was faster.
    async fn bring_up(&self, found: Found) -> Result<Option<Tabled>> {
        let (change, unreadable) = self.change(&found).await?;
        let mut tabled = Tabled {
            dry_run: self.dry_run,
            added: change.add.keys().map(ObjectKey::to_string).collect(),
            removed: change.remove.iter().cloned().collect(),
            unreadable,
            ..Tabled::default()
        };
        let is_new = self.upkeep == Upkeep::Rebuild || matches!(found, Found::Nothing);
        if self.dry_run {
            if let Found::Table(table) = &found {
                tell(table, &mut tabled);
            }
            return Ok(Some(tabled));
        }
        let now = clock::now().timestamp_millis();
        let table = match found {
            Found::Table(table) if !is_new && change.is_empty() && !table.is_outdated() => Some(*table),
            Found::Table(table) if !is_new => {
                check_store(self.archive).await?;
                tabled.committed = true;
                table.commit(self.archive, &change, now).await?
            }
            found => {
                check_store(self.archive).await?;
                tabled.committed = true;
                table::make(self.archive, &found, &change, now).await?
            }
        };
        let Some(mut table) = table else { return Ok(None) };
        table.keep_checkpoint(self.archive, now).await;
        tell(&table, &mut tabled);
        Ok(Some(tabled))
    }

    /// What must change. The listing comes after the log: what the log has was there before. Partitions that are listed as the table has them are as
    /// they were; of all others the footers are read.
    async fn change(&self, found: &Found) -> Result<(Change, Vec<SetAside>)> {
        let Listing { mut partitions, .. } = catalog::list(self.archive, &Part::default(), || Ok(())).await?;
        let mut change = Change::default();
        let table = if let Found::Table(table) = found { Some(&**table) } else { None };
        if let Some(table) = table {
            let emptied = table.partitions().into_iter().filter(|partition| !partitions.contains_key(partition));
            change.remove.extend(emptied.flat_map(|partition| table.files_of(&partition)).map(|key| key.to_string()));
            if self.upkeep == Upkeep::Rebuild {
                change.remove.extend(table.strangers().map(str::to_owned));
            } else {
                partitions.retain(|partition, listed| !is_as_listed(table, partition, listed));
            }
        }
        let unreadable = self.look_into(partitions, table, &mut change).await?;
        Ok((change, unreadable))
    }

    async fn look_into(&self, partitions: BTreeMap<Partition, Vec<ObjectMeta>>, table: Option<&Table>, change: &mut Change) -> Result<Vec<SetAside>> {
        let time = |object: &ObjectMeta| Some((ObjectKey::parse(&object.location)?, object.last_modified.timestamp_millis()));
        let modified: BTreeMap<ObjectKey, i64> = partitions.values().flatten().filter_map(time).collect();
        let look = |ledger: &ObjectLedger, footer: &ParquetMetaData| table::statistics(ledger.rows, footer);
        let mut surveyed = pin!(catalog::survey(self.archive, partitions, look));
        let mut unreadable = Vec::new();
        while let Some(Surveyed { partition, holdings, mut seen, .. }) = surveyed.try_next().await? {
            // what went away meanwhile is found by the next run
            let damaged = holdings.unreadable.iter().filter(|object| object.trouble != Trouble::Gone);
            unreadable.extend(damaged.map(|object| SetAside::new(&object.name, &object.reason)));
            unreadable.extend(holdings.uncertain().into_values().map(|slot| {
                let why = format!(
                    "of objects in slots before {slot} it is not known whether they count, as that one cannot be read: they stay as the table has them"
                );
                SetAside::new(self.archive.name_of(&partition), why)
            }));
            let difference = table::difference(table, &holdings, &partition, self.upkeep == Upkeep::Rebuild);
            change.remove.extend(difference.remove.iter().map(ObjectKey::to_string));
            let wanted = difference.add;
            for object in holdings.objects().iter().filter(|object| wanted.contains(&object.key)) {
                let (modified, statistics) = (modified.get(&object.key).copied(), seen.remove(&object.key));
                change.add.insert(object.key.clone(), file(object, modified.unwrap_or_default(), statistics.unwrap_or_default()));
            }
        }
        Ok(unreadable)
    }
}

fn tell(table: &Table, tabled: &mut Tabled) {
    tabled.version = Some(table.version());
    (tabled.files, tabled.bytes, tabled.rows) = (table.files(), table.bytes(), table.rows());
}

/// True if the table has just what is listed. What stands in our objects does not change.
fn is_as_listed(table: &Table, partition: &Partition, listed: &[ObjectMeta]) -> bool {
    let ours: BTreeMap<ObjectKey, u64> = listed.iter().filter_map(|object| Some((ObjectKey::parse(&object.location)?, object.size))).collect();
    table.files_of(partition).iter().eq(ours.keys()) && ours.iter().all(|(key, size)| table.has_size(key, *size))
}
