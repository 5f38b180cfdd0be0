package recoil.conformance;

import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import recoil.sdk.Connection;
import recoil.sdk.RecoilException;
import recoil.sdk.Router;
import recoil.sdk.Subscription;

/** The protocol over TCP: frames in their order, each answered before the next is looked at. */
final class Session {
    /** Bytes of a frame behind its length. */
    private static final int FRAME_BYTES_MAX = 16 << 20;
    private final Connection connection;
    private final Router router;
    private final DataInputStream input;
    private final List<Subscription> subscriptions = new ArrayList<>();

    Session(Connection connection, Router router) {
        this.connection = connection;
        this.router = router;
        this.input = new DataInputStream(connection.inputStream());
    }

    void run() throws IOException {
        while (true) {
            byte[] request = frame();
            if (request == null) {
                return;
            }
            byte[] answer = Wire.answer(() -> run(new Arguments(request)));
            // Two writes, so that a long answer is not copied for the sake of its length.
            connection.write(ByteBuffer.allocate(4).putInt(answer.length).array());
            connection.write(answer);
        }
    }

    /** The next request; null at the end of the stream. */
    private byte[] frame() throws IOException {
        int length;
        try {
            length = input.readInt();
        } catch (EOFException end) {
            return null;
        }
        if (length < 0 || length > FRAME_BYTES_MAX) {
            throw new RecoilException("a frame of " + (length & 0xffffffffL) + " bytes: at most " + FRAME_BYTES_MAX + " are taken");
        }
        byte[] request = new byte[length];
        input.readFully(request);
        return request;
    }

    private List<byte[]> run(Arguments arguments) throws Refusal {
        String command = arguments.text();
        switch (command) {
            case "subscribe":
                subscriptions.add(router.subscribe(arguments.bytes()));
                return List.of();
            case "next": {
                int number = arguments.count();
                int timeoutMillis = arguments.count();
                if (number >= subscriptions.size()) {
                    throw Refusal.invalid("no subscription " + number);
                }
                byte[] message = subscriptions.get(number).next(timeoutMillis);
                return message == null ? List.of() : List.of(message);
            }
            case "wait": {
                Connection.Event event = connection.waitAny(subscriptions, arguments.count());
                if (event instanceof Connection.Message message) {
                    return Wire.texts("message", message.subscription());
                }
                return event == null ? List.of() : Wire.texts("readable");
            }
            default:
                return Caller.run(router, connection.peerAddress(), command, arguments);
        }
    }
}
