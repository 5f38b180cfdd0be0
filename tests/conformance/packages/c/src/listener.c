/* The commands of the listener, and the listeners. */
#include <stdlib.h>

#include "protocol.h"

#define FRAME_BYTES_MAX ((uint32_t)16 << 20)
#define SUBSCRIPTIONS_MAX 1024

/* Of the connection that this instance serves; an instance for HTTP has no connection, and only the address of who
 * asked. */
static recoil_connection connection;
static bool has_connection;
static recoil_bytes peer_address;
static recoil_subscription *subscriptions;
static size_t subscription_count;

static recoil_status call(items arguments, recoil_buffer *list) {
    recoil_mode mode;
    recoil_bytes answer;
    RECOIL_TRY(mode_at(arguments, 0, &mode));
    RECOIL_TRY(recoil_call(recoil_to_key(arguments.items[1], arguments.items[2], mode), &answer));
    recoil_append(list, answer);
    return recoil_ok();
}

static recoil_status call_partition(items arguments, recoil_buffer *list) {
    recoil_mode mode;
    uint32_t id;
    recoil_bytes answer;
    RECOIL_TRY(mode_at(arguments, 0, &mode));
    RECOIL_TRY(small_at(arguments, 1, &id));
    RECOIL_TRY(recoil_call(recoil_to_partition(id, arguments.items[2], mode), &answer));
    recoil_append(list, answer);
    return recoil_ok();
}

/* Calls of the pairs of key and request from the argument at `first` on. */
static recoil_status pairs(items arguments, size_t first, recoil_mode mode, recoil_routed_call **calls, size_t *count) {
    if ((arguments.count - first) % 2 != 0) return recoil_fail("a key without a request");
    *count = (arguments.count - first) / 2;
    *calls = recoil_alloc(*count * sizeof **calls);
    for (size_t at = 0; at < *count; at++) {
        const recoil_bytes *pair = arguments.items + first + 2 * at;
        (*calls)[at] = recoil_to_key(pair[0], pair[1], mode);
    }
    return recoil_ok();
}

static recoil_status call_many(items arguments, recoil_buffer *list) {
    recoil_mode mode;
    recoil_routed_call *calls;
    size_t count;
    RECOIL_TRY(mode_at(arguments, 0, &mode));
    RECOIL_TRY(pairs(arguments, 1, mode, &calls, &count));
    add_answers(list, recoil_call_many(calls, count), count);
    return recoil_ok();
}

static recoil_status submit(items arguments, recoil_buffer *list) {
    recoil_mode mode;
    recoil_routed_call *calls;
    size_t count;
    RECOIL_TRY(mode_at(arguments, 0, &mode));
    RECOIL_TRY(pairs(arguments, 1, mode, &calls, &count));
    recoil_pending *pending = recoil_alloc(count * sizeof *pending);
    for (size_t at = 0; at < count; at++) pending[at] = recoil_submit(calls[at]);
    add_answers(list, recoil_wait_all(pending, count), count);
    return recoil_ok();
}

/* Nothing in C gives back what is not given back by hand. */
static recoil_status leave(items arguments, recoil_buffer *list) {
    (void)list;
    uint32_t count;
    RECOIL_TRY(small_at(arguments, 0, &count));
    /* Nothing in C forgets a call by itself. */
    recoil_routed_call call = recoil_to_key(arguments.items[1], arguments.items[2], RECOIL_WRITE);
    while (count-- > 0) recoil_forget(recoil_submit(call));
    return recoil_ok();
}

static recoil_status transact(items arguments, recoil_buffer *list) {
    recoil_routed_call *calls;
    size_t count;
    recoil_bytes *answers;
    RECOIL_TRY(pairs(arguments, 0, RECOIL_WRITE, &calls, &count));
    RECOIL_TRY(recoil_transact(calls, count, &answers));
    for (size_t at = 0; at < count; at++) add(list, answers[at]);
    return recoil_ok();
}

static recoil_status scatter(items arguments, recoil_buffer *list) {
    recoil_mode mode;
    RECOIL_TRY(mode_at(arguments, 0, &mode));
    size_t count;
    const recoil_answer *answers = recoil_scatter(arguments.items[1], mode, &count);
    add_answers(list, answers, count);
    return recoil_ok();
}

static recoil_status locate(items arguments, recoil_buffer *list) {
    recoil_partition partition = recoil_locate(arguments.items[0]);
    recoil_buffer replicas = {0};
    for (size_t at = 0; at < partition.replica_count; at++) {
        recoil_append(&replicas, recoil_format(at == 0 ? "%u" : ",%u", partition.replicas[at]));
    }
    add_number(list, partition.id);
    add_option(list, partition.has_leader ? recoil_some(recoil_format("%u", partition.leader)) : recoil_none());
    add(list, recoil_buffer_bytes(&replicas));
    add_number(list, partition.epoch);
    return recoil_ok();
}

static recoil_status partitions(items arguments, recoil_buffer *list) {
    size_t count;
    (void)arguments;
    recoil_partitions(&count);
    add_number(list, count);
    return recoil_ok();
}

static recoil_status need_connection(void) {
    return has_connection ? recoil_ok() : recoil_fail("only a connection has subscriptions");
}

static recoil_status subscribe(items arguments, recoil_buffer *list) {
    (void)list;
    RECOIL_TRY(need_connection());
    if (subscription_count == SUBSCRIPTIONS_MAX)
        return recoil_fail("there are %d subscriptions already", SUBSCRIPTIONS_MAX);
    if (subscriptions == NULL) subscriptions = malloc(SUBSCRIPTIONS_MAX * sizeof *subscriptions);
    if (subscriptions == NULL) return recoil_fail("no memory is left");
    subscriptions[subscription_count++] = recoil_subscribe(arguments.items[0]);
    return recoil_ok();
}

