/* A scheduler's answer. */
#include "internal.h"

void recoil_add_placement(recoil_plan *plan, recoil_placement placement) {
    placement.reason = recoil_to_utf8(placement.reason);
    plan->placements = recoil_one_more(plan->placements, plan->count, sizeof placement);
    plan->placements[plan->count++] = placement;
}
