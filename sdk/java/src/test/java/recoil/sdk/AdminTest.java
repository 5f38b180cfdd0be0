package recoil.sdk;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import org.junit.jupiter.api.Test;
import recoil.sdk.fake.FakeCluster;

/** Commands are tested as an author would: on a cluster in memory. */
class AdminTest {
    /** Keeps notes, and says what was there before. */
    private static final class Notes implements Handler, Admin {
        @Override
        public byte[] handle(Transaction transaction, byte[] request) {
            byte[] key = "note".getBytes(UTF_8);
            byte[] before = transaction.get(key);
            transaction.put(key, request);
            return before == null ? new byte[0] : before;
        }

        @Override
        public List<Command> commands() {
            return List.of(new Command("note put", "KEY TEXT", "Keep a text."));
        }

        @Override
        public String run(List<String> arguments, Router router) {
            if (arguments.size() != 4 || !arguments.subList(0, 2).equals(List.of("note", "put"))) {
                throw new RecoilException("write note put KEY TEXT");
            }
            byte[] key = arguments.get(2).getBytes(UTF_8);
            byte[] before = router.call(RoutedCall.write(key, arguments.get(3).getBytes(UTF_8)));
            return arguments.get(2) + " was '" + new String(before, UTF_8) + "'";
        }
    }

    @Test
    void aCommandReachesTheDataByTheRouter() throws Exception {
        Notes notes = new Notes();
        FakeCluster cluster = new FakeCluster(notes, 4, 2);
        assertEquals("größe was ''", notes.run(List.of("note", "put", "größe", "one"), cluster));
        assertEquals("größe was 'one'", notes.run(List.of("note", "put", "größe", "two"), cluster));
        assertEquals("write note put KEY TEXT",
                assertThrows(RecoilException.class, () -> notes.run(List.of("note"), cluster)).reason());
        assertEquals(List.of(new Admin.Command("note put", "KEY TEXT", "Keep a text.")), notes.commands());
    }
}
