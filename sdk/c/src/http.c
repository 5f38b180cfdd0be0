/* Requests and answers of an HTTP handler. Deliberately absent: routing, cookies, JSON. */
#include "internal.h"

static uint8_t lower(uint8_t byte) {
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
}

static bool equal_in_any_case(recoil_bytes left, recoil_bytes right) {
    if (left.size != right.size) return false;
    for (size_t at = 0; at < left.size; at++) {
        if (lower(left.data[at]) != lower(right.data[at])) return false;
    }
    return true;
}

recoil_optional recoil_http_header_value(const recoil_http_request *request, const char *name) {
    for (size_t at = 0; at < request->header_count; at++) {
        if (equal_in_any_case(request->headers[at].name, recoil_text(name)))
            return recoil_some(request->headers[at].value);
    }
    return recoil_none();
}

/** What is before the next `separator`, taken off the front of `*rest` together with it. */
static recoil_bytes take_before(recoil_bytes *rest, char separator) {
    const uint8_t *end = rest->size == 0 ? NULL : memchr(rest->data, separator, rest->size);
    size_t size = end == NULL ? rest->size : (size_t)(end - rest->data);
    recoil_bytes part = recoil_slice(rest->data, size);
    *rest = recoil_skip(*rest, size + (end != NULL));
    return part;
}

static int digit(recoil_bytes text, size_t at) {
    if (at >= text.size) return -1;
    uint8_t byte = lower(text.data[at]);
    if (byte >= '0' && byte <= '9') return byte - '0';
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/** Undoes percent-encoding (RFC 3986, section 2.1); what is not encoded properly stays as it is. */
static recoil_bytes decode(recoil_bytes text, bool plus_is_space) {
    uint8_t *decoded = recoil_alloc(text.size);
    size_t size = 0;
    for (size_t at = 0; at < text.size; at++) {
        uint8_t byte = text.data[at];
        int high = digit(text, at + 1), low = digit(text, at + 2);
        if (byte == '%' && high >= 0 && low >= 0) {
            byte = (uint8_t)(high << 4 | low);
            at += 2;
        } else if (byte == '+' && plus_is_space) {
            byte = ' ';
        }
        decoded[size++] = byte;
    }
    return recoil_slice(decoded, size);
}

recoil_optional recoil_http_segment(const recoil_http_request *request, size_t at) {
    recoil_bytes rest = request->path;
    while (rest.size > 0) {
        recoil_bytes segment = take_before(&rest, '/');
        if (segment.size > 0 && at-- == 0) return recoil_some(decode(segment, false));
    }
    return recoil_none();
}

recoil_optional recoil_http_query_value(const recoil_http_request *request, const char *name) {
    recoil_bytes rest = request->query;
    while (rest.size > 0) {
        recoil_bytes value = take_before(&rest, '&');
        recoil_bytes key = take_before(&value, '=');
        if (recoil_equal(decode(key, true), recoil_text(name))) return recoil_some(decode(value, true));
    }
    return recoil_none();
}

void recoil_http_add_header(recoil_http_response *response, const char *name, recoil_bytes value) {
    response->headers = recoil_one_more(response->headers, response->header_count, sizeof *response->headers);
    response->headers[response->header_count++] = (recoil_http_header){recoil_text(name), value};
}

void recoil_http_respond(recoil_http_response *response, uint16_t status, const char *content_type, recoil_bytes body) {
    response->status = status;
    response->body = body;
    recoil_http_add_header(response, "content-type", recoil_text(content_type));
}
