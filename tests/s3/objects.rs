//! A bucket in memory, as far as runs ask for it. It keeps the condition of a write, unless told not to; whatever else is asked for beside the bytes is ignored.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};

use super::server::{Answer, Seen, decoded};

/// The answer that an ETag stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum In {
    Put,
    Completion,
    Head,
    Get,
    List,
}

/// How a server spells a tag.
pub type Spelling = fn(In, &str) -> String;

/// As AWS does.
fn quoted(_: In, tag: &str) -> String {
    format!("\"{tag}\"")
}

/// Keys of one listing, as of S3.
const PAGE: usize = 1_000;

#[derive(Debug, Clone)]
struct Object {
    bytes: Vec<u8>,
    /// Of its upload.
    token: String,
    /// Without quotes.
    tag: String,
}

#[derive(Default)]
struct Kept {
    objects: BTreeMap<String, Object>,
    /// The token and the parts of each upload, by its number.
    uploads: BTreeMap<usize, (String, BTreeMap<u32, Vec<u8>>)>,
    begun: usize,
}

/// The objects of `/bucket`.
#[derive(Clone)]
pub struct Objects {
    kept: Arc<Mutex<Kept>>,
    spelling: Spelling,
    /// Whether it keeps the condition of a write.
    conditions: bool,
    /// Whether it deletes objects.
    deletes: bool,
}

impl Default for Objects {
    fn default() -> Self {
        Self::spelling(quoted)
    }
}

