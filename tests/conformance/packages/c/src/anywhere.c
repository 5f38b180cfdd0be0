/* Commands that run anywhere. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "protocol.h"

static recoil_status echo(items arguments, recoil_buffer *list) {
    for (size_t at = 0; at < arguments.count; at++) add(list, arguments.items[at]);
    return recoil_ok();
}

static recoil_status get(items arguments, recoil_buffer *list) {
    recoil_optional value;
    RECOIL_TRY(recoil_get(arguments.items[0], &value));
    if (value.present) add(list, value.value);
    return recoil_ok();
}

static recoil_status get_many(items arguments, recoil_buffer *list) {
    recoil_optional *values;
    RECOIL_TRY(recoil_get_many(arguments.items, arguments.count, &values));
    for (size_t at = 0; at < arguments.count; at++) add_option(list, values[at]);
    return recoil_ok();
}

static recoil_status put(items arguments, recoil_buffer *list) {
    (void)list;
    return recoil_put(arguments.items[0], arguments.items[1]);
}

static recoil_status put_many(items arguments, recoil_buffer *list) {
    (void)list;
    size_t count = arguments.count / 2;
    if (arguments.count % 2 != 0) return recoil_fail("a key without a value");
    recoil_entry *entries = recoil_alloc(count * sizeof *entries);
    for (size_t at = 0; at < count; at++)
        entries[at] = (recoil_entry){arguments.items[2 * at], arguments.items[2 * at + 1]};
    return recoil_put_many(entries, count);
}

static recoil_status bump(items arguments, recoil_buffer *list) {
    recoil_optional before;
    RECOIL_TRY(recoil_get(arguments.items[0], &before));
    RECOIL_TRY(recoil_put(arguments.items[0], arguments.items[1]));
    add_option(list, before);
    return recoil_ok();
}

static recoil_status remove_key(items arguments, recoil_buffer *list) {
    (void)list;
    return recoil_remove(arguments.items[0]);
}

static recoil_status remove_range(items arguments, recoil_buffer *list) {
    (void)list;
    recoil_range within = {arguments.items[0], recoil_none()};
    RECOIL_TRY(option_at(arguments, 1, &within.end));
    return recoil_remove_range(within);
}

static recoil_status scan(items arguments, recoil_buffer *list) {
    recoil_range within = {arguments.items[0], recoil_none()};
    uint32_t limit;
    bool reverse;
    RECOIL_TRY(option_at(arguments, 1, &within.end));
    RECOIL_TRY(small_at(arguments, 2, &limit));
    RECOIL_TRY(truth_at(arguments, 3, &reverse));
    recoil_entry *entries;
    size_t count;
    RECOIL_TRY(recoil_scan(within, limit, reverse, &entries, &count));
    for (size_t at = 0; at < count; at++) {
        add(list, entries[at].key);
        add(list, entries[at].value);
    }
    return recoil_ok();
}

static recoil_status write_log(items arguments, recoil_buffer *list) {
    static const char *const names[] = {"trace", "debug", "info", "warn", "error"};
    (void)list;
    if (!recoil_is_utf8(arguments.items[1])) return recoil_fail("the line is not UTF-8");
    for (size_t level = 0; level < sizeof names / sizeof *names; level++) {
        if (!recoil_equal(arguments.items[0], recoil_text(names[level]))) continue;
        recoil_log((recoil_level)level, arguments.items[1]);
        return recoil_ok();
    }
    return recoil_fail("there is no level '%.*s'", RECOIL_ARG(arguments.items[0]));
}

static recoil_status print(items arguments, recoil_buffer *list) {
    (void)list;
    printf("%.*s\n", RECOIL_ARG(arguments.items[0]));
    return recoil_ok();
}

static recoil_status setting(items arguments, recoil_buffer *list) {
    recoil_optional value = recoil_setting(recoil_string(arguments.items[0]));
    if (value.present) add(list, value.value);
    return recoil_ok();
}

static recoil_status churn(items arguments, recoil_buffer *list) {
    uint32_t count;
    RECOIL_TRY(small_at(arguments, 0, &count));
    recoil_bytes *made = recoil_alloc(count * sizeof *made);
    for (uint32_t number = 0; number < count; number++) made[number] = recoil_format("%u", number);
    uint64_t sum = 0;
    for (uint32_t number = 0; number < count; number++) sum += made[number].size;
    add_number(list, sum);
    return recoil_ok();
}

static recoil_status read_clock(items arguments, recoil_buffer *list) {
    struct timespec now;
    (void)arguments;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return recoil_fail("there is no clock");
    add_number(list, (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
    return recoil_ok();
}

static recoil_status draw(items arguments, recoil_buffer *list) {
    uint8_t first[16], second[16];
    (void)arguments;
    if (getentropy(first, sizeof first) != 0 || getentropy(second, sizeof second) != 0)
        return recoil_fail("there is no randomness");
    if (memcmp(first, second, sizeof first) == 0) return recoil_fail("twice the same randomness");
    add(list, recoil_slice(first, sizeof first));
    return recoil_ok();
}

const command anywhere[] = {
    {"echo", 0, echo},         {"get", 1, get},          {"get-many", 0, get_many}, {"put", 2, put},
    {"put-many", 0, put_many}, {"bump", 2, bump},        {"remove", 1, remove_key}, {"remove-range", 2, remove_range},
    {"scan", 4, scan},         {"log", 2, write_log},    {"print", 1, print},       {"setting", 1, setting},
    {"churn", 1, churn},       {"clock", 0, read_clock}, {"random", 0, draw},       {0},
};
