/*
 * The host's functions, by the canonical ABI, and the exports around a package's own.
 *
 * Bytes cross without being copied: what the host hands over it writes into the call's memory, in the layouts of
 * layout.h. The types of functions are held against the contract when the module becomes a component. Invariant: no
 * logic; each function is one call of the contract.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../src/internal.h"
#include "layout.h"

#define IMPORT(interface, name) __attribute__((import_module(RECOIL_INTERFACE(interface)), import_name(name)))

/* ---- Memory, and the end of a call ---- */

/** What the host hands over lies in the call's memory. */
__attribute__((export_name("cabi_realloc"))) void *
cabi_realloc(void *old, size_t old_size, size_t alignment, size_t size);
void *cabi_realloc(void *old, size_t old_size, size_t alignment, size_t size) {
    (void)alignment; /* no type of the contract needs more than any memory of the call has */
    void *memory = recoil_alloc(size);
    if (old_size > 0) memcpy(memory, old, old_size < size ? old_size : size);
    return memory;
}

/** What stands between the module and WASI keeps its state for as long as the instance lives. */
__attribute__((export_name("cabi_realloc_adapter"))) void *
cabi_realloc_adapter(void *old, size_t old_size, size_t alignment, size_t size);
void *cabi_realloc_adapter(void *old, size_t old_size, size_t alignment, size_t size) {
    (void)old_size;
    (void)alignment;
    void *memory = realloc(old, size);
    if (memory == NULL) __builtin_trap();
    return memory;
}

IMPORT("log", "write") void recoil_import_log_write(uint32_t level, const uint8_t *line, size_t size);

void recoil_trap(const char *why) {
    recoil_import_log_write(RECOIL_LOG_ERROR, (const uint8_t *)why, strlen(why));
    __builtin_trap();
}

/** What was printed goes to the log before the instance waits or stops: lines are written as a whole. */
static void flush(void) {
    fflush(NULL);
}

void recoil_export_end(void) {
    recoil_memory_clear();
}

static const outcome *end(recoil_status status, outcome *made) {
    flush();
    if (status.code != RECOIL_OK) {
        made->is_failure = true;
        made->bytes = recoil_to_utf8(recoil_message(status));
    }
    return made;
}

static outcome *begin(void) {
    static outcome made;
    memset(&made, 0, sizeof made);
    return &made;
}

const void *recoil_export_handle(recoil_handler *handler, const uint8_t *request, size_t size) {
    outcome *made = begin();
    return end(handler(recoil_slice(request, size), &made->bytes), made);
}

const void *recoil_export_fire(
    recoil_timer *timer, const uint8_t *id, size_t id_size, const uint8_t *payload, size_t payload_size
) {
    outcome *made = begin();
    return end(timer(recoil_slice(id, id_size), recoil_slice(payload, payload_size)), made);
}

const void *recoil_export_respond(recoil_http_handler *handler, const recoil_http_request *request) {
    recoil_http_response response = {.status = 200};
    outcome *made = begin();
    recoil_status status = handler(request, &response);
    made->response.status = response.status;
    made->response.headers = response.headers;
    made->response.header_count = response.header_count;
    made->response.body = response.body;
    return end(status, made);
}

const void *recoil_export_commands(const recoil_command *commands, size_t count) {
    static list listed;
    command *items = recoil_alloc(count * sizeof *items);
    for (size_t at = 0; at < count; at++) {
        items[at].words = recoil_words_of(commands[at].words, &items[at].word_count);
        items[at].usage = recoil_to_utf8(recoil_text(commands[at].usage));
        items[at].help = recoil_to_utf8(recoil_text(commands[at].help));
    }
    listed.items = items;
    listed.count = count;
    return &listed;
}

const void *recoil_export_run(recoil_admin *admin, const recoil_bytes *arguments, size_t count) {
    outcome *made = begin();
    recoil_status status = admin(arguments, count, &made->bytes);
    made->bytes = recoil_to_utf8(made->bytes);
    return end(status, made);
}

const void *recoil_export_plan(recoil_scheduler *scheduler, const recoil_view *view) {
    outcome *made = begin();
    return end(scheduler(view, &made->plan), made);
}

