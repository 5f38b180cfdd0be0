/**
 * @file recoil.h
 * What a Recoil package in C is written with.
 *
 * A package is a set of functions that are exported as roles by a macro each: RECOIL_EXPORT_HANDLER() and its like.
 * They are written in direct style: what waits, blocks. The same sources are compiled for WebAssembly, where the host
 * answers these functions, and natively for tests, where recoil_fake.h does.
 *
 * **Memory.** Everything these functions hand out, and everything from recoil_alloc(), recoil_format() and buffers,
 * belongs to the call: it is freed when the exported function returns, and nobody frees it before. A listener, whose
 * call lasts as long as its connection, frees what one request took with recoil_mark() and recoil_release(). What is to
 * outlive the call is copied with malloc(); as everything in memory it is a cache only. Nothing returns NULL for want
 * of memory: an instance that has none left ends, and its call is rolled back.
 *
 * **Bytes.** Keys, values, requests and texts are @ref recoil_bytes, which any byte may be part of and which nothing
 * terminates. What is passed in is only read, and only until the function returns.
 *
 * **Errors.** What can fail returns a @ref recoil_status; RECOIL_TRY() hands a failure on to the caller. Results are
 * valid on success only.
 */
#ifndef RECOIL_H
#define RECOIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RECOIL_PRINTF(text_at, arguments_at) __attribute__((format(printf, text_at, arguments_at)))
#define RECOIL_CHECKED __attribute__((warn_unused_result))
#else
#define RECOIL_PRINTF(text_at, arguments_at)
#define RECOIL_CHECKED
#endif

/** @name Bytes @{ */

/** A slice of bytes that somebody else keeps. `data` may be anything if `size` is 0. */
typedef struct recoil_bytes {
    const uint8_t *data;
    size_t size;
} recoil_bytes;

/** Bytes that may be absent. */
typedef struct recoil_optional {
    bool present;
    recoil_bytes value;
} recoil_optional;

/** The bytes of a string literal, without its terminator. */
#define RECOIL_LITERAL(text) recoil_slice((text), sizeof("" text) - 1)

/** `size` bytes from `data` on. */
static inline recoil_bytes recoil_slice(const void *data, size_t size) {
    recoil_bytes bytes = {(const uint8_t *)data, size};
    return bytes;
}

/** The bytes of a terminated string, without its terminator. */
static inline recoil_bytes recoil_text(const char *text) {
    return recoil_slice(text, strlen(text));
}

/** Bytes that are there. */
static inline recoil_optional recoil_some(recoil_bytes value) {
    recoil_optional some = {true, value};
    return some;
}

/** No bytes. */
static inline recoil_optional recoil_none(void) {
    recoil_optional none = {false, {NULL, 0}};
    return none;
}

/** What is left of `bytes` behind the first `count`: nothing if it has no more. */
recoil_bytes recoil_skip(recoil_bytes bytes, size_t count);
/** `bytes` without spaces, tabs and line ends around them. */
recoil_bytes recoil_trim(recoil_bytes bytes);
/** True if both have the same bytes. */
bool recoil_equal(recoil_bytes left, recoil_bytes right);
/** Below, at or above zero, as keys are ordered: by their bytes, and a beginning before what it begins. */
int recoil_compare(recoil_bytes left, recoil_bytes right);
/** A decimal number without sign that fits; otherwise false, and `*number` stays. */
bool recoil_parse(recoil_bytes text, uint64_t *number);

/** True if the bytes are UTF-8. */
bool recoil_is_utf8(recoil_bytes bytes);
/**
 * The bytes if they are UTF-8, otherwise a copy in which U+FFFD stands for what is not. What the host takes as a text
 * (messages of failures, lines of the log, names) has gone through it.
 */
recoil_bytes recoil_to_utf8(recoil_bytes bytes);

/** @} @name Memory of the call @{ */

/** `size` bytes, aligned for anything, not initialised. */
void *recoil_alloc(size_t size);
/** A copy. */
recoil_bytes recoil_copy(recoil_bytes bytes);
/** A terminated copy, for functions of the C library. It ends early if a zero is among the bytes. */
char *recoil_string(recoil_bytes bytes);
/** A text as by printf. Bytes are printed by `%.*s` with RECOIL_ARG(). */
recoil_bytes recoil_format(const char *format, ...) RECOIL_PRINTF(1, 2);
/** The two arguments that `%.*s` takes. */
#define RECOIL_ARG(bytes) (int)(bytes).size, (const char *)(bytes).data