static recoil_status next(items arguments, recoil_buffer *list) {
    uint32_t subscription, timeout_ms;
    RECOIL_TRY(need_connection());
    RECOIL_TRY(small_at(arguments, 0, &subscription));
    RECOIL_TRY(small_at(arguments, 1, &timeout_ms));
    if (subscription >= subscription_count) return recoil_fail("there is no subscription %u", subscription);
    recoil_optional message = recoil_next_message(subscriptions[subscription], timeout_ms);
    if (message.present) add(list, message.value);
    return recoil_ok();
}

static recoil_status wait_any(items arguments, recoil_buffer *list) {
    uint32_t timeout_ms;
    RECOIL_TRY(need_connection());
    RECOIL_TRY(small_at(arguments, 0, &timeout_ms));
    recoil_event event = recoil_wait_any(connection, subscriptions, subscription_count, timeout_ms);
    if (event.kind == RECOIL_READABLE) add(list, RECOIL_LITERAL("readable"));
    if (event.kind == RECOIL_MESSAGE) {
        add(list, RECOIL_LITERAL("message"));
        add_number(list, event.subscription);
    }
    return recoil_ok();
}

static recoil_status peer(items arguments, recoil_buffer *list) {
    (void)arguments;
    add(list, has_connection ? recoil_peer_address(connection) : peer_address);
    return recoil_ok();
}

const command in_listener[] = {
    {"call", 3, call},
    {"call-partition", 3, call_partition},
    {"call-many", 1, call_many},
    {"submit", 1, submit},
    {"leave", 3, leave},
    {"transact", 0, transact},
    {"scatter", 2, scatter},
    {"locate", 1, locate},
    {"partitions", 0, partitions},
    {"subscribe", 1, subscribe},
    {"next", 2, next},
    {"wait", 1, wait_any},
    {"peer", 0, peer},
    {0},
};

static recoil_bytes answer(recoil_bytes request) {
    static const command *const tables[] = {anywhere, in_listener, NULL};
    items items;
    recoil_buffer list = {0};
    bool is_list = parse_list(request, &items);
    recoil_status status = is_list ? run(items, tables, &list) : recoil_fail("the request is no list");
    return answer_of(status, recoil_buffer_bytes(&list));
}

static recoil_status serve(recoil_connection opened) {
    connection = opened;
    has_connection = true;
    for (;;) {
        recoil_moment moment = recoil_mark();
        recoil_optional bytes;
        uint32_t size = 0;
        RECOIL_TRY(recoil_read_exact(connection, sizeof size, &bytes));
        if (!bytes.present) return recoil_ok();
        recoil_take_u32(&bytes.value, &size);
        if (size > FRAME_BYTES_MAX) return recoil_fail("a frame of %u bytes", size);
        RECOIL_TRY(recoil_read_exact(connection, size, &bytes));
        if (!bytes.present) return recoil_fail("the stream ended before a frame of %u bytes", size);
        recoil_buffer head = {0};
        recoil_bytes made = answer(bytes.value);
        recoil_append_u32(&head, (uint32_t)made.size);
        RECOIL_TRY(recoil_write(connection, recoil_buffer_bytes(&head)));
        RECOIL_TRY(recoil_write(connection, made));
        recoil_release(moment);
    }
}
RECOIL_EXPORT_LISTENER(serve);

static void mirror(const recoil_http_request *request, recoil_http_response *response) {
    recoil_http_respond(response, 200, "application/octet-stream", request->body);
    for (size_t at = 0; at < request->header_count; at++) {
        recoil_http_header header = request->headers[at];
        bool is_own = header.name.size >= 2 && memcmp(header.name.data, "x-", 2) == 0;
        if (is_own) recoil_http_add_header(response, recoil_string(header.name), header.value);
    }
    recoil_http_add_header(response, "x-method", request->method);
    recoil_http_add_header(response, "x-path", request->path);
    recoil_http_add_header(response, "x-query", request->query);
}

static recoil_status respond(const recoil_http_request *request, recoil_http_response *response) {
    static const char status_path[] = "/status/";
    recoil_bytes path = request->path;
    bool is_post = recoil_equal(request->method, RECOIL_LITERAL("POST"));
    bool is_status = path.size >= sizeof status_path && memcmp(path.data, status_path, sizeof status_path - 1) == 0;
    uint64_t status;
    peer_address = request->peer_address;
    if (is_post && recoil_equal(path, RECOIL_LITERAL("/call"))) {
        recoil_http_respond(response, 200, "application/octet-stream", answer(request->body));
    } else if (recoil_equal(path, RECOIL_LITERAL("/mirror"))) {
        mirror(request, response);
    } else if (is_status && recoil_parse(recoil_skip(path, sizeof status_path - 1), &status) && status < 600) {
        response->status = (uint16_t)status;
    } else if (recoil_equal(path, RECOIL_LITERAL("/fail"))) {
        return recoil_fail("as it was asked to");
    } else if (recoil_equal(path, RECOIL_LITERAL("/throw"))) {
        abort();
    } else {
        recoil_http_respond(response, 404, "text/plain; charset=utf-8", RECOIL_LITERAL("not found"));
    }
    return recoil_ok();
}
RECOIL_EXPORT_HTTP_HANDLER(respond);
