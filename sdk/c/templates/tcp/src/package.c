/* Counts words: each line it is sent is answered with how often it was sent. */
#include <recoil.h>

/* Bytes of a line. */
#define LINE_BYTES_MAX ((size_t)64 << 10)

/* Runs on the leader of the word's partition. Every request is a transaction. */
static recoil_status count(recoil_bytes word, recoil_bytes *answer) {
    recoil_optional value;
    RECOIL_TRY(recoil_get(word, &value));
    uint64_t seen = 0;
    if (value.present && !recoil_take_u64(&value.value, &seen)) return recoil_fail("a damaged count");
    seen += 1;
    recoil_buffer next = {0};
    recoil_append_u64(&next, seen);
    RECOIL_TRY(recoil_put(word, recoil_buffer_bytes(&next)));
    *answer = recoil_format("%llu", (unsigned long long)seen);
    return recoil_ok();
}
RECOIL_EXPORT_HANDLER(count);

/* Runs for each connection, on the node that the client has found; blocks as a thread would. */
static recoil_status serve(recoil_connection connection) {
    for (;;) {
        recoil_moment moment = recoil_mark();
        recoil_optional line;
        RECOIL_TRY(recoil_read_line(connection, LINE_BYTES_MAX, &line));
        if (!line.present) return recoil_ok();
        recoil_bytes word = recoil_trim(line.value), number;
        RECOIL_TRY(recoil_call(recoil_to_key(word, word, RECOIL_WRITE), &number));
        RECOIL_TRY(recoil_write(connection, recoil_format("%.*s\n", RECOIL_ARG(number))));
        recoil_release(moment); /* what this line took */
    }
}
RECOIL_EXPORT_LISTENER(serve);
