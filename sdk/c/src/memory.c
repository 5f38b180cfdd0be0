/*
 * Memory of a call: chunks in which allocations lie one behind the other, and which are freed together.
 *
 * Invariant: no pointer that was handed out moves or is reused before its call ends, or a moment before it is released.
 * Deliberately absent: freeing single allocations.
 */
#include <stdlib.h>

#include "internal.h"

/* Small calls need no malloc after the first one: this much is kept between them. */
#define CHUNK_SIZE ((size_t)16 << 10)
#define ALIGNMENT ((size_t)16)

struct chunk {
    struct chunk *before;
    size_t used, size;
    _Alignas(16) uint8_t data[];
};

static struct chunk *top;

void *recoil_alloc(size_t size) {
    if (size > SIZE_MAX / 4) recoil_trap("an allocation beyond all memory");
    size = (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    if (top == NULL || top->size - top->used < size) {
        size_t wanted = size > CHUNK_SIZE ? size : CHUNK_SIZE;
        struct chunk *chunk = malloc(sizeof *chunk + wanted);
        if (chunk == NULL) recoil_trap("no memory is left: limit memory_bytes");
        chunk->before = top;
        chunk->used = 0;
        chunk->size = wanted;
        top = chunk;
    }
    void *allocated = top->data + top->used;
    top->used += size;
    return allocated;
}

void *recoil_one_more(void *items, size_t count, size_t size) {
    if ((count & (count - 1)) != 0) return items; /* room doubles at powers of two */
    void *moved = recoil_alloc((count == 0 ? 1 : count * 2) * size);
    if (count > 0) memcpy(moved, items, count * size);
    return moved;
}

static void free_down_to(const struct chunk *kept) {
    while (top != kept) {
        struct chunk *before = top->before;
        free(top);
        top = before;
    }
}

recoil_moment recoil_mark(void) {
    recoil_moment moment = {top, top == NULL ? 0 : top->used};
    return moment;
}

void recoil_release(recoil_moment moment) {
    free_down_to(moment.chunk);
    if (top != NULL) top->used = moment.used;
}

void recoil_memory_clear(void) {
    struct chunk *first = top;
    while (first != NULL && first->before != NULL) first = first->before;
    if (first != NULL && first->size > CHUNK_SIZE) first = NULL;
    free_down_to(first);
    if (first != NULL) first->used = 0;
}

void *recoil_memory_enter(void) {
    void *outer = top;
    top = NULL;
    return outer;
}

void recoil_memory_leave(void *outer) {
    free_down_to(NULL);
    top = outer;
}