fn tag_of(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// By a path, or by an address that a proxy is asked for, whose host is the bucket's own.
fn key_of(path: &str) -> Option<String> {
    let key = match path.strip_prefix("http://bucket.") {
        Some(address) => address.split_once('/')?.1,
        None => path.strip_prefix("/bucket")?,
    };
    Some(key.trim_start_matches('/').to_owned())
}

impl Objects {
    pub fn spelling(spelling: Spelling) -> Self {
        Self { kept: Arc::default(), spelling, conditions: true, deletes: true }
    }

    /// As some servers do: a write that is to create replaces.
    pub fn without_conditions() -> Self {
        Self { conditions: false, ..Self::default() }
    }

    /// As to credentials that may not delete.
    pub fn without_deletion(self) -> Self {
        Self { deletes: false, ..self }
    }

    pub fn respond(&self, seen: &Seen) -> Answer {
        let mut kept = self.kept.lock().expect("not poisoned");
        let Some(key) = key_of(&decoded(seen.path())) else { return Answer::error(404, "NoSuchBucket", "It is not there") };
        let token = seen.header("x-amz-meta-cc-archiver-upload").to_owned();
        let upload = seen.asks("uploadId").map(|id| id.parse::<usize>().expect("a number"));
        if self.conditions && seen.header("if-none-match") == "*" && kept.objects.contains_key(&key) {
            return Answer::error(412, "PreconditionFailed", "At least one of the preconditions did not hold");
        }
        match (seen.method.as_str(), upload) {
            ("GET", _) if seen.asks("list-type").is_some() => self.list(&kept, seen),
            ("GET", _) if seen.asks("lifecycle").is_some() => Answer::error(404, "NoSuchLifecycleConfiguration", "none"),
            ("GET" | "HEAD", _) => self.read(&kept, seen, &key),
            ("PUT", Some(id)) => {
                let number = seen.asks("partNumber").and_then(|number| number.parse().ok()).expect("a number");
                kept.uploads.get_mut(&id).expect("it was begun").1.insert(number, seen.body.clone());
                Answer::new(200, "").with("etag", "\"part\"")
            }
            ("PUT", None) => {
                let tag = tag_of(&seen.body);
                kept.objects.insert(key, Object { bytes: seen.body.clone(), token, tag: tag.clone() });
                Answer::new(200, "").with("etag", (self.spelling)(In::Put, &tag))
            }
            ("POST", Some(id)) => {
                let (token, parts) = kept.uploads.remove(&id).expect("it was begun");
                let bytes = parts.values().flatten().copied().collect::<Vec<_>>();
                let tag = format!("{}-{}", tag_of(&bytes), parts.len());
                kept.objects.insert(key, Object { bytes, token, tag: tag.clone() });
                let tag = (self.spelling)(In::Completion, &tag);
                Answer::new(200, format!("<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>"))
            }
            ("POST", None) if seen.asks("uploads").is_some() => {
                kept.begun += 1;
                let id = kept.begun;
                kept.uploads.insert(id, (token, BTreeMap::new()));
                Answer::new(200, format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"))
            }
            ("DELETE", Some(id)) => {
                kept.uploads.remove(&id);
                Answer::new(204, "")
            }
            ("POST", None) if seen.asks("delete").is_some() => {
                if !self.deletes {
                    return Answer::error(403, "AccessDenied", "Access Denied");
                }
                let body = String::from_utf8_lossy(&seen.body);
                let mut deleted = String::new();
                for key in body.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()) {
                    kept.objects.remove(key);
                    deleted.push_str(&format!("<Deleted><Key>{key}</Key></Deleted>"));
                }
                Answer::new(200, format!("<DeleteResult>{deleted}</DeleteResult>"))
            }
            (method, _) => Answer::error(501, "NotImplemented", method),
        }
    }

    fn entry(&self, (key, object): (&String, &Object)) -> String {
        let (tag, size) = ((self.spelling)(In::List, &object.tag), object.bytes.len());
        format!("<Contents><Key>{key}</Key><LastModified>2026-03-01T00:00:00.000Z</LastModified><ETag>{tag}</ETag><Size>{size}</Size></Contents>")
    }

    fn list(&self, kept: &Kept, seen: &Seen) -> Answer {
        let prefix = seen.asks("prefix").unwrap_or_default();
        let after = seen.asks("continuation-token").unwrap_or_default();
        let mut found = kept.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
        if seen.asks("delimiter").is_some() {
            // all on one page
            let rest = found.map(|(key, _)| &key[prefix.len()..]);
            let folders: BTreeSet<&str> = rest.filter_map(|rest| rest.split_inclusive('/').next()).filter(|folder| folder.ends_with('/')).collect();
            let shown: String = folders.iter().map(|folder| format!("<CommonPrefixes><Prefix>{prefix}{folder}</Prefix></CommonPrefixes>")).collect();
            let mut here = kept.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && !key[prefix.len()..].contains('/'));
            let listed: String = here.by_ref().map(|object| self.entry(object)).collect();
            return Answer::new(200, format!("<ListBucketResult><IsTruncated>false</IsTruncated>{listed}{shown}</ListBucketResult>"));
        }
        let page: Vec<_> = found.by_ref().take(PAGE).collect();
        let listed: String = page.iter().map(|object| self.entry(*object)).collect();
        let next = found.next().and(page.last()).map(|(key, _)| format!("<NextContinuationToken>{key}</NextContinuationToken>"));
        let (more, next) = (next.is_some(), next.unwrap_or_default());
        Answer::new(200, format!("<ListBucketResult><IsTruncated>{more}</IsTruncated>{next}{listed}</ListBucketResult>"))
    }

    fn read(&self, kept: &Kept, seen: &Seen, key: &str) -> Answer {
        let Some(Object { bytes, token, tag }) = kept.objects.get(key) else { return Answer::error(404, "NoSuchKey", "It is not there") };
        let range = seen.header("range").strip_prefix("bytes=").and_then(|range| range.split_once('-'));
        let number = |text: &str| text.parse::<usize>().expect("a number");
        let (status, from, to) = range.map_or((200, 0, bytes.len()), |(from, to)| (206, number(from), (number(to) + 1).min(bytes.len())));
        let tag = (self.spelling)(if seen.method == "HEAD" { In::Head } else { In::Get }, tag);
        let answer = Answer::new(status, &bytes[from..to]).with("etag", tag).with("last-modified", "Sun, 01 Mar 2026 00:00:00 GMT");
        let answer = answer.with("content-length", (to - from).to_string()).with("x-amz-meta-cc-archiver-upload", token.clone());
        if status == 206 { answer.with("content-range", format!("bytes {from}-{}/{}", to - 1, bytes.len())) } else { answer }
    }

    /// How many there are that hold rows.
    pub fn count(&self) -> usize {
        self.keys().iter().filter(|key| !super::support::is_own(key)).count()
    }

    /// Their keys.
    pub fn keys(&self) -> Vec<String> {
        self.kept.lock().expect("not poisoned").objects.keys().cloned().collect()
    }

    /// An object's bytes.
    pub fn bytes(&self, key: &str) -> Vec<u8> {
        self.kept.lock().expect("not poisoned").objects[key].bytes.clone()
    }

    /// Puts an object there.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        let object = Object { bytes: bytes.to_vec(), token: String::new(), tag: tag_of(bytes) };
        self.kept.lock().expect("not poisoned").objects.insert(key.to_owned(), object);
    }
}
