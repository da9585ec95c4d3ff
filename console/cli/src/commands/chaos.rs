//! `recarga chaos`: a lab of its own, broken round by round while clients use it, and verified.

use anyhow::{Context as _, Result};
use host::store::Watch;
use proof::chaos::{Options, Profile, Way, run as shake};

use super::doctor;
use crate::{
    arguments::{Chaos, ChaosPlan, ChaosRedis},
    exit,
    terminal::say,
};

pub async fn run(arguments: Chaos) -> Result<u8> {
    doctor::ensure(false)?;
    let shutdown = kit::Shutdown::on_signals()?;
    let seed = arguments.seed.unwrap_or_else(rand_seed);
    let plan = match arguments.plan {
        ChaosPlan::Short => "short",
        ChaosPlan::Full => "full",
    };
    say(format_args!(
        "seed {seed}, {} rounds of the {plan} plan",
        arguments.rounds
    ));
    let options = Options {
        rounds: arguments.rounds,
        seed,
        profile: match arguments.plan {
            ChaosPlan::Short => Profile::Short,
            ChaosPlan::Full => Profile::Full,
        },
        duration: arguments.duration,
        rate: f64::from(arguments.rate),
        program: std::env::current_exe().context("finding this program's own file")?,
        environment: if arguments.without_safeguard.is_empty() {
            Vec::new()
        } else {
            let list: Vec<&str> = arguments
                .without_safeguard
                .iter()
                .map(|safeguard| safeguard.name())
                .collect();
            vec![("RECARGA_WITHOUT_SAFEGUARD".to_owned(), list.join(","))]
        },
        keep: arguments.keep,
        reads: match arguments.plan {
            ChaosPlan::Short => 800,
            ChaosPlan::Full => 2_000,
        },
        settle: std::time::Duration::from_mins(1),
        replicated: arguments.replicated.then_some(if arguments.pgbouncer {
            Way::Pooled
        } else {
            Way::Direct
        }),
        mutual_tls: arguments.mutual_tls,
        watch: match arguments.redis {
            ChaosRedis::Private => None,
            ChaosRedis::Sentinel => Some(Watch::Sentinel),
            ChaosRedis::Cluster => Some(Watch::Cluster),
        },
    };
    let Some(summary) = shake(&options, &shutdown, say).await? else {
        say("stopped; nothing is left running");
        return Ok(exit::INTERRUPTED);
    };
    say(&summary);
    if let Some(kept) = &summary.kept {
        say(format_args!(
            "kept: {} and the journal {}",
            kept.display(),
            summary.journal_path.display()
        ));
    }
    if summary.holds() {
        return Ok(exit::SUCCESS);
    }
    let mut without = String::new();
    for (given, flag) in [
        (arguments.replicated, " --replicated"),
        (arguments.pgbouncer, " --pgbouncer"),
        (arguments.mutual_tls, " --mutual-tls"),
    ] {
        without.push_str(if given { flag } else { "" });
    }
    if let Some(watch) = options.watch {
        let watch = match watch {
            Watch::Sentinel => "sentinel",
            Watch::Cluster => "cluster",
        };
        without.push_str(" --redis ");
        without.push_str(watch);
    }
    for safeguard in &arguments.without_safeguard {
        without.push_str(" --without-safeguard ");
        without.push_str(safeguard.name());
    }
    say(format_args!(
        "again with: recarga chaos --plan {plan} --rounds {} --seed {seed} --rate {}{without}",
        arguments.rounds, arguments.rate
    ));
    let violated = !summary.early.is_empty()
        || summary
            .report
            .as_ref()
            .is_none_or(proof::verify::Report::is_violated);
    Ok(if violated {
        exit::VIOLATED
    } else {
        exit::UNCHECKED
    })
}

/// Short enough to be typed again.
fn rand_seed() -> u64 {
    u64::from(std::process::id()) ^ (super::bench::recharges::run_number() & 0xffff_ffff)
}
