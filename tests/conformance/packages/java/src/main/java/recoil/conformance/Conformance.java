package recoil.conformance;

import java.nio.charset.StandardCharsets;
import java.util.List;
import recoil.sdk.Admin;
import recoil.sdk.Connection;
import recoil.sdk.Handler;
import recoil.sdk.HttpHandler;
import recoil.sdk.HttpHeader;
import recoil.sdk.HttpRequest;
import recoil.sdk.HttpResponse;
import recoil.sdk.Listener;
import recoil.sdk.RecoilException;
import recoil.sdk.Router;
import recoil.sdk.Scheduler;
import recoil.sdk.Timer;
import recoil.sdk.Transaction;

/**
 * Everything that the contract offers, behind the protocol of {@code tests/conformance/PROTOCOL.md}.
 *
 * <p>A request is a {@link Wire list} of a command and its arguments, whatever brought it. {@link Anywhere} runs those that need
 * nothing but storage, {@link Owner} those of a handler, {@link Caller} those of a listener; {@link Session} carries them over TCP.
 * {@link Office} has the commands for operators, {@link Planner} is the scheduler.
 */
public final class Conformance implements Handler, Timer, Listener, HttpHandler, Admin, Scheduler {
    private static final String BYTES = "application/octet-stream";
    private static final String STATUS = "/status/";

    @Override
    public byte[] handle(Transaction transaction, byte[] request) throws Exception {
        try {
            Arguments arguments = new Arguments(request);
            String command = arguments.text();
            List<byte[]> answer = Anywhere.run(transaction, command, arguments);
            return Wire.encode(answer != null ? answer : Owner.run(transaction, command, arguments));
        } catch (Refusal refusal) {
            throw new RecoilException(refusal.kind() + ": " + refusal.getMessage());
        }
    }

    @Override
    public void fire(Transaction transaction, byte[] id, byte[] payload) {
        byte[] prefix = "fired:".getBytes(StandardCharsets.UTF_8);
        byte[] key = new byte[prefix.length + id.length];
        System.arraycopy(prefix, 0, key, 0, prefix.length);
        System.arraycopy(id, 0, key, prefix.length, id.length);
        transaction.put(key, payload);
    }

    @Override
    public void serve(Connection connection, Router router) throws Exception {
        new Session(connection, router).run();
    }

    @Override
    public HttpResponse respond(HttpRequest request, Router router) throws Exception {
        String path = request.path();
        if (path.equals("/call") && request.method().equals("POST")) {
            byte[] answer = Wire.answer(() -> {
                Arguments arguments = new Arguments(request.body());
                return Caller.run(router, request.peerAddress(), arguments.text(), arguments);
            });
            return HttpResponse.of(200).withBody(BYTES, answer);
        }
        if (path.equals("/mirror")) {
            return mirror(request);
        }
        if (path.equals("/fail")) {
            throw new RecoilException("asked to fail");
        }
        if (path.equals("/throw")) {
            throw new IllegalStateException("asked to throw");
        }
        if (path.startsWith(STATUS) && path.substring(STATUS.length()).matches("\\d{3}")) {
            return HttpResponse.of(Integer.parseInt(path.substring(STATUS.length())));
        }
        return HttpResponse.text(404, "not found");
    }

    @Override
    public List<Command> commands() {
        return Office.COMMANDS;
    }

    @Override
    public String run(List<String> arguments, Router router) throws Exception {
        return Office.run(arguments, router);
    }

    @Override
    public List<Placement> plan(View view) {
        return Planner.plan(view);
    }

    private static HttpResponse mirror(HttpRequest request) {
        HttpResponse response = HttpResponse.of(200).withBody(BYTES, request.body()).withHeader("x-method", request.method())
                .withHeader("x-path", request.path()).withHeader("x-query", request.query());
        for (HttpHeader header : request.headers()) {
            if (header.name().startsWith("x-")) {
                response = response.withHeader(header);
            }
        }
        return response;
    }
}
