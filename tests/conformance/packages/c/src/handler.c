/* The handler, the timer, and the commands of the handler. */
#include <stdio.h>
#include <stdlib.h>

#include "protocol.h"

static recoil_status current(items arguments, recoil_buffer *list) {
    (void)arguments;
    recoil_place here = recoil_here();
    add(list, here.keyspace);
    add_number(list, here.partition);
    add_number(list, here.count);
    add_number(list, here.epoch);
    return recoil_ok();
}

static recoil_status now(items arguments, recoil_buffer *list) {
    (void)arguments;
    add_number(list, recoil_now_us());
    return recoil_ok();
}

static recoil_status is_read_only(items arguments, recoil_buffer *list) {
    (void)arguments;
    add_truth(list, recoil_is_read_only());
    return recoil_ok();
}

static recoil_status set_timer(items arguments, recoil_buffer *list) {
    (void)list;
    uint64_t delay_us;
    RECOIL_TRY(number_at(arguments, 1, &delay_us));
    recoil_set_timer(arguments.items[0], recoil_now_us() + delay_us, arguments.items[2]);
    return recoil_ok();
}

static recoil_status cancel_timer(items arguments, recoil_buffer *list) {
    (void)list;
    recoil_cancel_timer(arguments.items[0]);
    return recoil_ok();
}

static recoil_status publish(items arguments, recoil_buffer *list) {
    (void)list;
    recoil_publish(arguments.items[0], arguments.items[1]);
    return recoil_ok();
}

static recoil_status status(items arguments, recoil_buffer *list) {
    static const char *const roles[] = {"leader", "follower", "learner"};
    (void)arguments;
    recoil_group group = recoil_consensus();
    add(list, recoil_text(roles[group.role]));
    add_number(list, group.term);
    add_number(list, group.committed);
    add_number(list, group.applied);
    add_number(list, group.voter_count);
    return recoil_ok();
}

static recoil_status barrier(items arguments, recoil_buffer *list) {
    uint64_t applied;
    (void)arguments;
    RECOIL_TRY(recoil_barrier(&applied));
    add_number(list, applied);
    return recoil_ok();
}

static recoil_status put_and_throw(items arguments, recoil_buffer *list) {
    (void)list;
    RECOIL_TRY(recoil_put(arguments.items[0], arguments.items[1]));
    fprintf(stderr, "%.*s\n", RECOIL_ARG(arguments.items[2]));
    abort();
}

static recoil_status trap(items arguments, recoil_buffer *list) {
    (void)arguments;
    (void)list;
    __builtin_trap();
}

static recoil_status loop(items arguments, recoil_buffer *list) {
    (void)arguments;
    (void)list;
    for (volatile unsigned turns = 0;; turns++) {}
}

static recoil_status bomb(items arguments, recoil_buffer *list) {
    (void)arguments;
    (void)list;
    for (;;) memset(recoil_alloc((size_t)1 << 20), 1, (size_t)1 << 20);
}

static volatile unsigned depth;

/* The address of each level's memory is used by the next, so that no compiler makes a loop of it. */
#pragma clang diagnostic ignored "-Winfinite-recursion"
static unsigned deeper(const volatile unsigned *above) {
    volatile unsigned here = *above + 1;
    depth = here;
    return deeper(&here) + here;
}

static recoil_status recurse(items arguments, recoil_buffer *list) {
    (void)arguments;
    add_number(list, deeper(&depth));
    return recoil_ok();
}

const command in_handler[] = {
    {"current", 0, current},
    {"now", 0, now},
    {"is-read-only", 0, is_read_only},
    {"set-timer", 3, set_timer},
    {"cancel-timer", 1, cancel_timer},
    {"publish", 2, publish},
    {"status", 0, status},
    {"barrier", 0, barrier},
    {"put-and-throw", 3, put_and_throw},
    {"trap", 0, trap},
    {"loop", 0, loop},
    {"bomb", 0, bomb},
    {"recurse", 0, recurse},
    {0},
};

static recoil_status handle(recoil_bytes request, recoil_bytes *answer) {
    static const command *const tables[] = {anywhere, in_handler, NULL};
    items items;
    if (!parse_list(request, &items)) return recoil_fail("invalid: the request is no list");
    if (items.count == 4 && recoil_equal(items.items[0], RECOIL_LITERAL("put-and-fail"))) {
        RECOIL_TRY(recoil_put(items.items[1], items.items[2]));
        return recoil_fail("%.*s", RECOIL_ARG(items.items[3]));
    }
    recoil_buffer list = {0};
    recoil_status status = run(items, tables, &list);
    if (status.code != RECOIL_OK) return recoil_fail("%s: %.*s", kind_of(status), RECOIL_ARG(status.text));
    *answer = recoil_buffer_bytes(&list);
    return recoil_ok();
}
RECOIL_EXPORT_HANDLER(handle);

static recoil_status fire(recoil_bytes id, recoil_bytes payload) {
    recoil_buffer key = {0};
    recoil_append(&key, RECOIL_LITERAL("fired:"));
    recoil_append(&key, id);
    return recoil_put(recoil_buffer_bytes(&key), payload);
}
RECOIL_EXPORT_TIMER(fire);
