/* Clients that have already said everything they will say, and what tests check with. */
#include <stdio.h>
#include <stdlib.h>

#include "fake.h"

struct client {
    const char *const *chunks;
    size_t count;
    /** How much of the first chunk has been read. */
    size_t read;
    recoil_input input;
    uint8_t *output;
    size_t output_size, output_capacity;
};

static struct client *client_of(recoil_connection connection) {
    return (struct client *)connection.handle;
}

recoil_input *recoil_input_of(recoil_connection connection) {
    return &client_of(connection)->input;
}

recoil_bytes recoil_peer_address(recoil_connection connection) {
    (void)connection;
    return RECOIL_LITERAL("127.0.0.1:50312");
}

recoil_status recoil_read_more(recoil_connection connection, uint32_t limit, recoil_bytes *bytes) {
    struct client *client = client_of(connection);
    *bytes = recoil_slice(NULL, 0);
    while (client->count > 0) {
        recoil_bytes rest = recoil_skip(recoil_text(client->chunks[0]), client->read);
        *bytes = recoil_copy(recoil_slice(rest.data, rest.size < limit ? rest.size : limit));
        client->read += bytes->size;
        if (bytes->size == rest.size) {
            client->chunks += 1;
            client->count -= 1;
            client->read = 0;
        }
        if (bytes->size > 0) break;
    }
    return recoil_ok();
}

recoil_status recoil_write(recoil_connection connection, recoil_bytes bytes) {
    struct client *client = client_of(connection);
    for (size_t at = 0; at < bytes.size; at++) {
        client->output = fake_grow(client->output, client->output_size, &client->output_capacity, 1);
        client->output[client->output_size++] = bytes.data[at];
    }
    return recoil_ok();
}

recoil_event recoil_wait_any(
    recoil_connection connection, const recoil_subscription *subscriptions, size_t count, uint32_t timeout_ms
) {
    recoil_event event = {RECOIL_READABLE, 0};
    (void)connection;
    (void)timeout_ms;
    for (uint32_t at = 0; at < count; at++) {
        if (fake_waiting(subscriptions[at]) == 0) continue;
        event.kind = RECOIL_MESSAGE;
        event.subscription = at;
        break;
    }
    return event;
}

recoil_status recoil_fake_serve(const char *const *chunks, size_t count, recoil_bytes *output) {
    if (recoil_exported_listener == NULL) recoil_trap("the package has no RECOIL_EXPORT_LISTENER");
    struct client client = {.chunks = chunks, .count = count};
    recoil_connection connection = {(uintptr_t)&client};
    recoil_status status = recoil_exported_listener(connection);
    *output = recoil_copy(recoil_slice(client.output, client.output_size));
    free(client.input.data);
    free(client.output);
    return status;
}

recoil_status recoil_fake_http_request(const recoil_http_request *request, recoil_http_response *response) {
    if (recoil_exported_http_handler == NULL) recoil_trap("the package has no RECOIL_EXPORT_HTTP_HANDLER");
    recoil_http_response made = {.status = 200};
    recoil_status status = recoil_exported_http_handler(request, &made);
    *response = made;
    return status;
}

recoil_status
recoil_fake_http(const char *method, const char *target, recoil_bytes body, recoil_http_response *response) {
    const char *mark = strchr(target, '?');
    recoil_http_request request = {
        .method = recoil_text(method),
        .path = mark == NULL ? recoil_text(target) : recoil_slice(target, (size_t)(mark - target)),
        .query = recoil_text(mark == NULL ? "" : mark + 1),
        .body = body,
        .peer_address = RECOIL_LITERAL("127.0.0.1:50312"),
    };
    return recoil_fake_http_request(&request, response);
}

recoil_status recoil_fake_run(const char *const *arguments, size_t count, recoil_bytes *output) {
    if (recoil_exported_admin == NULL) recoil_trap("the package has no RECOIL_EXPORT_ADMIN");
    for (size_t at = 0; at < recoil_exported_command_count; at++) {
        size_t words;
        recoil_words_of(recoil_exported_commands[at].words, &words);
        if (words == 0) recoil_trap("a command of RECOIL_EXPORT_ADMIN has no words to call it by");
    }
    recoil_bytes *given = recoil_alloc(count * sizeof *given);
    for (size_t at = 0; at < count; at++) given[at] = recoil_text(arguments[at]);
    *output = recoil_slice(NULL, 0);
    recoil_status status = recoil_exported_admin(given, count, output);
    *output = recoil_to_utf8(*output);
    return status;
}

void recoil_fake_check(const char *file, int line, const char *condition, bool holds) {
    if (holds) return;
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
    exit(1);
}

void recoil_fake_check_text(const char *file, int line, recoil_bytes bytes, const char *expected) {
    if (recoil_equal(bytes, recoil_text(expected))) return;
    fprintf(stderr, "%s:%d: expected \"%s\", found \"%.*s\"\n", file, line, expected, RECOIL_ARG(bytes));
    exit(1);
}

void recoil_fake_check_ok(const char *file, int line, recoil_status status) {
    if (status.code == RECOIL_OK) return;
    recoil_bytes message = recoil_message(status);
    fprintf(stderr, "%s:%d: %s: %.*s\n", file, line, recoil_code_name(status.code), RECOIL_ARG(message));
    exit(1);
}
