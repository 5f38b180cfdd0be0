/*
 * One partition: its storage, time, timers and messages, and the transactions on it.
 *
 * Invariant: a call that is rolled back leaves rows and timers as they were, and has published nothing.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fake.h"

#define KEY_BYTES_MAX ((size_t)65514)
#define VALUE_BYTES_MAX ((size_t)8 << 20)
#define TRANSACTION_BYTES_MAX ((size_t)16 << 20)
/* The most entries of a page, whatever was asked for. */
#define PAGE_ENTRIES_MAX 100
/* How long a timer that failed waits. */
#define TIMER_PAUSE_US 1000000

fake_partition *fake_current;

void recoil_trap(const char *why) {
    fprintf(stderr, "the instance ends: %s\n", why);
    abort();
}

static recoil_status failure(recoil_code code, recoil_bytes text) {
    recoil_status status = {code, text};
    return status;
}

/* ---- Transactions ---- */

void fake_partition_begin(fake_partition *partition, bool read_only) {
    partition->read_only = read_only;
    partition->bytes = 0;
    if (!read_only) partition->now_us += 1;
}

recoil_status fake_partition_run(fake_partition *partition, fake_body *body, void *context, recoil_bytes *answer) {
    fake_partition *outside = fake_current;
    recoil_bytes made = {NULL, 0};
    fake_current = partition;
    void *outer = recoil_memory_enter();
    recoil_status status = body(context, &made);
    recoil_bytes result = fake_keep(status.code == RECOIL_OK ? made : recoil_message(status));
    recoil_memory_leave(outer);
    fake_current = outside;
    *answer = recoil_copy(result);
    free((void *)result.data);
    return status.code == RECOIL_OK ? recoil_ok() : failure(RECOIL_REJECTED, *answer);
}

static void note(fake_partition *partition, fake_map *map, recoil_bytes key) {
    recoil_optional before = fake_map_get(map, key);
    if (before.present) before.value = fake_keep(before.value);
    partition->changes =
        fake_grow(partition->changes, partition->change_count, &partition->change_capacity, sizeof *partition->changes);
    partition->changes[partition->change_count++] = (change){map, fake_keep(key), before};
}

static void set(fake_partition *partition, fake_map *map, recoil_bytes key, recoil_optional value) {
    note(partition, map, key);
    fake_map_set(map, key, value);
}

void fake_partition_end(fake_partition *partition, bool commit) {
    while (partition->change_count > 0) {
        change *last = &partition->changes[--partition->change_count];
        if (!commit) fake_map_set(last->map, last->key, last->before);
        free((void *)last->key.data);
        if (last->before.present) free((void *)last->before.value.data);
    }
    if (commit) fake_deliver(&partition->published);
    fake_queue_clear(&partition->published);
}

void fake_partition_clear(fake_partition *partition) {
    fake_map_clear(&partition->rows);
    fake_map_clear(&partition->timers);
    free(partition->changes);
}

/* ---- Storage ---- */

static fake_partition *owner(recoil_bytes key) {
    return fake_current != NULL ? fake_current : &fake_partitions[recoil_fake_owner(key)];
}

/** Why a call may not write that much more, or success. In a listener every write is a call of its own. */
static recoil_status check_write(fake_partition *partition, recoil_bytes key, recoil_bytes value) {
    if (key.size > KEY_BYTES_MAX) {
        return failure(
            RECOIL_TOO_LARGE, recoil_format("the key has %zu bytes: the limit is %zu", key.size, KEY_BYTES_MAX)
        );
    }
    if (value.size > VALUE_BYTES_MAX) {
        recoil_bytes why = recoil_format("the value has %zu bytes: the limit is %zu", value.size, VALUE_BYTES_MAX);
        return failure(RECOIL_TOO_LARGE, why);
    }
    if (fake_current == NULL) return recoil_ok();
    if (partition->read_only) return failure(RECOIL_READ_ONLY, recoil_slice(NULL, 0));
    size_t bytes = partition->bytes + key.size + value.size;
    if (bytes > TRANSACTION_BYTES_MAX) {
        recoil_bytes why =
            recoil_format("the writes come to %zu bytes: the limit is %zu", bytes, TRANSACTION_BYTES_MAX);
        return failure(RECOIL_TOO_LARGE, why);
    }
    partition->bytes = bytes;
    return recoil_ok();
}

