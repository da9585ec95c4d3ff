//! The contract's calls as requests.

use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};

/// One request to send, with all its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Balance { card: u64 },
    History { card: u64 },
    UserRecharges { user: u64 },
    Data { key: String },
    Search { subject: String },
    TripsTotal,
    TripsByLocality,
    Revenue,
    RevenueByLocality,
    UsersCount,
    UsersActive,
    UsersLatest,
    Stations,
    Arrivals { station: u64 },
    Trip { trip: u64 },
    Process,
    Recharge { card: u64, amount: u64 },
    Board { card: u64, route: u64, station: u64 },
    EndTrip { trip: u64, station: u64 },
    Book { student: u64, tutor: u64 },
    Booking { booking: u64 },
    LongTask { number: u64 },
    Task { task: u64 },
}

/// The kinds of calls, which results are kept by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Balance,
    History,
    UserRecharges,
    Data,
    Search,
    TripsTotal,
    TripsByLocality,
    Revenue,
    RevenueByLocality,
    UsersCount,
    UsersActive,
    UsersLatest,
    Stations,
    Arrivals,
    Trip,
    Process,
    Recharge,
    Board,
    EndTrip,
    Book,
    Booking,
    LongTask,
    Task,
}

impl Kind {
    /// Every kind, in the order of the tables.
    pub const ALL: [Self; 23] = [
        Self::Balance,
        Self::History,
        Self::UserRecharges,
        Self::Data,
        Self::Search,
        Self::TripsTotal,
        Self::TripsByLocality,
        Self::Revenue,
        Self::RevenueByLocality,
        Self::UsersCount,
        Self::UsersActive,
        Self::UsersLatest,
        Self::Stations,
        Self::Arrivals,
        Self::Trip,
        Self::Process,
        Self::Recharge,
        Self::Board,
        Self::EndTrip,
        Self::Book,
        Self::Booking,
        Self::LongTask,
        Self::Task,
    ];

