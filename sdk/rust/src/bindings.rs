//! What `wit-bindgen` makes of the contract in `wit/`, generated once here so that a package depends on this crate only.
//!
//! Imports and each exported role are generated apart: a component's exports tell the host its roles, so a package must
//! export the roles it implements and no other. Each role's module has an export macro of its own, which carries that
//! role's part of the component type; `wit-component` unites the parts. [`crate::export!`] calls those that are asked for.

/// Everything a package may call.
pub mod platform {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "recoil:plugin/platform",
        generate_all,
        runtime_path: "::recoil_sdk::wit_bindgen_rt",
        additional_derives: [PartialEq],
    });
}

/// The role of [`crate::Handler`].
pub mod handler {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package recoil:sdk-handler; world handler-role { export recoil:plugin/handler@0.1.0; }",
        world: "recoil:sdk-handler/handler-role",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_handler",
        default_bindings_module: "recoil_sdk::bindings::handler",
        runtime_path: "::recoil_sdk::wit_bindgen_rt",
    });
}

/// The role of [`crate::Timer`].
pub mod timer {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package recoil:sdk-timer; world timer-role { export recoil:plugin/timer@0.1.0; }",
        world: "recoil:sdk-timer/timer-role",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_timer",
        default_bindings_module: "recoil_sdk::bindings::timer",
        runtime_path: "::recoil_sdk::wit_bindgen_rt",
    });
}

/// The role of [`crate::Listener`].
pub mod tcp_listener {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package recoil:sdk-tcp-listener; world tcp-listener-role { export recoil:plugin/tcp-listener@0.1.0; }",
        world: "recoil:sdk-tcp-listener/tcp-listener-role",
        with: {
            "recoil:plugin/tcp@0.1.0": super::platform::recoil::plugin::tcp,
            "recoil:plugin/router@0.1.0": super::platform::recoil::plugin::router,
        },
        pub_export_macro: true,
        export_macro_name: "export_tcp_listener",
        default_bindings_module: "recoil_sdk::bindings::tcp_listener",
        runtime_path: "::recoil_sdk::wit_bindgen_rt",
    });
}

/// The role of [`crate::HttpHandler`].
pub mod http_handler {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package recoil:sdk-http-handler; world http-handler-role { export recoil:plugin/http-handler@0.1.0; }",
        world: "recoil:sdk-http-handler/http-handler-role",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_http_handler",
        default_bindings_module: "recoil_sdk::bindings::http_handler",
        runtime_path: "::recoil_sdk::wit_bindgen_rt",
    });
}

/// The role of [`crate::Admin`].
pub mod admin {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package recoil:sdk-admin; world admin-role { export recoil:plugin/admin@0.1.0; }",
        world: "recoil:sdk-admin/admin-role",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_admin",
        default_bindings_module: "recoil_sdk::bindings::admin",
        runtime_path: "::recoil_sdk::wit_bindgen_rt",
        additional_derives: [PartialEq],
    });
}

/// The role of [`crate::Scheduler`].
pub mod scheduler {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package recoil:sdk-scheduler; world scheduler-role { export recoil:plugin/scheduler@0.1.0; }",
        world: "recoil:sdk-scheduler/scheduler-role",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_scheduler",
        default_bindings_module: "recoil_sdk::bindings::scheduler",
        runtime_path: "::recoil_sdk::wit_bindgen_rt",
        additional_derives: [PartialEq],
    });
}