/* ---- Statuses ---- */

static const recoil_code storage_codes[] = {
    [WIT_STORAGE_ERROR_TOO_LARGE] = RECOIL_TOO_LARGE,
    [WIT_STORAGE_ERROR_READ_ONLY] = RECOIL_READ_ONLY,
    [WIT_STORAGE_ERROR_QUOTA_EXCEEDED] = RECOIL_QUOTA_EXCEEDED,
    [WIT_STORAGE_ERROR_UNAVAILABLE] = RECOIL_UNAVAILABLE,
};
static const recoil_code router_codes[] = {
    [WIT_ROUTER_ERROR_REJECTED] = RECOIL_REJECTED,
    [WIT_ROUTER_ERROR_FAILED] = RECOIL_FAILED,
    [WIT_ROUTER_ERROR_UNKNOWN_OUTCOME] = RECOIL_UNKNOWN_OUTCOME,
    [WIT_ROUTER_ERROR_UNAVAILABLE] = RECOIL_UNAVAILABLE,
    [WIT_ROUTER_ERROR_CONFLICT] = RECOIL_CONFLICT,
};
static const recoil_code tcp_codes[] = {
    [WIT_TCP_ERROR_CLOSED] = RECOIL_CLOSED,
    [WIT_TCP_ERROR_TIMED_OUT] = RECOIL_TIMED_OUT,
    [WIT_TCP_ERROR_FAILED] = RECOIL_CONNECTION_FAILED,
};

static recoil_status status_of(const result *from, const recoil_code *codes) {
    if (!from->is_failure) return recoil_ok();
    recoil_status status = {codes[from->failure.tag], from->failure.text};
    switch (status.code) {
    case RECOIL_READ_ONLY:
    case RECOIL_CONFLICT:
    case RECOIL_CLOSED:
    case RECOIL_TIMED_OUT:
        status.text = recoil_slice(NULL, 0);
        break; /* these have no text: what lies there is not one */
    default: break;
    }
    return status;
}

static recoil_status bytes_of(const result *from, const recoil_code *codes, recoil_bytes *bytes) {
    if (!from->is_failure) *bytes = from->bytes;
    return status_of(from, codes);
}

/* ---- Storage ---- */

IMPORT("storage", "get") void recoil_import_storage_get(const uint8_t *key, size_t size, result *made);
IMPORT("storage", "get-many") void recoil_import_storage_get_many(const recoil_bytes *keys, size_t count, result *made);
IMPORT("storage", "put")
void recoil_import_storage_put(const uint8_t *key, size_t size, const uint8_t *value, size_t value_size, result *made);
IMPORT("storage", "put-many")
void recoil_import_storage_put_many(const recoil_entry *entries, size_t count, result *made);
IMPORT("storage", "remove") void recoil_import_storage_remove(const uint8_t *key, size_t size, result *made);
IMPORT("storage", "remove-range")
void recoil_import_storage_remove_range(
    const uint8_t *start, size_t size, uint32_t has_end, const uint8_t *end, size_t end_size, result *made
);
IMPORT("storage", "scan")
void recoil_import_storage_scan(
    const uint8_t *start, size_t size, uint32_t has_end, const uint8_t *end, size_t end_size, uint32_t limit,
    uint32_t reverse, result *made
);

recoil_status recoil_get(recoil_bytes key, recoil_optional *value) {
    result made;
    recoil_import_storage_get(key.data, key.size, &made);
    if (!made.is_failure) *value = made.optional;
    return status_of(&made, storage_codes);
}

recoil_status recoil_get_many(const recoil_bytes *keys, size_t count, recoil_optional **values) {
    result made;
    recoil_import_storage_get_many(keys, count, &made);
    if (!made.is_failure) *values = made.list.items;
    return status_of(&made, storage_codes);
}

recoil_status recoil_put(recoil_bytes key, recoil_bytes value) {
    result made;
    recoil_import_storage_put(key.data, key.size, value.data, value.size, &made);
    return status_of(&made, storage_codes);
}

recoil_status recoil_put_many(const recoil_entry *entries, size_t count) {
    result made;
    recoil_import_storage_put_many(entries, count, &made);
    return status_of(&made, storage_codes);
}

