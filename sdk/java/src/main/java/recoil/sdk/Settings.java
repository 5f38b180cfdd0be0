package recoil.sdk;

import recoil.sdk.internal.Host;

/**
 * What the operator has set for this app: the manifest's defaults, and what {@code recoilctl set} changed. In a test there is no
 * manifest: {@link recoil.sdk.fake.FakeSettings} gives values.
 */
public final class Settings {
    private Settings() {
    }

    /** The value of a setting, as text; null if the manifest has no such setting. */
    public static String text(String name) {
        return Host.setting(name);
    }

    /** The value of a setting whose default is a whole number; null if there is none. */
    public static Long number(String name) {
        String text = text(name);
        return text == null ? null : Long.valueOf(text);
    }

    /** The value of a setting whose default is true or false; null if there is none. */
    public static Boolean truth(String name) {
        String text = text(name);
        return text == null ? null : Boolean.valueOf(text);
    }
}
