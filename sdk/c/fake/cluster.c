/* The partitions together: the router to them, subscriptions, settings and the log. */
#include <stdio.h>
#include <stdlib.h>

#include "fake.h"

/* A time in 2025. */
#define BEGIN_US UINT64_C(1750000000000000)

fake_partition *fake_partitions;
uint32_t fake_partition_count, fake_group_count;
static uint64_t evaluated;
static fake_map settings;

/* Those that the package does not define. */
__attribute__((weak)) recoil_handler *recoil_exported_handler;
__attribute__((weak)) recoil_timer *recoil_exported_timer;
__attribute__((weak)) recoil_listener *recoil_exported_listener;
__attribute__((weak)) recoil_http_handler *recoil_exported_http_handler;
__attribute__((weak)) const recoil_command *recoil_exported_commands;
__attribute__((weak)) size_t recoil_exported_command_count;
__attribute__((weak)) recoil_admin *recoil_exported_admin;
__attribute__((weak)) recoil_scheduler *recoil_exported_scheduler;

struct subscription {
    struct subscription *before;
    recoil_bytes topic;
    fake_queue messages;
};

static struct subscription *subscriptions;

struct pending {
    struct pending *before;
    recoil_status status;
    recoil_bytes answer;
};

static struct pending *pendings;

static void end_pending(struct pending *pending) {
    struct pending **at = &pendings;
    while (*at != pending) {
        if (*at == NULL) recoil_trap("a pending call that has been waited for, or forgotten");
        at = &(*at)->before;
    }
    *at = pending->before;
    free((void *)pending->answer.data);
    free(pending);
}

void recoil_fake_start(uint32_t partitions, uint32_t groups) {
    if (partitions == 0 || groups == 0) recoil_trap("a cluster has at least one partition and one group");
    for (uint32_t id = 0; id < fake_partition_count; id++) fake_partition_clear(&fake_partitions[id]);
    while (pendings != NULL) end_pending(pendings);
    while (subscriptions != NULL) recoil_unsubscribe((recoil_subscription){(uintptr_t)subscriptions});
    fake_map_clear(&settings);
    recoil_memory_leave(NULL);
    free(fake_partitions);
    fake_partitions = calloc(partitions, sizeof *fake_partitions);
    if (fake_partitions == NULL) recoil_trap("no memory is left");
    for (uint32_t id = 0; id < partitions; id++) {
        fake_partitions[id].id = id;
        fake_partitions[id].now_us = BEGIN_US;
    }
    fake_partition_count = partitions;
    fake_group_count = groups;
    evaluated = 0;
}

static fake_partition *by_id(uint32_t id) {
    if (id >= fake_partition_count) recoil_trap("there is no such partition: recoil_fake_start makes them");
    return &fake_partitions[id];
}

void recoil_fake_set(const char *name, const char *value) {
    fake_map_set(&settings, recoil_text(name), recoil_some(recoil_text(value)));
}

void recoil_fake_fail(uint32_t partition, recoil_code code) {
    by_id(partition)->fault = code;
}

size_t recoil_fake_advance(uint64_t microseconds) {
    size_t fired = 0;
    for (uint32_t id = 0; id < fake_partition_count; id++) {
        fired += fake_partition_advance(&fake_partitions[id], fake_partitions[id].now_us + microseconds);
    }
    return fired;
}

uint64_t recoil_fake_calls(void) {
    return evaluated;
}

uint32_t recoil_fake_owner(recoil_bytes key) {
    /* FNV-1a: a test can rely on it, and a package cannot know it. */
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t at = 0; at < key.size; at++) hash = (hash ^ key.data[at]) * UINT64_C(0x100000001b3);
    if (fake_partition_count == 0)
        recoil_trap("there is no cluster: recoil_fake_start makes one, which a scheduler does not reach");
    return (uint32_t)((hash >> 32) % fake_partition_count);
}

void recoil_fake_insert(uint32_t partition, recoil_bytes key, recoil_bytes value) {
    fake_map_set(&by_id(partition)->rows, key, recoil_some(value));
}

recoil_optional recoil_fake_value(uint32_t partition, recoil_bytes key) {
    recoil_optional value = fake_map_get(&by_id(partition)->rows, key);
    if (value.present) value.value = recoil_copy(value.value);
    return value;
}

size_t recoil_fake_rows(uint32_t partition) {
    return by_id(partition)->rows.count;
}

size_t recoil_fake_timers(uint32_t partition) {
    return by_id(partition)->timers.count;
}

uint64_t recoil_fake_now_us(uint32_t partition) {
    return by_id(partition)->now_us;
}

/* ---- Router ---- */

