/* Calls to partitions, and settings: what is the same on every host. */
#include "internal.h"

recoil_routed_call recoil_to_key(recoil_bytes key, recoil_bytes request, recoil_mode mode) {
    recoil_routed_call call = {.to = {.kind = 0, .key = key}, .request = request, .mode = (uint8_t)mode};
    return call;
}

recoil_routed_call recoil_to_partition(uint32_t partition, recoil_bytes request, recoil_mode mode) {
    recoil_routed_call call = {.to = {.kind = 1, .partition = partition}, .request = request, .mode = (uint8_t)mode};
    return call;
}

bool recoil_setting_integer(const char *name, int64_t *number) {
    recoil_optional setting = recoil_setting(name);
    bool negative = setting.present && setting.value.size > 0 && setting.value.data[0] == '-';
    uint64_t magnitude;
    if (!setting.present || !recoil_parse(recoil_skip(setting.value, negative), &magnitude)) return false;
    if (magnitude > (uint64_t)INT64_MAX + negative) return false;
    *number = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

bool recoil_setting_boolean(const char *name, bool otherwise) {
    recoil_optional setting = recoil_setting(name);
    if (setting.present && recoil_equal(setting.value, RECOIL_LITERAL("true"))) return true;
    if (setting.present && recoil_equal(setting.value, RECOIL_LITERAL("false"))) return false;
    return otherwise;
}
