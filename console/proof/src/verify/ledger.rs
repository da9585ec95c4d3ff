//! Invariants 1 and 2: recharges are in the ledger once, and balances are what was done to them.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgPool;

use super::sql;
use crate::{
    history::Findings,
    journal::{Action, Answer, Journal},
};

/// What a journal knows of one key.
#[derive(Debug, Default)]
struct Asked {
    card: i64,
    amount: i64,
    answers: BTreeSet<i64>,
    possible: bool,
}

pub async fn recharges(pool: &PgPool, journal: Option<&Journal>) -> Result<Findings, sqlx::Error> {
    let mut findings = Findings::default();
    let stored = sql::count(pool, "travel.recharges").await?;
    findings.count("recharges stored", stored.cast_unsigned());
    for (kind, reference) in sql::ledger_discrepancies(pool).await? {
        if kind == "recharge" {
            findings.offend(
                format!("recharge {reference}"),
                "and the ledger disagree: one is missing, or their cards or amounts differ",
            );
        }
    }
    for (key, recharge, claims) in sql::claim_discrepancies(pool).await? {
        let why = if claims > 1 {
            format!("is the reply kept for {claims} keys, {key} among them")
        } else {
            format!("was answered to key {key} and does not exist")
        };
        findings.offend(format!("recharge {recharge}"), why);
    }
    if let Some(journal) = journal {
        asked(pool, journal, &mut findings).await?;
    }
    Ok(findings)
}

async fn asked(
    pool: &PgPool,
    journal: &Journal,
    findings: &mut Findings,
) -> Result<(), sqlx::Error> {
    let keys = keys(journal);
    let ids: Vec<i64> = keys
        .values()
        .flat_map(|asked| asked.answers.iter().copied())
        .collect();
    let stored = sql::recharges(pool, &ids).await?;
    let unknown = keys
        .values()
        .filter(|asked| asked.possible && asked.answers.is_empty());
    findings.count("answered in the journal", ids.len() as u64);
    findings.count("of unknown outcome", unknown.count() as u64);
    for (key, asked) in &keys {
        if asked.answers.len() > 1 {
            let list: Vec<String> = asked.answers.iter().map(ToString::to_string).collect();
            findings.offend(
                format!("key {key}"),
                format!(
                    "was carried out {} times: recharges {}",
                    list.len(),
                    list.join(", ")
                ),
            );
        }
        for id in &asked.answers {
            let what = format!("recharge {id}");
            match stored.get(id) {
                None => {
                    findings.offend(what, format!("was answered 201 (key {key}) and is lost"));
                }
                Some(row) if (row.card_id, row.amount) != (asked.card, asked.amount) => {
                    findings.offend(
                        what,
                        format!(
                            "is {} on card {}, but {} on card {} was asked for (key {key})",
                            row.amount, row.card_id, asked.amount, asked.card
                        ),
                    );
                }
                Some(row) if row.entries != 1 => findings.offend(
                    what,
                    format!("is {} times in the ledger (key {key})", row.entries),
                ),
                Some(_) => {}
            }
        }
    }
    let cards = journal.start.iter().flat_map(|start| &start.cards);
    for card in cards {
        let made = sql::recharges_of(pool, card.card, card.newest_recharge).await?;
        strangers(card.card, &made, &keys, findings);
    }
    Ok(())
}

fn keys(journal: &Journal) -> BTreeMap<&str, Asked> {
    let mut keys: BTreeMap<&str, Asked> = BTreeMap::new();
    for operation in &journal.operations {
        let Action::Recharge { card, amount, key } = &operation.action else {
            continue;
        };
        let asked = keys.entry(key).or_default();
        (asked.card, asked.amount) = (*card, *amount);
        asked.possible |= !operation.is_refused();
        if let Some((Answer::Recharged { recharge, .. }, _)) = operation.answer() {
            asked.answers.insert(*recharge);
        }
    }
    keys
}

/// On a card that nobody else used, every recharge belongs to a key, and no two to one.
fn strangers(
    card: i64,
    made: &[(i64, i64)],
    keys: &BTreeMap<&str, Asked>,
    findings: &mut Findings,
) {
    let mine = keys.values().filter(|asked| asked.card == card);
    let mut answered = BTreeSet::new();
    let mut perhaps: BTreeMap<i64, usize> = BTreeMap::new();
    for asked in mine {
        answered.extend(asked.answers.iter().copied());
        if asked.answers.is_empty() && asked.possible {
            *perhaps.entry(asked.amount).or_default() += 1;
        }
    }
    for (id, amount) in made {
        if answered.contains(id) {
            continue;
        }
        match perhaps.get_mut(amount) {
            Some(left) if *left > 0 => *left -= 1,
            _ => findings.offend(
                format!("recharge {id}"),
                format!("of {amount} on card {card} was made twice, or for a request that was refused or never sent"),
            ),
        }
    }
}

pub async fn balances(pool: &PgPool) -> Result<Findings, sqlx::Error> {
    let mut findings = Findings::default();
    let cards = sql::count(pool, "travel.cards").await?;
    let entries = sql::count(pool, "travel.ledger_entries").await?;
    findings.count("cards", cards.cast_unsigned());
    findings.count("ledger rows", entries.cast_unsigned());
    for (card, balance, expected, ledger) in sql::card_discrepancies(pool).await? {
        let ledger = ledger.map_or_else(|| "nothing".to_owned(), |ledger| ledger.to_string());
        findings.offend(
            format!("card {card}"),
            format!("has balance {balance}; its movements make {expected}, the ledger {ledger}"),
        );
    }
    for (kind, reference) in sql::ledger_discrepancies(pool).await? {
        if kind != "recharge" {
            findings.offend(
                format!("{kind} {reference}"),
                "and the ledger disagree: one is missing, or their cards or amounts differ",
            );
        }
    }
    let sum = sql::ledger_sum(pool).await?;
    if sum != 0 {
        findings.offend(
            "the ledger",
            format!("sums to {sum}: debits and credits differ"),
        );
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_of_ones_own_has_no_strangers() {
        let asked = |amount, answers: &[i64], possible| Asked {
            card: 3,
            amount,
            answers: answers.iter().copied().collect(),
            possible,
        };
        let keys = BTreeMap::from([
            ("a", asked(1000, &[11], true)),
            ("b", asked(1050, &[], true)),
            ("c", asked(1100, &[], false)),
        ]);
        for (made, wrong) in [
            (vec![(11, 1000)], 0),
            (vec![(11, 1000), (12, 1050)], 0),
            (vec![(11, 1000), (12, 1050), (13, 1050)], 1),
            (vec![(11, 1000), (12, 1000)], 1),
            (vec![(11, 1000), (12, 1100)], 1),
        ] {
            let mut findings = Findings::default();
            strangers(3, &made, &keys, &mut findings);
            assert_eq!(findings.offenders.len(), wrong, "{made:?}");
        }
    }
}