static recoil_status handle(void *context, recoil_bytes *answer) {
    const recoil_bytes *request = context;
    if (recoil_exported_handler == NULL) recoil_trap("the package has no RECOIL_EXPORT_HANDLER");
    evaluated += 1;
    return recoil_exported_handler(*request, answer);
}

/** Runs the handler in a transaction that the caller ends. The request is a copy that is gone when it returns. */
static recoil_status run(fake_partition *partition, recoil_bytes request, recoil_bytes *answer) {
    recoil_bytes copy = fake_keep(request);
    recoil_status status = fake_partition_run(partition, handle, &copy, answer);
    free((void *)copy.data);
    return status;
}

static recoil_status evaluate(fake_partition *partition, recoil_bytes request, bool read_only, recoil_bytes *answer) {
    fake_partition_begin(partition, read_only);
    recoil_status status = run(partition, request, answer);
    fake_partition_end(partition, status.code == RECOIL_OK);
    return status;
}

recoil_status recoil_fake_write(uint32_t partition, recoil_bytes request, recoil_bytes *answer) {
    return evaluate(by_id(partition), request, false, answer);
}

recoil_status recoil_fake_read(uint32_t partition, recoil_bytes request, recoil_bytes *answer) {
    return evaluate(by_id(partition), request, true, answer);
}

recoil_status recoil_fake_plan(const recoil_view *view, recoil_plan *plan) {
    if (recoil_exported_scheduler == NULL) recoil_trap("the package has no RECOIL_EXPORT_SCHEDULER");
    uint32_t count = fake_partition_count;
    *plan = (recoil_plan){NULL, 0};
    fake_partition_count = 0;
    recoil_status status = recoil_exported_scheduler(view, plan);
    fake_partition_count = count;
    return status;
}

/** The partition of a call that may be made now. */
static recoil_status place(recoil_routed_call call, fake_partition **found) {
    recoil_status status = {
        RECOIL_REJECTED, RECOIL_LITERAL("a transaction waits for nobody: a handler calls no partitions")
    };
    if (fake_current != NULL) return status;
    uint32_t id = call.to.kind == 0 ? recoil_fake_owner(call.to.key) : call.to.partition;
    if (id >= fake_partition_count) {
        status.text = recoil_format("there is no partition %u: there are %u", id, fake_partition_count);
        return status;
    }
    *found = &fake_partitions[id];
    status.code = (*found)->fault;
    status.text = RECOIL_LITERAL("as recoil_fake_fail has it");
    return status.code == RECOIL_OK ? recoil_ok() : status;
}

recoil_status recoil_call(recoil_routed_call call, recoil_bytes *answer) {
    fake_partition *partition;
    RECOIL_TRY(place(call, &partition));
    return evaluate(partition, call.request, call.mode != RECOIL_WRITE, answer);
}

recoil_answer *recoil_call_many(const recoil_routed_call *calls, size_t count) {
    recoil_answer *answers = recoil_alloc(count * sizeof *answers);
    for (size_t at = 0; at < count; at++) {
        answers[at].answer = recoil_slice(NULL, 0);
        answers[at].status = recoil_call(calls[at], &answers[at].answer);
    }
    return answers;
}

recoil_status recoil_transact(const recoil_routed_call *calls, size_t count, recoil_bytes **answers) {
    fake_partition **partitions = recoil_alloc(count * sizeof(fake_partition *));
    bool *begun = recoil_alloc(fake_partition_count * sizeof *begun);
    memset(begun, 0, fake_partition_count * sizeof *begun);
    *answers = recoil_alloc(count * sizeof **answers);
    for (size_t at = 0; at < count; at++) {
        RECOIL_TRY(place(calls[at], &partitions[at]));
        uint32_t first = partitions[0]->id % fake_group_count, other = partitions[at]->id % fake_group_count;
        recoil_status status = {RECOIL_REJECTED, recoil_format("the transaction spans groups %u and %u", first, other)};
        if (first != other) return status;
    }
    for (size_t at = 0; at < count; at++) {
        if (!begun[partitions[at]->id]) fake_partition_begin(partitions[at], false);
        begun[partitions[at]->id] = true;
    }
    recoil_status status = recoil_ok();
    for (size_t at = 0; at < count && status.code == RECOIL_OK; at++) {
        partitions[at]->read_only = calls[at].mode != RECOIL_WRITE;
        status = run(partitions[at], calls[at].request, &(*answers)[at]);
    }
    for (uint32_t id = 0; id < fake_partition_count; id++) {
        if (begun[id]) fake_partition_end(&fake_partitions[id], status.code == RECOIL_OK);
    }
    return status;
}

