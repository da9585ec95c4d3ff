//! The SQL of this service, one file per subject; handlers know none of it.

mod cards;
mod stations;
mod trips;
mod users;
mod writes;

use kit::{Instance, timing::timed};
use sqlx::{PgPool, Postgres, pool::PoolConnection};

pub use cards::{CardRecharge, CardStatus, Movement, UserRecharge};
pub use stations::{Arrival, Station};
pub use trips::{LocalityRevenue, LocalityTrips, Trip};
pub use users::LatestUser;
pub use writes::{CardWrite, Claim, Written};

/// The travel tables of PostgreSQL; cheap to clone.
#[derive(Clone)]
pub struct Store {
    instance: Instance,
    pool: PgPool,
}

impl Store {
    #[must_use]
    pub fn new(instance: Instance, pool: PgPool) -> Self {
        Self { instance, pool }
    }

    pub async fn connection(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        timed("pg", kit::postgres::acquire(&self.instance, &self.pool)).await
    }
}
