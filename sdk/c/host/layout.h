/**
 * @file layout.h
 * What crosses in memory, laid out as the contract has it: a variant is its tag, a byte, and behind it what is largest
 * of its cases.
 *
 * Invariant: the assertions hold every structure that crosses, those of recoil.h among them, against contract.h, which
 * is generated from the contract.
 */
#ifndef RECOIL_LAYOUT_H
#define RECOIL_LAYOUT_H

#include <recoil.h>

#include "contract.h"

/* `result<T, error>` of storage and router, and of the connection: all errors are a tag and perhaps a text. */
typedef struct failure {
    uint8_t tag;
    recoil_bytes text;
} failure;

typedef struct list {
    void *items;
    size_t count;
} list;

typedef struct result {
    uint8_t is_failure;
    union {
        failure failure;
        recoil_bytes bytes;
        recoil_optional optional;
        list list;
    };
} result;

typedef struct number_result {
    uint8_t is_failure;
    union {
        uint64_t number;
        recoil_bytes text;
    };
} number_result;

typedef struct optional_number {
    uint8_t present;
    uint32_t number;
} optional_number;

typedef struct place {
    recoil_bytes keyspace;
    uint32_t id, count;
    uint64_t epoch;
} place;

typedef struct group_status {
    uint64_t group;
    uint8_t role;
    uint64_t term;
    optional_number leader;
    uint64_t committed, applied;
    const uint32_t *voters;
    size_t voter_count;
} group_status;

typedef struct partition_info {
    uint32_t id;
    optional_number leader;
    const uint32_t *replicas;
    size_t replica_count;
    uint64_t epoch;
} partition_info;

typedef struct optional_event {
    uint8_t present;
    struct {
        uint8_t tag;
        uint32_t message;
    } event;
} optional_event;

/* A command for operators, as it is listed. */
typedef struct command {
    const recoil_bytes *words;
    size_t word_count;
    recoil_bytes usage, help;
} command;

/* What a role answers: its success may be nothing, bytes, an HTTP response or a plan, its failure is a text. */
typedef struct outcome {
    uint8_t is_failure;
    union {
        recoil_bytes bytes;
        struct {
            uint16_t status;
            recoil_http_header *headers;
            size_t header_count;
            recoil_bytes body;
        } response;
        recoil_plan plan;
    };
} outcome;

#define SIZE(type, name) _Static_assert(sizeof(type) == WIT_##name##_SIZE, #name)
#define AT(type, member, name) _Static_assert(offsetof(type, member) == WIT_##name##_AT, #name)
#define NUMBER(constant, name) _Static_assert((constant) == WIT_##name, #name)

SIZE(recoil_entry, STORAGE_ENTRY);
AT(recoil_entry, value, STORAGE_ENTRY_VALUE);
SIZE(recoil_routed_call, ROUTER_ROUTED_CALL);
AT(recoil_routed_call, to.key, ROUTER_ADDRESS_PAYLOAD);
AT(recoil_routed_call, to.partition, ROUTER_ADDRESS_PAYLOAD);
AT(recoil_routed_call, request, ROUTER_ROUTED_CALL_REQUEST);
AT(recoil_routed_call, mode, ROUTER_ROUTED_CALL_MODE);
SIZE(recoil_http_request, HTTP_HANDLER_REQUEST);

