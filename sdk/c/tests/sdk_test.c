/*
 * The SDK's own tests, on the host in memory: `sh test.sh PROGRAM tests/sdk_test.c`. The package is made for them: its
 * handler writes the request at the key `row`, publishes it on `topic`, sets a timer, and then does what the request's
 * first word says.
 */
#include <recoil_fake.h>

#include "../src/internal.h"

#define TEXT RECOIL_LITERAL

static recoil_status handle(recoil_bytes request, recoil_bytes *answer) {
    if (recoil_equal(request, TEXT("time"))) {
        *answer = recoil_format("%d %llu", recoil_is_read_only(), (unsigned long long)recoil_now_us());
        return recoil_ok();
    }
    if (recoil_equal(request, TEXT("call"))) return recoil_call(recoil_to_partition(0, request, RECOIL_WRITE), answer);
    if (recoil_equal(request, TEXT("large"))) {
        recoil_bytes large = recoil_slice(recoil_alloc((size_t)9 << 20), (size_t)9 << 20);
        memset((void *)large.data, 0, large.size);
        recoil_status status = recoil_put(TEXT("row"), large);
        if (status.code != RECOIL_TOO_LARGE) return recoil_fail("9 MiB are put");
        large.size = (size_t)7 << 20;
        RECOIL_TRY(recoil_put(TEXT("row"), large));
        RECOIL_TRY(recoil_put(TEXT("other"), large));
        return recoil_put(TEXT("third"), large);
    }
    if (!recoil_is_read_only()) {
        RECOIL_TRY(recoil_put(TEXT("row"), request));
        recoil_publish(TEXT("topic"), request);
        recoil_set_timer(TEXT("timer"), recoil_now_us() + 10, request);
    }
    if (recoil_equal(request, TEXT("bad"))) return recoil_fail("refused %s", "politely");
    recoil_optional row;
    RECOIL_TRY(recoil_get(TEXT("row"), &row));
    *answer = row.value;
    return recoil_ok();
}
RECOIL_EXPORT_HANDLER(handle);

static recoil_status fire(recoil_bytes id, recoil_bytes payload) {
    RECOIL_TRY(recoil_put(id, payload));
    return recoil_equal(payload, TEXT("fails")) ? recoil_fail("not yet") : recoil_ok();
}
RECOIL_EXPORT_TIMER(fire);

static recoil_status serve(recoil_connection connection) {
    recoil_optional line, bytes;
    recoil_bytes rest;
    recoil_subscription subscription = recoil_subscribe(TEXT("topic"));
    RECOIL_TRY(recoil_read_line(connection, 16, &line));
    RECOIL_CHECK_TEXT(line.value, "first");
    RECOIL_TRY(recoil_read_exact(connection, 5, &bytes));
    RECOIL_CHECK_TEXT(bytes.value, "12345");
    RECOIL_TRY(recoil_call(recoil_to_partition(1, TEXT("news"), RECOIL_WRITE), &rest));
    recoil_event event = recoil_wait_any(connection, &subscription, 1, 0);
    RECOIL_CHECK(event.kind == RECOIL_MESSAGE && event.subscription == 0);
    RECOIL_TRY(recoil_write(connection, recoil_next_message(subscription, 0).value));
    RECOIL_CHECK(!recoil_next_message(subscription, 0).present);
    RECOIL_CHECK(recoil_wait_any(connection, &subscription, 1, 0).kind == RECOIL_READABLE);
    recoil_unsubscribe(subscription);
    RECOIL_TRY(recoil_read(connection, 3, &rest));
    RECOIL_CHECK_TEXT(rest, "ab"); /* what was read ahead */
    RECOIL_TRY(recoil_read_line(connection, 16, &line));
    RECOIL_CHECK_TEXT(line.value, "cd");
    return recoil_read_line(connection, 16, &line).code == RECOIL_ERROR ? recoil_fail("too long") : recoil_ok();
}
RECOIL_EXPORT_LISTENER(serve);

