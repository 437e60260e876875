//! A server in memory whose requests fail as they are told to: by kind of request, and by how many of that kind went before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use cc_archiver::error::Unreached;
use futures::FutureExt;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use tokio::sync::Notify;

/// Requests, as a server tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Request {
    List,
    Get,
    Head,
    Put,
    Begin,
    Part,
    Complete,
    Abort,
    Delete,
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It is done, and the caller hears of an error.
    LostAnswer,
    /// It is done, and the caller, who asks again, hears that there is nothing: a second completion of an upload.
    LostThenMissing,
    /// The connection breaks before anything is done.
    Reset,
    /// 503, until the client gives up.
    Busy,
    /// 403.
    Forbidden,
    /// From here on every request is refused: the credentials have expired.
    Expired,
    /// 404; of an upload that is under way all parts are gone, too, as by a lifecycle rule.
    Missing,
    /// 409 or 412 though there is nothing under the key; of an upload that is completed all parts are gone then.
    Conflict,
    /// A listing without what was written last.
    Stale,
    /// A listing without something that was written before.
    Hole,
    /// The machine sleeps for two hours before the request.
    Suspended,
    /// It takes longer than anybody waits for.
    Stall,
    /// It is done; the ETag of the answer is another one.
    WrongTag,
    /// It is done, but a bit of the stored bytes is another one.
    FlippedBit,
    /// It is done, but the end of the bytes is not stored.
    Truncated,
    /// It is done, but as many other bytes are stored.
    WrongBytes,
    /// Just before, somebody else puts another object under the key.
    Occupied,
    /// The process is killed just before the request, or just after it.
    KilledBefore,
    KilledAfter,
    /// The process is killed; the request lands when a later run is under way, or after it.
    KilledAndLate,
    /// SIGTERM comes in.
    Terminated,
}

impl Fault {
    pub const ALL: [Self; 21] = [
        Self::LostAnswer,
        Self::LostThenMissing,
        Self::Reset,
        Self::Busy,
        Self::Forbidden,
        Self::Expired,
        Self::Missing,
        Self::Conflict,
        Self::Stale,
        Self::Hole,
        Self::Suspended,
        Self::Stall,
        Self::WrongTag,
        Self::FlippedBit,
        Self::Truncated,
        Self::WrongBytes,
        Self::Occupied,
        Self::KilledBefore,
        Self::KilledAfter,
        Self::KilledAndLate,
        Self::Terminated,
    ];

    /// True if other bytes are stored than were sent.
    fn is_about_bytes(self) -> bool {
        matches!(self, Self::FlippedBit | Self::Truncated | Self::WrongBytes | Self::Occupied)
    }

    /// The requests that it can happen to.
    pub fn happens_to(self) -> &'static [Request] {
        use Request::{Abort, Begin, Complete, Delete, Get, Head, List, Part, Put};
        match self {
            Self::LostAnswer => &[Put, Complete, Begin, Part, Abort, Delete],
            Self::LostThenMissing => &[Complete],
            Self::Missing => &[Part, Complete],
            Self::Conflict => &[Put, Complete],
            Self::Stale | Self::Hole => &[List],
            Self::WrongTag => &[Put, Complete],
            Self::FlippedBit | Self::Truncated | Self::WrongBytes => &[Put, Part],
            Self::Occupied => &[Put, Part, Complete],
            Self::KilledAndLate => &[Put, Complete, Delete],
            Self::Forbidden => &[Head, Put, List, Begin, Delete],
            _ => &[List, Get, Head, Put, Begin, Part, Complete, Abort, Delete],
        }
    }
}

/// A fault that waits for the `nth` request of its kind, and strikes so many `times` in a row.
#[derive(Debug, Clone, Copy)]
pub struct Strike {
    pub on: Request,
    pub nth: usize,
    pub times: usize,
    pub fault: Fault,
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {:?} {}", self.fault, self.on, self.nth)?;
        if self.times > 1 { write!(f, " and the next {}", self.times - 1) } else { Ok(()) }
    }
}

