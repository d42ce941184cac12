//! Chromium, driven over its debugging pipe: what a page shows, to eyes and to a screen reader, and what its keys and buttons do.
//!
//! <https://chromedevtools.github.io/devtools-protocol/>

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lab::provision::{Chromium, chromium};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// How long a test may use a browser. Its end ends every wait.
const LIMIT: Duration = Duration::from_secs(600);

/// A browser with one page. All its methods block.
pub struct Browser {
    child: Arc<Mutex<Child>>,
    to: File,
    from: BufReader<File>,
    session: Value,
    last: u64,
    /// What the page did: dialogs that it opened, and errors of its scripts.
    pub events: Vec<Value>,
    _directory: TempDir,
}

impl Browser {
    /// A browser whose window has this size.
    pub fn start(width: u32, height: u32) -> Self {
        let Chromium { program, variables } = chromium().expect("Chromium is there");
        let directory = tempfile::tempdir().expect("a directory");
        let [into, out] = ["in", "out"].map(|name| directory.path().join(name));
        let made = Command::new("mkfifo").args([&into, &out]).status().expect("mkfifo is there");
        assert!(made.success(), "the pipes are made");
        // Chromium reads from descriptor 3 and writes to 4.
        let script = "exec \"$0\" \"$@\" 3<\"$PIPE_IN\" 4>\"$PIPE_OUT\"";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(program).envs(variables).env("PIPE_IN", &into).env("PIPE_OUT", &out);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
        command.args([
            "--remote-debugging-pipe",
            "--hide-scrollbars",
            "--no-proxy-server",
            "--disable-background-networking",
        ]);
        command.arg(format!("--user-data-dir={}", directory.path().join("profile").display()));
        command.arg("about:blank").env("HOME", directory.path());
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let child = Arc::new(Mutex::new(child));
        let watched = Arc::downgrade(&child);
        std::thread::spawn(move || {
            std::thread::sleep(LIMIT);
            if let Some(child) = watched.upgrade() {
                let _ = child.lock().unwrap().kill();
            }
        });
        let to = OpenOptions::new().write(true).open(&into).expect("it reads");
        let from = BufReader::new(File::open(&out).expect("it writes"));
        let mut browser =
            Self { child, to, from, session: Value::Null, last: 0, events: Vec::new(), _directory: directory };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        browser.session = attached["sessionId"].clone();
        for domain in ["Page", "Runtime", "Accessibility"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.resize(width, height);
        browser
    }

    /// Gives the window another size.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Has the person prefer dark pages, or light ones.
    pub fn prefer_dark(&mut self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Opens a page, and waits until it is there.
    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// The value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let request = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", request);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub fn wait(&mut self, expression: &str) {
        for _ in 0..5_000 {
            let request = json!({"expression": expression, "returnByValue": true});
            // While a page is being replaced, there is nothing to ask.
            if self.call("Runtime.evaluate", request)["result"]["value"] == json!(true) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{expression} never becomes true: {}", self.value("document.body.innerText"));
    }

    /// Presses a key: `Tab`, `Enter` or ` `.
    pub fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            _ => (32, " "),
        };
        let down = json!({"type": if text.is_empty() { "rawKeyDown" } else { "keyDown" }, "key": key, "code": key,
            "windowsVirtualKeyCode": code, "text": text});
        self.call("Input.dispatchKeyEvent", down);
        self.call("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}));
    }

    /// What a screen reader is told: each element's role and name.
    pub fn read_aloud(&mut self) -> Vec<(String, String)> {
        let nodes = self.call("Accessibility.getFullAXTree", json!({}))["nodes"].clone();
        let text = |node: &Value, part: &str| node[part]["value"].as_str().unwrap_or_default().to_owned();
        let told = nodes.as_array().expect("nodes").iter().filter(|node| node["ignored"] == json!(false));
        told.map(|node| (text(node, "role"), text(node, "name"))).collect()
    }

    /// A picture of the window in PNG, or of the whole page.
    pub fn picture(&mut self, to: &Path, whole: bool) {
        let request = json!({"format": "png", "captureBeyondViewport": whole});
        let request = if whole {
            let height = self.value("document.documentElement.scrollHeight").as_u64().unwrap_or(1);
            let width = self.value("document.documentElement.clientWidth").as_u64().unwrap_or(1);
            json!({"format": "png", "captureBeyondViewport": true,
                "clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}})
        } else {
            request
        };
        let data = self.call("Page.captureScreenshot", request);
        let png = BASE64_STANDARD.decode(data["data"].as_str().expect("a picture")).expect("base64");
        std::fs::write(to, png).expect("the picture is written");
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("Chromium runs");
        loop {
            let mut bytes = Vec::new();
            self.from.read_until(0, &mut bytes).expect("Chromium answers");
            assert_eq!(bytes.pop(), Some(0), "Chromium has ended, or the time of the test is over");
            let answer: Value = serde_json::from_slice(&bytes).expect("JSON");
            if answer["id"] == json!(self.last) {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
            let event = answer["method"].as_str().unwrap_or_default();
            if ["Page.javascriptDialogOpening", "Runtime.exceptionThrown"].contains(&event) {
                self.events.push(answer);
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Ok(mut child) = self.child.lock() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
