//! The city as it is stored: zones, stations, routes and recharge points with their ids, and which route serves what.

use crate::chance::Chance;
use crate::lines::{Kind, LINES, Leg, Line};
use crate::places::ZONES;

pub struct Station {
    pub name: &'static str,
    pub kind: &'static str,
    /// Counted from 0, as everything here; ids are one more.
    pub zone: usize,
}

pub struct Route {
    pub line: &'static Line,
    /// Stations in order with the minutes from the first.
    pub stations: Vec<(usize, i32)>,
}

impl Route {
    fn position(&self, station: usize) -> Option<usize> {
        self.stations
            .iter()
            .position(|&(served, _)| served == station)
    }
}

pub struct Point {
    pub name: String,
    pub zone: usize,
}

/// A ride from one station of a route to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ride {
    pub route: usize,
    pub from: usize,
    pub to: usize,
    pub minutes: i32,
}

pub struct City {
    pub stations: Vec<Station>,
    pub routes: Vec<Route>,
    pub points: Vec<Point>,
    /// For each station, the routes that serve it.
    serving: Vec<Vec<usize>>,
    /// For each zone, its recharge points.
    points_of: Vec<Vec<usize>>,
}

impl City {
    pub fn new() -> Self {
        let mut stations = Vec::new();
        for (zone, places) in ZONES.iter().enumerate() {
            for &name in places.stations {
                let kind = if name.starts_with("Portal") {
                    "portal"
                } else if places.code == "T" {
                    "cable"
                } else {
                    "station"
                };
                stations.push(Station { name, kind, zone });
            }
        }
        // Stops come after all stations, so that stations keep the small ids.
        for (zone, places) in ZONES.iter().enumerate() {
            stations.extend(places.stops.iter().map(|&name| Station {
                name,
                kind: "stop",
                zone,
            }));
        }

        let routes: Vec<Route> = LINES.iter().map(|line| route(line, &stations)).collect();
        let mut serving = vec![Vec::new(); stations.len()];
        for (index, route) in routes.iter().enumerate() {
            for &(station, _) in &route.stations {
                serving[station].push(index);
            }
        }

        let points: Vec<Point> = stations
            .iter()
            .map(|station| match station.kind {
                "stop" => Point {
                    name: format!("Tienda {}", station.name),
                    zone: station.zone,
                },
                _ => Point {
                    name: format!("Taquilla {}", station.name),
                    zone: station.zone,
                },
            })
            .collect();
        let mut points_of = vec![Vec::new(); ZONES.len()];
        for (index, point) in points.iter().enumerate() {
            points_of[point.zone].push(index);
        }
        Self {
            stations,
            routes,
            points,
            serving,
            points_of,
        }
    }

    /// Some station: portals, where the feeders end, more often than others.
    pub fn home(&self, chance: &mut Chance) -> usize {
        let some = chance.below(self.stations.len() as u32) as usize;
        let other = chance.below(self.stations.len() as u32) as usize;
        if self.stations[other].kind == "portal" {
            other
        } else {
            some
        }
    }

    pub fn point_near(&self, station: usize, chance: &mut Chance) -> usize {
        *chance.pick(&self.points_of[self.stations[station].zone])
    }

    /// A ride from `from`, to `toward` where one route serves both. `not` is the route one has just left.
    pub fn ride(
        &self,
        from: usize,
        toward: usize,
        not: Option<usize>,
        chance: &mut Chance,
    ) -> Option<Ride> {
        let mut serving = self.serving[from]
            .iter()
            .copied()
            .filter(|&route| Some(route) != not);
        let direct = serving
            .clone()
            .find(|&route| toward != from && self.routes[route].position(toward).is_some());
        let route = match direct {
            Some(route) => route,
            None => serving.nth(chance.below(serving.clone().count().max(1) as u32) as usize)?,
        };
        let stations = &self.routes[route].stations;
        let start = self.routes[route].position(from)?;
        let end = match self.routes[route].position(toward) {
            Some(end) if end != start => end,
            // Anywhere else on the route: one of the others, counted on from here.
            _ => (start + 1 + chance.below(stations.len() as u32 - 1) as usize) % stations.len(),
        };
        Some(Ride {
            route,
            from,
            to: stations[end].0,
            minutes: (stations[end].1 - stations[start].1).abs(),
        })
    }
}

