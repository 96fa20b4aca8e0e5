//! Headless Chromium, driven through chromedriver: one driver for the run, a browser of its own for each test.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use fantoccini::{Client, ClientBuilder, Locator, elements::Element, key::Key};
use serde_json::{Value, json};

/// The driver. The child is a shell that holds it, and ends it with its browsers as soon as its input is closed.
struct Driver {
    port: u16,
    _keeper: Child,
}

/// How often something is looked for, 50 ms apart: a busy machine takes seconds for a page.
const TRIES: usize = 600;

#[expect(
    clippy::zombie_processes,
    reason = "the shell outlives the run by a moment, to clean up after it"
)]
fn driver() -> &'static Driver {
    static DRIVER: OnceLock<Driver> = OnceLock::new();
    DRIVER.get_or_init(|| {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = "chromedriver --port=$PORT --allowed-ips=127.0.0.1 >/dev/null 2>&1 & driver=$!; read -r _; kill $driver; wait";
        let mut keeper = Command::new("sh");
        keeper.args(["-c", script]).env("PORT", port.to_string());
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let keeper = keeper.spawn().unwrap();
        for _ in 0..TRIES {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Driver { port, _keeper: keeper };
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("chromedriver does not start: install the package chromium-driver (scripts/test does it)");
    })
}

/// How a browser is set up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup {
    pub without_script: bool,
    pub is_dark: bool,
    pub is_phone: bool,
    /// As in the contrast themes of Windows.
    pub is_forced_colors: bool,
}

/// A browser on a site.
pub struct Browser {
    client: Client,
    base: String,
}

impl Browser {
    pub async fn open(address: &str, setup: Setup) -> Self {
        let mut args = vec![
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--force-prefers-reduced-motion",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--lang=en-US",
        ];
        args.push(if setup.is_phone {
            "--window-size=500,844"
        } else {
            "--window-size=1280,1000"
        });
        if setup.is_dark {
            args.push("--blink-settings=preferredColorScheme=0");
        }
        if setup.is_forced_colors {
            args.push("--force-high-contrast");
        }
        let script = if setup.without_script { 2 } else { 1 };
        let mut options = json!({
            "args": args,
            "prefs": {"profile.managed_default_content_settings.javascript": script},
        });
        if setup.is_phone {
            options["mobileEmulation"] = json!({"deviceMetrics": {"width": 390, "height": 844, "pixelRatio": 1.0, "touch": false}});
        }
        let mut capabilities = serde_json::Map::new();
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"}));
        capabilities.insert("unhandledPromptBehavior".to_owned(), "accept".into());
        let driver = format!("http://127.0.0.1:{}", driver().port);
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&driver)
            .await
            .unwrap();
        Self {
            client,
            base: format!("http://{address}"),
        }
    }

    pub async fn close(self) {
        self.client.close().await.unwrap();
    }

    pub async fn goto(&self, path: &str) {
        self.client
            .goto(&format!("{}{path}", self.base))
            .await
            .unwrap();
    }

    /// The path and the query of the page.
    pub async fn path(&self) -> String {
        self.client
            .current_url()
            .await
            .unwrap()
            .as_str()
            .strip_prefix(&self.base)
            .unwrap()
            .to_owned()
    }

    #[track_caller]
    pub fn find(&self, css: &str) -> impl Future<Output = Element> {
        let (client, css) = (self.client.clone(), css.to_owned());
        async move {
            let found = client
                .wait()
                .at_most(Duration::from_secs(5))
                .for_element(Locator::Css(&css))
                .await;
            match found {
                Ok(found) => found,
                Err(error) => panic!("{css}: {error}\n{}", client.source().await.unwrap()),
            }
        }
    }

    pub async fn count(&self, css: &str) -> usize {
        self.client.find_all(Locator::Css(css)).await.unwrap().len()
    }

    pub async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap();
    }

    /// Clicks what says this.
    pub async fn press(&self, text: &str) {
        let path =
            format!("//*[self::a or self::button or self::summary][normalize-space()=\"{text}\"]");
        for _ in 0..TRIES {
            for found in self.client.find_all(Locator::XPath(&path)).await.unwrap() {
                // A menu that is closed may have the same.
                if found.is_displayed().await.unwrap_or(false) {
                    return found.click().await.unwrap();
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!(
            "nothing says {text:?} in:\n{}",
            self.client.source().await.unwrap()
        );
    }

    /// Types into a field, in the place of what it holds.
    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    pub async fn keys(&self, css: &str, keys: &str) {
        self.find(css).await.send_keys(keys).await.unwrap();
    }

    /// Ctrl and a letter.
    pub async fn control(&self, letter: char) {
        let keys = format!("{}{letter}", char::from(Key::Control));
        self.find("body").await.send_keys(&keys).await.unwrap();
    }

    pub async fn value(&self, css: &str) -> String {
        self.find(css)
            .await
            .prop("value")
            .await
            .unwrap()
            .unwrap_or_default()
    }

    #[track_caller]
    pub fn assert_text(&self, text: &str) -> impl Future<Output = ()> {
        let (client, text) = (self.client.clone(), text.to_owned());
        async move {
            for _ in 0..TRIES {
                // Between two pages there is none.
                if let Ok(body) = client.find(Locator::Css("body")).await
                    && body.text().await.is_ok_and(|shown| shown.contains(&text))
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let body = client.find(Locator::Css("body")).await.unwrap();
            panic!("{text:?} is not in:\n{}", body.text().await.unwrap());
        }
    }

    /// Goes on in a frame of the page, until the next page.
    pub async fn enter_frame(&self, index: u16) {
        self.client.enter_frame(index).await.unwrap();
    }

    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    pub async fn log_in(&self, username: &str, password: &str) {
        self.goto("/admin/login/").await;
        self.fill("#id_username", username).await;
        self.fill("#id_password", password).await;
        self.click(".login-button").await;
        self.find("#logout-form").await;
    }

    /// Keeps a picture of the page in `target/screenshots`.
    pub async fn screenshot(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../screenshots");
        fs::create_dir_all(&folder).unwrap();
        fs::write(
            folder.join(format!("{name}.png")),
            self.client.screenshot().await.unwrap(),
        )
        .unwrap();
    }

    /// What axe finds of weight on the page: rule, and where.
    pub async fn accessibility_findings(&self) -> Vec<String> {
        self.client.execute(axe(), Vec::new()).await.unwrap();
        let script = "const done = arguments[0]; \
            axe.run({resultTypes: ['violations']}).then((result) => done(result.violations \
            .filter((one) => ['serious', 'critical'].includes(one.impact)) \
            .map((one) => one.id + ': ' + one.nodes.map((node) => node.target.join(' ') + ' ' + (node.any[0]?.message ?? '')).join('; '))));";
        let found = self.client.execute_async(script, Vec::new()).await.unwrap();
        serde_json::from_value(found).unwrap()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a setting of the tests, not of the program"
)]
fn axe() -> &'static str {
    static AXE: OnceLock<String> = OnceLock::new();
    AXE.get_or_init(|| {
        let path = std::env::var_os("AXE_JS")
            .expect("AXE_JS is not set: run scripts/test, which gets axe and sets it");
        fs::read_to_string(path).unwrap()
    })
}