static void write_row(fake_partition *partition, recoil_bytes key, recoil_optional value) {
    if (fake_current != NULL) set(partition, &partition->rows, key, value);
    else fake_map_set(&partition->rows, key, value);
}

recoil_status recoil_get(recoil_bytes key, recoil_optional *value) {
    *value = fake_map_get(&owner(key)->rows, key);
    if (value->present) value->value = recoil_copy(value->value);
    return recoil_ok();
}

recoil_status recoil_get_many(const recoil_bytes *keys, size_t count, recoil_optional **values) {
    *values = recoil_alloc(count * sizeof **values);
    for (size_t at = 0; at < count; at++) RECOIL_TRY(recoil_get(keys[at], &(*values)[at]));
    return recoil_ok();
}

recoil_status recoil_put(recoil_bytes key, recoil_bytes value) {
    RECOIL_TRY(check_write(owner(key), key, value));
    write_row(owner(key), key, recoil_some(value));
    return recoil_ok();
}

recoil_status recoil_put_many(const recoil_entry *entries, size_t count) {
    for (size_t at = 0; at < count; at++) RECOIL_TRY(recoil_put(entries[at].key, entries[at].value));
    return recoil_ok();
}

recoil_status recoil_remove(recoil_bytes key) {
    RECOIL_TRY(check_write(owner(key), key, recoil_slice(NULL, 0)));
    write_row(owner(key), key, recoil_none());
    return recoil_ok();
}

/** The places of a range's first row and behind its last. */
static void find_range(const fake_map *rows, recoil_range within, size_t *first, size_t *behind) {
    bool found;
    *first = fake_map_find(rows, within.start, &found);
    *behind = within.end.present ? fake_map_find(rows, within.end.value, &found) : rows->count;
    if (*behind < *first) *behind = *first;
}

static fake_partition *first_partition(void) {
    return fake_current != NULL ? fake_current : fake_partitions;
}

static size_t walked_partitions(void) {
    return fake_current != NULL ? 1 : fake_partition_count;
}

recoil_status recoil_remove_range(recoil_range within) {
    RECOIL_TRY(check_write(first_partition(), within.start, recoil_slice(NULL, 0)));
    for (size_t walked = 0; walked < walked_partitions(); walked++) {
        fake_partition *partition = first_partition() + walked;
        size_t first, behind;
        find_range(&partition->rows, within, &first, &behind);
        while (behind-- > first) {
            recoil_bytes key = recoil_copy(partition->rows.rows[behind].key);
            write_row(partition, key, recoil_none());
        }
    }
    return recoil_ok();
}

static int in_order(const void *left, const void *right) {
    return recoil_compare(((const recoil_entry *)left)->key, ((const recoil_entry *)right)->key);
}

static int in_reverse(const void *left, const void *right) {
    return in_order(right, left);
}

recoil_status recoil_scan(recoil_range within, uint32_t limit, bool reverse, recoil_entry **entries, size_t *count) {
    size_t total = 0;
    for (size_t walked = 0; walked < walked_partitions(); walked++) total += first_partition()[walked].rows.count;
    recoil_entry *found = recoil_alloc(total * sizeof *found);
    *entries = found;
    *count = 0;
    for (size_t walked = 0; walked < walked_partitions(); walked++) {
        const fake_map *rows = &first_partition()[walked].rows;
        size_t first, behind;
        find_range(rows, within, &first, &behind);
        for (size_t at = first; at < behind; at++) found[(*count)++] = rows->rows[at];
    }
    if (*count > 0) qsort(found, *count, sizeof *found, reverse ? in_reverse : in_order);
    size_t page = limit < PAGE_ENTRIES_MAX ? limit : PAGE_ENTRIES_MAX;
    if (*count > page) *count = page;
    for (size_t at = 0; at < *count; at++) {
        found[at] = (recoil_entry){recoil_copy(found[at].key), recoil_copy(found[at].value)};
    }
    return recoil_ok();
}

/* ---- The call, its timers and messages ---- */