/// What the server makes of `If-None-Match: *`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditions {
    /// It keeps to it.
    Kept,
    /// It passes over it.
    Ignored,
    /// It looks first, and writes later: of two at once both win, and the later one stays.
    TwoWinners,
}

/// How long a machine sleeps, and how old a listing may be that something is written on.
const SLEEP: Duration = Duration::from_secs(2 * 3_600);
const MOST_AGE: Duration = Duration::from_secs(3_600);

/// Longer than a run that is to stop waits, and than a client waits for an answer.
const STALL: Duration = Duration::from_secs(7);

/// Something that is to happen outside of the program when its `nth` request of a kind comes in.
pub struct Meanwhile {
    pub on: Request,
    pub nth: usize,
    pub what: Option<Box<dyn FnOnce() + Send>>,
}

/// What a run has a reason to delete.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Deletes {
    #[default]
    Nothing,
    /// What it has compacted.
    Compacted,
    /// What lies below the floor.
    Expired,
}

/// One run of the program, as the server sees it.
#[derive(Default)]
pub struct Client {
    number: usize,
    deletes: Deletes,
    strikes: Vec<Strike>,
    meanwhile: Mutex<Vec<Meanwhile>>,
    /// Before which request late ones of killed runs land.
    late_before: Option<(Request, usize)>,
    state: Mutex<ClientState>,
    /// The process is to be killed, or to be terminated.
    pub killed: Notify,
    pub terminated: Notify,
}

#[derive(Default)]
struct ClientState {
    counts: BTreeMap<Request, usize>,
    fired: Vec<(Fault, Request)>,
    dead: bool,
    expired: bool,
    /// How long the machine has slept.
    slept: Duration,
    /// When folders were listed, in time that the machine has slept.
    listed: BTreeMap<Key, Duration>,
}

impl Client {
    /// What struck.
    pub fn fired(&self) -> Vec<(Fault, Request)> {
        lock(&self.state).fired.clone()
    }

    /// The machine's uptime: only sleep counts.
    pub fn uptime(&self) -> Duration {
        lock(&self.state).slept
    }

    /// How many requests of a kind came in.
    pub fn count(&self, request: Request) -> usize {
        lock(&self.state).counts.get(&request).copied().unwrap_or_default()
    }
}

/// A request that a killed process had sent, and that the server has not carried out yet.
enum Late {
    Write { key: Key, bytes: Bytes, attributes: Attributes },
    Delete(Key),
}

struct OpenUpload {
    client: usize,
    key: Key,
    attributes: Attributes,
    /// What was sent, and what was stored of it.
    parts: BTreeMap<usize, (Bytes, Bytes)>,
}

/// What there is beside the objects.
#[derive(Default)]
struct State {
    clients: usize,
    next_upload: usize,
    uploads: BTreeMap<usize, OpenUpload>,
    late: Vec<Late>,
    log: Vec<String>,
    /// Keys whose bytes are not those that were sent: what was sent, if it was not a stranger who put them there.
    damaged: BTreeMap<Key, Option<Bytes>>,
    /// Keys under which two writers won.
    raced: Vec<Key>,
    /// The order in which keys were written.
    order: Vec<Key>,
    /// Somebody has removed an object.
    removed: bool,
    /// Somebody has removed an object, and what was seen later was not all that is there.
    by_hand: bool,
    /// A listing lacked something.
    lied: bool,
    overwritten: Vec<String>,
    /// Days that have gone by, and on which of them keys were written.
    day: i64,
    written: BTreeMap<Key, i64>,
    /// Keys of objects that whoever may delete has deleted.
    deleted: BTreeSet<Key>,
}

