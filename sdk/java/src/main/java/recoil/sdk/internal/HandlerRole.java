package recoil.sdk.internal;

import java.util.Objects;
import java.util.function.Supplier;
import org.teavm.interop.Export;
import recoil.sdk.Handler;

/** The export {@code handler}. */
public final class HandlerRole {
    private static Supplier<? extends Handler> role;
    private static HostTransaction transaction;

    private HandlerRole() {
    }

    public static void export(Supplier<? extends Handler> handler) {
        role = handler;
        transaction = new HostTransaction();
    }

    @Export(name = "recoil:plugin/handler@0.1.0#handle")
    static int handle(int request, int requestLength) {
        try {
            byte[] bytes = Abi.bytes(request, requestLength);
            return Roles.ok(Objects.requireNonNull(role.get().handle(transaction, bytes), "handle answered null"));
        } catch (Throwable cause) {
            return Roles.failed(cause);
        }
    }
}
