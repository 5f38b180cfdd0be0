package recoil.sdk.internal;

import static recoil.sdk.RecoilException.Kind.CONFLICT;
import static recoil.sdk.RecoilException.Kind.FAILED;
import static recoil.sdk.RecoilException.Kind.REJECTED;
import static recoil.sdk.RecoilException.Kind.UNAVAILABLE;
import static recoil.sdk.RecoilException.Kind.UNKNOWN_OUTCOME;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.teavm.interop.Address;
import org.teavm.interop.Import;
import recoil.sdk.Answer;
import recoil.sdk.Mode;
import recoil.sdk.PartitionInfo;
import recoil.sdk.Pending;
import recoil.sdk.RecoilException;
import recoil.sdk.RoutedCall;
import recoil.sdk.Router;
import recoil.sdk.Storage;
import recoil.sdk.Subscription;

/** The interface {@code router}. */
final class HostRouter implements Router {
    private static final String MODULE = "recoil:plugin/router@0.1.0";
    private static final RecoilException.Kind[] ERRORS = {REJECTED, FAILED, UNKNOWN_OUTCOME, UNAVAILABLE, CONFLICT};
    /** Bytes of a {@code routed-call}, a {@code result<list<u8>, error>} and a {@code partition-info}. */
    private static final int CALL = 24;
    private static final int RESULT = 16;
    private static final int PARTITION_INFO = 32;

    private final Storage storage = new HostStorage();

    @Import(module = MODULE, name = "call")
    private static native void call(int address, Address key, int keyLength, Address request, int requestLength, int mode,
            Address result);

    @Import(module = MODULE, name = "call-many")
    private static native void callMany(Address calls, int count, Address result);

    @Import(module = MODULE, name = "submit")
    private static native int submit(int address, Address key, int keyLength, Address request, int requestLength, int mode);

    @Import(module = MODULE, name = "[method]pending.is-ready")
    private static native int isReady(int pending);

    @Import(module = MODULE, name = "[resource-drop]pending")
    private static native void dropPending(int pending);

    @Import(module = MODULE, name = "wait")
    private static native void await(int pending, Address result);

    @Import(module = MODULE, name = "wait-all")
    private static native void awaitAll(Address pending, int count, Address result);

    @Import(module = MODULE, name = "transact")
    private static native void transact(Address calls, int count, Address result);

    @Import(module = MODULE, name = "scatter")
    private static native void scatter(Address request, int requestLength, int mode, Address result);

    @Import(module = MODULE, name = "locate")
    private static native void locate(Address key, int keyLength, Address result);

    @Import(module = MODULE, name = "partitions")
    private static native void partitions(Address result);

    @Import(module = MODULE, name = "subscribe")
    private static native int subscribe(Address topic, int topicLength);

    @Import(module = MODULE, name = "[method]subscription.next")
    private static native void next(int subscription, int timeoutMillis, Address result);

    @Import(module = MODULE, name = "[resource-drop]subscription")
    private static native void dropSubscription(int subscription);

    @Override
    public byte[] call(RoutedCall call) {
        byte[] key = call.key();
        byte[] request = call.request();
        Address result = Memory.returnArea();
        Memory.empty();
        if (key != null) {
            call(0, Address.ofData(key), key.length, Address.ofData(request), request.length, call.mode().ordinal(), result);
        } else {
            call(1, Address.fromInt(call.partition()), 0, Address.ofData(request), request.length, call.mode().ordinal(), result);
        }
        return Abi.bytes(payload(result));
    }

    @Override
    public List<Answer> callMany(List<RoutedCall> calls) {
        RoutedCall[] items = calls.toArray(new RoutedCall[0]);
        Address result = Memory.returnArea();
        callMany(list(items), items.length, result);
        return answers(result);
    }

    @Override
    public Pending submit(RoutedCall call) {
        byte[] key = call.key();
        byte[] request = call.request();
        int handle = key != null
                ? submit(0, Address.ofData(key), key.length, Address.ofData(request), request.length, call.mode().ordinal())
                : submit(1, Address.fromInt(call.partition()), 0, Address.ofData(request), request.length, call.mode().ordinal());
        return HostPending.of(handle);
    }

    @Override
    public List<Answer> awaitAll(List<? extends Pending> calls) {
        List<HostPending> unsettled = new ArrayList<>();
        for (Pending call : calls) {
            HostPending pending = (HostPending) call;
            if (pending.answer == null) {
                unsettled.add(pending);
            }
        }
        int[] handles = new int[unsettled.size()];
        for (int i = 0; i < handles.length; i++) {
            handles[i] = unsettled.get(i).take();
        }
        Address result = Memory.returnArea();
        Memory.empty();
        awaitAll(Address.ofData(handles), handles.length, result);
        Iterator<Answer> awaited = answers(result).iterator();
        List<Answer> answers = new ArrayList<>(calls.size());
        for (Pending call : calls) {
            HostPending pending = (HostPending) call;
            answers.add(pending.answer == null ? awaited.next() : pending.takeAnswer());
        }
        return answers;
    }

