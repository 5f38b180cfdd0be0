package recoil.sdk;

import java.util.List;

/**
 * How a listener reaches partitions, wherever their leaders are. Calls to one partition are answered in the order in which they
 * were made. A failed call throws {@link RecoilException}; of many calls each has an {@link Answer} of its own.
 */
public interface Router {
    /** Runs the handler of one partition and waits for its answer. */
    byte[] call(RoutedCall call);

    /** Many calls in one crossing, the cheapest batch; answers in their order. Not a transaction. */
    List<Answer> callMany(List<RoutedCall> calls);

    /** Starts a call without waiting, to overlap it with other work. */
    Pending submit(RoutedCall call);

    /** Waits for calls under way; answers in the order of {@code calls}. Each of them is used up. */
    List<Answer> awaitAll(List<? extends Pending> calls);

    /**
     * All or nothing across partitions, serializable; answers in the order of {@code calls}, which are evaluated in that order. All
     * partitions must belong to one Raft group (keys with one owner always do), otherwise
     * {@link RecoilException.Kind#REJECTED}.
     */
    List<byte[]> transact(List<RoutedCall> calls);

    /** One call to every partition, answers in partition order. Not a transaction. */
    List<Answer> scatter(byte[] request, Mode mode);

    /** The partition that owns {@code key}, and where it is. */
    PartitionInfo locate(byte[] key);

    /** Every partition, in the order of their ids. */
    List<PartitionInfo> partitions();

    /** What handlers of this app publish on {@code topic} from now on, at most once. */
    Subscription subscribe(byte[] topic);

    /** The app's storage without its handler: each call is one operation on the partition that owns the key. */
    Storage storage();
}
