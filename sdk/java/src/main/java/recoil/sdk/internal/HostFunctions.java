package recoil.sdk.internal;

import org.teavm.interop.Address;
import org.teavm.interop.Import;
import recoil.sdk.Consensus;
import recoil.sdk.Log;
import recoil.sdk.RecoilException;

/** The interfaces {@code log}, {@code settings} and {@code consensus}. */
final class HostFunctions {
    private static final Consensus.Role[] ROLES = Consensus.Role.values();

    private HostFunctions() {
    }

    @Import(module = "recoil:plugin/log@0.1.0", name = "write")
    private static native void write(int level, Address message, int messageLength);

    @Import(module = "recoil:plugin/settings@0.1.0", name = "get")
    private static native void get(Address name, int nameLength, Address result);

    @Import(module = "recoil:plugin/consensus@0.1.0", name = "status")
    private static native void status(Address result);

    @Import(module = "recoil:plugin/consensus@0.1.0", name = "barrier")
    private static native void barrier(Address result);

    static void log(Log.Level level, String message) {
        byte[] text = Abi.utf8(message);
        write(level.ordinal(), Address.ofData(text), text.length);
    }

    static String setting(String name) {
        byte[] text = Abi.utf8(name);
        Address result = Memory.returnArea();
        Memory.empty();
        get(Address.ofData(text), text.length, result);
        int at = result.toInt();
        return Abi.tag(at) == 0 ? null : Abi.string(at + 4);
    }

    static Consensus.GroupStatus status() {
        Address result = Memory.returnArea();
        Memory.empty();
        status(result);
        int at = result.toInt();
        return new Consensus.GroupStatus(Abi.longNumber(at), ROLES[Abi.tag(at + 8)], Abi.longNumber(at + 16),
                Abi.optionalNumber(at + 24), Abi.longNumber(at + 32), Abi.longNumber(at + 40), Abi.numbers(at + 48));
    }

    static long barrier() {
        Address result = Memory.returnArea();
        Memory.empty();
        barrier(result);
        int at = result.toInt();
        if (Abi.tag(at) != 0) {
            throw new RecoilException(RecoilException.Kind.UNAVAILABLE, Abi.string(at + 8));
        }
        return Abi.longNumber(at + 8);
    }
}