/** A moment in the call's use of memory. */
typedef struct recoil_moment {
    void *chunk;
    size_t used;
} recoil_moment;

/** The moment now. */
recoil_moment recoil_mark(void);
/** Frees what the call took since that moment. Moments are released in reverse order. */
void recoil_release(recoil_moment moment);

/** Bytes that grow. Begins as `{0}`; to append may move what is there. */
typedef struct recoil_buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
} recoil_buffer;

/** What is in the buffer, until more is appended. */
static inline recoil_bytes recoil_buffer_bytes(const recoil_buffer *buffer) {
    return recoil_slice(buffer->data, buffer->size);
}

/** Room for `size` more bytes, to be filled by the caller. */
uint8_t *recoil_buffer_extend(recoil_buffer *buffer, size_t size);
/** Bytes. */
void recoil_append(recoil_buffer *buffer, recoil_bytes bytes);
/** One byte. */
void recoil_append_u8(recoil_buffer *buffer, uint8_t number);
/** Four bytes, big-endian: in keys, numbers sort as they count. */
void recoil_append_u32(recoil_buffer *buffer, uint32_t number);
/** Eight bytes, big-endian. */
void recoil_append_u64(recoil_buffer *buffer, uint64_t number);
/**
 * Bytes as one of several parts of a key: escaped, so that a shorter part sorts before a longer one and no part runs
 * into the next (zeros become `00 ff`, and `00 00` ends the part).
 */
void recoil_append_part(recoil_buffer *buffer, recoil_bytes part);

/** @name What was appended, taken off the front of `*bytes`; false, and `*bytes` stays, if it is not there. @{ */
bool recoil_take(recoil_bytes *bytes, size_t size, recoil_bytes *taken);
bool recoil_take_u8(recoil_bytes *bytes, uint8_t *number);
bool recoil_take_u32(recoil_bytes *bytes, uint32_t *number);
bool recoil_take_u64(recoil_bytes *bytes, uint64_t *number);
bool recoil_take_part(recoil_bytes *bytes, recoil_bytes *part);
/** @} */

/** @} @name Errors @{ */

/** How something ended. */
typedef enum recoil_code {
    RECOIL_OK = 0,
    /** The package's own error: recoil_fail(). */
    RECOIL_ERROR,
    /** A key, a value or all writes of the call are above a limit, which the text names. Retrying does not help. */
    RECOIL_TOO_LARGE,
    /** A write in a read-only call: route it with RECOIL_WRITE. */
    RECOIL_READ_ONLY,
    /** The app is over its storage quota. Retrying helps once data has been removed. */
    RECOIL_QUOTA_EXCEEDED,
    /** No leader or quorum before the deadline. Retrying may help. From `recoil_call()` nothing was written; the
     * outcome of a listener's own write to storage may be unknown. */
    RECOIL_UNAVAILABLE,
    /** The handler returned an error, which is the text; nothing was written. */
    RECOIL_REJECTED,
    /** The handler trapped, or ran out of its time or memory; nothing was written. */
    RECOIL_FAILED,
    /** The leader was lost after the request was sent. A retry may apply the request twice. */
    RECOIL_UNKNOWN_OUTCOME,
    /** A transaction lost to a conflicting one; nothing was written. Retry. */
    RECOIL_CONFLICT,
    /** The connection is closed. */
    RECOIL_CLOSED,
    /** The client sent or took nothing for the app's idle limit; the connection is closed. */
    RECOIL_TIMED_OUT,
    /** The connection failed, and is closed. */
    RECOIL_CONNECTION_FAILED
} recoil_code;

/** How something ended, and the reason in words if there is one. */
typedef struct recoil_status {
    recoil_code code;
    recoil_bytes text;
} recoil_status;

/** Success. */
static inline recoil_status recoil_ok(void) {
    recoil_status ok = {RECOIL_OK, {NULL, 0}};
    return ok;
}

