//! Invariant 3: writes, and reads through all gateways at once that must show them.

use std::time::Duration;

use load::{Credentials, FreshnessOptions, check_freshness};
use sqlx::PgPool;

use super::{Check, Error, Options, Site, sql};
use crate::history::Findings;

/// Cards that are recharged, the last ones of the city.
const CARDS: i64 = 4;
/// How long the probe may take on top of what its first answer may.
const LONGEST: Duration = Duration::from_mins(1);

pub async fn check(
    pool: &PgPool,
    site: &Site,
    options: &Options,
    tell: &impl Fn(String),
) -> Result<Check, Error> {
    let Some(live) = &site.live else {
        return Ok(Check::unchecked(
            3,
            "the lab is stopped, so nothing can be read",
        ));
    };
    if options.reads == 0 {
        return Ok(Check::unchecked(3, "no reads were asked for"));
    }
    let cards = sql::quiet_cards(pool, CARDS).await?;
    if cards.is_empty() {
        return Ok(Check::unchecked(3, "there is no active card"));
    }
    tell(format!(
        "probing: recharges of cards {cards:?}, and {} reads through {} gateways",
        options.reads,
        live.gateways.len()
    ));
    let tls = match live.tiers.client("gateway") {
        Ok(tls) => tls,
        Err(error) => return Ok(Check::unchecked(3, error.to_string())),
    };
    let probe = FreshnessOptions {
        gateways: live.gateways.clone(),
        allow_remote: true,
        tls,
        credentials: Credentials::Demo,
        cards: cards.into_iter().map(i64::cast_unsigned).collect(),
        reads: options.reads,
        readers: 2,
        // One for each card, so that writes of a card follow each other closely.
        writers: CARDS.unsigned_abs() as usize,
        pause: Duration::from_millis(20),
        timeout: Duration::from_secs(10),
        run: rand::random(),
    };
    let probed = tokio::time::timeout(LONGEST, check_freshness(probe, std::future::ready(())));
    let freshness = match probed.await {
        Ok(Ok(freshness)) => freshness,
        Ok(Err(error)) => return Ok(Check::unchecked(3, error.to_string())),
        Err(_) => {
            return Ok(Check::unchecked(
                3,
                format!(
                    "fewer than {} reads were answered within a minute",
                    options.reads
                ),
            ));
        }
    };
    let mut findings = Findings::default();
    findings.count("writes", freshness.writes);
    findings.count("reads", freshness.reads);
    for (cache, reads) in &freshness.by_cache {
        let name = match cache.as_str() {
            "HIT" => "of them from a cache",
            "STALE" => "of them stale by permission",
            _ => continue,
        };
        findings.count(name, *reads);
    }
    findings.count("failed", freshness.reads_failed);
    for violation in &freshness.told {
        findings.offend(
            format!("card {}", violation.card),
            format!(
                "showed {} through {} ({}), {} ms after the start, when {} had been answered",
                violation.value,
                violation.gateway,
                violation.cache,
                violation.at_ms,
                violation.expected
            ),
        );
    }
    let total = usize::try_from(freshness.violations).unwrap_or(usize::MAX);
    let mut check = Check::new(3, findings);
    check.offenders_total = check.offenders_total.max(total);
    Ok(check)
}
