/* The commands for operators: they reach the data by calls of the handler, and print what they were given. */
#include <stdio.h>
#include <stdlib.h>

#include "protocol.h"

static const recoil_command commands[] = {
    {"key put", "KEY VALUE", "Put a value at a key."},
    {"key get", "KEY", "Print the value of a key."},
    {"echo", "WORDS…", "Print the words, each in brackets: [größe]."},
    {"fail", "TEXT", "Refuse, for this reason."},
    {"throw", "TEXT", "Throw an exception."},
};

/* A call of the handler with a list of a command and its arguments, the first of which is the key. */
static recoil_status
call(recoil_mode mode, const char *command, const recoil_bytes *arguments, size_t count, recoil_bytes *answer) {
    recoil_buffer list = {0};
    add(&list, recoil_text(command));
    for (size_t at = 0; at < count; at++) add(&list, arguments[at]);
    return recoil_call(recoil_to_key(arguments[0], recoil_buffer_bytes(&list), mode), answer);
}

static recoil_status get(recoil_bytes key, recoil_bytes *value) {
    recoil_bytes answer;
    items items;
    RECOIL_TRY(call(RECOIL_READ, "get", &key, 1, &answer));
    if (!parse_list(answer, &items)) return recoil_fail("the handler's answer is no list");
    if (items.count == 0) return recoil_fail("no such key");
    *value = items.items[0];
    return recoil_ok();
}

static recoil_bytes echo(const recoil_bytes *words, size_t count) {
    recoil_buffer output = {0};
    for (size_t at = 0; at < count; at++) {
        recoil_append_u8(&output, '[');
        recoil_append(&output, words[at]);
        recoil_append_u8(&output, ']');
    }
    return recoil_buffer_bytes(&output);
}

static bool is(recoil_bytes word, const char *text) {
    return recoil_equal(word, recoil_text(text));
}

static recoil_status run_command(const recoil_bytes *arguments, size_t count, recoil_bytes *output) {
    recoil_bytes answer;
    bool of_key = count > 2 && is(arguments[0], "key");
    if (of_key && count == 4 && is(arguments[1], "put")) return call(RECOIL_WRITE, "put", arguments + 2, 2, &answer);
    if (of_key && count == 3 && is(arguments[1], "get")) return get(arguments[2], output);
    if (count > 0 && is(arguments[0], "echo")) {
        *output = echo(arguments + 1, count - 1);
        return recoil_ok();
    }
    if (count == 2 && is(arguments[0], "fail")) return recoil_fail("%.*s", RECOIL_ARG(arguments[1]));
    if (count == 2 && is(arguments[0], "throw")) {
        fprintf(stderr, "%.*s\n", RECOIL_ARG(arguments[1]));
        abort();
    }
    return recoil_fail("no such command");
}
RECOIL_EXPORT_ADMIN(commands, run_command);