/** The package's own error, in words for the caller, as by printf. */
recoil_status recoil_fail(const char *format, ...) RECOIL_PRINTF(1, 2);
/** The name of a code as the contract has it, such as `too-large`. */
const char *recoil_code_name(recoil_code code);
/** The reason in words for the caller, whatever failed. */
recoil_bytes recoil_message(recoil_status status);
/** Returns from the function with the status of an expression, unless it succeeded. */
#define RECOIL_TRY(expression)                                   \
    do {                                                         \
        recoil_status recoil_tried = (expression);               \
        if (recoil_tried.code != RECOIL_OK) return recoil_tried; \
    } while (0)

/**
 * @} @name Storage
 * An ordered, transactional key-value space that belongs to the app. In a handler it is the partition's: reads see the
 * call's own writes, and the writes of a call become visible together or not at all. In a listener each function is one
 * linearizable operation on the partition that owns the key.
 * @{
 */

/** A key and its value. */
typedef struct recoil_entry {
    recoil_bytes key;
    recoil_bytes value;
} recoil_entry;

/** Keys from `start` on, which is included, up to `end`, which is not; without an end, all of them. */
typedef struct recoil_range {
    recoil_bytes start;
    recoil_optional end;
} recoil_range;

/** Every key. */
recoil_range recoil_all(void);
/** Every key that begins with `prefix`. */
recoil_range recoil_prefix(recoil_bytes prefix);
/** From `start`, which is included, to `end`, which is not. */
recoil_range recoil_between(recoil_bytes start, recoil_bytes end);

/** The value of a key. */
RECOIL_CHECKED recoil_status recoil_get(recoil_bytes key, recoil_optional *value);
/** Values in the order of the keys, in one crossing; `*values` has `count` of them. */
RECOIL_CHECKED recoil_status recoil_get_many(const recoil_bytes *keys, size_t count, recoil_optional **values);
/** Writes one value. */
RECOIL_CHECKED recoil_status recoil_put(recoil_bytes key, recoil_bytes value);
/** Writes many values in one crossing; a later one of the same key wins. In a listener atomic per partition only. */
RECOIL_CHECKED recoil_status recoil_put_many(const recoil_entry *entries, size_t count);
/** Removes a key. That it was absent is not an error. */
RECOIL_CHECKED recoil_status recoil_remove(recoil_bytes key);
/** Removes the keys of a range. In a listener not atomic across partitions. */
RECOIL_CHECKED recoil_status recoil_remove_range(recoil_range within);
/**
 * At most `limit` entries in key order, descending if `reverse`. Fewer may come before the range ends (pages are 4
 * MiB), but at least one if there is one: only an empty page is the end. recoil_next() pages by itself.
 */
RECOIL_CHECKED recoil_status
recoil_scan(recoil_range within, uint32_t limit, bool reverse, recoil_entry **entries, size_t *count);

/** A walk over a range, page by page. */
typedef struct recoil_cursor {
    /** Of the page that was fetched last: look at it when recoil_next() has returned false. */
    recoil_status status;
    /** @privatesection */
    recoil_range rest;
    recoil_entry *page;
    size_t at, count;
    uint32_t page_size;
    bool reverse;
} recoil_cursor;

/** The entries of a range, in descending order if `reverse`. */
recoil_cursor recoil_entries(recoil_range within, bool reverse);
/** The next entry; false at the end, and when a page could not be fetched. */
bool recoil_next(recoil_cursor *cursor, recoil_entry *entry);

/**
 * @} @name Handlers
 * A partition's owner: one instance on the partition's leader, requests one at a time and in their order. These
 * functions trap in listeners.
 * @{
 */

/**
 * Answers a request in a transaction of its own. A failure rolls back all its writes and reaches the caller as
 * RECOIL_REJECTED; a trap does too, as RECOIL_FAILED. It may be evaluated again if its writes could not be committed,
 * so it has no effects but those it asks the host for.
 */
typedef recoil_status recoil_handler(recoil_bytes request, recoil_bytes *answer);
/** Is called when a timer is due, at least once, in a transaction that also removes the timer. A failure is tried again
 * later. */
