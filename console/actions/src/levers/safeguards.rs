//! Safeguards: off for a while, and on again, with every instance to which they matter.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use kit::safeguards::{MOST_SECONDS, Safeguard, Standing};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Done, Levers};
use crate::{
    Action, Failure, Place,
    number::{counted, span},
};

const PATH: &str = "/admin/safeguards";

impl Levers {
    pub(super) async fn set_safeguard(
        &self,
        safeguard: Safeguard,
        off: Option<u64>,
    ) -> Result<Done, Failure> {
        let places = self.guarded_by(safeguard).await?;
        let before = self
            .each(&places, |place| self.switch(place, safeguard, off))
            .await?;
        let undo = match off {
            Some(_) => before
                .iter()
                .any(|was| was.on)
                .then_some(Action::Safeguard {
                    safeguard,
                    off: None,
                }),
            None => off_again(safeguard, &before),
        };
        let whose = roles(&places);
        let text = match off {
            Some(seconds) => format!(
                "{safeguard} is OFF for {} with {whose}: {}",
                span(Duration::from_secs(seconds)),
                safeguard.absence()
            ),
            None if before.iter().all(|was| was.on) => format!("{safeguard} was on with {whose}"),
            None => format!("{safeguard} is on again with {whose}"),
        };
        Ok(Done::new(text).undone_by(undo))
    }

    /// Clears all faults, and switches on all safeguards that are off.
    pub(super) async fn clear_everything(&self) -> Result<Done, Failure> {
        let faults = self.clear_faults(None).await;
        let (mut names, mut undo, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for safeguard in self.safeguards_off().await {
            match self.set_safeguard(safeguard, None).await {
                Ok(done) => {
                    names.push(safeguard.name());
                    undo.extend(done.undo);
                }
                Err(failure) => failed.push(failure.to_string()),
            }
        }
        let back = match names.as_slice() {
            [] => String::new(),
            [one] => format!("; the safeguard {one} is on again"),
            more => format!("; the safeguards {} are on again", more.join(", ")),
        };
        match (faults, failed.is_empty()) {
            (Ok(done), true) => {
                undo.extend(done.undo);
                let undo = Action::several(undo);
                Ok(Done::new(done.text + &back).undone_by(undo))
            }
            (Ok(done), false) => Err(Failure::Partly {
                done: done.text + &back,
                failed: failed.join("; "),
            }),
            (Err(failure), true) if names.is_empty() => Err(failure),
            (Err(failure), _) => {
                failed.insert(0, failure.to_string());
                Err(Failure::Partly {
                    done: back.trim_start_matches("; ").to_owned(),
                    failed: failed.join("; "),
                })
            }
        }
    }

    pub(super) async fn impact_of_safeguard(
        &self,
        safeguard: Safeguard,
        off: Option<u64>,
    ) -> Result<String, Failure> {
        let places = self.guarded_by(safeguard).await?;
        let whose = roles(&places);
        let Some(seconds) = off else {
            return Ok(format!("{safeguard} protects again: {whose}."));
        };
        let lasts = span(Duration::from_secs(seconds));
        let spoils = match safeguard {
            Safeguard::Inbox | Safeguard::Fencing | Safeguard::Claim => {
                " WHAT IS DONE TWICE STAYS DONE TWICE."
            }
            Safeguard::LeaseVoid | Safeguard::Leases => {
                " OLD VALUES MAY STAY IN THE CACHE until they expire; flush it afterwards."
            }
            Safeguard::Shedding | Safeguard::RetryBudget | Safeguard::SingleCall => "",
        };
        Ok(format!(
            "For {lasts}, {whose} go without it: {}.{spoils} It comes back by itself.",
            safeguard.absence()
        ))
    }

    /// What stopping everything would do to safeguards.
    pub(super) async fn impact_on_safeguards(&self) -> String {
        match self.safeguards_off().await.len() as u64 {
            0 => String::new(),
            count => format!(
                " {} again.",
                counted(count, "safeguard comes on", "safeguards come on")
            ),
        }
    }

    /// Those that are off anywhere. Who does not answer has none: a new process begins with all.
    async fn safeguards_off(&self) -> Vec<Safeguard> {
        let running = self.lab.instances.iter().filter(|place| place.running);
        let looks = running.map(|place| self.standings(place));
        let standings = join_all(looks).await;
        let is_off = |safeguard: &Safeguard| {
            let mut all = standings.iter().flatten();
            all.any(|standings| {
                standings
                    .get(safeguard)
                    .is_some_and(|standing| !standing.on)
            })
        };
        Safeguard::ALL.into_iter().filter(is_off).collect()
    }

    /// The instances that run to which it matters; at least one.
    async fn guarded_by(&self, safeguard: Safeguard) -> Result<Vec<&Place>, Failure> {
        let running: Vec<&Place> = self
            .lab
            .instances
            .iter()
            .filter(|place| place.running)
            .collect();
        let standings = self.each(&running, |place| self.standings(place)).await?;
        let places: Vec<&Place> = running
            .into_iter()
            .zip(standings)
            .filter(|(_, standings)| standings.contains_key(&safeguard))
            .map(|(place, _)| place)
            .collect();
        if places.is_empty() {
            return Err(Failure::Impossible {
                reason: format!("nobody who runs here has the safeguard {safeguard}"),
            });
        }
        Ok(places)
    }

    /// The safeguards that matter to an instance, and how they stand.
    async fn standings(&self, place: &Place) -> Result<BTreeMap<Safeguard, Standing>, Failure> {
        let info = self.look(place, "/admin/info").await?;
        let all = info["safeguards"].as_object().into_iter().flatten();
        let mut standings = BTreeMap::new();
        for (name, standing) in all {
            // One that a newer service has is left alone.
            if let Ok(safeguard) = name.parse() {
                standings.insert(safeguard, read(place, standing)?);
            }
        }
        Ok(standings)
    }

    async fn switch(
        &self,
        place: &Place,
        safeguard: Safeguard,
        off: Option<u64>,
    ) -> Result<Standing, Failure> {
        let mut wanted = json!({"safeguard": safeguard, "on": off.is_none()});
        if let Some(seconds) = off {
            wanted["seconds"] = json!(seconds);
        }
        let answer = self.order(place, Method::PUT, PATH, Some(&wanted)).await?;
        read(place, &answer["previous"])
    }
}

fn read(place: &Place, standing: &Value) -> Result<Standing, Failure> {
    serde_json::from_value(standing.clone()).map_err(|error| Failure::Nonsense {
        who: place.name.clone(),
        reason: error.to_string(),
    })
}

/// As it was: off for the longest that was left anywhere.
fn off_again(safeguard: Safeguard, before: &[Standing]) -> Option<Action> {
    let off = before.iter().filter(|was| !was.on);
    let left = off
        .map(|was| was.seconds_left.unwrap_or(MOST_SECONDS))
        .max()?;
    Some(Action::Safeguard {
        safeguard,
        off: Some(left.clamp(1, MOST_SECONDS)),
    })
}

/// `cache-1, 3 of gateway`.
fn roles(places: &[&Place]) -> String {
    let mut by_role: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for place in places {
        by_role.entry(&place.role).or_default().push(&place.name);
    }
    let names: Vec<String> = by_role
        .into_iter()
        .map(|(role, names)| match names.as_slice() {
            [one] => (*one).to_owned(),
            more => format!("{} of {role}", more.len()),
        })
        .collect();
    names.join(" and ")
}
