//! A Chromium without a window, driven over its pipe: one process with one tab, in a folder of its own, without network.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long an answer may take, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(90);

/// The browser, installed if it is missing.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let setup = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/setup")).output().expect("tests/browser/setup starts");
        assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
        String::from_utf8(setup.stdout).expect("a path").trim().into()
    })
}

fn decoded(answer: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(answer["data"].as_str().expect("a file")).expect("base64")
}

/// A tab with a page.
pub struct Tab {
    process: Child,
    pipe: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    asked: u64,
    /// All that the tab told of its own.
    events: Vec<Value>,
    url: String,
    folder: TempDir,
}

impl Tab {
    /// A tab that is as large as this, in light colours, with an empty page.
    pub fn new(width: u32, height: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        // the browser reads from 3 and writes to 4
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >&2"])
            .arg(program())
            .args(["--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--hide-scrollbars",
                "--disable-lcd-text",
                "--force-color-profile=srgb",
            ])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the browser starts");
        let (pipe, answers) = (process.stdin.take().expect("a pipe"), process.stdout.take().expect("a pipe"));
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0) {
                let Ok(message) = message else { break };
                if sender.send(serde_json::from_slice(&message).expect("JSON")).is_err() {
                    break;
                }
            }
        });
        let mut tab = Self { process, pipe, messages, session: None, asked: 0, events: Vec::new(), url: String::new(), folder };
        let target = tab.call("Target.createTarget", json!({"url": "about:blank"}));
        let session = tab.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        tab.session = Some(session["sessionId"].as_str().expect("a session").to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            tab.call(&format!("{domain}.enable"), json!({}));
        }
        tab.resize(width, height);
        tab
    }

    pub fn resize(&mut self, width: u32, height: u32) {
        self.call("Emulation.setDeviceMetricsOverride", json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}));
    }

    /// What the page is shown on (screen, print), and whether in dark colours.
    pub fn media(&mut self, media: &str, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        self.call("Emulation.setEmulatedMedia", json!({"media": media, "features": [{"name": "prefers-color-scheme", "value": scheme}]}));
        self.frames();
    }

    /// The answer to a command of the DevTools protocol.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let mut message = json!({"id": self.asked, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.pipe.write_all(format!("{message}\0").as_bytes()).expect("the browser listens");
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left).unwrap_or_else(|e| panic!("{method}: {e}; {}", self.log()));
            if message["id"] == json!(self.asked) {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Opens a page from a file, and waits until it is drawn or says why it cannot be.
    pub fn open(&mut self, html: &str) {
        let path = self.folder.path().join("page.html");
        std::fs::write(&path, html).expect("written");
        self.url = format!("file://{}", path.display());
        self.events.clear();
        let url = self.url.clone();
        let opened = self.call("Page.navigate", json!({"url": url}));
        assert!(opened["errorText"].is_null(), "{opened}");
        let end = Instant::now() + PATIENCE;
        let ready = "document.readyState === 'complete' && (performance.getEntriesByName('shown').length > 0 || !document.getElementById('failure').hidden)";
        while self.eval(ready) != json!(true) {
            assert!(Instant::now() < end, "the page is never ready: {:?}", self.complaints());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.frames();
    }

    /// The value of an expression in the page; a promise is waited for.
    pub fn eval(&mut self, expression: &str) -> Value {
        let answer = self.call("Runtime.evaluate", json!({"expression": expression, "awaitPromise": true, "returnByValue": true}));
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    pub fn text(&mut self, expression: &str) -> String {
        let value = self.eval(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression} is {value}")).to_owned()
    }

    pub fn number(&mut self, expression: &str) -> f64 {
        let value = self.eval(expression);
        value.as_f64().unwrap_or_else(|| panic!("{expression} is {value}"))
    }

    /// The visible text of an element.
    pub fn shown(&mut self, selector: &str) -> String {
        self.text(&format!("document.querySelector({}).innerText", json!(selector)))
    }

    /// Waits until what was asked for is drawn.
    pub fn frames(&mut self) {
        self.eval("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
    }

    fn mouse(&mut self, kind: &str, (x, y): (f64, f64), more: Value) {
        let mut params = json!({"type": kind, "x": x, "y": y});
        params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        self.call("Input.dispatchMouseEvent", params);
    }

    pub fn hover(&mut self, at: (f64, f64)) {
        self.mouse("mouseMoved", at, json!({}));
        self.frames();
    }

    pub fn wheel(&mut self, at: (f64, f64), delta: f64) {
        self.mouse("mouseWheel", at, json!({"deltaX": 0, "deltaY": delta}));
        self.frames();
    }

    pub fn drag(&mut self, from: (f64, f64), to: (f64, f64)) {
        let held = json!({"button": "left", "buttons": 1, "clickCount": 1});
        self.mouse("mousePressed", from, held.clone());
        for step in 1..=8 {
            let share = f64::from(step) / 8.0;
            self.mouse("mouseMoved", (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share), held.clone());
        }
        self.mouse("mouseReleased", to, held);
        self.frames();
    }

    /// Clicks in the middle of the first element of a selector, which must be in view.
    pub fn click(&mut self, selector: &str) {
        let place = self.eval(&format!(
            "(() => {{ const e = document.querySelector({}); e.scrollIntoView({{block: 'nearest'}}); const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()",
            json!(selector)
        ));
        let at = (place[0].as_f64().expect("x"), place[1].as_f64().expect("y"));
        for kind in ["mousePressed", "mouseReleased"] {
            self.mouse(kind, at, json!({"button": "left", "clickCount": 1}));
        }
        self.frames();
    }

    /// Presses a key, such as `ArrowLeft` or `+`.
    pub fn key(&mut self, key: &str, shift: bool) {
        let modifiers = if shift { 8 } else { 0 };
        let mut down =
            json!({"type": "rawKeyDown", "key": key, "code": key, "modifiers": modifiers, "windowsVirtualKeyCode": if key == "Tab" { 9 } else { 0 }});
        if key.chars().count() == 1 {
            down["type"] = json!("keyDown");
            down["text"] = json!(key);
        }
        self.call("Input.dispatchKeyEvent", down);
        self.call("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key, "code": key, "modifiers": modifiers}));
        self.frames();
    }

    /// The page from its top down to the end of an element, as PNG.
    pub fn picture(&mut self, last: &str) -> Vec<u8> {
        let end = self.number(&format!("document.querySelector({}).getBoundingClientRect().bottom + scrollY + 6", json!(last))).ceil();
        let clip = json!({"x": 0, "y": 0, "width": self.number("innerWidth"), "height": end, "scale": 1});
        let answer = self.call("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": true, "clip": clip}));
        decoded(&answer)
    }

    /// The page as a printer gets it, as PDF.
    pub fn paper(&mut self) -> Vec<u8> {
        decoded(&self.call("Page.printToPDF", json!({"landscape": true, "printBackground": false})))
    }

    /// Errors, warnings, and requests for anything but the page itself.
    pub fn complaints(&mut self) -> Vec<String> {
        self.eval("0"); // what was told before has arrived by then
        let (url, mut found) = (self.url.clone(), Vec::new());
        for event in &self.events {
            let params = &event["params"];
            match event["method"].as_str().unwrap_or_default() {
                "Runtime.exceptionThrown" => found.push(params["exceptionDetails"].to_string()),
                "Runtime.consoleAPICalled" => found.push(params["args"].to_string()),
                "Log.entryAdded" => found.push(params["entry"]["text"].to_string()),
                "Network.requestWillBeSent" if params["request"]["url"] != json!(url) => found.push(format!("a request for {}", params["request"]["url"])),
                "Page.javascriptDialogOpening" => found.push(format!("a dialog: {}", params["message"])),
                _ => {}
            }
        }
        found
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        // the browser ends its own processes when its pipe is closed; it is waited for, so that its folder can go
        let _ = self.pipe.write_all(b"{\"id\": 0, \"method\": \"Browser.close\"}\0");
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end && matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