recoil_answer *recoil_scatter(recoil_bytes request, recoil_mode mode, size_t *count) {
    recoil_routed_call *calls = recoil_alloc(fake_partition_count * sizeof *calls);
    for (uint32_t id = 0; id < fake_partition_count; id++) calls[id] = recoil_to_partition(id, request, mode);
    *count = fake_partition_count;
    return recoil_call_many(calls, fake_partition_count);
}

recoil_pending recoil_submit(recoil_routed_call call) {
    struct pending *pending = calloc(1, sizeof *pending);
    if (pending == NULL) recoil_trap("no memory is left");
    recoil_bytes answer = {NULL, 0};
    pending->status = recoil_call(call, &answer);
    pending->answer = fake_keep(pending->status.code == RECOIL_OK ? answer : pending->status.text);
    pending->before = pendings;
    pendings = pending;
    return (recoil_pending){(uintptr_t)pending};
}

bool recoil_is_ready(recoil_pending pending) {
    return pending.handle != 0;
}

recoil_status recoil_wait(recoil_pending pending, recoil_bytes *answer) {
    struct pending *waited = (struct pending *)pending.handle;
    recoil_status status = waited->status;
    recoil_bytes made = recoil_copy(waited->answer);
    end_pending(waited);
    if (status.code == RECOIL_OK) *answer = made;
    else status.text = made;
    return status;
}

recoil_answer *recoil_wait_all(const recoil_pending *pending, size_t count) {
    recoil_answer *answers = recoil_alloc(count * sizeof *answers);
    for (size_t at = 0; at < count; at++) {
        answers[at].answer = recoil_slice(NULL, 0);
        answers[at].status = recoil_wait(pending[at], &answers[at].answer);
    }
    return answers;
}

void recoil_forget(recoil_pending pending) {
    end_pending((struct pending *)pending.handle);
}

static recoil_partition describe(uint32_t id) {
    uint32_t *replica = recoil_alloc(sizeof *replica);
    *replica = id % fake_group_count + 1;
    recoil_partition partition = {id, true, *replica, replica, 1, 1};
    return partition;
}

recoil_partition recoil_locate(recoil_bytes key) {
    return describe(recoil_fake_owner(key));
}

recoil_partition *recoil_partitions(size_t *count) {
    recoil_partition *partitions = recoil_alloc(fake_partition_count * sizeof *partitions);
    for (uint32_t id = 0; id < fake_partition_count; id++) partitions[id] = describe(id);
    *count = fake_partition_count;
    return partitions;
}

/* ---- Subscriptions ---- */

recoil_subscription recoil_subscribe(recoil_bytes topic) {
    struct subscription *made = calloc(1, sizeof *made);
    if (made == NULL) recoil_trap("no memory is left");
    made->topic = fake_keep(topic);
    made->before = subscriptions;
    subscriptions = made;
    return (recoil_subscription){(uintptr_t)made};
}

void fake_deliver(const fake_queue *messages) {
    for (size_t at = 0; at < messages->count; at++) {
        for (struct subscription *to = subscriptions; to != NULL; to = to->before) {
            recoil_entry message = messages->entries[at];
            if (recoil_equal(to->topic, message.key)) fake_queue_push(&to->messages, message.key, message.value);
        }
    }
}

size_t fake_waiting(recoil_subscription subscription) {
    return ((const struct subscription *)subscription.handle)->messages.count;
}

recoil_optional recoil_next_message(recoil_subscription subscription, uint32_t timeout_ms) {
    fake_queue *messages = &((struct subscription *)subscription.handle)->messages;
    (void)timeout_ms;
    if (messages->count == 0) return recoil_none();
    recoil_optional message = recoil_some(recoil_copy(messages->entries[0].value));
    fake_queue_drop(messages, 0);
    return message;
}

void recoil_unsubscribe(recoil_subscription subscription) {
    struct subscription **at = &subscriptions, *ended = (struct subscription *)subscription.handle;
    while (*at != ended) {
        if (*at == NULL) recoil_trap("a subscription that has ended");
        at = &(*at)->before;
    }
    *at = ended->before;
    fake_queue_clear(&ended->messages);
    free((void *)ended->topic.data);
    free(ended);
}

/* ---- Settings and log ---- */

recoil_optional recoil_setting(const char *name) {
    recoil_optional value = fake_map_get(&settings, recoil_text(name));
    if (value.present) value.value = recoil_copy(value.value);
    return value;
}

void recoil_log(recoil_level level, recoil_bytes line) {
    static const char *const names[] = {"trace", "debug", "info", "warn", "error"};
    fprintf(stderr, "%s: %.*s\n", names[level], RECOIL_ARG(line));
}