typedef recoil_status recoil_timer(recoil_bytes id, recoil_bytes payload);

/** Where a handler runs. */
typedef struct recoil_place {
    recoil_bytes keyspace;
    uint32_t partition;
    /** Partitions in the keyspace. */
    uint32_t count;
    /** Grows when the partition moves. */
    uint64_t epoch;
} recoil_place;

/** Which partition this is. */
recoil_place recoil_here(void);
/** Microseconds since the Unix epoch: the same throughout the call, greater than in every earlier writing call of this
 * partition. */
uint64_t recoil_now_us(void);
/** True if the caller asked for a read. */
bool recoil_is_read_only(void);
/** Has the timer called with `payload`, not before `at_us`; the same `id` replaces. Traps in a read-only call and
 * without that role. */
void recoil_set_timer(recoil_bytes id, uint64_t at_us, recoil_bytes payload);
/** Cancels a timer. That it was absent is not an error. Traps in a read-only call. */
void recoil_cancel_timer(recoil_bytes id);
/** Sends a message to every subscriber of `topic` once this call has committed, at most once. */
void recoil_publish(recoil_bytes topic, recoil_bytes message);

/** What a replica is to its Raft group. */
typedef enum recoil_role { RECOIL_LEADER, RECOIL_FOLLOWER, RECOIL_LEARNER } recoil_role;

/** What this replica knows of its Raft group. Nodes are named by their member number. */
typedef struct recoil_group {
    uint64_t id;
    recoil_role role;
    uint64_t term;
    bool has_leader;
    uint32_t leader;
    uint64_t committed;
    uint64_t applied;
    const uint32_t *voters;
    size_t voter_count;
} recoil_group;

/** The group behind this partition. */
recoil_group recoil_consensus(void);
/** Confirms with a quorum that this replica leads and has applied everything committed before; RECOIL_UNAVAILABLE if it
 * lost either. */
RECOIL_CHECKED recoil_status recoil_barrier(uint64_t *applied);

/**
 * @} @name Router
 * How listeners reach partitions, wherever their leaders are. In a handler everything here that calls a partition is
 * rejected: a transaction waits for nobody. Calls to one partition keep their order.
 * @{
 */

/** What a call may do. */
typedef enum recoil_mode {
    /** May write. Answered once its writes are committed on a quorum. */
    RECOIL_WRITE,
    /** Sees every write that was answered before. */
    RECOIL_READ,
    /** Answered by any replica from what it has: old, but a state that once was. */
    RECOIL_STALE_READ
} recoil_mode;

/** A request on its way to a partition. Made by recoil_to_key() and recoil_to_partition(). */
typedef struct recoil_routed_call {
    struct {
        /** 0: the owner of `key`; 1: `partition`. */
        uint8_t kind;
        union {
            recoil_bytes key;
            uint32_t partition;
        };
    } to;
    recoil_bytes request;
    /** A @ref recoil_mode. */
    uint8_t mode;
} recoil_routed_call;

/** A call to the owner of `key`. */
recoil_routed_call recoil_to_key(recoil_bytes key, recoil_bytes request, recoil_mode mode);
/** A call to a partition by its id. */
recoil_routed_call recoil_to_partition(uint32_t partition, recoil_bytes request, recoil_mode mode);

/** What came of one of several calls. */
typedef struct recoil_answer {
    recoil_status status;
    recoil_bytes answer;
} recoil_answer;

/** Runs the handler of one partition and waits for its answer. */
RECOIL_CHECKED recoil_status recoil_call(recoil_routed_call call, recoil_bytes *answer);
/** Many calls in one crossing, the cheapest batch; `count` answers in their order, each with a status of its own. */
recoil_answer *recoil_call_many(const recoil_routed_call *calls, size_t count);
/** All or nothing across partitions of one Raft group (keys with one owner always are); `count` answers in the order of
 * the calls. */
RECOIL_CHECKED recoil_status recoil_transact(const recoil_routed_call *calls, size_t count, recoil_bytes **answers);
/** One call to every partition; `*count` answers in partition order. Not a transaction. */
recoil_answer *recoil_scatter(recoil_bytes request, recoil_mode mode, size_t *count);