static fake_partition *current(const char *function, bool writes) {
    if (fake_current == NULL)
        recoil_trap(recoil_string(recoil_format("%s in a listener, which has no partition", function)));
    if (writes && fake_current->read_only)
        recoil_trap(recoil_string(recoil_format("%s in a read-only call", function)));
    return fake_current;
}

recoil_place recoil_here(void) {
    recoil_place here = {RECOIL_LITERAL("default"), current("recoil_here", false)->id, fake_partition_count, 1};
    return here;
}

uint64_t recoil_now_us(void) {
    return current("recoil_now_us", false)->now_us;
}

bool recoil_is_read_only(void) {
    return current("recoil_is_read_only", false)->read_only;
}

static void set_timer(fake_partition *partition, recoil_bytes id, uint64_t at_us, recoil_bytes payload) {
    recoil_buffer timer = {0};
    recoil_append_u64(&timer, at_us);
    recoil_append(&timer, payload);
    set(partition, &partition->timers, id, recoil_some(recoil_buffer_bytes(&timer)));
}

void recoil_set_timer(recoil_bytes id, uint64_t at_us, recoil_bytes payload) {
    fake_partition *partition = current("recoil_set_timer", true);
    if (recoil_exported_timer == NULL) recoil_trap("recoil_set_timer without RECOIL_EXPORT_TIMER");
    set_timer(partition, id, at_us, payload);
}

void recoil_cancel_timer(recoil_bytes id) {
    fake_partition *partition = current("recoil_cancel_timer", true);
    set(partition, &partition->timers, id, recoil_none());
}

void recoil_publish(recoil_bytes topic, recoil_bytes message) {
    fake_queue_push(&current("recoil_publish", false)->published, topic, message);
}

struct firing {
    fake_partition *partition;
    recoil_bytes id, payload;
};

static recoil_status fire(void *context, recoil_bytes *answer) {
    const struct firing *firing = context;
    (void)answer;
    set(firing->partition, &firing->partition->timers, firing->id, recoil_none());
    return recoil_exported_timer(firing->id, firing->payload);
}

/** The timer that is due first, its time and payload; false if there is none. */
static bool first_timer(const fake_partition *partition, uint64_t *at_us, recoil_bytes *id, recoil_bytes *payload) {
    bool found = false;
    for (size_t at = 0; at < partition->timers.count; at++) {
        recoil_bytes rest = partition->timers.rows[at].value;
        uint64_t due_us;
        if (!recoil_take_u64(&rest, &due_us) || (found && due_us >= *at_us)) continue;
        found = true;
        *at_us = due_us;
        *id = partition->timers.rows[at].key;
        *payload = rest;
    }
    return found;
}

size_t fake_partition_advance(fake_partition *partition, uint64_t until_us) {
    size_t fired = 0;
    uint64_t at_us;
    recoil_bytes id, payload, answer;
    while (first_timer(partition, &at_us, &id, &payload) && at_us <= until_us) {
        if (partition->now_us < at_us) partition->now_us = at_us;
        struct firing firing = {partition, recoil_copy(id), recoil_copy(payload)};
        fake_partition_begin(partition, false);
        recoil_status status = fake_partition_run(partition, fire, &firing, &answer);
        fake_partition_end(partition, status.code == RECOIL_OK);
        if (status.code != RECOIL_OK) {
            fake_partition_begin(partition, false);
            set_timer(partition, firing.id, partition->now_us + TIMER_PAUSE_US, firing.payload);
            fake_partition_end(partition, true);
        }
        fired += 1;
    }
    if (partition->now_us < until_us) partition->now_us = until_us;
    return fired;
}

recoil_group recoil_consensus(void) {
    fake_partition *partition = current("recoil_consensus", false);
    uint32_t *voter = recoil_alloc(sizeof *voter);
    uint32_t group = partition->id % fake_group_count;
    *voter = group + 1;
    recoil_group made = {group, RECOIL_LEADER, 1, true, *voter, partition->now_us, partition->now_us, voter, 1};
    return made;
}

recoil_status recoil_barrier(uint64_t *applied) {
    if (fake_current == NULL) return failure(RECOIL_UNAVAILABLE, RECOIL_LITERAL("a listener has no partition"));
    *applied = fake_current->now_us;
    return recoil_ok();
}
