/* The package on a cluster in memory. */
#include <recoil_fake.h>

static void words_are_counted_wherever_they_live(void) {
    recoil_fake_start(8, 3); /* 8 partitions in 3 groups */
    const char *const sent[] = {"pear\nap", "ple\npear\n"};
    recoil_bytes output;
    RECOIL_CHECK_OK(recoil_fake_serve(sent, 2, &output));
    RECOIL_CHECK_TEXT(output, "1\n1\n2\n");
}

static void a_line_may_not_be_endless(void) {
    recoil_fake_start(1, 1);
    char endless[70000];
    memset(endless, 'x', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    const char *const sent[] = {endless};
    recoil_bytes output;
    RECOIL_CHECK(recoil_fake_serve(sent, 1, &output).code == RECOIL_ERROR);
}

int main(void) {
    words_are_counted_wherever_they_live();
    a_line_may_not_be_endless();
    return 0;
}