/// The server.
pub struct Server {
    objects: InMemory,
    conditions: Conditions,
    state: Mutex<State>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(text: &'static str) -> Error {
    Error::Generic { store: "faults", source: text.into() }
}

/// A request that nobody answered, as the program's own client tells it.
fn unanswered(key: &Key) -> Error {
    let source = Unreached { what: format!("{key}: the connection broke"), hint: "try again".into() };
    Error::Generic { store: "faults", source: source.into() }
}

/// The date in the key of an object with rows; else nothing.
pub fn date_of(key: &Key) -> String {
    key.parts().nth(1).and_then(|part| part.as_ref().strip_prefix("date=").map(str::to_owned)).unwrap_or_default()
}

/// The one key that is written again and again: it says where to begin to read a log.
const LAST_CHECKPOINT: &str = "_delta_log/_last_checkpoint";

/// True of what holds no rows: the archive's own objects, and the log of its table.
fn is_own(key: &Key) -> bool {
    super::support::is_own(key.as_ref()) || is_of_log(key)
}

fn is_of_log(key: &Key) -> bool {
    key.parts().next().is_some_and(|part| part.as_ref() == "_delta_log")
}

/// The bytes with one bit, the end, or everything changed.
pub fn damaged(fault: Fault, bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 3;
    match fault {
        Fault::FlippedBit => bytes[middle] ^= 1 << (middle % 8),
        Fault::Truncated => bytes.truncate(middle),
        _ => bytes.iter_mut().for_each(|byte| *byte ^= 0x5A),
    }
    bytes.into()
}

impl Server {
    pub fn new(conditions: Conditions) -> Self {
        Self { objects: InMemory::new(), conditions, state: Mutex::default() }
    }

    /// True if rows may stand twice: only where the server does not keep to conditions, or after somebody removed an object, and put it back,
    /// or the server then shows a listing that lacks another one.
    pub fn doubles_may_be(&self) -> bool {
        self.conditions != Conditions::Kept || lock(&self.state).by_hand
    }

    /// True if it honours conditional writes.
    pub fn keeps_conditions(&self) -> bool {
        self.conditions == Conditions::Kept
    }

    /// Puts an object back under its key, if that is free.
    pub async fn put_back(&self, key: &Key, bytes: Bytes) -> bool {
        let is_free = self.bytes_of(key).await.is_none();
        if is_free {
            self.objects.put(key, bytes.into()).await.expect("put");
            lock(&self.state).by_hand = true;
        }
        is_free
    }

    /// A connection for one run, and that run's faults.
    pub fn client(self: &Arc<Self>, strikes: Vec<Strike>, meanwhile: Vec<Meanwhile>, late_before: Option<(Request, usize)>) -> Connection {
        let mut state = lock(&self.state);
        state.clients += 1;
        let number = state.clients;
        state.log.push(format!("--- client {number}"));
        let client = Client { number, strikes, meanwhile: Mutex::new(meanwhile), late_before, ..Client::default() };
        Connection { server: Arc::clone(self), client: Arc::new(client) }
    }

    /// The same, for a run that may delete objects.
    pub fn client_that_deletes(self: &Arc<Self>, deletes: Deletes, strikes: Vec<Strike>, late_before: Option<(Request, usize)>) -> Connection {
        let Connection { server, client } = self.client(strikes, Vec::new(), late_before);
        let client = Arc::into_inner(client).expect("nobody else has it");
        Connection { server, client: Arc::new(Client { deletes, ..client }) }
    }

    /// All visible objects that hold rows.
    pub async fn objects(&self) -> BTreeMap<Key, Bytes> {
        self.all(|key| !is_own(key)).await
    }

    /// All files of the table's log.
    pub async fn log_of_table(&self) -> BTreeMap<Key, Bytes> {
        self.all(is_of_log).await
    }

    async fn all(&self, is_wanted: impl Fn(&Key) -> bool) -> BTreeMap<Key, Bytes> {
        let listed: Vec<ObjectMeta> = self.objects.list(None).try_collect().await.expect("listed");
        let mut objects = BTreeMap::new();
        for object in listed.into_iter().filter(|object| is_wanted(&object.location)) {
            let bytes = self.objects.get(&object.location).await.expect("there").bytes().await.expect("read");
            objects.insert(object.location, bytes);
        }
        objects
    }

    /// Keys whose bytes are not those that were sent.
    pub fn damaged(&self) -> BTreeMap<Key, Option<Bytes>> {
        lock(&self.state).damaged.clone()
    }