    @Override
    public List<byte[]> transact(List<RoutedCall> calls) {
        RoutedCall[] items = calls.toArray(new RoutedCall[0]);
        Address result = Memory.returnArea();
        transact(list(items), items.length, result);
        int at = payload(result);
        int answers = Abi.number(at);
        int count = Abi.number(at + 4);
        List<byte[]> list = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            list.add(Abi.bytes(answers + Abi.LIST * i));
        }
        return list;
    }

    @Override
    public List<Answer> scatter(byte[] request, Mode mode) {
        Address result = Memory.returnArea();
        Memory.empty();
        scatter(Address.ofData(request), request.length, mode.ordinal(), result);
        return answers(result);
    }

    @Override
    public PartitionInfo locate(byte[] key) {
        Address result = Memory.returnArea();
        Memory.empty();
        locate(Address.ofData(key), key.length, result);
        return info(result.toInt());
    }

    @Override
    public List<PartitionInfo> partitions() {
        Address result = Memory.returnArea();
        Memory.empty();
        partitions(result);
        int at = result.toInt();
        int infos = Abi.number(at);
        int count = Abi.number(at + 4);
        List<PartitionInfo> list = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            list.add(info(infos + PARTITION_INFO * i));
        }
        return list;
    }

    @Override
    public Subscription subscribe(byte[] topic) {
        return new HostSubscription(subscribe(Address.ofData(topic), topic.length));
    }

    @Override
    public Storage storage() {
        return storage;
    }

    /** A {@code list<routed-call>} on its way to the host. */
    private static Address list(RoutedCall[] calls) {
        Memory.empty();
        Address list = Memory.allocate(CALL * calls.length);
        for (int i = 0; i < calls.length; i++) {
            RoutedCall call = calls[i];
            Address at = list.add(CALL * i);
            if (call.key() != null) {
                at.putInt(0);
                Abi.putBytes(at.add(4), call.key());
            } else {
                at.putInt(1);
                at.add(4).putInt(call.partition());
            }
            Abi.putBytes(at.add(12), call.request());
            at.add(20).putInt(call.mode().ordinal());
        }
        return list;
    }

    private static List<Answer> answers(Address result) {
        int results = Abi.number(result.toInt());
        int count = Abi.number(result.toInt() + 4);
        List<Answer> list = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            int at = results + RESULT * i;
            list.add(Abi.tag(at) == 0 ? Answer.of(Abi.bytes(at + 4)) : Answer.of(Abi.error(ERRORS, at + 4)));
        }
        return list;
    }

    private static PartitionInfo info(int at) {
        return new PartitionInfo(Abi.number(at), Abi.optionalNumber(at + 4), Abi.numbers(at + 12), Abi.longNumber(at + 24));
    }

    /** Where the payload of a {@code result<T, error>} lies; throws what the host answered instead. */
    private static int payload(Address result) {
        int at = result.toInt();
        if (Abi.tag(at) != 0) {
            throw Abi.error(ERRORS, at + 4);
        }
        return at + 4;
    }

    /**
     * A call under way. The host bounds how many an instance may have, and an object that its author has forgotten would be one for
     * ever: so when many have come together, the answers of those that are ready are fetched, and only the collector need forget
     * them.
     */
    private static final class HostPending extends Resource implements Pending {
        /** From here on answers are fetched; of the host's 1,024, a quarter and three quarters. */
        private static final int SETTLE_AT_MIN = 256;
        private static final int SETTLE_AT_MAX = 768;

        private static List<HostPending> unsettled = new ArrayList<>();
        private static int settleAt = SETTLE_AT_MIN;

        /** Null until it is fetched. */
        private Answer answer;

        private HostPending(int handle) {
            super(handle);
        }

        static HostPending of(int handle) {
            HostPending pending = new HostPending(handle);
            unsettled.add(pending);
            if (unsettled.size() >= settleAt) {
                settleReady();
            }
            return pending;
        }

        private static void settleReady() {
            List<HostPending> kept = new ArrayList<>();
            for (HostPending call : unsettled) {
                if (call.isGone()) {
                    continue;
                }
                if (call.isReady()) {
                    call.settle();
                } else {
                    kept.add(call);
                }
            }
            if (kept.size() >= SETTLE_AT_MAX) {
                kept.remove(0).settle();
            }
            unsettled = kept;
            settleAt = Math.min(SETTLE_AT_MAX, Math.max(SETTLE_AT_MIN, 2 * kept.size()));
        }

        private void settle() {
            try {
                answer = Answer.of(fetch());
            } catch (RecoilException failure) {
                answer = Answer.of(failure);
            }
        }

        private byte[] fetch() {
            Address result = Memory.returnArea();
            Memory.empty();
            HostRouter.await(take(), result);
            return Abi.bytes(payload(result));
        }

        private Answer takeAnswer() {
            Answer taken = answer;
            answer = null;
            return taken;
        }

        @Override
        public boolean isReady() {
            return answer != null || HostRouter.isReady(handle()) != 0;
        }

        @Override
        public byte[] await() {
            return answer != null ? takeAnswer().get() : fetch();
        }

        @Override
        public void close() {
            answer = null;
            super.close();
        }

        @Override
        void drop(int handle) {
            dropPending(handle);
        }
    }

    static final class HostSubscription extends Resource implements Subscription {
        HostSubscription(int handle) {
            super(handle);
        }

        @Override
        public byte[] next(int timeoutMillis) {
            Address result = Memory.returnArea();
            Memory.empty();
            HostRouter.next(handle(), timeoutMillis, result);
            return Abi.optionalBytes(result.toInt());
        }

        @Override
        void drop(int handle) {
            dropSubscription(handle);
        }
    }
}
