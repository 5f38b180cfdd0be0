/**
 * @file recoil_fake.h
 * The host, in memory: what a package's code runs on in native tests.
 *
 * recoil_fake_start() makes a cluster of partitions that run the package's exported handler. Tests call it as clients
 * do: recoil_fake_write(), recoil_fake_serve(), recoil_fake_http(), and as operators do: recoil_fake_run(). Where the
 * contract leaves a choice to the host, the fake takes the one that is harder for the package (short pages, refused
 * transactions, memory of a call that is really gone); where it promises something, the fake keeps it. What would trap
 * ends the test. Deliberately absent: time limits, memory limits, and more than one thread.
 */
#ifndef RECOIL_FAKE_H
#define RECOIL_FAKE_H

#include <recoil.h>

#ifdef __cplusplus
extern "C" {
#endif

/** @name The cluster @{ */

/**
 * A new cluster with nothing in it, in the place of an earlier one: partition `p` belongs to group `p % groups`, and a
 * transaction over several groups is rejected. What earlier functions handed out is freed.
 */
void recoil_fake_start(uint32_t partitions, uint32_t groups);
/** From now on the setting has this value. */
void recoil_fake_set(const char *name, const char *value);
/** From now on calls to this partition fail and are not evaluated; RECOIL_OK heals it. */
void recoil_fake_fail(uint32_t partition, recoil_code code);
/** Lets time pass on every partition, and fires what comes due in the order of time. How many timers fired, failures
 * included. */
size_t recoil_fake_advance(uint64_t microseconds);
/** Calls that were evaluated so far. */
uint64_t recoil_fake_calls(void);

/** @} @name One partition @{ */

/** The partition that owns a key. */
uint32_t recoil_fake_owner(recoil_bytes key);
/** Runs the handler on a request that may write. A failure has changed nothing. */
recoil_status recoil_fake_write(uint32_t partition, recoil_bytes request, recoil_bytes *answer);
/** Runs the handler on a request that may only read. */
recoil_status recoil_fake_read(uint32_t partition, recoil_bytes request, recoil_bytes *answer);
/** Puts a value there, outside of any call. */
void recoil_fake_insert(uint32_t partition, recoil_bytes key, recoil_bytes value);
/** The value that is there. */
recoil_optional recoil_fake_value(uint32_t partition, recoil_bytes key);
/** How many rows there are. */
size_t recoil_fake_rows(uint32_t partition);
/** How many timers are set. */
size_t recoil_fake_timers(uint32_t partition);
/** The time of the last call; each writing one is at least a microsecond later. */
uint64_t recoil_fake_now_us(uint32_t partition);

/** @} @name Clients @{ */

/**
 * Runs the exported listener on a client that sends these chunks, each of which one recoil_read() returns, and then
 * ends the stream. All that was written to it is the output, whatever the status.
 */
recoil_status recoil_fake_serve(const char *const *chunks, size_t count, recoil_bytes *output);
/** Runs the exported HTTP handler. What follows a question mark in `target` is the query. */
recoil_status
recoil_fake_http(const char *method, const char *target, recoil_bytes body, recoil_http_response *response);
/** The same for a request with headers. */
recoil_status recoil_fake_http_request(const recoil_http_request *request, recoil_http_response *response);

/** @} @name Operators @{ */

/** Runs the exported command with these arguments, as recoilctl does. */
recoil_status recoil_fake_run(const char *const *arguments, size_t count, recoil_bytes *output);

/** @} @name Plans @{ */

/** Runs the exported scheduler. The cluster that recoil_fake_start() made is out of its reach. */
recoil_status recoil_fake_plan(const recoil_view *view, recoil_plan *plan);

/** @} @name Checks @{ */

/** Ends the test unless the condition holds. */
#define RECOIL_CHECK(condition) recoil_fake_check(__FILE__, __LINE__, #condition, (condition))
/** Ends the test, and shows both, unless the bytes are those of the string. */
#define RECOIL_CHECK_TEXT(bytes, expected) recoil_fake_check_text(__FILE__, __LINE__, (bytes), (expected))
/** Ends the test, and shows why, unless the status is a success. */
#define RECOIL_CHECK_OK(status) recoil_fake_check_ok(__FILE__, __LINE__, (status))
void recoil_fake_check(const char *file, int line, const char *condition, bool holds);
void recoil_fake_check_text(const char *file, int line, recoil_bytes bytes, const char *expected);
void recoil_fake_check_ok(const char *file, int line, recoil_status status);

/** @} */

#ifdef __cplusplus
}
#endif

#endif