static recoil_status respond(const recoil_http_request *request, recoil_http_response *response) {
    recoil_optional trace = recoil_http_header_value(request, "X-TRACE");
    for (int count = 0; count < 5; count++) recoil_http_add_header(response, "x-count", recoil_format("%d", count));
    recoil_http_respond(response, 201, "text/plain", trace.value);
    return recoil_ok();
}
RECOIL_EXPORT_HTTP_HANDLER(respond);

static const recoil_command commands[] = {
    {"row put", "TEXT", "Write a row."},
    {"join", "WORDS...", "Print the words, each behind a comma."},
};

static recoil_status run(const recoil_bytes *arguments, size_t count, recoil_bytes *output) {
    if (count == 3 && recoil_equal(arguments[0], TEXT("row")) && recoil_equal(arguments[1], TEXT("put")))
        return recoil_call(recoil_to_partition(1, arguments[2], RECOIL_WRITE), output);
    if (count == 0 || !recoil_equal(arguments[0], TEXT("join"))) return recoil_fail("write row put TEXT or join WORDS");
    recoil_buffer joined = {0};
    for (size_t at = 1; at < count; at++) {
        recoil_append(&joined, TEXT(","));
        recoil_append(&joined, arguments[at]);
    }
    *output = recoil_buffer_bytes(&joined);
    return recoil_ok();
}
RECOIL_EXPORT_ADMIN(commands, run);

/* Turns the replicas of every partition around. */
static recoil_status schedule(const recoil_view *view, recoil_plan *plan) {
    recoil_bytes answer;
    recoil_status call = recoil_call(recoil_to_partition(0, TEXT("x"), RECOIL_WRITE), &answer);
    RECOIL_CHECK(call.code == RECOIL_REJECTED);
    if (view->node_count == 0) return recoil_fail("no nodes");
    for (size_t at = 0; at < view->partition_count; at++) {
        const recoil_view_partition *partition = &view->partitions[at];
        uint32_t *replicas = recoil_alloc(partition->replica_count * sizeof *replicas);
        for (size_t place = 0; place < partition->replica_count; place++) {
            replicas[partition->replica_count - 1 - place] = partition->replicas[place];
        }
        recoil_placement placement = {
            partition->keyspace, partition->id, replicas, partition->replica_count, TEXT("turned\xff")
        };
        recoil_add_placement(plan, placement);
    }
    return recoil_ok();
}
RECOIL_EXPORT_SCHEDULER(schedule);

static void bytes_are_taken_apart(void) {
    uint64_t number = 7;
    RECOIL_CHECK(recoil_parse(TEXT("18446744073709551615"), &number) && number == UINT64_MAX);
    RECOIL_CHECK(!recoil_parse(TEXT("18446744073709551616"), &number) && !recoil_parse(TEXT(""), &number));
    RECOIL_CHECK(!recoil_parse(TEXT("-1"), &number) && number == UINT64_MAX);
    RECOIL_CHECK_TEXT(recoil_trim(TEXT(" \t a b\r\n")), "a b");
    RECOIL_CHECK_TEXT(recoil_trim(TEXT(" \n")), "");
    RECOIL_CHECK(recoil_compare(TEXT("a"), TEXT("ab")) < 0 && recoil_compare(TEXT("\xff"), TEXT("a")) > 0);
    RECOIL_CHECK_TEXT(recoil_skip(TEXT("abc"), 9), "");
}

