package recoil.sdk.internal;

import java.util.Objects;
import java.util.function.Supplier;
import org.teavm.interop.Address;
import org.teavm.interop.Export;
import recoil.sdk.HttpHandler;
import recoil.sdk.HttpHeader;
import recoil.sdk.HttpRequest;
import recoil.sdk.HttpResponse;
import recoil.sdk.MalformedRequestException;

/** The export {@code http-handler}. */
public final class HttpHandlerRole {
    /** Bytes of a header: a string and a list. */
    private static final int HEADER = 2 * Abi.LIST;

    private static Supplier<? extends HttpHandler> role;

    private HttpHandlerRole() {
    }

    public static void export(Supplier<? extends HttpHandler> handler) {
        role = handler;
    }

    @Export(name = "recoil:plugin/http-handler@0.1.0#handle")
    static int handle(int method, int methodLength, int path, int pathLength, int query, int queryLength, int headers,
            int headersCount, int body, int bodyLength, int peerAddress, int peerAddressLength) {
        try {
            HttpRequest request = new HttpRequest(Abi.string(method, methodLength), Abi.string(path, pathLength),
                    Abi.string(query, queryLength), Abi.list(headers, headersCount, HEADER, HttpHandlerRole::header),
                    Abi.bytes(body, bodyLength), Abi.string(peerAddress, peerAddressLength));
            return answer(respond(request));
        } catch (Throwable cause) {
            return Roles.failed(cause);
        }
    }

    private static HttpResponse respond(HttpRequest request) throws Exception {
        try {
            return role.get().respond(request, new HostRouter());
        } catch (MalformedRequestException malformed) {
            return HttpResponse.text(400, malformed.getMessage() + "\n");
        }
    }

    private static HttpHeader header(int at) {
        return new HttpHeader(Abi.string(at), Abi.bytes(at + Abi.LIST));
    }

    private static int answer(HttpResponse response) {
        Objects.requireNonNull(response, "respond answered null");
        // Everything is made before the arena is used: from there on nothing may be allocated.
        HttpHeader[] headers = response.headers().toArray(new HttpHeader[0]);
        byte[][] names = new byte[headers.length][];
        for (int i = 0; i < headers.length; i++) {
            names[i] = Abi.utf8(headers[i].name());
        }
        Memory.empty();
        Address list = Memory.allocate(HEADER * headers.length);
        for (int i = 0; i < headers.length; i++) {
            Abi.putBytes(list.add(HEADER * i), names[i]);
            Abi.putBytes(list.add(HEADER * i + Abi.LIST), headers[i].value());
        }
        Address result = Memory.returnArea();
        result.putByte((byte) 0);
        result.add(4).putShort((short) response.status());
        result.add(8).putAddress(list);
        result.add(12).putInt(headers.length);
        Abi.putBytes(result.add(16), response.body());
        return Memory.answered();
    }
}
