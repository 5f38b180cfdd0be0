package recoil.sdk.internal;

import static recoil.sdk.RecoilException.Kind.QUOTA_EXCEEDED;
import static recoil.sdk.RecoilException.Kind.READ_ONLY;
import static recoil.sdk.RecoilException.Kind.TOO_LARGE;
import static recoil.sdk.RecoilException.Kind.UNAVAILABLE;

import java.util.ArrayList;
import java.util.List;
import org.teavm.interop.Address;
import org.teavm.interop.Import;
import recoil.sdk.Entry;
import recoil.sdk.KeyRange;
import recoil.sdk.RecoilException;
import recoil.sdk.Storage;

/** The interface {@code storage}. */
class HostStorage implements Storage {
    private static final String MODULE = "recoil:plugin/storage@0.1.0";
    private static final RecoilException.Kind[] ERRORS = {TOO_LARGE, READ_ONLY, QUOTA_EXCEEDED, UNAVAILABLE};
    /** Bytes of an {@code option<list<u8>>} and of an {@code entry}. */
    private static final int OPTION = 12;
    private static final int ENTRY = 16;
    private static final byte[] NONE = new byte[0];

    @Import(module = MODULE, name = "get")
    private static native void get(Address key, int keyLength, Address result);

    @Import(module = MODULE, name = "get-many")
    private static native void getMany(Address keys, int count, Address result);

    @Import(module = MODULE, name = "put")
    private static native void put(Address key, int keyLength, Address value, int valueLength, Address result);

    @Import(module = MODULE, name = "put-many")
    private static native void putMany(Address entries, int count, Address result);

    @Import(module = MODULE, name = "remove")
    private static native void remove(Address key, int keyLength, Address result);

    @Import(module = MODULE, name = "remove-range")
    private static native void removeRange(
            Address start, int startLength, int hasEnd, Address end, int endLength, Address result);

    @Import(module = MODULE, name = "scan")
    private static native void scan(Address start, int startLength, int hasEnd, Address end, int endLength, int limit,
            int reverse, Address result);

    @Override
    public byte[] get(byte[] key) {
        Address result = Memory.returnArea();
        Memory.empty();
        get(Address.ofData(key), key.length, result);
        return Abi.optionalBytes(payload(result));
    }

    @Override
    public List<byte[]> getMany(List<byte[]> keys) {
        Address result = Memory.returnArea();
        int count = keys.size();
        getMany(Abi.listOfBytes(keys), count, result);
        int at = payload(result);
        int values = Abi.number(at);
        List<byte[]> list = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            list.add(Abi.optionalBytes(values + OPTION * i));
        }
        return list;
    }

    @Override
    public void put(byte[] key, byte[] value) {
        Address result = Memory.returnArea();
        Memory.empty();
        put(Address.ofData(key), key.length, Address.ofData(value), value.length, result);
        payload(result);
    }

    @Override
    public void putMany(List<Entry> entries) {
        Entry[] items = entries.toArray(new Entry[0]);
        Address result = Memory.returnArea();
        Memory.empty();
        Address list = Memory.allocate(ENTRY * items.length);
        for (int i = 0; i < items.length; i++) {
            Abi.putBytes(list.add(ENTRY * i), items[i].key());
            Abi.putBytes(list.add(ENTRY * i + Abi.LIST), items[i].value());
        }
        putMany(list, items.length, result);
        payload(result);
    }

    @Override
    public void remove(byte[] key) {
        Address result = Memory.returnArea();
        Memory.empty();
        remove(Address.ofData(key), key.length, result);
        payload(result);
    }

    @Override
    public void removeRange(KeyRange within) {
        byte[] start = within.start();
        byte[] end = within.end() == null ? NONE : within.end();
        Address result = Memory.returnArea();
        Memory.empty();
        removeRange(Address.ofData(start), start.length, within.end() == null ? 0 : 1, Address.ofData(end), end.length, result);
        payload(result);
    }

    @Override
    public List<Entry> scan(KeyRange within, int limit, boolean reverse) {
        byte[] start = within.start();
        byte[] end = within.end() == null ? NONE : within.end();
        Address result = Memory.returnArea();
        Memory.empty();
        scan(Address.ofData(start), start.length, within.end() == null ? 0 : 1, Address.ofData(end), end.length, limit,
                reverse ? 1 : 0, result);
        int at = payload(result);
        int entries = Abi.number(at);
        int count = Abi.number(at + 4);
        List<Entry> list = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            int entry = entries + ENTRY * i;
            list.add(new Entry(Abi.bytes(entry), Abi.bytes(entry + Abi.LIST)));
        }
        return list;
    }

    /** Where the payload of a {@code result<T, error>} lies; throws what the host answered instead. */
    private static int payload(Address result) {
        int at = result.toInt();
        if (Abi.tag(at) != 0) {
            throw Abi.error(ERRORS, at + 4);
        }
        return at + 4;
    }
}
