//! The names under which the gateways cache what this service answers.

use crate::values::{CardId, TripId, UserId};

/// The totals that a boarding changes.
pub const TOTALS: [&str; 4] = [
    "trips:total",
    "trips:total:localities",
    "finance:revenue",
    "finance:revenue:localities",
];

#[must_use]
pub fn balance(card: CardId) -> String {
    format!("card:{card}:balance")
}

#[must_use]
pub fn history(card: CardId) -> String {
    format!("card:{card}:history")
}

#[must_use]
pub fn user_recharges(user: UserId) -> String {
    format!("user:{user}:recharges")
}

#[must_use]
pub fn trip(trip: TripId) -> String {
    format!("trip:{trip}")
}
