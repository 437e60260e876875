//! A server of the test's own, with TLS or without, that keeps what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request that came.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub method: String,
    /// With the query; with the host too where the server is a proxy.
    pub target: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query; None if it is not there.
    pub fn asks(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(found, _)| *found == name).map(|(_, value)| decoded(value))
    }
}

/// As far as keys of tests need it.
pub fn decoded(text: &str) -> String {
    text.replace("%3D", "=").replace("%2F", "/")
}

/// The status of an answer that never comes: the connection is closed.
pub const HANGS_UP: u16 = 0;

/// What is answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::new(status, format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"))
    }

    pub fn with(mut self, header: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((header, value.into()));
        self
    }
}

/// An authority, and the server's certificate by it.
pub struct Tls {
    /// The authority's certificate, PEM.
    pub authority: String,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// For servers at 127.0.0.1.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).expect("signed").pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name").signed_by(&key, &issuer).expect("signed");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
        let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).expect("a good pair");
        Self { authority, config: Arc::new(config) }
    }
}

type Respond = dyn Fn(&Seen) -> Answer + Send + Sync;

/// Answers until the test ends.
pub struct Server {
    /// `http://127.0.0.1:port`, or https.
    pub address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub fn start(respond: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::listen(None, respond)
    }

    pub fn with_tls(tls: &Tls, respond: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::listen(Some(Arc::clone(&tls.config)), respond)
    }

    fn listen(tls: Option<Arc<ServerConfig>>, respond: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://{}", listener.local_addr().expect("an address"));
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (kept, respond) = (Arc::clone(&seen), Arc::<Respond>::from(Box::new(respond) as Box<Respond>));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (tls, kept, respond) = (tls.clone(), Arc::clone(&kept), Arc::clone(&respond));
                // a client that does not trust us closes the connection
                std::thread::spawn(move || match tls {
                    None => answer(stream, &kept, &*respond),
                    Some(config) => answer(StreamOwned::new(ServerConnection::new(config).expect("a connection"), stream), &kept, &*respond),
                });
            }
        });
        Self { address, seen }
    }

    /// What was asked until now.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("not poisoned").clone()
    }
}

/// One request, one answer.
fn answer(mut stream: impl Stream, kept: &Mutex<Vec<Seen>>, respond: &Respond) {
    let Some(seen) = request(&mut stream) else {
        // as servers answer to what is not HTTP
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
        return;
    };
    kept.lock().expect("not poisoned").push(seen.clone());
    let answer = respond(&seen);
    if answer.status == HANGS_UP {
        return;
    }
    let mut head = format!("HTTP/1.1 {} Said\r\nconnection: close\r\n", answer.status);
    let has_length = answer.headers.iter().any(|(name, _)| *name == "content-length");
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !has_length {
        head += &format!("content-length: {}\r\n", answer.body.len());
    }
    let body: &[u8] = if seen.method == "HEAD" { &[] } else { &answer.body };
    let _ = stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(body)).and_then(|()| stream.flush());
    stream.close();
}

trait Stream: Read + Write {
    fn close(self);
}

impl Stream for TcpStream {
    fn close(self) {}
}

impl Stream for StreamOwned<ServerConnection, TcpStream> {
    fn close(mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
    }
}

fn request(stream: &mut impl Read) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let mut seen = Seen { method: words.next()?.to_owned(), target: words.next()?.to_owned(), ..Seen::default() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        seen.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = seen.header("content-length").parse().unwrap_or(0);
    seen.body = vec![0; length];
    reader.read_exact(&mut seen.body).ok()?;
    Some(seen)
}
