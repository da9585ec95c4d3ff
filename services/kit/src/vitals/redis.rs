//! What Redis (7.0 and newer) or Valkey says of itself.

use std::collections::HashMap;

use redis::{RedisResult, aio::MultiplexedConnection};

use super::Reading;

pub(super) async fn read(connection: &mut MultiplexedConnection) -> RedisResult<Vec<Reading>> {
    let (report, keys): (String, u64) = redis::pipe()
        .cmd("INFO")
        .arg(&["server", "clients", "memory", "persistence", "stats"])
        .cmd("DBSIZE")
        .query_async(connection)
        .await?;
    Ok(readings(&report, keys))
}

/// What kind of figure a line is.
enum Kind {
    Gauge,
    Counter,
    /// `ok` is 1, everything else 0.
    Ok,
    /// Microseconds, told as seconds.
    Micros,
}

use Kind::{Counter, Gauge, Micros, Ok as Fine};

/// Field, kind, what it is called here, and what it means.
const LINES: [(&str, Kind, &str, &str); 24] = [
    (
        "uptime_in_seconds",
        Gauge,
        "recarga_redis_uptime_seconds",
        "Time since the server started",
    ),
    (
        "connected_clients",
        Gauge,
        "recarga_redis_clients",
        "Connections of clients",
    ),
    (
        "blocked_clients",
        Gauge,
        "recarga_redis_clients_blocked",
        "Clients that wait in a blocking call",
    ),
    (
        "maxclients",
        Gauge,
        "recarga_redis_clients_max",
        "Connections that the server takes",
    ),
    (
        "used_memory",
        Gauge,
        "recarga_redis_memory_used_bytes",
        "Memory that data and buffers take",
    ),
    (
        "used_memory_rss",
        Gauge,
        "recarga_redis_memory_resident_bytes",
        "Memory resident in RAM",
    ),
    (
        "maxmemory",
        Gauge,
        "recarga_redis_memory_max_bytes",
        "The limit of memory; 0 without one",
    ),
    (
        "mem_fragmentation_ratio",
        Gauge,
        "recarga_redis_memory_fragmentation_ratio",
        "Resident memory by used memory",
    ),
    (
        "instantaneous_ops_per_sec",
        Gauge,
        "recarga_redis_operations_per_second",
        "Commands carried out a second, just now",
    ),
    (
        "total_commands_processed",
        Counter,
        "recarga_redis_commands",
        "Commands carried out",
    ),
    (
        "rejected_connections",
        Counter,
        "recarga_redis_rejected_connections",
        "Connections refused because there were too many",
    ),
    (
        "evicted_keys",
        Counter,
        "recarga_redis_evicted_keys",
        "Keys removed for want of memory",
    ),
    (
        "expired_keys",
        Counter,
        "recarga_redis_expired_keys",
        "Keys whose time was over",
    ),
    (
        "total_net_input_bytes",
        Counter,
        "recarga_redis_received_bytes",
        "Bytes read from the network",
    ),
    (
        "total_net_output_bytes",
        Counter,
        "recarga_redis_sent_bytes",
        "Bytes written to the network",
    ),
    (
        "latest_fork_usec",
        Micros,
        "recarga_redis_last_fork_seconds",
        "How long the last fork stopped everything",
    ),
    (
        "total_forks",
        Counter,
        "recarga_redis_forks",
        "Forks, for snapshots and for rewrites of the log",
    ),
    (
        "rdb_last_bgsave_status",
        Fine,
        "recarga_redis_snapshot_ok",
        "1 when the last snapshot succeeded",
    ),
    (
        "rdb_changes_since_last_save",
        Gauge,
        "recarga_redis_snapshot_changes",
        "Changes since the last snapshot",
    ),
    (
        "aof_enabled",
        Gauge,
        "recarga_redis_aof_enabled",
        "1 when there is an append-only file",
    ),
    (
        "aof_last_write_status",
        Fine,
        "recarga_redis_aof_write_ok",
        "1 when the last write to the append-only file succeeded",
    ),
    (
        "aof_last_bgrewrite_status",
        Fine,
        "recarga_redis_aof_rewrite_ok",
        "1 when the last rewrite of the append-only file succeeded",
    ),
    (
        "aof_current_size",
        Gauge,
        "recarga_redis_aof_bytes",
        "Size of the append-only file",
    ),
    (
        "aof_delayed_fsync",
        Counter,
        "recarga_redis_aof_delayed_fsyncs",
        "Writes that had to wait for a slow fsync",
    ),
];

/// Lines that a server does not tell, or tells otherwise, are left out.
fn readings(report: &str, keys: u64) -> Vec<Reading> {
    let told: HashMap<&str, &str> = report
        .lines()
        .filter_map(|line| line.trim_end().split_once(':'))
        .collect();
    let number = |field: &str| told.get(field)?.parse::<f64>().ok();
    let mut readings: Vec<Reading> = LINES
        .iter()
        .filter_map(|(field, kind, name, help)| {
            Some(match kind {
                Gauge => Reading::gauge(name, help, number(field)?),
                Counter => Reading::counter(name, help, number(field)?),
                Micros => Reading::gauge(name, help, number(field)? / 1e6),
                Fine => Reading::gauge(name, help, f64::from(u8::from(*told.get(field)? == "ok"))),
            })
        })
        .collect();
    let lookups = [("hit", "keyspace_hits"), ("miss", "keyspace_misses")];
    readings.extend(lookups.into_iter().filter_map(|(result, field)| {
        let help = "Keys looked up, by whether they were there";
        let reading = Reading::counter("recarga_redis_lookups", help, number(field)?);
        Some(reading.of("result", result))
    }));
    readings.push(Reading::gauge(
        "recarga_redis_keys",
        "Keys in the logical database that is used",
        keys as f64,
    ));
    readings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_real_server_tells_all_of_it() {
        let url = crate::testing::redis_url().await;
        let servers = crate::redis::Servers::parse(&url, "demo").unwrap();
        let mut connection = servers.connect().await.unwrap();
        redis::cmd("SET")
            .arg("a")
            .arg(1)
            .query_async::<()>(&mut connection)
            .await
            .unwrap();
        let readings = read(&mut connection).await.unwrap();
        let names: Vec<&str> = readings.iter().map(|reading| reading.name).collect();
        for (field, _, name, _) in &LINES {
            // Told by servers with an append-only file only.
            let optional = matches!(*field, "aof_current_size" | "aof_delayed_fsync");
            assert!(optional || names.contains(name), "{field}");
        }
        let keys = readings.last().unwrap();
        assert_eq!((keys.name, keys.value), ("recarga_redis_keys", 1.0));
    }

    #[test]
    fn trouble_is_told_and_nonsense_is_left_out() {
        let report = "# Persistence\r\naof_last_write_status:err\r\nlatest_fork_usec:1500\r\nused_memory:many\r\n:\r\nx";
        let readings = readings(report, 0);
        let told: Vec<(&str, f64)> = readings.iter().map(|it| (it.name, it.value)).collect();
        assert_eq!(
            told,
            [
                ("recarga_redis_last_fork_seconds", 0.0015),
                ("recarga_redis_aof_write_ok", 0.0),
                ("recarga_redis_keys", 0.0),
            ]
        );
    }
}
