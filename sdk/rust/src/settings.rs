//! What the operator has set for this app: the manifest's defaults, and what `recoilctl set` changed.
//!
//! In a native test there is no manifest: [`fake::set_setting`](crate::fake::set_setting) gives values.

/// The value of a setting, as text; none if the manifest has no such setting.
pub fn text(name: &str) -> Option<String> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::platform::recoil::plugin::settings::get(name);
    #[cfg(not(target_arch = "wasm32"))]
    crate::fake::setting(name)
}

/// The value of a setting whose default is a number.
pub fn integer(name: &str) -> Option<i64> {
    text(name)?.parse().ok()
}

/// The value of a setting whose default is true or false.
pub fn boolean(name: &str) -> Option<bool> {
    text(name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_gives_the_values() {
        assert_eq!(text("greeting"), None);
        crate::fake::set_setting("greeting", "hi");
        crate::fake::set_setting("count", "-3");
        crate::fake::set_setting("loud", "true");
        assert_eq!(
            (text("greeting").as_deref(), integer("count"), boolean("loud")),
            (Some("hi"), Some(-3), Some(true))
        );
        assert_eq!((integer("greeting"), boolean("count")), (None, None));
    }
}