    /// Keys under which two writers won since this was asked for last.
    pub fn take_raced(&self) -> Vec<Key> {
        std::mem::take(&mut lock(&self.state).raced)
    }

    /// True if whoever may delete objects has deleted this one.
    pub fn has_deleted(&self, key: &Key) -> bool {
        lock(&self.state).deleted.contains(key)
    }

    /// True if a listing ever lacked something.
    pub fn has_lied(&self) -> bool {
        lock(&self.state).lied
    }

    /// The first date that is kept, by the names of the marks.
    pub async fn floor(&self) -> Option<String> {
        let marks = self.all(|key| key.as_ref().starts_with("_cc-archiver/floor/")).await;
        marks.keys().filter_map(|key| key.filename().map(str::to_owned)).max()
    }

    async fn keeps(&self, date: &str) -> bool {
        self.floor().await.is_none_or(|floor| *date >= *floor)
    }

    /// How many days ago the newest object was written.
    pub fn days_since_written(&self) -> i64 {
        let state = lock(&self.state);
        state.order.iter().filter(|key| !is_own(key)).filter_map(|key| state.written.get(key)).max().map_or(0, |newest| state.day - newest)
    }

    /// Two days go by: what was written is old then, and nothing that was sent is on its way any more.
    pub fn let_days_go_by(&self) {
        self.forget_late();
        lock(&self.state).day += 2;
    }

    pub fn overwritten(&self) -> Vec<String> {
        lock(&self.state).overwritten.clone()
    }

    pub fn log(&self) -> Vec<String> {
        lock(&self.state).log.clone()
    }

    /// True if requests of one run came between those of the other.
    pub fn interleaved(&self, one: &Client, other: &Client) -> bool {
        let starts = |line: &str, client: &Client| line.starts_with(&format!("{}: ", client.number));
        let log = lock(&self.state);
        let mut whose: Vec<bool> = log.log.iter().filter(|line| starts(line, one) || starts(line, other)).map(|line| starts(line, one)).collect();
        whose.dedup();
        whose.len() > 2
    }

    pub fn has_late(&self) -> bool {
        !lock(&self.state).late.is_empty()
    }

    /// Uploads of a run that were neither completed nor aborted.
    pub fn open_uploads(&self, client: &Client) -> Vec<Key> {
        lock(&self.state).uploads.values().filter(|upload| upload.client == client.number).map(|upload| upload.key.clone()).collect()
    }

    /// Damages an object, or removes it.
    pub async fn damage(&self, key: &Key, fault: Option<Fault>) {
        let sent = self.objects.get(key).await.expect("there").bytes().await.expect("read");
        match fault {
            Some(fault) => {
                self.objects.put(key, damaged(fault, &sent).into()).await.expect("put");
                lock(&self.state).damaged.entry(key.clone()).or_insert(Some(sent));
            }
            None => {
                lock(&self.state).removed = true;
                self.objects.delete(key).await.expect("deleted");
            }
        }
    }

    /// Puts back what was sent, or removes what nobody sent.
    pub async fn restore(&self, key: &Key) {
        let sent = lock(&self.state).damaged.remove(key);
        match sent.flatten() {
            Some(sent) => drop(self.objects.put(key, sent.into()).await.expect("put")),
            None => self.objects.delete(key).await.expect("deleted"),
        }
    }

    /// A key is free again: what was on its way to it is not any more, as a day has gone by.
    pub fn forget_late(&self) {
        lock(&self.state).late.clear();
    }

    /// Removes the archive's own object.
    pub async fn remove_own(&self) {
        let _ = self.objects.delete(&Key::from("_cc-archiver.json")).await;
    }

