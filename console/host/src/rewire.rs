//! The place where somebody else may change what a service is told, such as where its peers and stores are.

use std::sync::Arc;

/// Called with an instance's name and its environment each time the instance is started; cheap to clone.
#[derive(Clone)]
pub struct Rewire(Arc<Change>);

type Change = dyn Fn(&str, &mut Vec<(String, String)>) + Send + Sync;

impl Rewire {
    pub fn new(change: impl Fn(&str, &mut Vec<(String, String)>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(change))
    }

    pub(crate) fn apply(&self, instance: &str, variables: &mut Vec<(String, String)>) {
        (self.0)(instance, variables);
    }
}

impl std::fmt::Debug for Rewire {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Rewire")
    }
}
