//! The labs that are built in.

use crate::{
    mistake::Mistakes,
    script::Lab,
    source::{read, read_file},
};

macro_rules! shipped {
    ($file:literal) => {
        ($file, include_str!(concat!("../labs/", $file)))
    };
}

/// File names and texts, in order.
const SHIPPED: &[(&str, &str)] = &[
    shipped!("01-tutoring.toml"),
    shipped!("02-balancing.toml"),
    shipped!("03-caching.toml"),
    shipped!("04-invalidation.toml"),
    shipped!("05-two-levels.toml"),
    shipped!("06-tasks.toml"),
    shipped!("07-latency.toml"),
    shipped!("08-gateway-dies.toml"),
    shipped!("09-slow-gateway.toml"),
    shipped!("10-rolling-restart.toml"),
    shipped!("11-stampede.toml"),
    shipped!("12-stale-write-back.toml"),
    shipped!("13-retries.toml"),
    shipped!("14-consumer-dies.toml"),
    shipped!("15-backlog.toml"),
    shipped!("16-overload.toml"),
    shipped!("17-coordinated-omission.toml"),
    shipped!("18-redis-gone.toml"),
    shipped!("19-postgres-gone.toml"),
    shipped!("20-one-call.toml"),
    shipped!("21-retry-storm.toml"),
];

/// Every lab that is built in.
///
/// # Errors
/// None in a program whose tests passed.
pub fn shipped() -> Result<Vec<Lab>, Mistakes> {
    SHIPPED
        .iter()
        .map(|(file, text)| read(file, text))
        .collect()
}

/// A lab by its name, its number (`7`), its file's name, or the path of a file.
///
/// # Errors
/// When there is no such lab, or its file is wrong.
pub fn find(name: &str) -> Result<Lab, Missing> {
    let built_in = SHIPPED.iter().find(|(file, _)| {
        let stem = file.trim_end_matches(".toml");
        let (number, rest) = stem.split_once('-').unwrap_or(("", stem));
        [*file, stem, rest].contains(&name)
            || name
                .parse::<u32>()
                .is_ok_and(|wanted| number.parse() == Ok(wanted))
    });
    if let Some((file, text)) = built_in {
        return Ok(read(file, text)?);
    }
    let path = std::path::Path::new(name);
    if path.is_file() || name.contains('/') || path.extension().is_some() {
        return Ok(read_file(path)?);
    }
    let names = SHIPPED.iter().map(|(file, _)| short(file));
    Err(Missing::Unknown {
        name: name.to_owned(),
        near: actions::nearest(name, names).map(str::to_owned),
    })
}

/// The name inside of a file's name.
fn short(file: &str) -> &str {
    let stem = file.trim_end_matches(".toml");
    stem.split_once('-').map_or(stem, |(_, name)| name)
}

/// There is no lab of a name, or it cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    #[error("there is no lab {name:?}{}; `recarga lab list` shows them, and a path of a file works too", hint(.near.as_deref()))]
    Unknown { name: String, near: Option<String> },
    #[error(transparent)]
    Wrong(#[from] Mistakes),
}

fn hint(near: Option<&str>) -> String {
    near.map_or(String::new(), |near| format!("; did you mean {near:?}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lab_reads_and_is_named_like_its_file() {
        for (file, text) in SHIPPED {
            match read(file, text) {
                Ok(lab) => assert_eq!(lab.name, short(file)),
                Err(mistakes) => panic!("{mistakes}"),
            }
        }
    }

    #[test]
    fn labs_are_found_by_name_and_number() {
        for (file, _) in SHIPPED {
            assert!(find(short(file)).is_ok(), "{file}");
            let number = file.split_once('-').map_or("", |(number, _)| number);
            assert!(find(number).is_ok(), "{file}");
        }
        assert!(find("nothing-like-it").is_err());
        assert!(matches!(find("/nowhere/x.toml"), Err(Missing::Wrong(_))));
    }
}