recoil_status recoil_remove(recoil_bytes key) {
    result made;
    recoil_import_storage_remove(key.data, key.size, &made);
    return status_of(&made, storage_codes);
}

recoil_status recoil_remove_range(recoil_range within) {
    result made;
    recoil_optional end = within.end;
    recoil_import_storage_remove_range(
        within.start.data, within.start.size, end.present, end.value.data, end.value.size, &made
    );
    return status_of(&made, storage_codes);
}

recoil_status recoil_scan(recoil_range within, uint32_t limit, bool reverse, recoil_entry **entries, size_t *count) {
    result made;
    recoil_optional end = within.end;
    recoil_import_storage_scan(
        within.start.data, within.start.size, end.present, end.value.data, end.value.size, limit, reverse, &made
    );
    if (!made.is_failure) {
        *entries = made.list.items;
        *count = made.list.count;
    }
    return status_of(&made, storage_codes);
}

/* ---- Partition and consensus ---- */

IMPORT("partition", "current") void recoil_import_partition_current(place *made);
IMPORT("partition", "now") uint64_t recoil_import_partition_now(void);
IMPORT("partition", "is-read-only") uint32_t recoil_import_partition_is_read_only(void);
IMPORT("partition", "set-timer")
void recoil_import_partition_set_timer(
    const uint8_t *id, size_t size, uint64_t at, const uint8_t *payload, size_t payload_size
);
IMPORT("partition", "cancel-timer") void recoil_import_partition_cancel_timer(const uint8_t *id, size_t size);
IMPORT("partition", "publish")
void recoil_import_partition_publish(const uint8_t *topic, size_t size, const uint8_t *message, size_t message_size);
IMPORT("consensus", "status") void recoil_import_consensus_status(group_status *made);
IMPORT("consensus", "barrier") void recoil_import_consensus_barrier(number_result *made);

recoil_place recoil_here(void) {
    place made;
    recoil_import_partition_current(&made);
    recoil_place here = {made.keyspace, made.id, made.count, made.epoch};
    return here;
}

uint64_t recoil_now_us(void) {
    return recoil_import_partition_now();
}

bool recoil_is_read_only(void) {
    return recoil_import_partition_is_read_only() != 0;
}

void recoil_set_timer(recoil_bytes id, uint64_t at_us, recoil_bytes payload) {
    recoil_import_partition_set_timer(id.data, id.size, at_us, payload.data, payload.size);
}

void recoil_cancel_timer(recoil_bytes id) {
    recoil_import_partition_cancel_timer(id.data, id.size);
}

void recoil_publish(recoil_bytes topic, recoil_bytes message) {
    recoil_import_partition_publish(topic.data, topic.size, message.data, message.size);
}

recoil_group recoil_consensus(void) {
    group_status made;
    recoil_import_consensus_status(&made);
    recoil_group group = {
        .id = made.group,
        .role = (recoil_role)made.role,
        .term = made.term,
        .has_leader = made.leader.present != 0,
        .leader = made.leader.number,
        .committed = made.committed,
        .applied = made.applied,
        .voters = made.voters,
        .voter_count = made.voter_count,
    };
    return group;
}

recoil_status recoil_barrier(uint64_t *applied) {
    number_result made;
    recoil_import_consensus_barrier(&made);
    recoil_status status = {RECOIL_UNAVAILABLE, made.text};
    if (made.is_failure) return status;
    *applied = made.number;
    return recoil_ok();
}

/* ---- Router ---- */

/* `address` in registers: its tag, and a key or an id and nothing. */
#define ADDRESS(call)                                                                          \
    (call).to.kind, (call).to.kind == 0 ? (uintptr_t)(call).to.key.data : (call).to.partition, \
        (call).to.kind == 0 ? (call).to.key.size : 0
#define ROUTED(call) ADDRESS(call), (call).request.data, (call).request.size, (call).mode
#define ROUTED_PARAMETERS \
    uint32_t kind, uintptr_t key_or_id, size_t key_size, const uint8_t *request, size_t size, uint32_t mode

