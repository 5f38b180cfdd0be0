//! The contract in `wit/` as traits: once for handlers, whose host functions run to their end, and once for listeners,
//! whose host functions may wait on a fiber.

/// For handlers: plain functions.
pub(crate) mod blocking {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "recoil:plugin/platform",
        imports: { default: trappable },
        with: {
            "recoil:plugin/router.pending": crate::handler::NoPending,
            "recoil:plugin/router.subscription": crate::handler::NoSubscription,
            "recoil:plugin/tcp.connection": crate::handler::NoConnection,
        },
    });
}

/// For listeners: functions that may wait.
pub(crate) mod waiting {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "recoil:plugin/platform",
        imports: {
            "recoil:plugin/log.write": trappable,
            "recoil:plugin/settings.get": trappable,
            "recoil:plugin/partition.current": trappable,
            "recoil:plugin/partition.now": trappable,
            "recoil:plugin/partition.is-read-only": trappable,
            "recoil:plugin/partition.set-timer": trappable,
            "recoil:plugin/partition.cancel-timer": trappable,
            "recoil:plugin/partition.publish": trappable,
            "recoil:plugin/consensus.status": trappable,
            "recoil:plugin/consensus.barrier": trappable,
            "recoil:plugin/consensus.propose": trappable,
            "recoil:plugin/router.submit": trappable,
            "recoil:plugin/router.locate": trappable,
            "recoil:plugin/router.partitions": trappable,
            "recoil:plugin/router.subscribe": trappable,
            "recoil:plugin/router.[method]pending.is-ready": trappable,
            "recoil:plugin/router.[drop]pending": trappable,
            "recoil:plugin/router.[drop]subscription": trappable,
            "recoil:plugin/tcp.[method]connection.peer-address": trappable,
            "recoil:plugin/tcp.[drop]connection": trappable,
            default: async | trappable,
        },
        with: {
            "recoil:plugin/router.pending": crate::listener::Pending,
            "recoil:plugin/router.subscription": crate::listener::Subscription,
            "recoil:plugin/tcp.connection": crate::listener::Connection,
        },
    });
}
