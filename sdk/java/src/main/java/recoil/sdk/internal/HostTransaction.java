package recoil.sdk.internal;

import org.teavm.interop.Address;
import org.teavm.interop.Import;
import recoil.sdk.PartitionPlace;
import recoil.sdk.Transaction;

/** The interface {@code partition}, with {@code storage}. */
final class HostTransaction extends HostStorage implements Transaction {
    private static final String MODULE = "recoil:plugin/partition@0.1.0";

    @Import(module = MODULE, name = "current")
    private static native void current(Address result);

    @Import(module = MODULE, name = "now")
    private static native long hostNow();

    @Import(module = MODULE, name = "is-read-only")
    private static native int hostIsReadOnly();

    @Import(module = MODULE, name = "set-timer")
    private static native void setTimer(Address id, int idLength, long at, Address payload, int payloadLength);

    @Import(module = MODULE, name = "cancel-timer")
    private static native void cancelTimer(Address id, int idLength);

    @Import(module = MODULE, name = "publish")
    private static native void publish(Address topic, int topicLength, Address message, int messageLength);

    @Override
    public PartitionPlace place() {
        Address result = Memory.returnArea();
        Memory.empty();
        current(result);
        int at = result.toInt();
        return new PartitionPlace(Abi.string(at), Abi.number(at + 8), Abi.number(at + 12), Abi.longNumber(at + 16));
    }

    @Override
    public long now() {
        return hostNow();
    }

    @Override
    public boolean isReadOnly() {
        return hostIsReadOnly() != 0;
    }

    @Override
    public void setTimer(byte[] id, long at, byte[] payload) {
        setTimer(Address.ofData(id), id.length, at, Address.ofData(payload), payload.length);
    }

    @Override
    public void cancelTimer(byte[] id) {
        cancelTimer(Address.ofData(id), id.length);
    }

    @Override
    public void publish(byte[] topic, byte[] message) {
        publish(Address.ofData(topic), topic.length, Address.ofData(message), message.length);
    }
}
