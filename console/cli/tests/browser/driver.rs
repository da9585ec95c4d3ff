//! A small client of `WebDriver`: chromedriver over plain HTTP, and a browser of its own for each test.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use kit::testing::free_address;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Long enough for anything that happens at all.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const TAB: &str = "\u{E004}";
pub const ENTER: &str = "\u{E007}";
pub const CONTROL: &str = "\u{E009}";

const FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// Ends the browsers and the driver when the test process is gone, however it went: then its standard input ends.
const GUARD: &str = r#""$@" & driver=$!; cat; pkill -P $driver; kill $driver; wait $driver"#;

/// The one chromedriver of this process.
struct Driver {
    port: u16,
    _guard: Child,
}

fn driver() -> &'static Driver {
    static DRIVER: OnceLock<Driver> = OnceLock::new();
    DRIVER.get_or_init(|| {
        let port = free_address().port();
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard", "chromedriver"])
            .arg(format!("--port={port}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < PATIENCE, "chromedriver does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Driver {
            port,
            _guard: guard,
        }
    })
}

/// Whether there is a browser; says so where there cannot be one, and fails where one has only not been installed.
pub fn is_there() -> bool {
    if std::env::var_os("RECARGA_TEST_BROWSER").is_some_and(|word| word == "none") {
        eprintln!(
            "SKIPPED: there is no Chromium for this system, so nobody looked at the web page"
        );
        return false;
    }
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join("chromedriver").is_file())
    });
    assert!(
        found,
        "chromedriver is not installed: `cargo recarga test` installs it, or: apt-get install chromium chromium-driver \
         (RECARGA_TEST_BROWSER=none skips these tests)"
    );
    true
}

/// A browser.
pub struct Session {
    http: reqwest::Client,
    path: String,
    _profile: TempDir,
}

impl Session {
    pub async fn open() -> Self {
        let profile = TempDir::with_prefix("recarga-browser-").unwrap();
        let mut arguments: Vec<String> = FLAGS.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE * 2);
        let mut session = Self {
            http: http.build().unwrap(),
            path: String::new(),
            _profile: profile,
        };
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let made = session.post("/session", wanted).await;
        session.path = format!("/session/{}", made["sessionId"].as_str().unwrap());
        session
    }

    /// One command of the protocol.
    async fn post(&self, command: &str, body: Value) -> Value {
        let url = format!("http://127.0.0.1:{}{}{command}", driver().port, self.path);
        let answer = self.http.post(url).json(&body).send().await.unwrap();
        let (status, mut answer) = (answer.status(), answer.json::<Value>().await.unwrap());
        let value = answer["value"].take();
        assert!(status.is_success(), "{command}: {value:#}");
        value
    }

    pub async fn go(&self, url: &str) {
        self.post("/url", json!({"url": url})).await;
    }

    /// Runs JavaScript as the page's console would, and gives what it returns.
    pub async fn script(&self, text: &str, arguments: Value) -> Value {
        let body = json!({"script": text, "args": arguments});
        self.post("/execute/sync", body).await
    }

    /// The same for a script that calls its last argument when it is done.
    pub async fn script_later(&self, text: &str, arguments: Value) -> Value {
        let body = json!({"script": text, "args": arguments});
        self.post("/execute/async", body).await
    }

    /// A command of the browser's own protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.post("/goog/cdp/execute", body).await
    }

    /// The value of an expression.
    pub async fn value(&self, expression: &str) -> Value {
        self.script(&format!("return ({expression})"), json!([]))
            .await
    }

    /// Waits until an expression is true.
    pub async fn until(&self, expression: &str) {
        let started = Instant::now();
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        while self.value(&format!("Boolean({expression})")).await != true {
            if started.elapsed() > PATIENCE {
                let text = self.value("document.body.innerText").await;
                panic!(
                    "waited in vain: {expression}\n{}",
                    text.as_str().unwrap_or_default()
                );
            }
            pause.tick().await;
        }
    }

    /// A click where a hand would click: it must be visible and in front.
    pub async fn click(&self, selector: &str) {
        let body = json!({"using": "css selector", "value": selector});
        let element = self.post("/element", body).await;
        let id = element
            .as_object()
            .unwrap()
            .values()
            .next()
            .unwrap()
            .clone();
        let command = format!("/element/{}/click", id.as_str().unwrap());
        self.post(&command, json!({})).await;
    }

    /// Presses keys one after the other, wherever the focus is.
    pub async fn press(&self, keys: &[&str]) {
        let each = |key: &&str| {
            [
                json!({"type": "keyDown", "value": key}),
                json!({"type": "keyUp", "value": key}),
            ]
        };
        self.act(keys.iter().flat_map(each).collect()).await;
    }

    /// Types over what a field holds.
    pub async fn type_over(&self, text: &str) {
        self.act(vec![
            json!({"type": "keyDown", "value": CONTROL}),
            json!({"type": "keyDown", "value": "a"}),
            json!({"type": "keyUp", "value": "a"}),
            json!({"type": "keyUp", "value": CONTROL}),
        ])
        .await;
        // At once: a key at a time waits for a frame at a time, and a token has hundreds.
        self.devtools("Input.insertText", json!({"text": text}))
            .await;
    }

    async fn act(&self, actions: Vec<Value>) {
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": actions});
        self.post("/actions", json!({"actions": [keyboard]})).await;
    }

    /// Width in CSS pixels, as on a phone below 500; high enough for what is above the fold.
    pub async fn resize(&self, width: u32) {
        let screen =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500});
        self.devtools("Emulation.setDeviceMetricsOverride", screen)
            .await;
    }

    /// `light` or `dark`; always without motion, so that pictures and audits see the end of it.
    pub async fn scheme(&self, scheme: &str) {
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        self.devtools("Emulation.setEmulatedMedia", json!({"features": features}))
            .await;
    }

    /// Keeps a picture of the whole page, under the target folder.
    pub async fn picture(&self, name: &str) -> PathBuf {
        let size = "[document.documentElement.clientWidth, document.documentElement.scrollHeight]";
        let size = self.value(size).await;
        let clip = json!({"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1});
        let asked = json!({"captureBeyondViewport": true, "clip": clip});
        let answer = self.devtools("Page.captureScreenshot", asked).await;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{name}.png"));
        std::fs::write(&path, base64(answer["data"].as_str().unwrap())).unwrap();
        eprintln!("screenshot: {}", path.display());
        path
    }

    /// What the browser noted since the last time: `browser` for the console, `performance` for the network.
    pub async fn log(&self, kind: &str) -> Vec<Value> {
        let entries = self.post("/se/log", json!({"type": kind})).await;
        entries.as_array().unwrap().clone()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let end = || -> std::io::Result<()> {
            let mut stream = TcpStream::connect(("127.0.0.1", driver().port))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let path = &self.path;
            write!(
                stream,
                "DELETE {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )?;
            // It answers when the browser has ended, and keeps the connection.
            stream.read(&mut [0; 64]).map(drop)
        };
        let _ = end();
    }
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut places = [0_u32; 256];
    for (value, letter) in (0..).zip(ALPHABET) {
        places[usize::from(*letter)] = value;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes().take_while(|letter| *letter != b'=') {
        bits = bits << 6 | places[usize::from(letter)];
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}
