package recoil.sdk.internal;

import org.teavm.interop.PlatformMarker;
import recoil.sdk.Consensus;
import recoil.sdk.Log;
import recoil.sdk.fake.FakeSettings;

/** Those functions of the contract that a package calls wherever it is, in a component or, in a test, on a JVM. */
public final class Host {
    private Host() {
    }

    /** False on a JVM. The compiler makes it true, and leaves out what the other branch needs. */
    @PlatformMarker
    private static boolean isComponent() {
        return false;
    }

    public static void log(Log.Level level, String message) {
        if (isComponent()) {
            HostFunctions.log(level, message);
        } else {
            System.err.println(level + ": " + message);
        }
    }

    public static String setting(String name) {
        return isComponent() ? HostFunctions.setting(name) : FakeSettings.get(name);
    }

    public static Consensus.GroupStatus status() {
        requireComponent();
        return HostFunctions.status();
    }

    public static long barrier() {
        requireComponent();
        return HostFunctions.barrier();
    }

    private static void requireComponent() {
        if (!isComponent()) {
            throw new UnsupportedOperationException("the consensus of a fake partition: test it on a cluster");
        }
    }
}
