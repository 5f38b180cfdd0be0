package recoil.sdk;

/**
 * A request has bytes that are not UTF-8 where they are read as text. An {@link HttpHandler} that does not catch it answers 400; the
 * bytes as they were sent are in the request's path, query, headers and body.
 */
public final class MalformedRequestException extends RecoilException {
    private static final long serialVersionUID = 1;

    /** A request that cannot be read, with what the client is told. */
    public MalformedRequestException(String reason) {
        super(reason);
    }
}