SIZE(failure, STORAGE_ERROR);
SIZE(failure, ROUTER_ERROR);
SIZE(failure, TCP_ERROR);
AT(failure, text, STORAGE_ERROR_PAYLOAD);
AT(failure, text, ROUTER_ERROR_PAYLOAD);
AT(failure, text, TCP_ERROR_PAYLOAD);
SIZE(result, STORAGE_GET);
SIZE(result, STORAGE_GET_MANY);
SIZE(result, STORAGE_PUT);
SIZE(result, STORAGE_PUT_MANY);
SIZE(result, STORAGE_REMOVE);
SIZE(result, STORAGE_REMOVE_RANGE);
SIZE(result, STORAGE_SCAN);
SIZE(result, ROUTER_CALL);
SIZE(result, ROUTER_CALL_MANY_ITEM);
SIZE(result, ROUTER_WAIT);
SIZE(result, ROUTER_WAIT_ALL_ITEM);
SIZE(result, ROUTER_TRANSACT);
SIZE(result, ROUTER_SCATTER_ITEM);
SIZE(result, TCP_CONNECTION_READ);
SIZE(result, TCP_CONNECTION_WRITE);
AT(result, failure, STORAGE_GET_PAYLOAD);
AT(result, optional, STORAGE_GET_PAYLOAD);
AT(result, list, STORAGE_SCAN_PAYLOAD);
AT(result, bytes, ROUTER_CALL_PAYLOAD);
AT(result, bytes, TCP_CONNECTION_READ_PAYLOAD);
SIZE(number_result, CONSENSUS_BARRIER);
AT(number_result, number, CONSENSUS_BARRIER_PAYLOAD);
AT(number_result, text, CONSENSUS_BARRIER_PAYLOAD);
SIZE(recoil_optional, SETTINGS_GET);
SIZE(recoil_optional, ROUTER_SUBSCRIPTION_NEXT);
AT(recoil_optional, value, SETTINGS_GET_PAYLOAD);

SIZE(place, PARTITION_INFO);
AT(place, id, PARTITION_INFO_ID);
AT(place, count, PARTITION_INFO_COUNT);
AT(place, epoch, PARTITION_INFO_EPOCH);
SIZE(group_status, CONSENSUS_GROUP_STATUS);
AT(group_status, role, CONSENSUS_GROUP_STATUS_ROLE);
AT(group_status, term, CONSENSUS_GROUP_STATUS_TERM);
AT(group_status, leader, CONSENSUS_GROUP_STATUS_LEADER);
AT(group_status, committed, CONSENSUS_GROUP_STATUS_COMMITTED);
AT(group_status, applied, CONSENSUS_GROUP_STATUS_APPLIED);
AT(group_status, voters, CONSENSUS_GROUP_STATUS_VOTERS);
SIZE(partition_info, ROUTER_PARTITION_INFO);
AT(partition_info, leader, ROUTER_PARTITION_INFO_LEADER);
AT(partition_info, replicas, ROUTER_PARTITION_INFO_REPLICAS);
AT(partition_info, epoch, ROUTER_PARTITION_INFO_EPOCH);
SIZE(optional_event, TCP_CONNECTION_WAIT_ANY);
AT(optional_event, event, TCP_CONNECTION_WAIT_ANY_PAYLOAD);
_Static_assert(
    offsetof(optional_event, event.message) == WIT_TCP_CONNECTION_WAIT_ANY_PAYLOAD_AT + WIT_TCP_EVENT_PAYLOAD_AT,
    "event"
);

SIZE(outcome, HTTP_HANDLER_HANDLE);
AT(outcome, bytes, HANDLER_HANDLE_PAYLOAD);
AT(outcome, bytes, TIMER_FIRE_PAYLOAD);
AT(outcome, bytes, TCP_LISTENER_SERVE_PAYLOAD);
AT(outcome, bytes, ADMIN_RUN_PAYLOAD);
AT(outcome, response, HTTP_HANDLER_HANDLE_PAYLOAD);
_Static_assert(
    offsetof(outcome, response.headers) == WIT_HTTP_HANDLER_HANDLE_PAYLOAD_AT + WIT_HTTP_HANDLER_RESPONSE_HEADERS_AT,
    "headers"
);
_Static_assert(
    offsetof(outcome, response.body) == WIT_HTTP_HANDLER_HANDLE_PAYLOAD_AT + WIT_HTTP_HANDLER_RESPONSE_BODY_AT, "body"
);

AT(outcome, plan, SCHEDULER_PLAN_PAYLOAD);

SIZE(command, ADMIN_COMMAND);
AT(command, words, ADMIN_COMMAND_WORDS);
AT(command, usage, ADMIN_COMMAND_USAGE);
AT(command, help, ADMIN_COMMAND_HELP);

