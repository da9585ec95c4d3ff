//! Faults: added to those that are there, cleared everywhere.

use futures::future::join_all;
use kit::faults::Fault;
use reqwest::Method;
use serde_json::json;

use super::{Done, Levers};
use crate::{Action, Failure, Place, fault, number::counted};

impl Levers {
    pub(super) async fn add_fault(&self, name: &str, new: &Fault) -> Result<Done, Failure> {
        let place = self.place(name)?;
        let before = self.faults(place).await?;
        let mut faults = before.clone();
        faults.push(new.clone());
        self.order(
            place,
            Method::PUT,
            "/admin/faults",
            Some(&json!({"faults": faults})),
        )
        .await?;
        let clear = Action::ClearFaults {
            instance: Some(name.to_owned()),
        };
        let undo = std::iter::once(clear).chain(again(name, before));
        Ok(Done::new(format!("{name}: {}", fault::describe(new)))
            .undone_by(Action::several(undo.collect())))
    }

    pub(super) async fn clear_faults(&self, name: Option<&str>) -> Result<Done, Failure> {
        if let Some(name) = name {
            let before = self.clear(self.place(name)?).await?;
            let count = counted(before.len() as u64, "fault is", "faults are");
            let undo = Action::several(again(name, before));
            return Ok(Done::new(format!("{name}: {count} cleared")).undone_by(undo));
        }
        let places: Vec<&Place> = self.lab.instances.iter().collect();
        let answers = join_all(places.iter().map(|place| self.clear(place))).await;
        let (mut undo, mut failed) = (Vec::new(), Vec::new());
        for (place, answer) in places.iter().zip(answers) {
            match answer {
                Ok(before) => undo.extend(again(&place.name, before)),
                // One that has ended has no faults any more.
                Err(Failure::Silent { .. }) if !place.running => {}
                Err(failure) => failed.push(failure.to_string()),
            }
        }
        let done = format!(
            "{} cleared",
            counted(undo.len() as u64, "fault is", "faults are")
        );
        if failed.is_empty() {
            Ok(Done::new(done).undone_by(Action::several(undo)))
        } else {
            Err(Failure::Partly {
                done,
                failed: failed.join("; "),
            })
        }
    }

    /// The faults in force, with the seconds they have left.
    pub(super) async fn faults(&self, place: &Place) -> Result<Vec<Fault>, Failure> {
        let info = self.look(place, "/admin/info").await?;
        serde_json::from_value(info["faults"].clone()).map_err(|error| Failure::Nonsense {
            who: place.name.clone(),
            reason: error.to_string(),
        })
    }

    async fn clear(&self, place: &Place) -> Result<Vec<Fault>, Failure> {
        let before = self.faults(place).await?;
        if !before.is_empty() {
            self.order(
                place,
                Method::PUT,
                "/admin/faults",
                Some(&json!({"faults": []})),
            )
            .await?;
        }
        Ok(before)
    }
}

fn again(name: &str, faults: Vec<Fault>) -> Vec<Action> {
    let again = |fault| Action::Fault {
        instance: name.to_owned(),
        fault,
    };
    faults.into_iter().map(again).collect()
}
