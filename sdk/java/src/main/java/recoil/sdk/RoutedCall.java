package recoil.sdk;

import java.util.Objects;

/**
 * A request and the partition it is for: the owner of {@code key}, or, if that is null, the one with the id {@code partition}.
 * {@link #write}, {@link #read} and {@link #toPartition} make them.
 */
public record RoutedCall(byte[] key, int partition, byte[] request, Mode mode) {
    public RoutedCall {
        Objects.requireNonNull(request, "request");
        Objects.requireNonNull(mode, "mode");
    }

    /** A call to the owner of {@code key} that may write. */
    public static RoutedCall write(byte[] key, byte[] request) {
        return toOwner(key, request, Mode.WRITE);
    }

    /** A linearizable read from the owner of {@code key}. */
    public static RoutedCall read(byte[] key, byte[] request) {
        return toOwner(key, request, Mode.READ);
    }

    /** A call to the owner of {@code key}. */
    public static RoutedCall toOwner(byte[] key, byte[] request, Mode mode) {
        return new RoutedCall(Objects.requireNonNull(key, "key"), 0, request, mode);
    }

    /** A call to a partition by its id, from 0 to their number less one. */
    public static RoutedCall toPartition(int id, byte[] request, Mode mode) {
        return new RoutedCall(null, id, request, mode);
    }
}