static void keys_sort_as_their_parts_do(void) {
    struct {
        recoil_bytes name;
        uint32_t number;
    } parts[] = {{TEXT("a"), 2}, {TEXT("a"), 10}, {TEXT("a\0"), 1}, {TEXT("a\0b"), 0}, {TEXT("b"), 0}};
    recoil_bytes before = {NULL, 0};
    for (size_t at = 0; at < sizeof parts / sizeof *parts; at++) {
        recoil_buffer key = {0};
        recoil_append_u8(&key, 'T');
        recoil_append_part(&key, parts[at].name);
        recoil_append_u32(&key, parts[at].number);
        recoil_append_u64(&key, at);
        recoil_bytes rest = recoil_buffer_bytes(&key), name;
        RECOIL_CHECK(recoil_compare(before, rest) < 0);
        before = rest;
        uint8_t kind;
        uint32_t number;
        uint64_t last;
        RECOIL_CHECK(recoil_take_u8(&rest, &kind) && recoil_take_part(&rest, &name) && recoil_take_u32(&rest, &number));
        RECOIL_CHECK(kind == 'T' && recoil_equal(name, parts[at].name) && number == parts[at].number);
        RECOIL_CHECK(recoil_take_u64(&rest, &last) && last == at && rest.size == 0 && !recoil_take_u8(&rest, &kind));
        for (size_t size = 0; size < 4; size++) {
            recoil_bytes cut = recoil_slice(before.data + 1, size < parts[at].name.size ? size : parts[at].name.size);
            RECOIL_CHECK(!recoil_take_part(&cut, &name));
        }
    }
}

static void texts_become_utf8(void) {
    const char *const good[] = {"", "plain", "gr\xc3\xbc\xc3\x9f", "\xe6\x97\xa5\xf0\x9f\x8e\x89", "\xf4\x8f\xbf\xbf"};
    for (size_t at = 0; at < sizeof good / sizeof *good; at++) RECOIL_CHECK(recoil_is_utf8(recoil_text(good[at])));
    const char *const bad[] = {"\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe0\x80\x80", "a\x80"};
    for (size_t at = 0; at < sizeof bad / sizeof *bad; at++) {
        RECOIL_CHECK(!recoil_is_utf8(recoil_text(bad[at])) && recoil_is_utf8(recoil_to_utf8(recoil_text(bad[at]))));
    }
    RECOIL_CHECK_TEXT(
        recoil_to_utf8(TEXT("a\xff\xff"
                            "b")),
        "a\xef\xbf\xbd\xef\xbf\xbd"
        "b"
    );
}

static void a_failure_rolls_back_rows_timers_and_messages(void) {
    recoil_fake_start(1, 1);
    recoil_bytes answer;
    recoil_subscription subscription = recoil_subscribe(TEXT("topic"));
    RECOIL_CHECK_OK(recoil_fake_write(0, TEXT("good"), &answer));
    RECOIL_CHECK_TEXT(answer, "good");
    uint64_t now_us = recoil_fake_now_us(0);
    recoil_status status = recoil_fake_write(0, TEXT("bad"), &answer);
    RECOIL_CHECK(status.code == RECOIL_REJECTED && recoil_fake_now_us(0) > now_us);
    RECOIL_CHECK_TEXT(status.text, "refused politely");
    RECOIL_CHECK_TEXT(recoil_fake_value(0, TEXT("row")).value, "good");
    RECOIL_CHECK_TEXT(recoil_next_message(subscription, 0).value, "good");
    RECOIL_CHECK(!recoil_next_message(subscription, 0).present && recoil_fake_timers(0) == 1);
}

static void a_timer_fires_when_due_and_again_when_it_failed(void) {
    recoil_fake_start(1, 1);
    recoil_bytes answer;
    RECOIL_CHECK_OK(recoil_fake_write(0, TEXT("good"), &answer));
    RECOIL_CHECK(recoil_fake_advance(9) == 0 && recoil_fake_advance(1) == 1 && recoil_fake_timers(0) == 0);
    RECOIL_CHECK_TEXT(recoil_fake_value(0, TEXT("timer")).value, "good");
    RECOIL_CHECK_OK(recoil_fake_write(0, TEXT("fails"), &answer));
    RECOIL_CHECK(recoil_fake_advance(100) == 1 && recoil_fake_timers(0) == 1);
    RECOIL_CHECK_TEXT(recoil_fake_value(0, TEXT("timer")).value, "good");
    RECOIL_CHECK(recoil_fake_advance(1000000) == 1);
}

