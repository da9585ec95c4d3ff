//! What the handlers share.

use std::sync::Arc;

use kit::Instance;

use crate::{rates::Rates, store::Store, wakers::Wakers};

#[derive(Clone)]
pub struct AppState {
    pub instance: Instance,
    pub store: Store,
    pub wakers: Wakers,
    pub rates: Arc<Rates>,
}
