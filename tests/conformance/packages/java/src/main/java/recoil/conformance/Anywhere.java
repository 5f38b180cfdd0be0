package recoil.conformance;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import recoil.sdk.Entry;
import recoil.sdk.Log;
import recoil.sdk.RecoilException;
import recoil.sdk.Settings;
import recoil.sdk.Storage;

/** Commands that run anywhere: in a handler on its partition, in a listener on all of them. */
final class Anywhere {
    private static final List<byte[]> NOTHING = List.of();
    private static final Random RANDOM = new Random();

    private Anywhere() {
    }

    /** Runs a command on {@code storage}; null if it is not one of these. */
    static List<byte[]> run(Storage storage, String command, Arguments arguments) throws Refusal {
        try {
            return switch (command) {
                case "echo" -> arguments.rest();
                case "get" -> optional(storage.get(arguments.bytes()));
                case "get-many" -> storage.getMany(arguments.rest()).stream().map(Wire::option).toList();
                case "put" -> {
                    storage.put(arguments.bytes(), arguments.bytes());
                    yield NOTHING;
                }
                case "put-many" -> {
                    storage.putMany(arguments.pairs());
                    yield NOTHING;
                }
                case "remove" -> {
                    storage.remove(arguments.bytes());
                    yield NOTHING;
                }
                case "bump" -> {
                    byte[] key = arguments.bytes();
                    byte[] before = storage.get(key);
                    storage.put(key, arguments.bytes());
                    yield List.of(Wire.option(before));
                }
                case "remove-range" -> {
                    storage.removeRange(arguments.range());
                    yield NOTHING;
                }
                case "scan" -> flat(storage.scan(arguments.range(), arguments.count(), arguments.truth()));
                case "log" -> {
                    Log.write(level(arguments.text()), arguments.text());
                    yield NOTHING;
                }
                case "print" -> {
                    System.out.println(arguments.text());
                    yield NOTHING;
                }
                case "setting" -> {
                    String value = Settings.text(arguments.text());
                    yield optional(value == null ? null : Wire.utf8(value));
                }
                case "churn" -> Wire.texts(churn(arguments.count()));
                case "clock" -> Wire.texts(System.currentTimeMillis() * 1000);
                case "random" -> List.of(random());
                default -> null;
            };
        } catch (RecoilException exception) {
            throw Refusal.of(exception);
        }
    }

    private static List<byte[]> optional(byte[] value) {
        return value == null ? NOTHING : List.of(value);
    }

    private static List<byte[]> flat(List<Entry> entries) {
        List<byte[]> items = new ArrayList<>(2 * entries.size());
        for (Entry entry : entries) {
            items.add(entry.key());
            items.add(entry.value());
        }
        return items;
    }

    private static Log.Level level(String name) throws Refusal {
        return Arrays.stream(Log.Level.values()).filter(level -> level.name().toLowerCase(Locale.ROOT).equals(name)).findFirst()
                .orElseThrow(() -> Refusal.invalid("'" + name + "' is no level"));
    }

    /** Many small objects, all of them alive at once. */
    private static long churn(int count) {
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            texts.add(Integer.toString(i));
        }
        return texts.stream().mapToLong(String::length).sum();
    }

    private static byte[] random() {
        byte[] bytes = new byte[16];
        RANDOM.nextBytes(bytes);
        return bytes;
    }
}
