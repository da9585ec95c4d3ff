//! Ids and money as types of their own, so that none is taken for another.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

macro_rules! id {
    ($(#[$docs:meta])* $name:ident) => {
        $(#[$docs])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, sqlx::Type, utoipa::ToSchema,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        #[schema(example = 1, minimum = 1)]
        pub struct $name(pub i64);

        impl From<kit::extract::Id> for $name {
            fn from(id: kit::extract::Id) -> Self {
                Self(id.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match kit::lenient::int(deserializer)? {
                    id if id > 0 => Ok(Self(id)),
                    _ => Err(D::Error::custom("must be a positive whole number")),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

id!(
    /// A travel card.
    CardId
);
id!(
    /// A person.
    UserId
);
id!(
    /// A recharge of a card.
    RechargeId
);
id!(
    /// One boarding and what followed.
    TripId
);
id!(
    /// A route of any kind.
    RouteId
);
id!(
    /// A portal, station, stop or cable station.
    StationId
);
id!(
    /// Where cards are recharged.
    RechargePointId
);
id!(
    /// A district of the city.
    LocalityId
);

/// For an id that may be absent: null and the empty text are none, too, as forms send them.
pub fn optional_point<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<RechargePointId>, D::Error> {
    match kit::lenient::optional_int(deserializer)? {
        None => Ok(None),
        Some(id) if id > 0 => Ok(Some(RechargePointId(id))),
        Some(_) => Err(D::Error::custom("must be a positive whole number")),
    }
}

/// Whole Colombian pesos; negative only where a movement takes from a card.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    sqlx::Type,
    utoipa::ToSchema,
)]
#[serde(transparent)]
#[sqlx(transparent)]
#[schema(example = 20_000)]
pub struct Pesos(pub i64);

/// What one recharge may be: 1,000 to 200,000 pesos in steps of 50.
#[derive(Clone, Copy, Debug, PartialEq, Eq, utoipa::ToSchema)]
#[schema(example = 20_000, minimum = 1_000, maximum = 200_000, multiple_of = 50)]
pub struct RechargeAmount(i64);

/// An amount that no recharge may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1,000 to 200,000 pesos in steps of 50")]
pub struct InvalidAmount;

impl RechargeAmount {
    #[must_use]
    pub fn pesos(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for RechargeAmount {
    type Error = InvalidAmount;

    fn try_from(pesos: i64) -> Result<Self, InvalidAmount> {
        if (1_000..=200_000).contains(&pesos) && pesos % 50 == 0 {
            Ok(Self(pesos))
        } else {
            Err(InvalidAmount)
        }
    }
}

impl<'de> Deserialize<'de> for RechargeAmount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(kit::lenient::int(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_bounds_and_steps() {
        for good in [1_000, 1_050, 2_950, 199_950, 200_000] {
            assert_eq!(
                RechargeAmount::try_from(good).map(RechargeAmount::pesos),
                Ok(good)
            );
        }
        for bad in [
            i64::MIN,
            -1_000,
            0,
            950,
            999,
            1_001,
            1_025,
            200_001,
            200_050,
            i64::MAX,
        ] {
            assert_eq!(RechargeAmount::try_from(bad), Err(InvalidAmount), "{bad}");
        }
    }

    #[test]
    fn ids_are_positive() {
        let parse = |text| serde_json::from_str::<CardId>(text).map_err(|error| error.to_string());
        assert_eq!(parse("7"), Ok(CardId(7)));
        assert_eq!(parse("\"7\""), Ok(CardId(7)));
        for bad in ["0", "-1", "1.5", "\"x\"", "null", "9223372036854775808"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
