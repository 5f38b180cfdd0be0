/** @file fake.h What the parts of the fake know of each other. */
#ifndef RECOIL_FAKE_INTERNAL_H
#define RECOIL_FAKE_INTERNAL_H

#include <recoil_fake.h>

#include "../src/internal.h"

/** Rows in the order of their keys, each in memory of its own. */
typedef struct fake_map {
    recoil_entry *rows;
    size_t count, capacity;
} fake_map;

/** The place of a key, or where it would be. */
size_t fake_map_find(const fake_map *map, recoil_bytes key, bool *found);
/** The value of a key, or none, in the map's memory. */
recoil_optional fake_map_get(const fake_map *map, recoil_bytes key);
/** Sets or, if there is none, removes a value. */
void fake_map_set(fake_map *map, recoil_bytes key, recoil_optional value);
void fake_map_clear(fake_map *map);

/** Topics and messages, or keys and values, in their order and in memory of their own. */
typedef struct fake_queue {
    recoil_entry *entries;
    size_t count, capacity;
} fake_queue;

void fake_queue_push(fake_queue *queue, recoil_bytes key, recoil_bytes value);
void fake_queue_drop(fake_queue *queue, size_t at);
void fake_queue_clear(fake_queue *queue);

/** A change that can be taken back: which map, and what was there. */
typedef struct change {
    fake_map *map;
    recoil_bytes key;
    recoil_optional before;
} change;

typedef struct fake_partition {
    uint32_t id;
    uint64_t now_us;
    fake_map rows;
    /** When, in eight bytes, and the payload, by id. */
    fake_map timers;
    recoil_code fault;
    /** Of the call that is under way. */
    bool read_only;
    change *changes;
    size_t change_count, change_capacity, bytes;
    fake_queue published;
} fake_partition;

/** The partition whose call is under way; none in a listener. */
extern fake_partition *fake_current;
extern fake_partition *fake_partitions;
extern uint32_t fake_partition_count, fake_group_count;

/** A role's body, run on a partition. */
typedef recoil_status fake_body(void *context, recoil_bytes *answer);

void fake_partition_begin(fake_partition *partition, bool read_only);
/** Runs a part of the call that was begun, in memory of its own; the answer is copied into the caller's. */
recoil_status fake_partition_run(fake_partition *partition, fake_body *body, void *context, recoil_bytes *answer);
/** Commits and publishes, or rolls back. */
void fake_partition_end(fake_partition *partition, bool commit);
void fake_partition_clear(fake_partition *partition);
/** Fires what is due up to then. */
size_t fake_partition_advance(fake_partition *partition, uint64_t until_us);

/** Hands messages to those who have subscribed. */
void fake_deliver(const fake_queue *messages);
/** Memory that does not run out. */
void *fake_grow(void *items, size_t count, size_t *capacity, size_t size);
recoil_bytes fake_keep(recoil_bytes bytes);
/** Messages that wait behind a subscription. */
size_t fake_waiting(recoil_subscription subscription);

/* The package's roles, as RECOIL_EXPORT_… defines them; null if it has them not. */
extern recoil_handler *recoil_exported_handler;
extern recoil_timer *recoil_exported_timer;
extern recoil_listener *recoil_exported_listener;
extern recoil_http_handler *recoil_exported_http_handler;
extern const recoil_command *recoil_exported_commands;
extern size_t recoil_exported_command_count;
extern recoil_admin *recoil_exported_admin;
extern recoil_scheduler *recoil_exported_scheduler;

#endif
