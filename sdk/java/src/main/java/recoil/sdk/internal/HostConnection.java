package recoil.sdk.internal;

import static recoil.sdk.RecoilException.Kind.CLOSED;
import static recoil.sdk.RecoilException.Kind.FAILED;
import static recoil.sdk.RecoilException.Kind.TIMED_OUT;

import java.util.List;
import org.teavm.interop.Address;
import org.teavm.interop.Import;
import recoil.sdk.Connection;
import recoil.sdk.RecoilException;
import recoil.sdk.Subscription;

/** The interface {@code tcp}. */
final class HostConnection extends Resource implements Connection {
    private static final String MODULE = "recoil:plugin/tcp@0.1.0";
    private static final RecoilException.Kind[] ERRORS = {CLOSED, TIMED_OUT, FAILED};

    HostConnection(int handle) {
        super(handle);
    }

    @Import(module = MODULE, name = "[method]connection.peer-address")
    private static native void peerAddress(int self, Address result);

    @Import(module = MODULE, name = "[method]connection.read")
    private static native void read(int self, int limit, Address result);

    @Import(module = MODULE, name = "[method]connection.write")
    private static native void write(int self, Address data, int dataLength, Address result);

    @Import(module = MODULE, name = "[method]connection.wait-any")
    private static native void waitAny(int self, Address subscriptions, int count, int timeoutMillis, Address result);

    @Import(module = MODULE, name = "[resource-drop]connection")
    private static native void dropConnection(int self);

    @Override
    public String peerAddress() {
        Address result = Memory.returnArea();
        Memory.empty();
        peerAddress(handle(), result);
        return Abi.string(result.toInt());
    }

    @Override
    public byte[] read(int limit) {
        Address result = Memory.returnArea();
        Memory.empty();
        read(handle(), limit, result);
        return Abi.bytes(payload(result));
    }

    @Override
    public void write(byte[] data) {
        Address result = Memory.returnArea();
        Memory.empty();
        write(handle(), Address.ofData(data), data.length, result);
        payload(result);
    }

    @Override
    public Event waitAny(List<? extends Subscription> subscriptions, int timeoutMillis) {
        int[] handles = new int[subscriptions.size()];
        for (int i = 0; i < handles.length; i++) {
            handles[i] = ((HostRouter.HostSubscription) subscriptions.get(i)).handle();
        }
        Address result = Memory.returnArea();
        Memory.empty();
        waitAny(handle(), Address.ofData(handles), handles.length, timeoutMillis, result);
        int at = result.toInt();
        if (Abi.tag(at) == 0) {
            return null;
        }
        return Abi.tag(at + 4) == 0 ? new Readable() : new Message(Abi.number(at + 8));
    }

    @Override
    void drop(int handle) {
        dropConnection(handle);
    }

    private static int payload(Address result) {
        int at = result.toInt();
        if (Abi.tag(at) != 0) {
            throw Abi.error(ERRORS, at + 4);
        }
        return at + 4;
    }
}
