/**
 * @file recoil_export.h
 * The roles as exports of a WebAssembly module, by the names and types of the canonical ABI. Part of recoil.h.
 *
 * Each function of a role is two exports: the function, which answers the address of its result, and the one that the
 * host calls once it has read it, with which the call's memory ends.
 */
#ifndef RECOIL_EXPORT_H
#define RECOIL_EXPORT_H

/** Ends the call: everything it allocated is freed. */
void recoil_export_end(void);
const void *recoil_export_handle(recoil_handler *handler, const uint8_t *request, size_t size);
const void *
recoil_export_fire(recoil_timer *timer, const uint8_t *id, size_t id_size, const uint8_t *payload, size_t payload_size);
const void *recoil_export_serve(recoil_listener *listener, uint32_t connection);
const void *recoil_export_respond(recoil_http_handler *handler, const recoil_http_request *request);
const void *recoil_export_commands(const recoil_command *commands, size_t count);
const void *recoil_export_run(recoil_admin *admin, const recoil_bytes *arguments, size_t count);
const void *recoil_export_plan(recoil_scheduler *scheduler, const recoil_view *view);

/** The name of an interface of the contract, in the one version that this SDK speaks. */
#define RECOIL_INTERFACE(name) "recoil:plugin/" name "@0.1.0"
#define RECOIL_EXPORTED(interface, name) __attribute__((export_name(RECOIL_INTERFACE(interface) "#" name)))
#define RECOIL_EXPORT_END(function, interface, name)                               \
    __attribute__((export_name("cabi_post_" RECOIL_INTERFACE(interface) "#" name)) \
    ) void function##_end(const void *result);                                     \
    void function##_end(const void *result) {                                      \
        (void)result;                                                              \
        recoil_export_end();                                                       \
    }                                                                              \
    struct function##_exported

#define RECOIL_EXPORT_HANDLER(function)                                                                           \
    RECOIL_EXPORTED("handler", "handle") const void *recoil_exported_handle(const uint8_t *request, size_t size); \
    const void *recoil_exported_handle(const uint8_t *request, size_t size) {                                     \
        return recoil_export_handle(function, request, size);                                                     \
    }                                                                                                             \
    RECOIL_EXPORT_END(recoil_exported_handle, "handler", "handle")

#define RECOIL_EXPORT_TIMER(function)                                                                                  \
    RECOIL_EXPORTED("timer", "fire")                                                                                   \
    const void *recoil_exported_fire(const uint8_t *id, size_t id_size, const uint8_t *payload, size_t payload_size);  \
    const void *recoil_exported_fire(const uint8_t *id, size_t id_size, const uint8_t *payload, size_t payload_size) { \
        return recoil_export_fire(function, id, id_size, payload, payload_size);                                       \
    }                                                                                                                  \
    RECOIL_EXPORT_END(recoil_exported_fire, "timer", "fire")

#define RECOIL_EXPORT_LISTENER(function)                                                             \
    RECOIL_EXPORTED("tcp-listener", "serve") const void *recoil_exported_serve(uint32_t connection); \
    const void *recoil_exported_serve(uint32_t connection) {                                         \
        return recoil_export_serve(function, connection);                                            \
    }                                                                                                \
    RECOIL_EXPORT_END(recoil_exported_serve, "tcp-listener", "serve")

#define RECOIL_EXPORT_HTTP_HANDLER(function)                                                                    \
    RECOIL_EXPORTED("http-handler", "handle")                                                                   \
    const void *recoil_exported_respond(                                                                        \
        const uint8_t *method, size_t method_size, const uint8_t *path, size_t path_size, const uint8_t *query, \
        size_t query_size, const recoil_http_header *headers, size_t header_count, const uint8_t *body,         \
        size_t body_size, const uint8_t *peer, size_t peer_size                                                 \
    );                                                                                                          \
    const void *recoil_exported_respond(                                                                        \
        const uint8_t *method, size_t method_size, const uint8_t *path, size_t path_size, const uint8_t *query, \
        size_t query_size, const recoil_http_header *headers, size_t header_count, const uint8_t *body,         \
        size_t body_size, const uint8_t *peer, size_t peer_size                                                 \
    ) {                                                                                                         \
        recoil_http_request request = {{method, method_size}, {path, path_size}, {query, query_size}, headers,  \
                                       header_count,          {body, body_size}, {peer, peer_size}};            \
        return recoil_export_respond(function, &request);                                                       \
    }                                                                                                           \
    RECOIL_EXPORT_END(recoil_exported_respond, "http-handler", "handle")

#define RECOIL_EXPORT_ADMIN(commands, function)                                         \
    RECOIL_EXPORTED("admin", "commands") const void *recoil_exported_commands(void);    \
    const void *recoil_exported_commands(void) {                                        \
        return recoil_export_commands(commands, sizeof(commands) / sizeof *(commands)); \
    }                                                                                   \
    RECOIL_EXPORT_END(recoil_exported_commands, "admin", "commands");                   \
    RECOIL_EXPORTED("admin", "run")                                                     \
    const void *recoil_exported_run(const recoil_bytes *arguments, size_t count);       \
    const void *recoil_exported_run(const recoil_bytes *arguments, size_t count) {      \
        return recoil_export_run(function, arguments, count);                           \
    }                                                                                   \
    RECOIL_EXPORT_END(recoil_exported_run, "admin", "run")

#define RECOIL_EXPORT_SCHEDULER(function)                                                              \
    RECOIL_EXPORTED("scheduler", "plan")                                                               \
    const void *recoil_exported_plan(                                                                  \
        const recoil_view_node *nodes, size_t node_count, const recoil_rule *rules, size_t rule_count, \
        const recoil_view_partition *partitions, size_t partition_count                                \
    );                                                                                                 \
    const void *recoil_exported_plan(                                                                  \
        const recoil_view_node *nodes, size_t node_count, const recoil_rule *rules, size_t rule_count, \
        const recoil_view_partition *partitions, size_t partition_count                                \
    ) {                                                                                                \
        recoil_view view = {nodes, node_count, rules, rule_count, partitions, partition_count};        \
        return recoil_export_plan(function, &view);                                                    \
    }                                                                                                  \
    RECOIL_EXPORT_END(recoil_exported_plan, "scheduler", "plan")

#endif