IMPORT("router", "call") void recoil_import_router_call(ROUTED_PARAMETERS, result *made);
IMPORT("router", "call-many")
void recoil_import_router_call_many(const recoil_routed_call *calls, size_t count, list *made);
IMPORT("router", "submit") uint32_t recoil_import_router_submit(ROUTED_PARAMETERS);
IMPORT("router", "[method]pending.is-ready") uint32_t recoil_import_router_pending_is_ready(uint32_t pending);
IMPORT("router", "[resource-drop]pending") void recoil_import_router_pending_drop(uint32_t pending);
IMPORT("router", "wait") void recoil_import_router_wait(uint32_t pending, result *made);
IMPORT("router", "wait-all")
void recoil_import_router_wait_all(const recoil_pending *pending, size_t count, list *made);
IMPORT("router", "transact")
void recoil_import_router_transact(const recoil_routed_call *calls, size_t count, result *made);
IMPORT("router", "scatter")
void recoil_import_router_scatter(const uint8_t *request, size_t size, uint32_t mode, list *made);
IMPORT("router", "locate") void recoil_import_router_locate(const uint8_t *key, size_t size, partition_info *made);
IMPORT("router", "partitions") void recoil_import_router_partitions(list *made);
IMPORT("router", "subscribe") uint32_t recoil_import_router_subscribe(const uint8_t *topic, size_t size);
IMPORT("router", "[method]subscription.next")
void recoil_import_router_subscription_next(uint32_t subscription, uint32_t timeout_ms, recoil_optional *made);
IMPORT("router", "[resource-drop]subscription") void recoil_import_router_subscription_drop(uint32_t subscription);

recoil_status recoil_call(recoil_routed_call call, recoil_bytes *answer) {
    result made;
    flush();
    recoil_import_router_call(ROUTED(call), &made);
    return bytes_of(&made, router_codes, answer);
}

static recoil_answer *answers_of(list results) {
    const result *from = results.items;
    recoil_answer *answers = recoil_alloc(results.count * sizeof *answers);
    for (size_t at = 0; at < results.count; at++) {
        answers[at].answer = recoil_slice(NULL, 0);
        answers[at].status = bytes_of(&from[at], router_codes, &answers[at].answer);
    }
    return answers;
}

recoil_answer *recoil_call_many(const recoil_routed_call *calls, size_t count) {
    list made;
    flush();
    recoil_import_router_call_many(calls, count, &made);
    return answers_of(made);
}

recoil_status recoil_transact(const recoil_routed_call *calls, size_t count, recoil_bytes **answers) {
    result made;
    flush();
    recoil_import_router_transact(calls, count, &made);
    if (!made.is_failure) *answers = made.list.items;
    return status_of(&made, router_codes);
}

recoil_answer *recoil_scatter(recoil_bytes request, recoil_mode mode, size_t *count) {
    list made;
    flush();
    recoil_import_router_scatter(request.data, request.size, mode, &made);
    *count = made.count;
    return answers_of(made);
}

recoil_pending recoil_submit(recoil_routed_call call) {
    recoil_pending pending = {recoil_import_router_submit(ROUTED(call))};
    return pending;
}

bool recoil_is_ready(recoil_pending pending) {
    return recoil_import_router_pending_is_ready(pending.handle) != 0;
}

recoil_status recoil_wait(recoil_pending pending, recoil_bytes *answer) {
    result made;
    flush();
    recoil_import_router_wait(pending.handle, &made);
    return bytes_of(&made, router_codes, answer);
}

recoil_answer *recoil_wait_all(const recoil_pending *pending, size_t count) {
    list made;
    flush();
    recoil_import_router_wait_all(pending, count, &made);
    return answers_of(made);
}

void recoil_forget(recoil_pending pending) {
    recoil_import_router_pending_drop(pending.handle);
}

static recoil_partition partition_of(const partition_info *from) {
    recoil_partition partition = {
        .id = from->id,
        .has_leader = from->leader.present != 0,
        .leader = from->leader.number,
        .replicas = from->replicas,
        .replica_count = from->replica_count,
        .epoch = from->epoch,
    };
    return partition;
}

recoil_partition recoil_locate(recoil_bytes key) {
    partition_info made;
    recoil_import_router_locate(key.data, key.size, &made);
    return partition_of(&made);
}

