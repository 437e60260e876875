//! Metrics on their way out: to a file, to a Pushgateway. What goes wrong here is a warning, never the run's end.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};

use super::metrics::Sheet;
use crate::settings::PushUrl;

/// A gateway's answer is read up to here.
const MOST_ANSWER: usize = 16 << 20;
/// Whoever collects metrics is somebody else.
const MODE: u32 = 0o644;

/// Where the metrics of a command on a machine go: each has a group of its own, as a push replaces a group.
fn address(url: &PushUrl, host: &str, command: &str) -> String {
    let base = url.as_str().trim_end_matches('/');
    let has_path = base.split("://").nth(1).is_some_and(|rest| rest.contains('/'));
    if has_path { base.to_owned() } else { format!("{base}/metrics/job/cc-archiver/instance/{}/command/{command}", encoded(host)) }
}

/// A name as a part of a path.
fn encoded(name: &str) -> String {
    let byte = |byte: u8| if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(byte).collect()
}

/// Where a gateway shows all that it has, and the labels of the group that `url` names; None if it is not that of a Pushgateway.
fn group_of(url: &str) -> Option<(String, Vec<(String, String)>)> {
    let (base, labels) = url.split_once("/metrics/job/")?;
    let parts: Vec<&str> = std::iter::once("job").chain(labels.split('/')).collect();
    let pairs = parts.chunks(2).map(|pair| Some((pair.first()?.to_string(), pair.get(1)?.to_string())));
    Some((format!("{base}/metrics"), pairs.collect::<Option<_>>()?))
}

/// What the previous run left in a file; nothing if there is none.
pub fn previous(path: &Path) -> std::io::Result<Sheet> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Sheet::parse(&text, &[])),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Sheet::default()),
        Err(e) => Err(e),
    }
}

/// Puts a file in another one's place, whole, at once, and so that it stays.
pub fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let name = path.file_name().ok_or(ErrorKind::IsADirectory)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // node_exporter passes over what does not end with .prom
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    let staged = folder.join(hidden);
    let written = write_staged(&staged, text).and_then(|()| fs::rename(&staged, path));
    if written.is_err() {
        let _ = fs::remove_file(&staged);
    }
    written?;
    File::open(folder)?.sync_all()
}

fn write_staged(path: &PathBuf, text: &str) -> std::io::Result<()> {
    // what a killed run of the same number left
    let _ = fs::remove_file(path);
    let mut file = File::options().write(true).create_new(true).mode(MODE).open(path)?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// One group of a gateway.
pub struct Gateway {
    client: HttpClient,
    url: String,
}

impl Gateway {
    /// The group of `command` on this machine.
    pub fn new(url: &PushUrl, command: &str, timeout: Duration) -> Result<Self, String> {
        let options = ClientOptions::new().with_timeout(timeout).with_connect_timeout(timeout).with_allow_http(true);
        let client = ReqwestConnector::default().connect(&options).map_err(|e| e.to_string())?;
        let host = rustix::system::uname();
        Ok(Self { client, url: address(url, &host.nodename().to_string_lossy(), command) })
    }

    /// What the previous run left there; None if the URL is not that of a Pushgateway.
    pub async fn previous(&self) -> Result<Option<Sheet>, String> {
        let Some((url, group)) = group_of(&self.url) else { return Ok(None) };
        let text = self.request("GET", &url, String::new()).await?;
        Ok(Some(Sheet::parse(&text, &group)))
    }

    /// Puts a run's metrics in the place of those of the previous one, or, where those are not known, only in the place of what has the
    /// same names: then the last success stays.
    pub async fn push(&self, sheet: &Sheet, replace: bool) -> Result<(), String> {
        self.request(if replace { "PUT" } else { "POST" }, &self.url, sheet.render()).await.map(drop)
    }

    async fn request(&self, method: &str, url: &str, body: String) -> Result<String, String> {
        let said = |e: &dyn std::error::Error| {
            let mut text = e.to_string();
            let mut source = e.source();
            while let Some(e) = source {
                text = format!("{text}: {e}");
                source = e.source();
            }
            text
        };
        let mut request = HttpRequest::new(HttpRequestBody::from(Bytes::from(body)));
        *request.method_mut() = method.parse().map_err(|_| "no method")?;
        *request.uri_mut() = url.parse().map_err(|_| "no URL")?;
        request.headers_mut().insert("content-type", "text/plain; version=0.0.4".parse().map_err(|_| "no header")?);
        let answer = self.client.execute(request).await.map_err(|e| said(&e))?;
        let (head, body) = answer.into_parts();
        let mut stream = body.bytes_stream();
        let mut text = Vec::new();
        while let Some(bytes) = stream.try_next().await.map_err(|e| said(&e))? {
            if text.len() + bytes.len() > MOST_ANSWER {
                return Err(format!("{method} {url}: the answer is too long"));
            }
            text.extend_from_slice(&bytes);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let first = text.lines().next().unwrap_or_default().chars().take(200).collect::<String>();
        if head.status.is_success() { Ok(text) } else { Err(format!("{method} {url}: {}: {}", head.status, first.escape_debug())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_named_by_a_plain_url() {
        for wrong in ["gateway:9091", "ftp://a", "http://", "http:///x", "http://me:secret@a", "http://a b", "http://a?x=y", "https://a#x"] {
            assert!(wrong.parse::<PushUrl>().is_err(), "{wrong}");
        }
        let of = |url: &str| url.parse::<PushUrl>().map(|url| address(&url, "n 1/é", "prune"));
        let grouped = "http://gw:9091/metrics/job/cc-archiver/instance/n%201%2F%C3%A9/command/prune";
        assert_eq!([of("http://gw:9091"), of("http://gw:9091/")], [Ok(grouped.into()), Ok(grouped.into())]);
        assert_eq!(of("https://gw/metrics/job/mine/"), Ok("https://gw/metrics/job/mine".into()));
    }

    #[test]
    fn a_group_is_known_by_its_path() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let group = group_of("https://gw/x/metrics/job/a/instance/b");
        assert_eq!(group, Some(("https://gw/x/metrics".into(), vec![pair("job", "a"), pair("instance", "b")])));
        assert_eq!([group_of("https://gw/metrics/job/a/instance"), group_of("https://gw/api/v1/import/prometheus")], [None, None]);
    }

    #[test]
    fn a_file_is_replaced_whole_and_everybody_may_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.prom");
        write(&path, "first").expect("written");
        let held = File::open(&path).expect("opened");
        write(&path, "second").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("read"), "second");
        assert_eq!(std::io::read_to_string(held).expect("read"), "first", "a reader of the old one is not disturbed");
        assert_eq!(fs::metadata(&path).expect("its status").permissions().mode() & 0o777, MODE);
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "nothing else stays");
        assert!(write(&folder.path().join("no/such"), "x").is_err() && write(folder.path(), "x").is_err());
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "nothing else stays");
    }
}
