//! The SQL of this service, one file per subject; handlers know none of it.

mod cards;
mod chatty;
mod register;
mod stations;
mod trips;
mod users;
mod writes;

use kit::{Instance, postgres::Replica, timing::timed};
use sqlx::{PgPool, Postgres, pool::PoolConnection};

pub use cards::{CardRecharge, CardStatus, Movement, UserRecharge};
pub use register::{Registered, Registration};
pub use stations::{Arrival, Station};
pub use trips::{LocalityRevenue, LocalityTrips, Trip};
pub use users::LatestUser;
pub use writes::{CardWrite, Claim, Written};

/// The travel tables of PostgreSQL; cheap to clone.
#[derive(Clone)]
pub struct Store {
    instance: Instance,
    pool: PgPool,
    replica: Option<Replica>,
}

impl Store {
    #[must_use]
    pub fn new(instance: Instance, pool: PgPool) -> Self {
        Self {
            instance,
            pool,
            replica: None,
        }
    }

    /// Has long reads go to a standby.
    #[must_use]
    pub fn reading_from(mut self, replica: Replica) -> Self {
        self.replica = Some(replica);
        self
    }

    pub async fn connection(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        timed("pg", kit::postgres::acquire(&self.instance, &self.pool)).await
    }

    /// A connection for a long read, to a standby if there is one that has all that was committed before now.
    pub async fn connection_for_sums(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        if let Some(replica) = self.replica.as_ref().filter(|replica| replica.may_answer()) {
            let mut primary = self.connection().await?;
            let point = timed("pg", Replica::point(&mut primary)).await?;
            // Others need it more while the standby catches up.
            drop(primary);
            if let Some(standby) = timed("pg", replica.caught_up(&point)).await {
                return Ok(standby);
            }
        }
        self.connection().await
    }
}
