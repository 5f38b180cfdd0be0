/*
 * Reading a connection by lines and by sizes.
 *
 * What is read ahead lies in memory of its own, because it outlives the requests it is part of. Invariant: at most
 * twice the caller's limit, or one chunk, is kept.
 */
#include <stdlib.h>

#include "internal.h"

#define CHUNK_SIZE ((size_t)16 << 10)

/** What was read ahead. */
static recoil_bytes ahead_of(const recoil_input *input) {
    return recoil_skip(recoil_slice(input->data, input->end), input->start);
}

recoil_status recoil_read(recoil_connection connection, uint32_t limit, recoil_bytes *bytes) {
    recoil_input *input = recoil_input_of(connection);
    recoil_bytes ahead = ahead_of(input);
    if (ahead.size == 0) return recoil_read_more(connection, limit, bytes);
    *bytes = recoil_copy(recoil_slice(ahead.data, ahead.size < limit ? ahead.size : limit));
    input->start += bytes->size;
    return recoil_ok();
}

/** Reads what there is behind what was read ahead, into room for `total` bytes and at least a chunk. False at the end
 * of the stream. */
static recoil_status fill(recoil_connection connection, recoil_input *input, size_t total, bool *more) {
    size_t ahead = input->end - input->start;
    if (input->start > 0) memmove(input->data, input->data + input->start, ahead);
    input->start = 0;
    input->end = ahead;
    if (total < CHUNK_SIZE) total = CHUNK_SIZE;
    if (input->capacity < total) {
        uint8_t *data = realloc(input->data, total);
        if (data == NULL) recoil_trap("no memory is left: limit memory_bytes");
        input->data = data;
        input->capacity = total;
    }
    size_t room = input->capacity - ahead;
    recoil_moment moment = recoil_mark();
    recoil_bytes read;
    RECOIL_TRY(recoil_read_more(connection, room < INT32_MAX ? (uint32_t)room : INT32_MAX, &read));
    if (read.size > 0) memcpy(input->data + ahead, read.data, read.size);
    input->end += read.size;
    *more = read.size > 0;
    recoil_release(moment);
    return recoil_ok();
}

recoil_status recoil_read_line(recoil_connection connection, size_t limit, recoil_optional *line) {
    recoil_input *input = recoil_input_of(connection);
    bool more = true;
    for (size_t searched = 0; more;) {
        recoil_bytes ahead = ahead_of(input), rest = recoil_skip(ahead, searched);
        const uint8_t *end = rest.size == 0 ? NULL : memchr(rest.data, '\n', rest.size);
        size_t size = end == NULL ? ahead.size : (size_t)(end - ahead.data);
        if (size > limit) return recoil_fail("a line of more than %zu bytes", limit);
        if (end != NULL) {
            input->start += size + 1;
            if (size > 0 && ahead.data[size - 1] == '\r') size -= 1;
            *line = recoil_some(recoil_slice(ahead.data, size));
            return recoil_ok();
        }
        searched = ahead.size;
        RECOIL_TRY(fill(connection, input, ahead.size < input->capacity ? ahead.size + 1 : ahead.size * 2, &more));
    }
    *line = recoil_none();
    return recoil_ok();
}

recoil_status recoil_read_exact(recoil_connection connection, size_t size, recoil_optional *bytes) {
    recoil_input *input = recoil_input_of(connection);
    bool more = true;
    while (more && ahead_of(input).size < size) RECOIL_TRY(fill(connection, input, size, &more));
    recoil_bytes ahead = ahead_of(input);
    *bytes = recoil_none();
    if (more) {
        *bytes = recoil_some(recoil_slice(ahead.data, size));
        input->start += size;
    } else if (ahead.size > 0) {
        return recoil_fail("the stream ended within %zu bytes, behind the first %zu", size, ahead.size);
    }
    return recoil_ok();
}
