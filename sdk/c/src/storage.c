/* Ranges, and the walk over them that pages by itself. */
#include "internal.h"

/* The first page is small, for those who look at the first entries only; pages then grow to the largest. */
#define PAGE_SIZE_FIRST 32
#define PAGE_SIZE_LARGEST 1024

recoil_range recoil_all(void) {
    recoil_range all = {recoil_slice(NULL, 0), recoil_none()};
    return all;
}

recoil_range recoil_prefix(recoil_bytes prefix) {
    recoil_range range = {prefix, recoil_none()};
    recoil_bytes kept = prefix;
    while (kept.size > 0 && kept.data[kept.size - 1] == 0xff) kept.size -= 1;
    if (kept.size > 0) {
        uint8_t *end = (uint8_t *)recoil_string(kept);
        end[kept.size - 1] += 1;
        range.end = recoil_some(recoil_slice(end, kept.size));
    }
    return range;
}

recoil_range recoil_between(recoil_bytes start, recoil_bytes end) {
    recoil_range range = {start, recoil_some(end)};
    return range;
}

recoil_cursor recoil_entries(recoil_range within, bool reverse) {
    recoil_cursor cursor = {recoil_ok(), within, NULL, 0, 0, PAGE_SIZE_FIRST, reverse};
    return cursor;
}

bool recoil_next(recoil_cursor *cursor, recoil_entry *entry) {
    if (cursor->at == cursor->count) {
        if (cursor->page_size == 0 || cursor->status.code != RECOIL_OK) return false;
        cursor->at = 0;
        cursor->count = 0;
        cursor->status = recoil_scan(cursor->rest, cursor->page_size, cursor->reverse, &cursor->page, &cursor->count);
        if (cursor->status.code != RECOIL_OK || cursor->count == 0) {
            cursor->count = 0;
            cursor->page_size = 0;
            return false;
        }
        recoil_bytes last = cursor->page[cursor->count - 1].key;
        if (cursor->reverse) {
            cursor->rest.end = recoil_some(last);
        } else {
            /* The smallest key behind it is itself and a zero. */
            cursor->rest.start = recoil_slice(recoil_string(last), last.size + 1);
        }
        uint32_t next = cursor->page_size * 4;
        cursor->page_size = next < PAGE_SIZE_LARGEST ? next : PAGE_SIZE_LARGEST;
    }
    *entry = cursor->page[cursor->at++];
    return true;
}
