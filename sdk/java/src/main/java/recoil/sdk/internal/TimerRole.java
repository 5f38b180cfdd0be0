package recoil.sdk.internal;

import java.util.function.Supplier;
import org.teavm.interop.Export;
import recoil.sdk.Timer;

/** The export {@code timer}. */
public final class TimerRole {
    private static final byte[] NOTHING = new byte[0];

    private static Supplier<? extends Timer> role;

    private TimerRole() {
    }

    public static void export(Supplier<? extends Timer> timer) {
        role = timer;
    }

    @Export(name = "recoil:plugin/timer@0.1.0#fire")
    static int fire(int id, int idLength, int payload, int payloadLength) {
        try {
            byte[] idBytes = Abi.bytes(id, idLength);
            byte[] payloadBytes = Abi.bytes(payload, payloadLength);
            role.get().fire(new HostTransaction(), idBytes, payloadBytes);
            return Roles.ok(NOTHING);
        } catch (Throwable cause) {
            return Roles.failed(cause);
        }
    }
}