    /// What killed runs had sent is carried out now.
    pub async fn land(&self) {
        let late = std::mem::take(&mut lock(&self.state).late);
        for late in late {
            let (key, bytes, attributes) = match late {
                Late::Write { key, bytes, attributes } => (key, bytes, attributes),
                Late::Delete(key) => {
                    {
                        let mut state = lock(&self.state);
                        state.log.push(format!("deleted late: {key}"));
                        // a table that was made meanwhile may have it
                        state.lied = true;
                    }
                    self.delete(&key).await;
                    continue;
                }
            };
            // nobody removes what is looked at first, and the archive's own object is always the same
            if self.bytes_of(&key).await.is_some() && (self.conditions != Conditions::Ignored || is_own(&key)) {
                continue;
            }
            lock(&self.state).log.push(format!("landed late: {key}"));
            let options = PutOptions { attributes, ..Default::default() };
            self.publish(&key, bytes.clone(), bytes, options).await.expect("put");
        }
    }

    async fn bytes_of(&self, key: &Key) -> Option<Bytes> {
        let found = self.objects.get(key).await.ok()?;
        Some(found.bytes().await.expect("read"))
    }

    /// Makes bytes visible under a key, on condition that it is free; and sees to it that they are not put in the place of others.
    async fn publish(&self, key: &Key, sent: Bytes, stored: Bytes, options: PutOptions) -> Result<PutResult> {
        let exists = || Error::AlreadyExists { path: key.to_string(), source: "PreconditionFailed".into() };
        if key.as_ref() == LAST_CHECKPOINT {
            return self.objects.put_opts(key, stored.into(), options).await;
        }
        let there = self.bytes_of(key).await;
        // the archive's own object is made once: two first runs of two machines are not for a server that does not keep to conditions
        let is_made_once = key.as_ref() == "_cc-archiver.json";
        let is_free = there.is_none() || self.conditions == Conditions::Ignored && !is_made_once;
        let there = if self.conditions == Conditions::TwoWinners && is_free && !is_made_once {
            // others get their turn between the look and the write: time for a request, and not for a proof
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            self.bytes_of(key).await
        } else {
            there
        };
        if !is_free {
            return Err(exists());
        }
        if let Some(there) = there {
            let mut state = lock(&self.state);
            // two machines that send the same object at once send the same bytes; what the server made of them is its own affair
            let was_sent = state.damaged.get(key).cloned().unwrap_or(Some(there));
            if was_sent != Some(sent.clone()) && !is_own(key) {
                if self.conditions == Conditions::TwoWinners {
                    state.raced.push(key.clone());
                } else {
                    state.overwritten.push(key.to_string());
                }
            }
            state.damaged.remove(key);
        }
        let options = PutOptions { mode: PutMode::Overwrite, ..options };
        let put = self.objects.put_opts(key, stored.clone().into(), options).await?;
        let mut state = lock(&self.state);
        state.order.push(key.clone());
        let day = state.day;
        state.written.insert(key.clone(), day);
        if sent != stored {
            state.damaged.insert(key.clone(), Some(sent));
        }
        Ok(put)
    }

    /// Deletes an object for a run that may do so. One that is gone is no error.
    async fn delete(&self, key: &Key) {
        let is_there = self.objects.delete(key).await.is_ok();
        let mut state = lock(&self.state);
        if is_there {
            // its key is free now, so that who is not shown what stands behind it may take it
            state.removed = true;
            state.order.retain(|written| written != key);
            state.damaged.remove(key);
            state.deleted.insert(key.clone());
        }
    }

    /// As it is listed: written so many days ago.
    fn dated(&self, object: ObjectMeta) -> ObjectMeta {
        let state = lock(&self.state);
        let days = state.day - state.written.get(&object.location).copied().unwrap_or_default();
        ObjectMeta { last_modified: object.last_modified - Duration::from_secs(86_400) * days as u32, ..object }
    }

    /// Somebody else's object of our name.
    async fn occupy(&self, key: &Key) {
        let options = PutOptions { mode: PutMode::Create, ..Default::default() };
        if self.objects.put_opts(key, Bytes::from_static(b"PAR1 somebody else was here PAR1").into(), options).await.is_ok() {
            lock(&self.state).damaged.insert(key.clone(), None);
        }
    }
}

/// The server, as one run reaches it.
#[derive(Clone)]
pub struct Connection {
    pub server: Arc<Server>,
    pub client: Arc<Client>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory with faults")
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory with faults")
    }
}