/** A call under way. */
typedef struct recoil_pending {
    uintptr_t handle;
} recoil_pending;

/** Starts a call without waiting. It is ended by recoil_wait(), recoil_wait_all() or recoil_forget(). */
recoil_pending recoil_submit(recoil_routed_call call);
/** True if recoil_wait() would not block. */
bool recoil_is_ready(recoil_pending pending);
/** The answer. */
RECOIL_CHECKED recoil_status recoil_wait(recoil_pending pending, recoil_bytes *answer);
/** `count` answers in the order of the calls. */
recoil_answer *recoil_wait_all(const recoil_pending *pending, size_t count);
/** Forgets the answer, not the call. */
void recoil_forget(recoil_pending pending);

/** A partition and where it is. Nodes are named by their member number. */
typedef struct recoil_partition {
    uint32_t id;
    /** False during an election. */
    bool has_leader;
    uint32_t leader;
    const uint32_t *replicas;
    size_t replica_count;
    uint64_t epoch;
} recoil_partition;

/** The partition that owns `key`. */
recoil_partition recoil_locate(recoil_bytes key);
/** Every partition, in the order of their ids. */
recoil_partition *recoil_partitions(size_t *count);

/** Messages of one topic. */
typedef struct recoil_subscription {
    uintptr_t handle;
} recoil_subscription;

/** What handlers publish on `topic` from now on, at most once; a subscriber that is 1,024 messages behind loses some.
 */
recoil_subscription recoil_subscribe(recoil_bytes topic);
/** The next message; none when `timeout_ms` have passed without one. */
recoil_optional recoil_next_message(recoil_subscription subscription, uint32_t timeout_ms);
/** Ends a subscription. One that is left ends with the connection. */
void recoil_unsubscribe(recoil_subscription subscription);

/** @} @name TCP listeners @{ */

/** A client's connection. */
typedef struct recoil_connection {
    uintptr_t handle;
} recoil_connection;

/**
 * Serves one connection until it ends, in an instance of its own, as a thread per connection would. When it returns the
 * connection is closed; a failure is written to the app's log.
 */
typedef recoil_status recoil_listener(recoil_connection connection);

/** Address and port of the client, such as `127.0.0.1:50312`. */
recoil_bytes recoil_peer_address(recoil_connection connection);
/** Waits for at least one byte, returns at most `limit` (and at most 1 MiB); none at the end of the stream. */
RECOIL_CHECKED recoil_status recoil_read(recoil_connection connection, uint32_t limit, recoil_bytes *bytes);
/**
 * The next line, without its end (`\n` or `\r\n`); absent at the end of the stream. Valid until the connection is read
 * again. A line of more than `limit` bytes is an error.
 */
RECOIL_CHECKED recoil_status recoil_read_line(recoil_connection connection, size_t limit, recoil_optional *line);
/** Exactly `size` bytes; absent at the end of the stream, and an error within. Valid until the connection is read
 * again. */
RECOIL_CHECKED recoil_status recoil_read_exact(recoil_connection connection, size_t size, recoil_optional *bytes);
/** Waits until the host has buffered the bytes. They are sent before the next function that waits for this client, and
 * at the end. */
RECOIL_CHECKED recoil_status recoil_write(recoil_connection connection, recoil_bytes bytes);

/** What recoil_wait_any() waits for. */
typedef enum recoil_event_kind {
    RECOIL_TIMEOUT,
    /** There are bytes, or the end of the stream. */
    RECOIL_READABLE,
    /** A message waits: recoil_next_message() takes it. */
    RECOIL_MESSAGE
} recoil_event_kind;

/** What happened first. */
typedef struct recoil_event {
    recoil_event_kind kind;
    /** Of a message: the place of its subscription. */
    uint32_t subscription;
} recoil_event;

/** Waits for input or for a message of one of the subscriptions. */
recoil_event recoil_wait_any(
    recoil_connection connection, const recoil_subscription *subscriptions, size_t count, uint32_t timeout_ms
);

/** @} @name HTTP @{ */

/** A header: its name, in lower case, and its value. */
typedef struct recoil_http_header {
    recoil_bytes name;
    recoil_bytes value;
} recoil_http_header;

