/* The scheduler: puts live replicas first, and tells all that the view says in its reasons. */
#include <stdio.h>
#include <stdlib.h>

#include "protocol.h"

/* A rule with this replication is an order to go wrong: its keyspace says how. */
#define REPLICATION_ORDER 255
#define REPLICATION_DEFAULT 3

/* A view, and the nodes of it that are live. */
typedef struct planner {
    const recoil_view *view;
    uint32_t *live;
    size_t live_count;
} planner;

static const recoil_view_node *node_of(const recoil_view *view, uint32_t id) {
    for (size_t at = 0; at < view->node_count; at++) {
        if (view->nodes[at].id == id) return &view->nodes[at];
    }
    return NULL;
}

static const recoil_rule *rule_of(const recoil_view *view, uint32_t keyspace) {
    for (size_t at = 0; at < view->rule_count; at++) {
        if (view->rules[at].keyspace == keyspace) return &view->rules[at];
    }
    return NULL;
}

static bool is_live(const recoil_view *view, uint32_t id) {
    const recoil_view_node *node = node_of(view, id);
    return node != NULL && node->state == RECOIL_LIVE;
}

static recoil_status go_wrong(uint32_t how) {
    switch (how) {
    case 1: fprintf(stderr, "thrown while planning\n"); abort();
    case 2:
        for (volatile unsigned turns = 0;; turns++) {}
    case 3: {
        recoil_status status = recoil_put(RECOIL_LITERAL("a"), RECOIL_LITERAL("b"));
        recoil_bytes text = recoil_message(status);
        return recoil_fail("the put: %s: %.*s", recoil_code_name(status.code), RECOIL_ARG(text));
    }
    default: return recoil_fail("there is no order %u", how);
    }
}

/* The replicas of a partition that is nowhere yet; no more than there are live nodes. */
static recoil_placement placed_first(const planner *planner, const recoil_view_partition *partition) {
    const recoil_rule *rule = rule_of(planner->view, partition->keyspace);
    size_t count = rule == NULL ? REPLICATION_DEFAULT : rule->replication;
    if (count > planner->live_count) count = planner->live_count;
    uint32_t *replicas = recoil_alloc(count * sizeof *replicas);
    for (size_t at = 0; at < count; at++) {
        replicas[at] = planner->live[(partition->id % planner->live_count + at) % planner->live_count];
    }
    recoil_placement placement = {.replicas = replicas, .replica_count = count};
    return placement;
}

/* The replicas that are live, and behind them the others. */
static recoil_placement sorted(const planner *planner, const recoil_view_partition *partition) {
    uint32_t *replicas = recoil_alloc(partition->replica_count * sizeof *replicas);
    size_t count = 0;
    for (int live = 1; live >= 0; live--) {
        for (size_t at = 0; at < partition->replica_count; at++) {
            uint32_t id = partition->replicas[at];
            if (is_live(planner->view, id) == live) replicas[count++] = id;
        }
    }
    recoil_placement placement = {.replicas = replicas, .replica_count = count};
    return placement;
}

static long long thousandths(float value) {
    return (long long)(value * 1000.0);
}

static void append_labels(recoil_buffer *text, const recoil_label *labels, size_t count) {
    if (count == 0) recoil_append(text, RECOIL_LITERAL("-"));
    for (size_t at = 0; at < count; at++) {
        if (at > 0) recoil_append(text, RECOIL_LITERAL(","));
        recoil_append(text, labels[at].key);
        recoil_append(text, RECOIL_LITERAL("="));
        recoil_append(text, labels[at].value);
    }
}

static void append_node(recoil_buffer *text, const recoil_view *view, const uint32_t *replicas, size_t count) {
    static const char *const states[] = {"live", "draining", "down"};
    const recoil_view_node *node = count == 0 ? NULL : node_of(view, replicas[0]);
    if (count == 0) {
        recoil_append(text, RECOIL_LITERAL("node none"));
    } else if (node == NULL) {
        recoil_append(text, recoil_format("node %u unknown", replicas[0]));
    } else {
        recoil_append(text, recoil_format("node %u %s ", node->id, states[node->state]));
        append_labels(text, node->locality, node->locality_count);
        unsigned long long used = node->used_bytes, capacity = node->capacity_bytes;
        recoil_append(text, recoil_format(" %llu/%llu %lld", used, capacity, thousandths(node->cpu_load)));
    }
}

static void append_rule(recoil_buffer *text, const recoil_rule *rule) {
    if (rule == NULL) {
        recoil_append(text, RECOIL_LITERAL("; rule none"));
        return;
    }
    recoil_append(text, recoil_format("; rule %u ", rule->replication));
    append_labels(text, rule->required, rule->required_count);
    recoil_append(text, rule->spread_by_count == 0 ? RECOIL_LITERAL(" -") : RECOIL_LITERAL(" "));
    for (size_t at = 0; at < rule->spread_by_count; at++) {
        if (at > 0) recoil_append(text, RECOIL_LITERAL(","));
        recoil_append(text, rule->spread_by[at]);
    }
    recoil_append(text, RECOIL_LITERAL(" "));
    append_labels(text, rule->leader_preference, rule->leader_preference_count);
}

static void append_load(recoil_buffer *text, recoil_load load) {
    long long reads = thousandths(load.reads_per_second), writes = thousandths(load.writes_per_second);
    long long cpu = thousandths(load.cpu_seconds_per_second);
    unsigned long long bytes = load.bytes;
    recoil_append(text, recoil_format("; load %lld %lld %lld %llu", reads, writes, cpu, bytes));
}

static void place(const planner *planner, const recoil_view_partition *partition, recoil_plan *plan) {
    size_t count = partition->replica_count;
    recoil_placement placement = count == 0 ? placed_first(planner, partition) : sorted(planner, partition);
    if (count > 0 && memcmp(placement.replicas, partition->replicas, count * sizeof *partition->replicas) == 0) return;
    recoil_buffer reason = {0};
    if (count > 0) append_node(&reason, planner->view, partition->replicas, count);
    else append_node(&reason, planner->view, placement.replicas, placement.replica_count);
    append_rule(&reason, rule_of(planner->view, partition->keyspace));
    append_load(&reason, partition->load);
    placement.keyspace = partition->keyspace;
    placement.id = partition->id;
    placement.reason = recoil_buffer_bytes(&reason);
    recoil_add_placement(plan, placement);
}

static recoil_status plan(const recoil_view *view, recoil_plan *plan) {
    if (view->node_count == 0) return recoil_fail("no nodes");
    for (size_t at = 0; at < view->rule_count; at++) {
        if (view->rules[at].replication == REPLICATION_ORDER) return go_wrong(view->rules[at].keyspace);
    }
    planner planner = {view, recoil_alloc(view->node_count * sizeof(uint32_t)), 0};
    for (size_t at = 0; at < view->node_count; at++) {
        if (view->nodes[at].state == RECOIL_LIVE) planner.live[planner.live_count++] = view->nodes[at].id;
    }
    for (size_t at = 0; at < view->partition_count; at++) place(&planner, &view->partitions[at], plan);
    return recoil_ok();
}
RECOIL_EXPORT_SCHEDULER(plan);