impl Connection {
    fn dead(&self) -> Result<()> {
        if lock(&self.client.state).dead { Err(failed("the process is dead")) } else { Ok(()) }
    }

    fn kill(&self) -> Error {
        lock(&self.client.state).dead = true;
        self.client.killed.notify_one();
        failed("the process is dead")
    }

    /// Lets a request in, and says what goes wrong with it, if anything does; or refuses it.
    async fn admit(&self, request: Request, key: &Key) -> Result<Option<Fault>> {
        let sent = self.client.uptime();
        // others get their turn, as they do while a request is on its way
        tokio::task::yield_now().await;
        self.dead()?;
        let nth = {
            let mut state = lock(&self.client.state);
            let count = state.counts.entry(request).or_default();
            *count += 1;
            *count
        };
        let due = |on: Request, at: usize| on == request && at == nth;
        if self.client.late_before.is_some_and(|(on, at)| due(on, at)) {
            self.server.land().await;
        }
        let meanwhile: Vec<_> = lock(&self.client.meanwhile).iter_mut().filter(|m| due(m.on, m.nth)).filter_map(|m| m.what.take()).collect();
        for what in meanwhile {
            what();
        }
        let strike = self.client.strikes.iter().find(|s| s.on == request && (s.nth..s.nth + s.times).contains(&nth));
        // what happens to bytes happens to objects with rows; and a key with a random number in it is nobody else's
        let is_nobody_elses = |fault: Fault| fault == Fault::Occupied && self.server.conditions != Conditions::Kept;
        let fault = strike.map(|strike| strike.fault).filter(|fault| !(is_own(key) && fault.is_about_bytes() || is_nobody_elses(*fault)));
        let number = self.client.number;
        lock(&self.server.state).log.push(format!("{number}: {request:?} {nth} {key}{}", fault.map_or(String::new(), |fault| format!("  <- {fault:?}"))));
        {
            let mut state = lock(&self.client.state);
            state.fired.extend(fault.map(|fault| (fault, request)));
            state.expired |= fault == Some(Fault::Expired);
            if state.expired {
                return Err(Error::Unauthenticated { path: key.to_string(), source: "ExpiredToken".into() });
            }
        }
        if fault == Some(Fault::Suspended) {
            let mut state = lock(&self.client.state);
            state.slept += SLEEP;
            if request == Request::List {
                let slept = state.slept;
                state.listed.insert(Key::from_iter(key.parts().take(2)), slept);
            }
        } else {
            self.check_age(request, key, sent);
        }
        let path = || key.to_string();
        match fault {
            Some(Fault::Reset) => Err(unanswered(key)),
            Some(Fault::Busy) => Err(failed("503 SlowDown, and so on")),
            Some(Fault::Forbidden) => Err(Error::PermissionDenied { path: path(), source: "AccessDenied".into() }),
            Some(Fault::Conflict) if request == Request::Put => Err(Error::AlreadyExists { path: path(), source: "ConditionalRequestConflict".into() }),
            Some(Fault::KilledBefore) => Err(self.kill()),
            Some(Fault::Stall) => {
                tokio::time::sleep(STALL).await;
                self.dead()?;
                Err(unanswered(key))
            }
            Some(Fault::Terminated) => {
                self.client.terminated.notify_one();
                Ok(fault)
            }
            Some(Fault::Occupied) => {
                self.server.occupy(key).await;
                Ok(fault)
            }
            fault => Ok(fault),
        }
    }

    /// Nothing is sent on a listing that is too old; the machine can fall asleep while it is on its way.
    fn check_age(&self, request: Request, key: &Key, sent: Duration) {
        let mut state = lock(&self.client.state);
        let folder = Key::from_iter(key.parts().take(2));
        match request {
            Request::List => drop(state.listed.insert(folder, sent)),
            Request::Put | Request::Complete if !is_own(key) => {
                let age = sent.saturating_sub(state.listed.get(&folder).copied().unwrap_or_default());
                if age > MOST_AGE {
                    lock(&self.server.state).overwritten.push(format!("{key}, written on a listing that is {age:?} old"));
                }
            }
            _ => {}
        }
    }

