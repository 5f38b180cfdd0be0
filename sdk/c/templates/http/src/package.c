/* Greets whoever asks: `GET /hello/NAME` counts the greetings of each name. */
#include <recoil.h>

/* Runs on the leader of the name's partition. Every request is a transaction. */
static recoil_status count(recoil_bytes name, recoil_bytes *answer) {
    recoil_optional value;
    RECOIL_TRY(recoil_get(name, &value));
    uint64_t greeted = 0;
    if (value.present && !recoil_take_u64(&value.value, &greeted)) return recoil_fail("a damaged count");
    greeted += 1;
    recoil_buffer next = {0};
    recoil_append_u64(&next, greeted);
    RECOIL_TRY(recoil_put(name, recoil_buffer_bytes(&next)));
    *answer = recoil_format("%llu", (unsigned long long)greeted);
    return recoil_ok();
}
RECOIL_EXPORT_HANDLER(count);

/* Runs on the node that the client has found, and asks partitions. */
static recoil_status respond(const recoil_http_request *request, recoil_http_response *response) {
    recoil_optional hello = recoil_http_segment(request, 0), name = recoil_http_segment(request, 1);
    bool is_get = recoil_equal(request->method, RECOIL_LITERAL("GET"));
    if (!is_get || !name.present || !recoil_equal(hello.value, RECOIL_LITERAL("hello")) ||
        recoil_http_segment(request, 2).present) {
        recoil_http_respond(response, 404, "text/plain; charset=utf-8", RECOIL_LITERAL("try /hello/NAME\n"));
        return recoil_ok();
    }
    recoil_bytes number;
    RECOIL_TRY(recoil_call(recoil_to_key(name.value, name.value, RECOIL_WRITE), &number));
    recoil_optional setting = recoil_setting("greeting");
    recoil_bytes greeting = setting.present ? setting.value : RECOIL_LITERAL("hello");
    recoil_bytes line = recoil_format(
        "%.*s %.*s, greeting number %.*s\n", RECOIL_ARG(greeting), RECOIL_ARG(name.value), RECOIL_ARG(number)
    );
    recoil_http_respond(response, 200, "text/plain; charset=utf-8", line);
    return recoil_ok();
}
RECOIL_EXPORT_HTTP_HANDLER(respond);