recoil_partition *recoil_partitions(size_t *count) {
    list made;
    recoil_import_router_partitions(&made);
    const partition_info *from = made.items;
    recoil_partition *partitions = recoil_alloc(made.count * sizeof *partitions);
    for (size_t at = 0; at < made.count; at++) partitions[at] = partition_of(&from[at]);
    *count = made.count;
    return partitions;
}

recoil_subscription recoil_subscribe(recoil_bytes topic) {
    recoil_subscription subscription = {recoil_import_router_subscribe(topic.data, topic.size)};
    return subscription;
}

recoil_optional recoil_next_message(recoil_subscription subscription, uint32_t timeout_ms) {
    recoil_optional made;
    flush();
    recoil_import_router_subscription_next(subscription.handle, timeout_ms, &made);
    return made;
}

void recoil_unsubscribe(recoil_subscription subscription) {
    recoil_import_router_subscription_drop(subscription.handle);
}

/* ---- Connections ---- */

IMPORT("tcp", "[method]connection.peer-address")
void recoil_import_tcp_peer_address(uint32_t connection, recoil_bytes *made);
IMPORT("tcp", "[method]connection.read") void recoil_import_tcp_read(uint32_t connection, uint32_t limit, result *made);
IMPORT("tcp", "[method]connection.write")
void recoil_import_tcp_write(uint32_t connection, const uint8_t *bytes, size_t size, result *made);
IMPORT("tcp", "[method]connection.wait-any")
void recoil_import_tcp_wait_any(
    uint32_t connection, const recoil_subscription *subscriptions, size_t count, uint32_t timeout_ms,
    optional_event *made
);
IMPORT("tcp", "[resource-drop]connection") void recoil_import_tcp_drop(uint32_t connection);

/* An instance has one connection. */
static recoil_input input;

recoil_input *recoil_input_of(recoil_connection connection) {
    (void)connection;
    return &input;
}

const void *recoil_export_serve(recoil_listener *listener, uint32_t handle) {
    outcome *made = begin();
    recoil_connection connection = {handle};
    recoil_status status = listener(connection);
    recoil_import_tcp_drop(handle);
    return end(status, made);
}

recoil_bytes recoil_peer_address(recoil_connection connection) {
    recoil_bytes made;
    recoil_import_tcp_peer_address(connection.handle, &made);
    return made;
}

recoil_status recoil_read_more(recoil_connection connection, uint32_t limit, recoil_bytes *bytes) {
    result made;
    flush();
    recoil_import_tcp_read(connection.handle, limit, &made);
    return bytes_of(&made, tcp_codes, bytes);
}

recoil_status recoil_write(recoil_connection connection, recoil_bytes bytes) {
    result made;
    recoil_import_tcp_write(connection.handle, bytes.data, bytes.size, &made);
    return status_of(&made, tcp_codes);
}

recoil_event recoil_wait_any(
    recoil_connection connection, const recoil_subscription *subscriptions, size_t count, uint32_t timeout_ms
) {
    recoil_event event = {RECOIL_READABLE, 0};
    if (input.start < input.end) return event;
    optional_event made;
    flush();
    recoil_import_tcp_wait_any(connection.handle, subscriptions, count, timeout_ms, &made);
    event.kind = !made.present                              ? RECOIL_TIMEOUT
                 : made.event.tag == WIT_TCP_EVENT_READABLE ? RECOIL_READABLE
                                                            : RECOIL_MESSAGE;
    event.subscription = event.kind == RECOIL_MESSAGE ? made.event.message : 0;
    return event;
}

/* ---- Log and settings ---- */

IMPORT("settings", "get") void recoil_import_settings_get(const uint8_t *name, size_t size, recoil_optional *made);

void recoil_log(recoil_level level, recoil_bytes line) {
    recoil_bytes text = recoil_to_utf8(line);
    recoil_import_log_write(level, text.data, text.size);
}

recoil_optional recoil_setting(const char *name) {
    recoil_optional made;
    recoil_bytes text = recoil_to_utf8(recoil_text(name));
    recoil_import_settings_get(text.data, text.size, &made);
    return made;
}