SIZE(recoil_view_node, SCHEDULER_NODE);
AT(recoil_view_node, id, SCHEDULER_NODE_ID);
AT(recoil_view_node, state, SCHEDULER_NODE_STATE);
AT(recoil_view_node, locality, SCHEDULER_NODE_LOCALITY);
AT(recoil_view_node, capacity_bytes, SCHEDULER_NODE_CAPACITY_BYTES);
AT(recoil_view_node, used_bytes, SCHEDULER_NODE_USED_BYTES);
AT(recoil_view_node, cpu_load, SCHEDULER_NODE_CPU_LOAD);
SIZE(recoil_load, SCHEDULER_LOAD);
AT(recoil_load, reads_per_second, SCHEDULER_LOAD_READS_PER_SECOND);
AT(recoil_load, writes_per_second, SCHEDULER_LOAD_WRITES_PER_SECOND);
AT(recoil_load, cpu_seconds_per_second, SCHEDULER_LOAD_CPU_SECONDS_PER_SECOND);
AT(recoil_load, bytes, SCHEDULER_LOAD_BYTES);
SIZE(recoil_view_partition, SCHEDULER_PARTITION);
AT(recoil_view_partition, keyspace, SCHEDULER_PARTITION_KEYSPACE);
AT(recoil_view_partition, id, SCHEDULER_PARTITION_ID);
AT(recoil_view_partition, replicas, SCHEDULER_PARTITION_REPLICAS);
AT(recoil_view_partition, load, SCHEDULER_PARTITION_LOAD);
SIZE(recoil_rule, SCHEDULER_RULE);
AT(recoil_rule, keyspace, SCHEDULER_RULE_KEYSPACE);
AT(recoil_rule, replication, SCHEDULER_RULE_REPLICATION);
AT(recoil_rule, required, SCHEDULER_RULE_REQUIRED);
AT(recoil_rule, spread_by, SCHEDULER_RULE_SPREAD_BY);
AT(recoil_rule, leader_preference, SCHEDULER_RULE_LEADER_PREFERENCE);
SIZE(recoil_placement, SCHEDULER_PLACEMENT);
AT(recoil_placement, keyspace, SCHEDULER_PLACEMENT_KEYSPACE);
AT(recoil_placement, id, SCHEDULER_PLACEMENT_ID);
AT(recoil_placement, replicas, SCHEDULER_PLACEMENT_REPLICAS);
AT(recoil_placement, reason, SCHEDULER_PLACEMENT_REASON);

NUMBER(RECOIL_LOG_TRACE, LOG_LEVEL_TRACE);
NUMBER(RECOIL_LOG_DEBUG, LOG_LEVEL_DEBUG);
NUMBER(RECOIL_LOG_INFO, LOG_LEVEL_INFO);
NUMBER(RECOIL_LOG_WARN, LOG_LEVEL_WARN);
NUMBER(RECOIL_LOG_ERROR, LOG_LEVEL_ERROR);
NUMBER(RECOIL_WRITE, ROUTER_MODE_WRITE);
NUMBER(RECOIL_READ, ROUTER_MODE_READ);
NUMBER(RECOIL_STALE_READ, ROUTER_MODE_STALE_READ);
NUMBER(RECOIL_LEADER, CONSENSUS_ROLE_LEADER);
NUMBER(RECOIL_FOLLOWER, CONSENSUS_ROLE_FOLLOWER);
NUMBER(RECOIL_LEARNER, CONSENSUS_ROLE_LEARNER);
NUMBER(RECOIL_LIVE, SCHEDULER_NODE_STATE_LIVE);
NUMBER(RECOIL_DRAINING, SCHEDULER_NODE_STATE_DRAINING);
NUMBER(RECOIL_DOWN, SCHEDULER_NODE_STATE_DOWN);
NUMBER(0, ROUTER_ADDRESS_KEY);
NUMBER(1, ROUTER_ADDRESS_PARTITION);

#endif
