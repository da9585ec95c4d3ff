//! One round of scrapes over all instances.

use std::{sync::Arc, time::Duration};

use actions::Place;
use futures::future::join_all;

use super::{Field, Heard, lock};
use crate::metrics::{Scrape, parse};

/// An instance that takes longer does not count in this round.
const PATIENCE: Duration = Duration::from_millis(1_200);

impl Field {
    /// Asks every instance for what the lab's expressions need, and tells it.
    pub(super) async fn scrape(&self) {
        let Ok(lab) = (self.setup.place)() else {
            return;
        };
        let _round = self.scraping.lock().await;
        let wanted = Arc::clone(&lock(&self.current).wanted);
        let rounds = lab.instances.iter().map(|place| async {
            let ready = self.text(place, "/readyz");
            let metrics = self.text(place, "/metrics");
            let (ready, metrics) = tokio::join!(ready, metrics);
            Some(Scrape {
                role: place.role.clone(),
                instance: place.name.clone(),
                ready: ready.is_some(),
                series: parse(&metrics?, |name| wanted.contains(name)),
            })
        });
        let scrapes: Vec<Scrape> = join_all(rounds).await.into_iter().flatten().collect();
        self.tell(Heard::Scraped(scrapes));
    }

    /// What an admin surface answers with success.
    pub(super) async fn text(&self, place: &Place, path: &str) -> Option<String> {
        let url = format!("http://{}{path}", place.admin);
        let answer = self.http.get(url).timeout(PATIENCE).send().await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        answer.text().await.ok()
    }
}