fn route(line: &'static Line, stations: &[Station]) -> Route {
    let mut served: Vec<(usize, i32)> = Vec::new();
    let mut minutes = 0;
    for leg in line.legs {
        let (places, steps) = stretch(leg);
        for name in places {
            let station = stations
                .iter()
                .position(|station| ZONES[station.zone].code == leg.zone && station.name == name)
                .expect("a leg names places of its zone");
            if served.iter().all(|&(other, _)| other != station) {
                served.push((station, minutes));
                minutes += line.kind.pace() * steps;
            }
        }
    }
    Route {
        line,
        stations: served,
    }
}

/// The places of a leg in the order they are passed, and how many steps lie between two of them.
fn stretch(leg: &Leg) -> (Vec<&'static str>, i32) {
    let zone = ZONES
        .iter()
        .find(|zone| zone.code == leg.zone)
        .expect("a leg names a zone");
    let all = [zone.stations, zone.stops].concat();
    let find = |name| {
        all.iter()
            .position(|&place| place == name)
            .expect("a leg names places of its zone")
    };
    let (from, to) = (find(leg.from), find(leg.to));
    let mut places: Vec<&'static str> = all[from.min(to)..=from.max(to)].to_vec();
    if from > to {
        places.reverse();
    }
    let last = places.len() - 1;
    let kept = places
        .iter()
        .enumerate()
        .filter(|&(index, _)| index % leg.every == 0 || index == last);
    // An express passes what it skips faster than it would serve it.
    (
        kept.map(|(_, &place)| place).collect(),
        1 + i32::try_from(leg.every / 2).expect("small"),
    )
}

impl Route {
    /// Both ends, as on the front of the bus.
    pub fn name(&self, stations: &[Station]) -> String {
        let end = |index: usize| stations[self.stations[index].0].name;
        format!("{} - {}", end(0), end(self.stations.len() - 1))
    }

    /// First and last departure, seconds after midnight.
    pub const fn service(&self) -> (i64, i64) {
        match self.line.kind {
            Kind::Troncal => (4 * 3_600, 22 * 3_600 + 1_800),
            Kind::Zonal | Kind::Cable => (4 * 3_600 + 1_800, 22 * 3_600),
            Kind::Feeder => (4 * 3_600, 23 * 3_600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Subject;

    #[test]
    fn every_place_is_served_and_route_1_serves_station_1() {
        let city = City::new();
        for (station, routes) in city.stations.iter().zip(&city.serving) {
            assert!(
                !routes.is_empty(),
                "{} in zone {}",
                station.name,
                ZONES[station.zone].code
            );
        }
        assert_eq!(city.routes[0].position(0), Some(0));
        let mut codes: Vec<_> = city.routes.iter().map(|route| route.line.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), LINES.len());
    }

    #[test]
    fn rides_stay_on_their_route_and_end_somewhere_else() {
        let city = City::new();
        let mut chance = Chance::new(3, Subject::Trips);
        let mut longest = 0;
        for from in 0..city.stations.len() {
            for toward in 0..city.stations.len() {
                let ride = city.ride(from, toward, None, &mut chance).unwrap();
                assert!(
                    ride.from == from && ride.to != from && ride.minutes > 0,
                    "{ride:?}"
                );
                assert!(city.routes[ride.route].position(ride.to).is_some());
                longest = longest.max(ride.minutes);
            }
        }
        assert!(longest <= 90, "{longest}");
    }
}
