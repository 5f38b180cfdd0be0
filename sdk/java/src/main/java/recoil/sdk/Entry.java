package recoil.sdk;

/** A key and its value. The arrays are not copied. */
public record Entry(byte[] key, byte[] value) {
}
