/*
 * Slices of bytes, the buffers they are made in, and the small codec for keys and values.
 *
 * Invariant: to take never reads behind the slice, and leaves it as it is unless it succeeds.
 */
#include "internal.h"

recoil_bytes recoil_skip(recoil_bytes bytes, size_t count) {
    if (count > bytes.size) count = bytes.size;
    return count == 0 ? bytes : recoil_slice(bytes.data + count, bytes.size - count);
}

static bool is_space(uint8_t byte) {
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

recoil_bytes recoil_trim(recoil_bytes bytes) {
    while (bytes.size > 0 && is_space(bytes.data[bytes.size - 1])) bytes.size -= 1;
    while (bytes.size > 0 && is_space(bytes.data[0])) bytes = recoil_skip(bytes, 1);
    return bytes;
}

int recoil_compare(recoil_bytes left, recoil_bytes right) {
    size_t common = left.size < right.size ? left.size : right.size;
    int order = common == 0 ? 0 : memcmp(left.data, right.data, common);
    return order != 0 ? order : (left.size > right.size) - (left.size < right.size);
}

bool recoil_equal(recoil_bytes left, recoil_bytes right) {
    return left.size == right.size && recoil_compare(left, right) == 0;
}

bool recoil_parse(recoil_bytes text, uint64_t *number) {
    uint64_t parsed = 0;
    for (size_t at = 0; at < text.size; at++) {
        unsigned digit = (unsigned)text.data[at] - '0';
        if (digit > 9 || parsed > (UINT64_MAX - digit) / 10) return false;
        parsed = parsed * 10 + digit;
    }
    if (text.size == 0) return false;
    *number = parsed;
    return true;
}

recoil_bytes recoil_copy(recoil_bytes bytes) {
    void *copy = recoil_alloc(bytes.size);
    if (bytes.size > 0) memcpy(copy, bytes.data, bytes.size);
    return recoil_slice(copy, bytes.size);
}

char *recoil_string(recoil_bytes bytes) {
    char *string = recoil_alloc(bytes.size + 1);
    if (bytes.size > 0) memcpy(string, bytes.data, bytes.size);
    string[bytes.size] = '\0';
    return string;
}

uint8_t *recoil_buffer_extend(recoil_buffer *buffer, size_t size) {
    if (size > SIZE_MAX / 4 || buffer->size > SIZE_MAX / 4) recoil_trap("a buffer beyond all memory");
    if (buffer->data == NULL || buffer->capacity - buffer->size < size) {
        size_t capacity = buffer->capacity < 32 ? 64 : buffer->capacity * 2;
        if (capacity < buffer->size + size) capacity = buffer->size + size;
        uint8_t *data = recoil_alloc(capacity);
        if (buffer->size > 0) memcpy(data, buffer->data, buffer->size);
        buffer->data = data;
        buffer->capacity = capacity;
    }
    uint8_t *room = buffer->data + buffer->size;
    buffer->size += size;
    return room;
}

void recoil_append(recoil_buffer *buffer, recoil_bytes bytes) {
    if (bytes.size > 0) memcpy(recoil_buffer_extend(buffer, bytes.size), bytes.data, bytes.size);
}

static void append_number(recoil_buffer *buffer, uint64_t number, size_t size) {
    uint8_t *room = recoil_buffer_extend(buffer, size);
    for (size_t at = size; at > 0; at--, number >>= 8) room[at - 1] = (uint8_t)number;
}

void recoil_append_u8(recoil_buffer *buffer, uint8_t number) {
    append_number(buffer, number, sizeof number);
}

void recoil_append_u32(recoil_buffer *buffer, uint32_t number) {
    append_number(buffer, number, sizeof number);
}

void recoil_append_u64(recoil_buffer *buffer, uint64_t number) {
    append_number(buffer, number, sizeof number);
}

void recoil_append_part(recoil_buffer *buffer, recoil_bytes part) {
    for (size_t at = 0; at < part.size; at++) {
        recoil_append_u8(buffer, part.data[at]);
        if (part.data[at] == 0) recoil_append_u8(buffer, 0xff);
    }
    recoil_append(buffer, RECOIL_LITERAL("\0\0"));
}

bool recoil_take(recoil_bytes *bytes, size_t size, recoil_bytes *taken) {
    if (bytes->size < size) return false;
    *taken = recoil_slice(bytes->data, size);
    *bytes = recoil_skip(*bytes, size);
    return true;
}

static bool take_number(recoil_bytes *bytes, size_t size, uint64_t *number) {
    recoil_bytes taken;
    if (!recoil_take(bytes, size, &taken)) return false;
    *number = 0;
    for (size_t at = 0; at < size; at++) *number = *number << 8 | taken.data[at];
    return true;
}

bool recoil_take_u8(recoil_bytes *bytes, uint8_t *number) {
    uint64_t taken;
    if (!take_number(bytes, sizeof *number, &taken)) return false;
    *number = (uint8_t)taken;
    return true;
}

bool recoil_take_u32(recoil_bytes *bytes, uint32_t *number) {
    uint64_t taken;
    if (!take_number(bytes, sizeof *number, &taken)) return false;
    *number = (uint32_t)taken;
    return true;
}

bool recoil_take_u64(recoil_bytes *bytes, uint64_t *number) {
    return take_number(bytes, sizeof *number, number);
}

bool recoil_take_part(recoil_bytes *bytes, recoil_bytes *part) {
    recoil_bytes rest = *bytes;
    recoil_buffer plain = {0};
    uint8_t byte, next;
    while (recoil_take_u8(&rest, &byte)) {
        if (byte == 0) {
            if (!recoil_take_u8(&rest, &next) || (next != 0 && next != 0xff)) return false;
            if (next == 0) {
                *part = recoil_buffer_bytes(&plain);
                *bytes = rest;
                return true;
            }
        }
        recoil_append_u8(&plain, byte);
    }
    return false;
}