    /// What the caller hears of a request that was done.
    fn answer<T>(&self, fault: Option<Fault>, key: &Key, done: Result<T>) -> Result<T> {
        match fault {
            Some(Fault::LostAnswer) => Err(unanswered(key)),
            Some(Fault::LostThenMissing) => Err(Error::NotFound { path: key.to_string(), source: "NoSuchUpload".into() }),
            Some(Fault::KilledAfter) => Err(self.kill()),
            _ => done,
        }
    }

    fn tag(fault: Option<Fault>, put: PutResult) -> PutResult {
        if fault == Some(Fault::WrongTag) { PutResult { e_tag: Some("\"00000000000000000000000000000000\"".into()), ..put } } else { put }
    }

    fn stored(fault: Option<Fault>, sent: &Bytes) -> Bytes {
        match fault {
            Some(fault @ (Fault::FlippedBit | Fault::Truncated | Fault::WrongBytes)) => damaged(fault, sent),
            _ => sent.clone(),
        }
    }
}

fn joined(payload: PutPayload) -> Bytes {
    payload.iter().flat_map(|chunk| chunk.iter().copied()).collect()
}

#[async_trait]
impl ObjectStore for Connection {
    async fn put_opts(&self, key: &Key, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fault = self.admit(Request::Put, key).await?;
        let sent = joined(payload);
        if fault == Some(Fault::KilledAndLate) {
            let late = Late::Write { key: key.clone(), bytes: sent, attributes: options.attributes };
            lock(&self.server.state).late.push(late);
            return Err(self.kill());
        }
        let put = self.server.publish(key, sent.clone(), Self::stored(fault, &sent), options).await;
        self.answer(fault, key, put.map(|put| Self::tag(fault, put)))
    }

    async fn put_multipart_opts(&self, key: &Key, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let fault = self.admit(Request::Begin, key).await?;
        let id = {
            let mut state = lock(&self.server.state);
            state.next_upload += 1;
            let id = state.next_upload;
            let upload = OpenUpload { client: self.client.number, key: key.clone(), attributes: options.attributes, parts: BTreeMap::new() };
            state.uploads.insert(id, upload);
            id
        };
        self.answer(fault, key, Ok(Box::new(Upload { connection: self.clone(), key: key.clone(), id, parts: 0 })))
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        let fault = self.admit(if options.head { Request::Head } else { Request::Get }, key).await?;
        let got = self.server.objects.get_opts(key, options).await;
        self.answer(fault, key, got)
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Key>>) -> BoxStream<'static, Result<Key>> {
        let connection = self.clone();
        keys.then(move |key| {
            let connection = connection.clone();
            async move {
                let key = key?;
                let fault = connection.admit(Request::Delete, &key).await?;
                let is_meant = match connection.client.deletes {
                    Deletes::Nothing => false,
                    Deletes::Compacted => !connection.server.damaged().contains_key(&key),
                    Deletes::Expired => is_own(&key) || !connection.server.keeps(&date_of(&key)).await,
                };
                if !is_meant {
                    lock(&connection.server.state).overwritten.push(format!("{key}, deleted by a run that is not to delete it"));
                }
                if fault == Some(Fault::KilledAndLate) {
                    lock(&connection.server.state).late.push(Late::Delete(key));
                    return Err(connection.kill());
                }
                connection.server.delete(&key).await;
                connection.answer(fault, &key, Ok(key.clone()))
            }
        })
        .boxed()
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (connection, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let key = prefix.clone().unwrap_or_default();
            let admitted = connection.admit(Request::List, &key).await;
            let mut written: Vec<Key> = lock(&connection.server.state).order.iter().filter(|written| written.prefix_matches(&key)).cloned().collect();
            let last = written.pop();
            let hidden = |fault| if fault == Fault::Stale { last } else { written.pop() };
            match admitted.and_then(|fault| connection.answer(fault, &key, Ok(fault))) {
                Ok(Some(fault @ (Fault::Stale | Fault::Hole))) => {
                    let hidden = hidden(fault);
                    {
                        let mut state = lock(&connection.server.state);
                        state.by_hand |= state.removed;
                        state.lied = true;
                    }
                    let shown = move |object: &ObjectMeta| std::future::ready(Some(&object.location) != hidden.as_ref());
                    connection.server.objects.list(prefix.as_ref()).try_filter(shown).boxed()
                }
                Ok(_) => connection.server.objects.list(prefix.as_ref()),
                Err(e) => stream::once(async { Err(e) }).boxed(),
            }
        };
        let server = Arc::clone(&self.server);
        stream::once(listed).flatten().map_ok(move |object| server.dated(object)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        let key = prefix.cloned().unwrap_or_default();
        let fault = self.admit(Request::List, &key).await?;
        let listed = self.server.objects.list_with_delimiter(prefix).await;
        self.answer(fault, &key, listed)
    }

