//! The parts of INFO that need no partition.
//!
//! A listener sees one connection: clients, commands and memory of the whole cluster are nobody's knowledge. Tools read the
//! fields without asking whether they are there, so all of them are, and say 0 where Redis would count.

use super::session::REDIS_VERSION;
use crate::keyspace::siphash;
use crate::request::Routing;

fn server(partitions: u32, routing: Routing, uptime: u64) -> String {
    let run_id: String = (0..3).map(|part| format!("{:016x}", siphash(part, 0, b"redis-server"))).collect();
    let (package, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    format!(
        "redis_version:{REDIS_VERSION}\r\nredis_git_sha1:00000000\r\nredis_git_dirty:0\r\nredis_build_id:0\r\nserver_name:recoil\r\n\
         recoil_package:{package} {version}\r\nredis_mode:standalone\r\nos:wasi\r\narch_bits:64\r\nmonotonic_clock:wasi\r\n\
         multiplexing_api:wasi\r\nprocess_id:1\r\nprocess_supervised:no\r\nrun_id:{}\r\ntcp_port:6379\r\n\
         uptime_in_seconds:{uptime}\r\nuptime_in_days:{}\r\nhz:10\r\nconfigured_hz:10\r\nlru_clock:0\r\nexecutable:\r\nconfig_file:\r\n\
         io_threads_active:0\r\nrecoil_partitions:{partitions}\r\n\
         recoil_routing:{}\r\n",
        &run_id[..40],
        uptime / 86_400,
        routing.name(),
    )
}

const MEMORY: &str = "used_memory:0\r\nused_memory_human:0B\r\nused_memory_rss:0\r\nused_memory_rss_human:0B\r\n\
    used_memory_peak:0\r\nused_memory_peak_human:0B\r\nused_memory_peak_perc:0.00%\r\nused_memory_overhead:0\r\n\
    used_memory_startup:0\r\nused_memory_dataset:0\r\nused_memory_dataset_perc:0.00%\r\ntotal_system_memory:0\r\n\
    total_system_memory_human:0B\r\nused_memory_lua:0\r\nused_memory_lua_human:0B\r\nused_memory_scripts:0\r\n\
    used_memory_scripts_human:0B\r\nnumber_of_cached_scripts:0\r\nmaxmemory:0\r\nmaxmemory_human:0B\r\nmaxmemory_policy:noeviction\r\n\
    allocator_frag_ratio:1.00\r\nmem_fragmentation_ratio:1.00\r\nmem_fragmentation_bytes:0\r\nmem_not_counted_for_evict:0\r\n\
    mem_replication_backlog:0\r\nmem_clients_slaves:0\r\nmem_clients_normal:0\r\nmem_aof_buffer:0\r\nmem_allocator:wasm\r\n\
    active_defrag_running:0\r\nlazyfree_pending_objects:0\r\nlazyfreed_objects:0\r\n";

const PERSISTENCE: &str = "loading:0\r\nasync_loading:0\r\nrdb_changes_since_last_save:0\r\nrdb_bgsave_in_progress:0\r\n\
    rdb_last_save_time:0\r\nrdb_last_bgsave_status:ok\r\nrdb_last_bgsave_time_sec:-1\r\nrdb_current_bgsave_time_sec:-1\r\n\
    rdb_saves:0\r\nrdb_last_cow_size:0\r\naof_enabled:1\r\naof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\n\
    aof_last_rewrite_time_sec:-1\r\naof_current_rewrite_time_sec:-1\r\naof_last_bgrewrite_status:ok\r\naof_last_write_status:ok\r\n\
    aof_last_cow_size:0\r\nmodule_fork_in_progress:0\r\nmodule_fork_last_cow_size:0\r\n";

const STATS: &str = "total_connections_received:1\r\ntotal_commands_processed:0\r\ninstantaneous_ops_per_sec:0\r\n\
    total_net_input_bytes:0\r\ntotal_net_output_bytes:0\r\ninstantaneous_input_kbps:0.00\r\ninstantaneous_output_kbps:0.00\r\n\
    rejected_connections:0\r\nsync_full:0\r\nsync_partial_ok:0\r\nsync_partial_err:0\r\nexpired_keys:0\r\n\
    expired_stale_perc:0.00\r\nexpired_time_cap_reached_count:0\r\nevicted_keys:0\r\nevicted_clients:0\r\nkeyspace_hits:0\r\n\
    keyspace_misses:0\r\npubsub_channels:0\r\npubsub_patterns:0\r\npubsubshard_channels:0\r\nlatest_fork_usec:0\r\ntotal_forks:0\r\n\
    migrate_cached_sockets:0\r\nslave_expires_tracked_keys:0\r\nactive_defrag_hits:0\r\nactive_defrag_misses:0\r\n\
    tracking_total_keys:0\r\ntracking_total_items:0\r\ntracking_total_prefixes:0\r\nunexpected_error_replies:0\r\n\
    total_error_replies:0\r\ntotal_reads_processed:0\r\ntotal_writes_processed:0\r\n";

const REPLICATION: &str = "role:master\r\nconnected_slaves:0\r\nmaster_failover_state:no-failover\r\n\
    master_replid:0000000000000000000000000000000000000000\r\nmaster_replid2:0000000000000000000000000000000000000000\r\n\
    master_repl_offset:0\r\nsecond_repl_offset:-1\r\nrepl_backlog_active:0\r\nrepl_backlog_size:0\r\n\
    repl_backlog_first_byte_offset:0\r\nrepl_backlog_histlen:0\r\n";

const CPU: &str = "used_cpu_sys:0.000000\r\nused_cpu_user:0.000000\r\nused_cpu_sys_children:0.000000\r\n\
    used_cpu_user_children:0.000000\r\n";

/// The sections of INFO that need no partition, in their order; `asked` says which are wanted.
pub(super) fn info_sections(
    client_id: u64,
    (partitions, routing): (u32, Routing),
    uptime: u64,
    asked: impl Fn(&str) -> bool,
) -> String {
    let clients = format!(
        "connected_clients:1\r\ncluster_connections:0\r\nmaxclients:10000\r\nclient_recent_max_input_buffer:0\r\n\
         client_recent_max_output_buffer:0\r\nblocked_clients:0\r\ntracking_clients:0\r\nclients_in_timeout_table:0\r\n\
         recoil_client_id:{client_id}\r\n"
    );
    let sections: [(&str, &str); 10] = [
        ("Server", &server(partitions, routing, uptime)),
        ("Clients", &clients),
        ("Memory", MEMORY),
        ("Persistence", PERSISTENCE),
        ("Stats", STATS),
        ("Replication", REPLICATION),
        ("CPU", CPU),
        ("Modules", ""),
        ("Errorstats", ""),
        ("Cluster", "cluster_enabled:0\r\n"),
    ];
    let mut text = String::new();
    for (name, body) in sections {
        if asked(name) {
            push_section(&mut text, name, body);
        }
    }
    text
}

/// One section of INFO.
pub(super) fn push_section(text: &mut String, name: &str, body: &str) {
    if !text.is_empty() {
        text.push_str("\r\n");
    }
    text.push_str(&format!("# {name}\r\n{body}"));
}
