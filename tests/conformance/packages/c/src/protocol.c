#include "protocol.h"

bool parse_list(recoil_bytes bytes, items *parsed) {
    size_t count = 0;
    recoil_bytes rest = bytes, item;
    uint32_t size;
    while (rest.size > 0) {
        if (!recoil_take_u32(&rest, &size) || !recoil_take(&rest, size, &item)) return false;
        count += 1;
    }
    parsed->items = recoil_alloc(count * sizeof *parsed->items);
    parsed->count = count;
    rest = bytes;
    for (size_t at = 0; at < count; at++) {
        recoil_take_u32(&rest, &size);
        recoil_take(&rest, size, &parsed->items[at]);
    }
    return true;
}

void add(recoil_buffer *list, recoil_bytes item) {
    recoil_append_u32(list, (uint32_t)item.size);
    recoil_append(list, item);
}

void add_number(recoil_buffer *list, uint64_t number) {
    add(list, recoil_format("%llu", (unsigned long long)number));
}

void add_truth(recoil_buffer *list, bool truth) {
    add(list, truth ? RECOIL_LITERAL("true") : RECOIL_LITERAL("false"));
}

void add_option(recoil_buffer *list, recoil_optional option) {
    if (!option.present) {
        add(list, RECOIL_LITERAL(""));
        return;
    }
    recoil_append_u32(list, (uint32_t)option.value.size + 1);
    recoil_append_u8(list, '+');
    recoil_append(list, option.value);
}

void add_answers(recoil_buffer *list, const recoil_answer *answers, size_t count) {
    for (size_t at = 0; at < count; at++) add(list, answer_of(answers[at].status, answers[at].answer));
}

const char *kind_of(recoil_status status) {
    return status.code == RECOIL_ERROR ? "invalid" : recoil_code_name(status.code);
}

recoil_bytes answer_of(recoil_status status, recoil_bytes list) {
    recoil_buffer answer = {0};
    recoil_append_u8(&answer, status.code != RECOIL_OK);
    if (status.code == RECOIL_OK) {
        recoil_append(&answer, list);
    } else {
        add(&answer, recoil_text(kind_of(status)));
        add(&answer, status.text);
    }
    return recoil_buffer_bytes(&answer);
}

recoil_status number_at(items arguments, size_t at, uint64_t *number) {
    if (recoil_parse(arguments.items[at], number)) return recoil_ok();
    return recoil_fail("argument %zu is no number", at + 1);
}

recoil_status small_at(items arguments, size_t at, uint32_t *number) {
    uint64_t large;
    RECOIL_TRY(number_at(arguments, at, &large));
    if (large > UINT32_MAX) return recoil_fail("argument %zu is too large", at + 1);
    *number = (uint32_t)large;
    return recoil_ok();
}

recoil_status truth_at(items arguments, size_t at, bool *truth) {
    *truth = recoil_equal(arguments.items[at], RECOIL_LITERAL("true"));
    if (*truth || recoil_equal(arguments.items[at], RECOIL_LITERAL("false"))) return recoil_ok();
    return recoil_fail("argument %zu is neither true nor false", at + 1);
}

recoil_status option_at(items arguments, size_t at, recoil_optional *option) {
    recoil_bytes item = arguments.items[at];
    *option = recoil_none();
    if (item.size == 0) return recoil_ok();
    if (item.data[0] != '+') return recoil_fail("argument %zu is no option", at + 1);
    *option = recoil_some(recoil_skip(item, 1));
    return recoil_ok();
}

recoil_status mode_at(items arguments, size_t at, recoil_mode *mode) {
    static const char *const names[] = {"write", "read", "stale-read"};
    for (size_t known = 0; known < sizeof names / sizeof *names; known++) {
        if (!recoil_equal(arguments.items[at], recoil_text(names[known]))) continue;
        *mode = (recoil_mode)known;
        return recoil_ok();
    }
    return recoil_fail("argument %zu is no mode", at + 1);
}

recoil_status run(items request, const command *const *tables, recoil_buffer *list) {
    if (request.count == 0) return recoil_fail("a request without a command");
    items arguments = {request.items + 1, request.count - 1};
    for (; *tables != NULL; tables++) {
        for (const command *command = *tables; command->name != NULL; command++) {
            if (!recoil_equal(request.items[0], recoil_text(command->name))) continue;
            if (arguments.count >= command->arguments) return command->run(arguments, list);
            return recoil_fail(
                "%s needs %zu arguments and has %zu", command->name, command->arguments, arguments.count
            );
        }
    }
    return recoil_fail("there is no command '%.*s'", RECOIL_ARG(recoil_to_utf8(request.items[0])));
}
