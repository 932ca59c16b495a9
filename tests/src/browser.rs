//! Chromium, from Debian's `chromium` and `chromium-driver`, driven over WebDriver: a page as a person meets it.

use crate::root;
use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use rustix::process::Signal;
use serde_json::{Value, json};
use servers::process::Server;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(60);
/// What an element is named by in answers.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// The accessibility checker, as `tests/setup/page.sh` installs it.
const AXE: &str = ".cache/page/axe_playwright_python/axe.min.js";

/// A browser with one tab and a profile of its own; it ends when dropped.
pub struct Browser {
    driver: Server,
    address: String,
    session: String,
}

impl Browser {
    /// Starts it.
    pub fn start() -> Result<Browser> {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null());
        let driver = Server::spawn(&mut command, "TERM", None);
        let mut driver = driver.context("starting chromedriver (package chromium-driver)")?;
        let said = driver.child().stdout.take().context("no standard output")?;
        let mut port = None;
        for line in BufReader::new(said.take(1 << 16)).lines() {
            if let Some((_, rest)) = line?.split_once("started successfully on port ") {
                port = Some(rest.trim_end_matches('.').to_owned());
                break;
            }
        }
        let address = format!("127.0.0.1:{}", port.context("chromedriver named no port")?);
        // as root Chromium needs to be told that it has no sandbox
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--hide-scrollbars",
            "--js-flags=--expose-gc",
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": args},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let mut browser = Browser {
            driver,
            address,
            session: String::new(),
        };
        let session = browser.command("POST", "/session", Some(wanted))?;
        browser.session = session["sessionId"].as_str().context("no session")?.to_owned();
        browser.look(1440, 1000, false)?;
        Ok(browser)
    }

    /// Opens a page.
    pub fn open(&self, url: &str) -> Result<()> {
        self.post("/url", json!({ "url": url })).map(drop)
    }

    /// The size of the window in pixels, and whether its user prefers dark pages.
    pub fn look(&self, width: u32, height: u32, dark: bool) -> Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size)?;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", features).map(drop)
    }

    /// Runs the body of a function in the page, which may return a promise; what it returns.
    pub fn run(&self, script: &str, args: Value) -> Result<Value> {
        let script = format!("return (async function () {{ {script} }}).apply(null, arguments)");
        self.post("/execute/sync", json!({"script": script, "args": args}))
    }

    /// The text of the first element that a selector finds.
    pub fn text(&self, selector: &str) -> Result<String> {
        let found = self.run(
            "return document.querySelector(arguments[0])?.innerText ?? ''",
            json!([selector]),
        )?;
        Ok(found.as_str().unwrap_or_default().to_owned())
    }

    /// Clicks at the first element that a selector finds.
    pub fn click(&self, selector: &str) -> Result<()> {
        self.of_element(selector, "click", json!({}))
    }

    /// Types into the first element that a selector finds.
    pub fn enter(&self, selector: &str, text: &str) -> Result<()> {
        self.of_element(selector, "value", json!({ "text": text }))
    }

    fn of_element(&self, selector: &str, action: &str, body: Value) -> Result<()> {
        let found = self.post("/element", json!({"using": "css selector", "value": selector}))?;
        let element = found[ELEMENT].as_str().context("no element")?;
        self.post(&format!("/element/{element}/{action}"), body).map(drop)
    }

    /// What was said in the console since the last call, errors of the network and of the content security policy
    /// included.
    pub fn console(&self) -> Result<Vec<String>> {
        let lines = self.post("/se/log", json!({"type": "browser"}))?;
        let lines = lines.as_array().cloned().unwrap_or_default();
        let text = |line: &Value| format!("{} {}", line["level"], line["message"].as_str().unwrap_or_default());
        Ok(lines.iter().map(text).collect())
    }

    /// Bytes of the heap that are in use, after a garbage collection.
    pub fn heap(&self) -> Result<f64> {
        self.devtools("HeapProfiler.collectGarbage", json!({}))?;
        let usage = self.devtools("Runtime.getHeapUsage", json!({}))?;
        usage["usedSize"].as_f64().context("no size")
    }

    /// A picture of the whole page, up to 4000 pixels of it, in `target/page`.
    pub fn picture(&self, name: &str, width: u32, dark: bool) -> Result<()> {
        self.look(width, 1000, dark)?;
        let height = self.run("return document.documentElement.scrollHeight", json!([]))?;
        let height = u32::try_from(height.as_u64().unwrap_or(1000))?.clamp(700, 4000);
        self.look(width, height, dark)?;
        // charts follow their size and the theme with the next frame
        self.run("await new Promise((wake) => setTimeout(wake, 150))", json!([]))?;
        let picture = self.command("GET", &format!("/session/{}/screenshot", self.session), None)?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(picture.as_str().context("no picture")?)?;
        let folder = pictures()?;
        std::fs::write(folder.join(format!("{name}.png")), bytes)?;
        self.look(width, 1000, dark)
    }

    /// What axe-core finds that is serious or critical, each with where it is.
    pub fn axe(&self) -> Result<Vec<String>> {
        let path = root().join(AXE);
        let axe = std::fs::read_to_string(&path);
        let axe = axe.with_context(|| format!("{} is missing: run tests/setup/page.sh", path.display()))?;
        // by the debugger: the page's own policy allows no script from elsewhere
        self.devtools("Runtime.evaluate", json!({ "expression": axe }))?;
        let found = self.run(
            "const {violations} = await axe.run(document, {resultTypes: ['violations']}); \
             return violations.filter(({impact}) => ['serious', 'critical'].includes(impact)).flatMap(({id, nodes}) => \
             nodes.map(({target, failureSummary}) => `${id}: ${target.join(' ')}: ${failureSummary}`))",
            json!([]),
        )?;
        let found = found.as_array().context("axe did not run")?;
        Ok(found
            .iter()
            .map(|of| of.as_str().unwrap_or_default().to_owned())
            .collect())
    }

    /// A command of Chromium's DevTools.
    fn devtools(&self, command: &str, params: Value) -> Result<Value> {
        self.post("/goog/cdp/execute", json!({"cmd": command, "params": params}))
    }

    fn post(&self, path: &str, body: Value) -> Result<Value> {
        self.command("POST", &format!("/session/{}{path}", self.session), Some(body))
    }

    fn command(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
        let mut stream = TcpStream::connect(&self.address).context("connecting to chromedriver")?;
        stream.set_read_timeout(Some(LIMIT))?;
        let body = body.map_or(String::new(), |body| body.to_string());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            self.address,
            body.len()
        )?;
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer)?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        let value = answer["value"].take();
        if let Some(error) = value["error"].as_str() {
            bail!("{method} {path}: {error}: {}", value["message"]);
        }
        Ok(value)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // the driver ends its browser; one that is killed does not
        let _ = self.command("DELETE", &format!("/session/{}", self.session), None);
        let _ = self.driver.stop(Signal::TERM, Duration::from_secs(5));
    }
}

/// `target/page`, or the same folder below the target folder that cargo was given.
fn pictures() -> Result<PathBuf> {
    let test = std::env::current_exe().context("finding the test's own program")?;
    let target = test
        .ancestors()
        .nth(3)
        .context("the test's program stands in no target folder")?;
    let folder: &Path = &target.join("page");
    std::fs::create_dir_all(folder)?;
    ensure!(folder.is_dir(), "{} is no folder", folder.display());
    Ok(folder.to_owned())
}