    async fn copy_opts(&self, from: &Key, to: &Key, _: CopyOptions) -> Result<()> {
        lock(&self.server.state).overwritten.push(format!("{to}, copied from {from}"));
        Err(failed("no run has a reason to copy an object"))
    }
}

/// One multipart upload, as its run reaches it.
#[derive(Debug)]
struct Upload {
    connection: Connection,
    key: Key,
    id: usize,
    parts: usize,
}

impl Upload {
    fn gone(&self) -> Error {
        Error::NotFound { path: self.key.to_string(), source: "NoSuchUpload".into() }
    }

    fn forget(&self) -> Option<OpenUpload> {
        lock(&self.connection.server.state).uploads.remove(&self.id)
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let (connection, key, id, number) = (self.connection.clone(), self.key.clone(), self.id, self.parts);
        self.parts += 1;
        let gone = self.gone();
        async move {
            let fault = connection.admit(Request::Part, &key).await?;
            if fault == Some(Fault::Missing) {
                lock(&connection.server.state).uploads.remove(&id);
            }
            let sent = joined(payload);
            let stored = Connection::stored(fault, &sent);
            let done = match lock(&connection.server.state).uploads.get_mut(&id) {
                Some(upload) => {
                    upload.parts.insert(number, (sent, stored));
                    Ok(())
                }
                None => Err(gone),
            };
            connection.answer(fault, &key, done)
        }
        .boxed()
    }

    /// Puts together what parts there are, as directories and memory do: it is the caller who must not complete what is not whole.
    async fn complete(&mut self) -> Result<PutResult> {
        let fault = self.connection.admit(Request::Complete, &self.key).await?;
        let upload = self.forget().filter(|_| fault != Some(Fault::Missing)).ok_or_else(|| self.gone())?;
        let of_all = |part: fn(&(Bytes, Bytes)) -> &Bytes| upload.parts.values().flat_map(|p| part(p).iter().copied()).collect::<Bytes>();
        let (sent, stored) = (of_all(|(sent, _)| sent), of_all(|(_, stored)| stored));
        if fault == Some(Fault::KilledAndLate) {
            let late = Late::Write { key: self.key.clone(), bytes: sent, attributes: upload.attributes };
            lock(&self.connection.server.state).late.push(late);
            return Err(self.connection.kill());
        }
        let options = PutOptions { attributes: upload.attributes, ..Default::default() };
        if fault == Some(Fault::Conflict) {
            return Err(Error::AlreadyExists { path: self.key.to_string(), source: "ConditionalRequestConflict".into() });
        }
        let put = self.connection.server.publish(&self.key, sent, stored, options).await;
        if put.is_err() {
            // one that is refused is still there, to be given up
            lock(&self.connection.server.state).uploads.insert(
                self.id,
                OpenUpload { client: self.connection.client.number, key: self.key.clone(), attributes: Attributes::new(), parts: BTreeMap::new() },
            );
        }
        self.connection.answer(fault, &self.key, put.map(|put| Connection::tag(fault, put)))
    }

    async fn abort(&mut self) -> Result<()> {
        let fault = self.connection.admit(Request::Abort, &self.key).await?;
        let done = self.forget().map(drop).ok_or_else(|| self.gone());
        self.connection.answer(fault, &self.key, done)
    }
}
