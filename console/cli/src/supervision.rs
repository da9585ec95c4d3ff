//! The supervisor of a lab on this machine, for whoever pulls its levers.

use std::path::{Path, PathBuf};

use actions::{Progress, Supervise};
use futures::future::BoxFuture;
use host::{
    Count, Target,
    control::{Client, Note},
};
use kit::topology::Instance;

/// Reaches the supervisor through the lab's folder.
pub struct Control {
    directory: PathBuf,
}

impl Control {
    pub fn of(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }
}

impl Supervise for Control {
    fn restart(
        &self,
        target: String,
        tell: Progress,
    ) -> BoxFuture<'static, Result<Vec<String>, String>> {
        let directory = self.directory.clone();
        Box::pin(async move {
            let target: Target = target.parse()?;
            let mut client = Client::connect(&directory, told(tell))
                .await
                .map_err(words)?;
            let topology = client.restart(target).await.map_err(words)?;
            let name = target.to_string();
            let meant = |instance: &Instance| instance.role == name || instance.name == name;
            Ok(names(
                topology.instances.iter().filter(|instance| meant(instance)),
            ))
        })
    }

    fn scale(
        &self,
        role: String,
        count: u32,
        tell: Progress,
    ) -> BoxFuture<'static, Result<Vec<String>, String>> {
        let directory = self.directory.clone();
        Box::pin(async move {
            let wanted: Count = format!("{role}={count}").parse()?;
            let mut client = Client::connect(&directory, told(tell))
                .await
                .map_err(words)?;
            let topology = client.scale(wanted).await.map_err(words)?;
            Ok(names(topology.of_role(&role)))
        })
    }
}

fn told(tell: Progress) -> impl FnMut(Note) + Send {
    move |note| match note {
        Note::Step(step) => tell(&step),
        Note::Silent(_) => tell("waiting: the lab's supervisor does not answer"),
    }
}

fn names<'a>(instances: impl Iterator<Item = &'a Instance>) -> Vec<String> {
    instances.map(|instance| instance.name.clone()).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err passes")]
fn words(error: host::Error) -> String {
    error.to_string()
}
