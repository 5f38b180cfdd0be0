/* Rows in order and messages in order: arrays that are searched by halves, because a test has few. */
#include <stdlib.h>

#include "fake.h"

void *fake_grow(void *items, size_t count, size_t *capacity, size_t size) {
    if (count < *capacity) return items;
    *capacity = *capacity == 0 ? 16 : *capacity * 2;
    items = realloc(items, *capacity * size);
    if (items == NULL) recoil_trap("no memory is left");
    return items;
}

recoil_bytes fake_keep(recoil_bytes bytes) {
    /* Exactly as long as it is, so that a sanitizer sees who reads behind it. */
    uint8_t *kept = malloc(bytes.size == 0 ? 1 : bytes.size);
    if (kept == NULL) recoil_trap("no memory is left");
    if (bytes.size > 0) memcpy(kept, bytes.data, bytes.size);
    return recoil_slice(kept, bytes.size);
}

size_t fake_map_find(const fake_map *map, recoil_bytes key, bool *found) {
    size_t low = 0, high = map->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (recoil_compare(map->rows[middle].key, key) < 0) low = middle + 1;
        else high = middle;
    }
    *found = low < map->count && recoil_equal(map->rows[low].key, key);
    return low;
}

recoil_optional fake_map_get(const fake_map *map, recoil_bytes key) {
    bool found;
    size_t at = fake_map_find(map, key, &found);
    return found ? recoil_some(map->rows[at].value) : recoil_none();
}

static void free_entry(recoil_entry entry) {
    free((void *)entry.key.data);
    free((void *)entry.value.data);
}

void fake_map_set(fake_map *map, recoil_bytes key, recoil_optional value) {
    bool found;
    size_t at = fake_map_find(map, key, &found);
    if (!found && !value.present) return;
    recoil_entry made = {{NULL, 0}, {NULL, 0}};
    if (value.present) made = (recoil_entry){fake_keep(key), fake_keep(value.value)};
    if (found) free_entry(map->rows[at]);
    if (found && !value.present) {
        map->count -= 1;
        memmove(map->rows + at, map->rows + at + 1, (map->count - at) * sizeof *map->rows);
        return;
    }
    if (!found) {
        map->rows = fake_grow(map->rows, map->count, &map->capacity, sizeof *map->rows);
        memmove(map->rows + at + 1, map->rows + at, (map->count - at) * sizeof *map->rows);
        map->count += 1;
    }
    map->rows[at] = made;
}

void fake_map_clear(fake_map *map) {
    for (size_t at = 0; at < map->count; at++) free_entry(map->rows[at]);
    free(map->rows);
    memset(map, 0, sizeof *map);
}

void fake_queue_push(fake_queue *queue, recoil_bytes key, recoil_bytes value) {
    queue->entries = fake_grow(queue->entries, queue->count, &queue->capacity, sizeof *queue->entries);
    queue->entries[queue->count++] = (recoil_entry){fake_keep(key), fake_keep(value)};
}

void fake_queue_drop(fake_queue *queue, size_t at) {
    free_entry(queue->entries[at]);
    queue->count -= 1;
    memmove(queue->entries + at, queue->entries + at + 1, (queue->count - at) * sizeof *queue->entries);
}

void fake_queue_clear(fake_queue *queue) {
    for (size_t at = 0; at < queue->count; at++) free_entry(queue->entries[at]);
    free(queue->entries);
    memset(queue, 0, sizeof *queue);
}