static void reads_write_nothing_and_limits_hold(void) {
    recoil_fake_start(2, 2);
    recoil_bytes answer;
    RECOIL_CHECK_OK(recoil_fake_read(0, TEXT("x"), &answer));
    RECOIL_CHECK(recoil_fake_rows(0) == 0);
    RECOIL_CHECK_OK(recoil_fake_read(0, TEXT("time"), &answer));
    RECOIL_CHECK(answer.data[0] == '1');
    recoil_status status = recoil_fake_write(0, TEXT("large"), &answer);
    RECOIL_CHECK(status.code == RECOIL_REJECTED && recoil_fake_rows(0) == 0);
    status = recoil_fake_write(0, TEXT("call"), &answer);
    RECOIL_CHECK(status.code == RECOIL_REJECTED);
}

static void calls_go_to_their_partition_and_fail_by_themselves(void) {
    recoil_fake_start(4, 2);
    recoil_bytes answer, key = TEXT("some key");
    RECOIL_CHECK_OK(recoil_call(recoil_to_key(key, TEXT("v"), RECOIL_WRITE), &answer));
    uint32_t owner = recoil_locate(key).id, other = (owner + 1) % 4;
    RECOIL_CHECK_TEXT(recoil_fake_value(owner, TEXT("row")).value, "v");
    recoil_fake_fail(other, RECOIL_UNAVAILABLE);
    size_t count;
    recoil_answer *answers = recoil_scatter(TEXT("x"), RECOIL_READ, &count);
    RECOIL_CHECK(count == 4 && answers[other].status.code == RECOIL_UNAVAILABLE);
    RECOIL_CHECK_TEXT(answers[owner].answer, "v");
    RECOIL_CHECK(recoil_call(recoil_to_partition(4, key, RECOIL_READ), &answer).code == RECOIL_REJECTED);
    recoil_pending pending[] = {
        recoil_submit(recoil_to_key(key, TEXT("w"), RECOIL_WRITE)),
        recoil_submit(recoil_to_key(key, TEXT("bad"), RECOIL_WRITE))
    };
    recoil_forget(recoil_submit(recoil_to_key(key, TEXT("y"), RECOIL_WRITE)));
    answers = recoil_wait_all(pending, 2);
    RECOIL_CHECK_TEXT(answers[0].answer, "w");
    RECOIL_CHECK_TEXT(answers[1].status.text, "refused politely");
    RECOIL_CHECK_TEXT(recoil_fake_value(owner, TEXT("row")).value, "y");
}

static void a_transaction_is_all_or_nothing_and_within_one_group(void) {
    recoil_fake_start(6, 3);
    recoil_bytes *answers;
    recoil_routed_call good[] = {
        recoil_to_partition(1, TEXT("a"), RECOIL_WRITE), recoil_to_partition(4, TEXT("b"), RECOIL_WRITE)
    };
    RECOIL_CHECK_OK(recoil_transact(good, 2, &answers));
    RECOIL_CHECK_TEXT(answers[1], "b");
    recoil_routed_call bad[] = {
        recoil_to_partition(1, TEXT("c"), RECOIL_WRITE), recoil_to_partition(4, TEXT("bad"), RECOIL_WRITE)
    };
    RECOIL_CHECK(recoil_transact(bad, 2, &answers).code == RECOIL_REJECTED);
    recoil_routed_call wide[] = {
        recoil_to_partition(1, TEXT("c"), RECOIL_WRITE), recoil_to_partition(2, TEXT("c"), RECOIL_WRITE)
    };
    RECOIL_CHECK(recoil_transact(wide, 2, &answers).code == RECOIL_REJECTED);
    RECOIL_CHECK_TEXT(recoil_fake_value(1, TEXT("row")).value, "a");
    RECOIL_CHECK_TEXT(recoil_fake_value(4, TEXT("row")).value, "b");
}