    /// The route, as the contract writes it.
    #[must_use]
    pub fn route(self) -> &'static str {
        match self {
            Self::Balance => "GET /cards/{id}/balance",
            Self::History => "GET /cards/{id}/history",
            Self::UserRecharges => "GET /users/{id}/recharges",
            Self::Data => "GET /data",
            Self::Search => "GET /search",
            Self::TripsTotal => "GET /trips/total",
            Self::TripsByLocality => "GET /trips/total/localities",
            Self::Revenue => "GET /finance/revenue",
            Self::RevenueByLocality => "GET /finance/revenue/localities",
            Self::UsersCount => "GET /users/count",
            Self::UsersActive => "GET /users/active/count",
            Self::UsersLatest => "GET /users/latest",
            Self::Stations => "GET /stations",
            Self::Arrivals => "GET /stations/{id}/arrivals",
            Self::Trip => "GET /trips/{id}",
            Self::Process => "GET /process",
            Self::Recharge => "POST /recharges",
            Self::Board => "POST /trips",
            Self::EndTrip => "POST /trips/{id}/end",
            Self::Book => "POST /book",
            Self::Booking => "GET /bookings/{id}",
            Self::LongTask => "POST /longtask",
            Self::Task => "GET /task/{id}",
        }
    }

    /// The short name that a mix is written with.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Balance => "balance",
            Self::History => "history",
            Self::UserRecharges => "user_recharges",
            Self::Data => "data",
            Self::Search => "search",
            Self::TripsTotal => "trips_total",
            Self::TripsByLocality => "trips_by_locality",
            Self::Revenue => "revenue",
            Self::RevenueByLocality => "revenue_by_locality",
            Self::UsersCount => "users_count",
            Self::UsersActive => "users_active",
            Self::UsersLatest => "users_latest",
            Self::Stations => "stations",
            Self::Arrivals => "arrivals",
            Self::Trip => "trip",
            Self::Process => "process",
            Self::Recharge => "recharge",
            Self::Board => "board",
            Self::EndTrip => "end_trip",
            Self::Book => "book",
            Self::Booking => "booking",
            Self::LongTask => "long_task",
            Self::Task => "task",
        }
    }

    /// Whether it changes something, and so carries an idempotency key.
    #[must_use]
    pub fn is_write(self) -> bool {
        matches!(
            self,
            Self::Recharge | Self::Board | Self::EndTrip | Self::Book | Self::LongTask
        )
    }

    /// Whether the cache may answer it.
    #[must_use]
    pub fn is_cached(self) -> bool {
        matches!(
            self,
            Self::Balance
                | Self::History
                | Self::UserRecharges
                | Self::Data
                | Self::Search
                | Self::TripsTotal
                | Self::TripsByLocality
                | Self::Revenue
                | Self::RevenueByLocality
                | Self::Stations
                | Self::Arrivals
                | Self::Trip
        )
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

impl Call {
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Balance { .. } => Kind::Balance,
            Self::History { .. } => Kind::History,
            Self::UserRecharges { .. } => Kind::UserRecharges,
            Self::Data { .. } => Kind::Data,
            Self::Search { .. } => Kind::Search,
            Self::TripsTotal => Kind::TripsTotal,
            Self::TripsByLocality => Kind::TripsByLocality,
            Self::Revenue => Kind::Revenue,
            Self::RevenueByLocality => Kind::RevenueByLocality,
            Self::UsersCount => Kind::UsersCount,
            Self::UsersActive => Kind::UsersActive,
            Self::UsersLatest => Kind::UsersLatest,
            Self::Stations => Kind::Stations,
            Self::Arrivals { .. } => Kind::Arrivals,
            Self::Trip { .. } => Kind::Trip,
            Self::Process => Kind::Process,
            Self::Recharge { .. } => Kind::Recharge,
            Self::Board { .. } => Kind::Board,
            Self::EndTrip { .. } => Kind::EndTrip,
            Self::Book { .. } => Kind::Book,
            Self::Booking { .. } => Kind::Booking,
            Self::LongTask { .. } => Kind::LongTask,
            Self::Task { .. } => Kind::Task,
        }
    }

    pub(crate) fn method(&self) -> Method {
        if self.kind().is_write() {
            Method::POST
        } else {
            Method::GET
        }
    }

    /// Path and query.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Balance { card } => format!("/cards/{card}/balance"),
            Self::History { card } => format!("/cards/{card}/history"),
            Self::UserRecharges { user } => format!("/users/{user}/recharges"),
            Self::Data { key } => query("/data", "key", key),
            Self::Search { subject } => query("/search", "subject", subject),
            Self::TripsTotal => "/trips/total".into(),
            Self::TripsByLocality => "/trips/total/localities".into(),
            Self::Revenue => "/finance/revenue".into(),
            Self::RevenueByLocality => "/finance/revenue/localities".into(),
            Self::UsersCount => "/users/count".into(),
            Self::UsersActive => "/users/active/count".into(),
            Self::UsersLatest => "/users/latest".into(),
            Self::Stations => "/stations".into(),
            Self::Arrivals { station } => format!("/stations/{station}/arrivals"),
            Self::Trip { trip } => format!("/trips/{trip}"),
            Self::Process => "/process".into(),
            Self::Recharge { .. } => "/recharges".into(),
            Self::Board { .. } => "/trips".into(),
            Self::EndTrip { trip, .. } => format!("/trips/{trip}/end"),
            Self::Book { .. } => "/book".into(),
            Self::Booking { booking } => format!("/bookings/{booking}"),
            Self::LongTask { .. } => "/longtask".into(),
            Self::Task { task } => format!("/task/{task}"),
        }
    }

    /// The JSON body of a write, nothing for a read.
    pub(crate) fn body(&self) -> Bytes {
        match self {
            Self::Recharge { card, amount } => {
                format!(r#"{{"card_id":{card},"amount":{amount}}}"#).into()
            }
            Self::Board {
                card,
                route,
                station,
            } => {
                format!(r#"{{"card_id":{card},"route_id":{route},"station_id":{station}}}"#).into()
            }
            Self::EndTrip { station, .. } => format!(r#"{{"station_id":{station}}}"#).into(),
            Self::Book { student, tutor } => {
                format!(r#"{{"student_id":{student},"tutor_id":{tutor}}}"#).into()
            }
            Self::LongTask { number } => {
                format!(r#"{{"task":{{"name":"load","number":{number}}}}}"#).into()
            }
            _ => Bytes::new(),
        }
    }
}

fn query(path: &str, name: &str, value: &str) -> String {
    let mut text = format!("{path}?{name}=");
    text.extend(url::form_urlencoded::byte_serialize(value.as_bytes()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_in_the_order_of_their_index() {
        for (position, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), position);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn values_in_a_query_are_escaped() {
        assert_eq!(
            Call::Data {
                key: "a b&c".into()
            }
            .path(),
            "/data?key=a+b%26c"
        );
    }

    #[test]
    fn bodies_are_json() {
        for call in [
            Call::Recharge {
                card: 1,
                amount: 2000,
            },
            Call::Board {
                card: 1,
                route: 2,
                station: 3,
            },
            Call::EndTrip {
                trip: 1,
                station: 3,
            },
            Call::Book {
                student: 1,
                tutor: 2,
            },
            Call::LongTask { number: 7 },
        ] {
            assert!(
                serde_json::from_slice::<serde_json::Value>(&call.body())
                    .unwrap()
                    .is_object()
            );
            assert_eq!(call.method(), Method::POST);
        }
    }
}
