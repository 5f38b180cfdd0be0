package recoil.sdk.internal;

import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.function.Supplier;
import org.teavm.interop.Address;
import org.teavm.interop.Export;
import recoil.sdk.Admin;
import recoil.sdk.Admin.Command;

/** The export {@code admin}. */
public final class AdminRole {
    /** Bytes of a command: a list of strings and two strings. */
    private static final int COMMAND = 3 * Abi.LIST;

    private static Supplier<? extends Admin> role;

    private AdminRole() {
    }

    public static void export(Supplier<? extends Admin> admin) {
        role = admin;
    }

    @Export(name = "recoil:plugin/admin@0.1.0#commands")
    static int commands() {
        try {
            return answer(role.get().commands());
        } catch (Throwable cause) {
            return Roles.ended(cause);
        }
    }

    @Export(name = "recoil:plugin/admin@0.1.0#run")
    static int run(int arguments, int argumentsCount) {
        try {
            List<String> typed = Abi.list(arguments, argumentsCount, Abi.LIST, Abi::string);
            return Roles.ok(Abi.utf8(Objects.requireNonNull(role.get().run(typed, new HostRouter()), "run answered null")));
        } catch (Throwable cause) {
            return Roles.failed(cause);
        }
    }

    private static int answer(List<Command> commands) {
        // Everything is made before the arena is used: from there on nothing may be allocated.
        Command[] all = Objects.requireNonNull(commands, "commands answered null").toArray(new Command[0]);
        byte[][][] words = new byte[all.length][][];
        byte[][] usages = new byte[all.length][];
        byte[][] helps = new byte[all.length][];
        for (int i = 0; i < all.length; i++) {
            words[i] = Arrays.stream(all[i].words().split(" ")).filter(word -> !word.isEmpty()).map(Abi::utf8).toArray(byte[][]::new);
            usages[i] = Abi.utf8(all[i].usage());
            helps[i] = Abi.utf8(all[i].help());
        }
        Memory.empty();
        Address list = Memory.allocate(COMMAND * all.length);
        for (int i = 0; i < all.length; i++) {
            Address command = list.add(COMMAND * i);
            Address called = Memory.allocate(Abi.LIST * words[i].length);
            for (int k = 0; k < words[i].length; k++) {
                Abi.putBytes(called.add(Abi.LIST * k), words[i][k]);
            }
            command.putAddress(called);
            command.add(4).putInt(words[i].length);
            Abi.putBytes(command.add(Abi.LIST), usages[i]);
            Abi.putBytes(command.add(2 * Abi.LIST), helps[i]);
        }
        Address result = Memory.returnArea();
        result.putAddress(list);
        result.add(4).putInt(all.length);
        return Memory.answered();
    }
}