static void a_cursor_pages_through_everything_in_both_directions(void) {
    recoil_fake_start(3, 1);
    for (uint32_t number = 0; number < 1000; number++) {
        recoil_buffer key = {0};
        recoil_append_u32(&key, number);
        RECOIL_CHECK_OK(recoil_put(recoil_buffer_bytes(&key), TEXT("")));
    }
    for (int reverse = 0; reverse < 2; reverse++) {
        recoil_cursor cursor = recoil_entries(recoil_between(TEXT("\0\0\0\x0a"), TEXT("\0\0\x03\x84")), reverse);
        recoil_entry entry;
        uint32_t count = 0, number = 0;
        for (; recoil_next(&cursor, &entry); count++) {
            RECOIL_CHECK(recoil_take_u32(&entry.key, &number) && number == (reverse ? 899 - count : 10 + count));
        }
        RECOIL_CHECK_OK(cursor.status);
        RECOIL_CHECK(count == 890 && !recoil_next(&cursor, &entry));
    }
    RECOIL_CHECK_OK(recoil_remove_range(recoil_all()));
    RECOIL_CHECK(recoil_fake_rows(0) + recoil_fake_rows(1) + recoil_fake_rows(2) == 0);
    recoil_range range = recoil_prefix(TEXT("a\xff\xff"));
    RECOIL_CHECK_TEXT(range.end.value, "b");
    RECOIL_CHECK(!recoil_prefix(TEXT("\xff")).end.present && !recoil_prefix(TEXT("")).end.present);
}

static void connections_are_read_by_lines_and_sizes(void) {
    recoil_fake_start(2, 1);
    const char *const sent[] = {"fir", "st\r\n123", "", "45ab", "cd\nmuch too long for it"};
    recoil_bytes output;
    recoil_status status = recoil_fake_serve(sent, sizeof sent / sizeof *sent, &output);
    RECOIL_CHECK_TEXT(status.text, "too long");
    RECOIL_CHECK_TEXT(output, "news");
}

static void requests_are_taken_apart_and_decoded(void) {
    recoil_http_header headers[] = {{TEXT("x-trace"), TEXT("7")}};
    recoil_http_request request = {
        .path = TEXT("/a%2Fb//c%20d/%zz%4"),
        .query = TEXT("name=J%C3%B6rg+X&empty&name=other"),
        .headers = headers,
        .header_count = 1
    };
    const char *const segments[] = {"a/b", "c d", "%zz%4"};
    for (size_t at = 0; at < 3; at++) RECOIL_CHECK_TEXT(recoil_http_segment(&request, at).value, segments[at]);
    RECOIL_CHECK(!recoil_http_segment(&request, 3).present);
    RECOIL_CHECK_TEXT(recoil_http_query_value(&request, "name").value, "J\xc3\xb6rg X");
    recoil_optional empty = recoil_http_query_value(&request, "empty");
    RECOIL_CHECK(empty.present && empty.value.size == 0 && !recoil_http_query_value(&request, "absent").present);
    recoil_http_response response;
    RECOIL_CHECK_OK(recoil_fake_http_request(&request, &response));
    RECOIL_CHECK(response.status == 201 && response.header_count == 6);
    RECOIL_CHECK_TEXT(response.headers[4].value, "4");
    RECOIL_CHECK_TEXT(response.body, "7");
}

static void a_command_has_words_and_reaches_partitions(void) {
    recoil_fake_start(2, 1);
    const struct {
        const char *text;
        size_t count;
    } texts[] = {{"", 0}, {"  ", 0}, {"key", 1}, {" key  create now ", 3}, {"a b c d e f g h i", 9}};
    for (size_t at = 0; at < sizeof texts / sizeof *texts; at++) {
        size_t count;
        recoil_bytes *words = recoil_words_of(texts[at].text, &count);
        RECOIL_CHECK(count == texts[at].count);
        if (count == 3) {
            RECOIL_CHECK_TEXT(words[0], "key");
            RECOIL_CHECK_TEXT(words[1], "create");
            RECOIL_CHECK_TEXT(words[2], "now");
        }
    }
    recoil_bytes output;
    const char *const put[] = {"row", "put", "good"}, *const bad[] = {"row", "put", "bad"};
    RECOIL_CHECK_OK(recoil_fake_run(put, 3, &output));
    RECOIL_CHECK_TEXT(output, "good");
    RECOIL_CHECK_TEXT(recoil_fake_value(1, TEXT("row")).value, "good");
    RECOIL_CHECK_TEXT(recoil_message(recoil_fake_run(bad, 3, &output)), "refused politely");
    const char *const join[] = {"join", "gr\xc3\xbcn", "", "\xff"};
    RECOIL_CHECK_OK(recoil_fake_run(join, 4, &output));
    RECOIL_CHECK_TEXT(output, ",gr\xc3\xbcn,,\xef\xbf\xbd");
    RECOIL_CHECK_OK(recoil_fake_run(join, 1, &output));
    RECOIL_CHECK_TEXT(output, "");
    RECOIL_CHECK_TEXT(recoil_fake_run(NULL, 0, &output).text, "write row put TEXT or join WORDS");
}

