package recoil.sdk.internal;

import java.util.function.Supplier;
import org.teavm.interop.Export;
import recoil.sdk.Listener;

/** The export {@code tcp-listener}. */
public final class ListenerRole {
    private static final byte[] NOTHING = new byte[0];

    private static Supplier<? extends Listener> role;

    private ListenerRole() {
    }

    public static void export(Supplier<? extends Listener> listener) {
        role = listener;
    }

    @Export(name = "recoil:plugin/tcp-listener@0.1.0#serve")
    static int serve(int connection) {
        try (HostConnection owned = new HostConnection(connection)) {
            role.get().serve(owned, new HostRouter());
            return Roles.ok(NOTHING);
        } catch (Throwable cause) {
            return Roles.failed(cause);
        }
    }
}
