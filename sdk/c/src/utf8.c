/* Texts as the host takes them: UTF-8 (RFC 3629), the shortest form of each character and no surrogates. */
#include "internal.h"

/** How many bytes the character at the front has; 0 if there is none. */
static size_t character(recoil_bytes bytes) {
    uint8_t first = bytes.data[0];
    size_t size = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (size > bytes.size) return 0;
    for (size_t at = 1; at < size; at++) {
        if ((bytes.data[at] & 0xc0) != 0x80) return 0;
    }
    if (size < 3) return size;
    uint8_t second = bytes.data[1];
    bool too_long = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
    bool beyond = (first == 0xed && second > 0x9f) || (first == 0xf4 && second > 0x8f);
    return too_long || beyond ? 0 : size;
}

/** How many bytes at the front are UTF-8. */
static size_t valid(recoil_bytes bytes) {
    recoil_bytes rest = bytes;
    while (rest.size > 0) {
        size_t size = character(rest);
        if (size == 0) break;
        rest = recoil_skip(rest, size);
    }
    return bytes.size - rest.size;
}

bool recoil_is_utf8(recoil_bytes bytes) {
    return valid(bytes) == bytes.size;
}

recoil_bytes recoil_to_utf8(recoil_bytes bytes) {
    size_t size = valid(bytes);
    if (size == bytes.size) return bytes;
    recoil_buffer text = {0};
    for (recoil_bytes rest = bytes;; size = valid(rest)) {
        recoil_append(&text, recoil_slice(rest.data, size));
        rest = recoil_skip(rest, size);
        if (rest.size == 0) return recoil_buffer_bytes(&text);
        recoil_append(&text, RECOIL_LITERAL("\xef\xbf\xbd"));
        rest = recoil_skip(rest, 1);
    }
}