static void a_plan_is_made_of_a_view(void) {
    recoil_fake_start(1, 1);
    const uint32_t replicas[] = {7, 8, 9};
    recoil_view_node node = {.id = 7, .state = RECOIL_DRAINING};
    recoil_view_partition partitions[100];
    for (uint32_t id = 0; id < 100; id++) {
        partitions[id] =
            (recoil_view_partition){.keyspace = 2, .id = id, .replicas = replicas, .replica_count = id % 4};
    }
    recoil_view view = {.nodes = &node, .node_count = 1, .partitions = partitions, .partition_count = 100};
    recoil_plan plan;
    RECOIL_CHECK_OK(recoil_fake_plan(&view, &plan));
    RECOIL_CHECK(plan.count == 100);
    for (uint32_t id = 0; id < 100; id++) {
        recoil_placement made = plan.placements[id];
        RECOIL_CHECK(made.keyspace == 2 && made.id == id && made.replica_count == id % 4);
        for (size_t at = 0; at < id % 4; at++) RECOIL_CHECK(made.replicas[at] == replicas[id % 4 - 1 - at]);
        RECOIL_CHECK_TEXT(made.reason, "turned\xef\xbf\xbd");
    }
    view.node_count = 0;
    RECOIL_CHECK_TEXT(recoil_fake_plan(&view, &plan).text, "no nodes");
    RECOIL_CHECK(plan.count == 0 && recoil_fake_calls() == 0);
}

static void a_test_gives_the_settings(void) {
    recoil_fake_start(1, 1);
    int64_t number;
    RECOIL_CHECK(!recoil_setting("limit").present && !recoil_setting_integer("limit", &number));
    recoil_fake_set("limit", "-9223372036854775808");
    RECOIL_CHECK(recoil_setting_integer("limit", &number) && number == INT64_MIN);
    recoil_fake_set("limit", "9223372036854775808");
    RECOIL_CHECK(!recoil_setting_integer("limit", &number));
    recoil_fake_set("loud", "true");
    RECOIL_CHECK(recoil_setting_boolean("loud", false) && recoil_setting_boolean("limit", true));
}

static void memory_is_released_to_its_moment(void) {
    recoil_fake_start(1, 1);
    char *kept = recoil_string(TEXT("kept"));
    for (int turn = 0; turn < 1000; turn++) {
        recoil_moment moment = recoil_mark();
        memset(recoil_alloc((size_t)1 << 20), turn, (size_t)1 << 20);
        memset(recoil_alloc(100), turn, 100);
        recoil_release(moment);
    }
    RECOIL_CHECK(strcmp(kept, "kept") == 0);
}

int main(void) {
    bytes_are_taken_apart();
    keys_sort_as_their_parts_do();
    texts_become_utf8();
    a_failure_rolls_back_rows_timers_and_messages();
    a_timer_fires_when_due_and_again_when_it_failed();
    reads_write_nothing_and_limits_hold();
    calls_go_to_their_partition_and_fail_by_themselves();
    a_transaction_is_all_or_nothing_and_within_one_group();
    a_cursor_pages_through_everything_in_both_directions();
    connections_are_read_by_lines_and_sizes();
    requests_are_taken_apart_and_decoded();
    a_command_has_words_and_reaches_partitions();
    a_plan_is_made_of_a_view();
    a_test_gives_the_settings();
    memory_is_released_to_its_moment();
    return 0;
}