/** A request, read to its end. Path and query are as sent: nothing is decoded. */
typedef struct recoil_http_request {
    recoil_bytes method;
    recoil_bytes path;
    recoil_bytes query;
    const recoil_http_header *headers;
    size_t header_count;
    recoil_bytes body;
    recoil_bytes peer_address;
} recoil_http_request;

/** An answer. */
typedef struct recoil_http_response {
    /** 200 to 599. */
    uint16_t status;
    /** Made by recoil_http_add_header(). Length and connection are the host's. */
    recoil_http_header *headers;
    size_t header_count;
    recoil_bytes body;
} recoil_http_response;

/**
 * Answers a request; `*response` begins as 200 without headers and body. The instance is kept, and answers one request
 * at a time. A failure is answered 500, and written to the app's log.
 */
typedef recoil_status recoil_http_handler(const recoil_http_request *request, recoil_http_response *response);

/** The first header of that name, in any case. */
recoil_optional recoil_http_header_value(const recoil_http_request *request, const char *name);
/** The part of the path between slashes at place `at`, percent-encoding undone. Empty parts do not count. */
recoil_optional recoil_http_segment(const recoil_http_request *request, size_t at);
/** The first value of that name in the query, percent-encoding and plus signs undone. */
recoil_optional recoil_http_query_value(const recoil_http_request *request, const char *name);
/** One more header. */
void recoil_http_add_header(recoil_http_response *response, const char *name, recoil_bytes value);
/** Makes the response one with a status and a body of that type. */
void recoil_http_respond(recoil_http_response *response, uint16_t status, const char *content_type, recoil_bytes body);

/**
 * @} @name Commands for operators
 * A command runs in an instance of its own, which has a router and storage as a listener has, and neither partition nor
 * connection.
 * @{
 */

/** A command, as recoilctl lists it. */
typedef struct recoil_command {
    /** The words by which it is called, with spaces between them, such as `key create`. */
    const char *words;
    /** What follows them, such as `NAME [--bucket BUCKET]`. */
    const char *usage;
    /** What it does: one sentence for an operator. */
    const char *help;
} recoil_command;

/**
 * Runs what the operator typed behind the app's name, for `recoilctl APP ARGUMENTS…`. `*output` begins empty; recoilctl
 * prints it as it is. A failure is printed as an error, and recoilctl fails. The operator may break a command off at
 * any time, so it should be safe to run it again.
 */
typedef recoil_status recoil_admin(const recoil_bytes *arguments, size_t count, recoil_bytes *output);

/**
 * @} @name Schedulers
 * A plan is a function of the view and of nothing else: there is no storage, router or partition here.
 * @{
 */

/** What a node is to the cluster. */
typedef enum recoil_node_state {
    /** It serves. */
    RECOIL_LIVE,
    /** It serves and is about to leave: nothing new should go there. */
    RECOIL_DRAINING,
    /** It does not answer. */
    RECOIL_DOWN
} recoil_node_state;

/** A key and its value: where a node is, as `zone` and `a`, or where a replica must be. */
typedef struct recoil_label {
    recoil_bytes key;
    recoil_bytes value;
} recoil_label;

/** A node. */
typedef struct recoil_view_node {
    /** Its member number. */
    uint32_t id;
    /** A @ref recoil_node_state. */
    uint8_t state;
    /** Where it is, from the widest to the narrowest. */
    const recoil_label *locality;
    size_t locality_count;
    /** What its disk holds, and what of that is taken. */
    uint64_t capacity_bytes, used_bytes;
    /** What of its processors is busy. */
    float cpu_load;
} recoil_view_node;

/** What a partition costs. */
typedef struct recoil_load {
    float reads_per_second, writes_per_second, cpu_seconds_per_second;
    /** What it holds. */
    uint64_t bytes;
} recoil_load;

/** A partition and where it is now. */
typedef struct recoil_view_partition {
    uint32_t keyspace;
    uint32_t id;
    /** Nodes, the preferred leader first; none if it is nowhere yet. */
    const uint32_t *replicas;
    size_t replica_count;
    recoil_load load;
} recoil_view_partition;

