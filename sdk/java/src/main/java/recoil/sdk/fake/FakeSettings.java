package recoil.sdk.fake;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** What {@link recoil.sdk.Settings} finds in a test. */
public final class FakeSettings {
    private static final Map<String, String> VALUES = new ConcurrentHashMap<>();

    private FakeSettings() {
    }

    /** From now on the setting {@code name} has this value. */
    public static void set(String name, String value) {
        VALUES.put(name, value);
    }

    /** From now on there are no settings. */
    public static void clear() {
        VALUES.clear();
    }

    /** The value of a setting; null if it was not set. */
    public static String get(String name) {
        return VALUES.get(name);
    }
}
