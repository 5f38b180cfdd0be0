/* What failed, in words. */
#include "internal.h"

const char *recoil_code_name(recoil_code code) {
    switch (code) {
    case RECOIL_OK: return "ok";
    case RECOIL_ERROR: return "error";
    case RECOIL_TOO_LARGE: return "too-large";
    case RECOIL_READ_ONLY: return "read-only";
    case RECOIL_QUOTA_EXCEEDED: return "quota-exceeded";
    case RECOIL_UNAVAILABLE: return "unavailable";
    case RECOIL_REJECTED: return "rejected";
    case RECOIL_FAILED: return "failed";
    case RECOIL_UNKNOWN_OUTCOME: return "unknown-outcome";
    case RECOIL_CONFLICT: return "conflict";
    case RECOIL_CLOSED: return "closed";
    case RECOIL_TIMED_OUT: return "timed-out";
    case RECOIL_CONNECTION_FAILED: return "failed";
    }
    return "unknown";
}

/* Without recoil_format(): every package needs this. */
static recoil_bytes join(const char *before, recoil_bytes text) {
    recoil_buffer joined = {0};
    recoil_append(&joined, recoil_text(before));
    recoil_append(&joined, text);
    return recoil_buffer_bytes(&joined);
}

recoil_bytes recoil_message(recoil_status status) {
    switch (status.code) {
    case RECOIL_READ_ONLY: return RECOIL_LITERAL("a write in a read-only call: route it with RECOIL_WRITE");
    case RECOIL_FAILED: return join("the handler failed: ", status.text);
    case RECOIL_UNKNOWN_OUTCOME: return join("the outcome is unknown: ", status.text);
    case RECOIL_CONFLICT: return RECOIL_LITERAL("the transaction lost to a conflicting one: retry it");
    case RECOIL_CLOSED: return RECOIL_LITERAL("the connection is closed");
    case RECOIL_TIMED_OUT: return RECOIL_LITERAL("the client was idle for too long");
    default: return status.text;
    }
}
