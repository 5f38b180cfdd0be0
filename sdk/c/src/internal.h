/**
 * @file internal.h
 * What the parts of the SDK know of each other.
 */
#ifndef RECOIL_INTERNAL_H
#define RECOIL_INTERNAL_H

#include <recoil.h>

/** Frees the call's memory, but for a little that the next call takes first. */
void recoil_memory_clear(void);
/** Begins a call within a call, with memory of its own. Answers that of the outer one. */
void *recoil_memory_enter(void);
/** Frees the inner call's memory, and goes on with the outer one's. */
void recoil_memory_leave(void *outer);

/** The items, perhaps elsewhere, with room for one more behind `count` of this size. Where they were stays as it is. */
void *recoil_one_more(void *items, size_t count, size_t size);

/** The words of a text, which have spaces between them. */
recoil_bytes *recoil_words_of(const char *text, size_t *count);

/** Ends the instance: what went wrong is for who reads the log. */
_Noreturn void recoil_trap(const char *why);

/** What was read ahead of a connection, in memory of its own. */
typedef struct recoil_input {
    uint8_t *data;
    size_t start, end, capacity;
} recoil_input;

/** What was read ahead of this connection. */
recoil_input *recoil_input_of(recoil_connection connection);
/** recoil_read() past what was read ahead. */
recoil_status recoil_read_more(recoil_connection connection, uint32_t limit, recoil_bytes *bytes);

#endif