/** What holds for a keyspace. */
typedef struct recoil_rule {
    uint32_t keyspace;
    /** Replicas of each partition. */
    uint8_t replication;
    /** Labels that every replica's node must have. */
    const recoil_label *required;
    size_t required_count;
    /** Keys of labels whose values replicas should differ in. */
    const recoil_bytes *spread_by;
    size_t spread_by_count;
    /** Labels that the leader's node should have, if one can. */
    const recoil_label *leader_preference;
    size_t leader_preference_count;
} recoil_rule;

/** All that a plan is made of. */
typedef struct recoil_view {
    const recoil_view_node *nodes;
    size_t node_count;
    const recoil_rule *rules;
    size_t rule_count;
    const recoil_view_partition *partitions;
    size_t partition_count;
} recoil_view;

/** Where a partition should be. */
typedef struct recoil_placement {
    uint32_t keyspace;
    uint32_t id;
    /** Nodes, the preferred leader first. They may be those of the view. */
    const uint32_t *replicas;
    size_t replica_count;
    /** Why, for operators. */
    recoil_bytes reason;
} recoil_placement;

/** Where partitions should be: only those that should change, the most urgent first. */
typedef struct recoil_plan {
    /** Made by recoil_add_placement(). */
    recoil_placement *placements;
    size_t count;
} recoil_plan;

/**
 * Decides where partitions live: the host asks it in the place of its own scheduler; `*plan` begins without placements.
 * The host checks every answer (nodes, quorum, placement rules). It goes on with its own scheduler, and its log says
 * why, when a plan is refused or comes too late, and upon a failure or a trap.
 */
typedef recoil_status recoil_scheduler(const recoil_view *view, recoil_plan *plan);

/** One more placement. */
void recoil_add_placement(recoil_plan *plan, recoil_placement placement);

/** @} @name Log and settings @{ */

/** How much a line matters. */
typedef enum recoil_level {
    /** Every step. */
    RECOIL_LOG_TRACE,
    /** For the author of the package. */
    RECOIL_LOG_DEBUG,
    /** For who runs it. */
    RECOIL_LOG_INFO,
    /** Something is not as it should be. */
    RECOIL_LOG_WARN,
    /** Something failed. */
    RECOIL_LOG_ERROR
} recoil_level;

/** A line in the app's log; above 8 KiB it is cut. What is printed to `stdout` and `stderr` goes there too. */
void recoil_log(recoil_level level, recoil_bytes line);

/** The value of a setting, as text; absent if the manifest has no such setting. */
recoil_optional recoil_setting(const char *name);
/** The value of a setting whose default is a number; false if it is none. */
bool recoil_setting_integer(const char *name, int64_t *number);
/** The value of a setting whose default is true or false; `otherwise` if it is neither. */
bool recoil_setting_boolean(const char *name, bool otherwise);

/**
 * @} @name Exports
 * The roles of a package are those that it exports, each once, at file scope.
 * @{
 */

#ifdef __wasm__
#include "recoil_export.h"
#else
/** Exports a @ref recoil_handler, which every package has but one that is only a scheduler. */
#define RECOIL_EXPORT_HANDLER(function) recoil_handler *recoil_exported_handler = function
/** Exports a @ref recoil_timer. */
#define RECOIL_EXPORT_TIMER(function) recoil_timer *recoil_exported_timer = function
/** Exports a @ref recoil_listener. */
#define RECOIL_EXPORT_LISTENER(function) recoil_listener *recoil_exported_listener = function
/** Exports a @ref recoil_http_handler. */
#define RECOIL_EXPORT_HTTP_HANDLER(function) recoil_http_handler *recoil_exported_http_handler = function
/** Exports a @ref recoil_admin and the commands that it runs, an array of @ref recoil_command at file scope. */
#define RECOIL_EXPORT_ADMIN(commands, function)                                   \
    const recoil_command *recoil_exported_commands = commands;                    \
    size_t recoil_exported_command_count = sizeof(commands) / sizeof *(commands); \
    recoil_admin *recoil_exported_admin = function
/** Exports a @ref recoil_scheduler. */
#define RECOIL_EXPORT_SCHEDULER(function) recoil_scheduler *recoil_exported_scheduler = function
#endif

/** @} */

#ifdef __cplusplus
}
#endif

#endif
