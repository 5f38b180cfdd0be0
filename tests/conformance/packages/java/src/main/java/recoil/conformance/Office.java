package recoil.conformance;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.stream.Collectors;
import recoil.sdk.Admin.Command;
import recoil.sdk.Mode;
import recoil.sdk.RecoilException;
import recoil.sdk.RoutedCall;
import recoil.sdk.Router;

/** Commands for operators: they reach the data by calls of the handler, and print what they were given. */
final class Office {
    static final List<Command> COMMANDS = List.of(
            new Command("key put", "KEY VALUE", "Put a value at a key."),
            new Command("key get", "KEY", "Print the value of a key."),
            new Command("echo", "WORDS…", "Print the words, each in brackets: [größe]."),
            new Command("fail", "TEXT", "Refuse, for this reason."),
            new Command("throw", "TEXT", "Throw an exception."));

    private Office() {
    }

    static String run(List<String> typed, Router router) throws Refusal {
        String called = String.join(" ", typed.subList(0, Math.min(typed.size(), 2)));
        if (called.equals("key put") && typed.size() == 4) {
            call(router, Mode.WRITE, typed.subList(1, 4));
            return "";
        }
        if (called.equals("key get") && typed.size() == 3) {
            List<byte[]> answer = call(router, Mode.READ, typed.subList(1, 3));
            if (answer.isEmpty()) {
                throw new RecoilException("no such key");
            }
            return new String(answer.get(0), StandardCharsets.UTF_8);
        }
        String first = typed.isEmpty() ? "" : typed.get(0);
        if (first.equals("echo")) {
            return typed.stream().skip(1).map(word -> "[" + word + "]").collect(Collectors.joining());
        }
        if (first.equals("fail") && typed.size() == 2) {
            throw new RecoilException(typed.get(1));
        }
        if (first.equals("throw") && typed.size() == 2) {
            throw new IllegalStateException(typed.get(1));
        }
        throw new RecoilException("no such command");
    }

    /** What the handler answers to a command whose first argument is the key. */
    private static List<byte[]> call(Router router, Mode mode, List<String> command) throws Refusal {
        byte[] request = Wire.encode(Wire.texts(command.toArray()));
        return Wire.decode(router.call(RoutedCall.toOwner(Wire.utf8(command.get(1)), request, mode)));
    }
}
