//! The page as a person uses it, by hand or by keyboard alone, and what must hold at the end of every visit.

use std::ops::Deref;

use serde_json::{Value, json};

use crate::driver::{self, ENTER, Session, TAB};

/// More presses of Tab than the page has places to stop at.
const PLACES: usize = 120;

/// The page in a browser of its own.
pub struct Page {
    session: Session,
    origin: String,
}

impl Deref for Page {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Page {
    /// Nothing when this system has no browser.
    pub async fn open(origin: &str, path: &str) -> Option<Self> {
        if !driver::is_there() {
            return None;
        }
        let session = Session::open().await;
        session.resize(1440).await;
        session.scheme("light").await;
        session.go(&format!("{origin}{path}")).await;
        let origin = origin.to_owned();
        Some(Self { session, origin })
    }

    /// Goes on by Tab until the focus is at what is looked for, and can be seen there.
    pub async fn tab_to(&self, selector: &str) {
        let probe = format!(
            "[document.activeElement.matches({0}), getComputedStyle(document.activeElement).outlineStyle]",
            json!(selector)
        );
        for _ in 0..PLACES {
            self.press(&[TAB]).await;
            let seen = self.value(&probe).await;
            if seen[0] == true {
                assert_ne!(seen[1], "none", "the focus cannot be seen at {selector}");
                return;
            }
        }
        panic!("{selector} cannot be reached by keyboard");
    }

    /// Goes to a button and presses it, by keyboard.
    pub async fn press_at(&self, selector: &str) {
        self.tab_to(selector).await;
        self.press(&[ENTER]).await;
    }

    /// Goes to a field and types over it, by keyboard.
    pub async fn type_at(&self, selector: &str, text: &str) {
        self.tab_to(selector).await;
        self.type_over(text).await;
    }

    /// Puts a value into a field at once, as pasting does.
    pub async fn fill(&self, selector: &str, text: &str) {
        let fill = "const field = document.querySelector(arguments[0]); field.value = arguments[1]; \
                    field.dispatchEvent(new Event('input', {bubbles: true}))";
        self.script(fill, json!([selector, text])).await;
    }

    pub async fn log_in(&self) {
        self.fill("#login [name=password]", "password").await;
        self.click("#login button").await;
        self.until("document.body.dataset.session === 'in'").await;
    }

    /// Waits until a form says something that contains these words.
    pub async fn until_said(&self, form: &str, words: &str) {
        let said = format!("document.querySelector('#{form} .said').textContent");
        self.until(&format!("{said}.includes({})", json!(words)))
            .await;
    }

    /// The state of the cache in the badge under a form.
    pub async fn cache_badge(&self, form: &str) -> Value {
        self.value(&format!(
            "document.querySelector('#{form} .way [data-cache]')?.dataset.cache"
        ))
        .await
    }

    pub async fn focus(&self) -> Value {
        self.value("document.activeElement.id || document.activeElement.name")
            .await
    }

    pub async fn fits(&self, what: &str) {
        let over = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        let over = self.value(over).await;
        assert_eq!(over, 0, "{what} is wider than its screen");
    }

    /// What every visit ends with: no error in the console but those that were provoked, no violation of the policy, and not
    /// one request to another host.
    pub async fn leave(self, provoked: &[&str]) {
        for entry in self.log("browser").await {
            let message = entry["message"].as_str().unwrap();
            let expected = provoked.iter().any(|part| message.contains(part));
            let violation = entry["source"] == "security" || message.contains("Content Security");
            assert!(
                !violation && (entry["level"] != "SEVERE" || expected),
                "{entry:#}"
            );
        }
        let mut requests = 0;
        for entry in self.log("performance").await {
            let entry: Value = serde_json::from_str(entry["message"].as_str().unwrap()).unwrap();
            let message = &entry["message"];
            let document = message["params"]["documentURL"].as_str();
            // The browser's own first page is none of ours.
            if message["method"] != "Network.requestWillBeSent"
                || !document.is_some_and(|document| document.starts_with("http"))
            {
                continue;
            }
            let url = message["params"]["request"]["url"].as_str().unwrap();
            let own = ["data:", "blob:", "about:"];
            let own = own.iter().any(|scheme| url.starts_with(scheme))
                || url
                    .strip_prefix(&self.origin)
                    .is_some_and(|path| path.starts_with('/'));
            assert!(own, "the page asks another host: {url}");
            requests += 1;
        }
        assert!(requests > 0, "the network was not watched");
    }
}
