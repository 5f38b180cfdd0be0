/* The package on a cluster in memory. */
#include <recoil_fake.h>

static void ask(const char *path, uint16_t status, const char *body) {
    recoil_http_response response;
    RECOIL_CHECK_OK(recoil_fake_http("GET", path, RECOIL_LITERAL(""), &response));
    RECOIL_CHECK(response.status == status);
    RECOIL_CHECK_TEXT(response.body, body);
}

static void each_name_has_a_count_of_its_own(void) {
    recoil_fake_start(8, 3); /* 8 partitions in 3 groups */
    ask("/hello/world", 200, "hello world, greeting number 1\n");
    ask("/hello/world", 200, "hello world, greeting number 2\n");
    ask("/hello/moon", 200, "hello moon, greeting number 1\n");
    recoil_fake_set("greeting", "hi");
    ask("/hello/moon", 200, "hi moon, greeting number 2\n");
    ask("/elsewhere", 404, "try /hello/NAME\n");
}

static void a_damaged_count_is_said(void) {
    recoil_fake_start(1, 1);
    recoil_fake_insert(0, RECOIL_LITERAL("world"), RECOIL_LITERAL("x"));
    recoil_http_response response;
    recoil_status status = recoil_fake_http("GET", "/hello/world", RECOIL_LITERAL(""), &response);
    RECOIL_CHECK(status.code == RECOIL_REJECTED);
    RECOIL_CHECK_TEXT(status.text, "a damaged count");
}

int main(void) {
    each_name_has_a_count_of_its_own();
    a_damaged_count_is_said();
    return 0;
}
