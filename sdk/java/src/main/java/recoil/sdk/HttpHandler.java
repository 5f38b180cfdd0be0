package recoil.sdk;

/**
 * Answers HTTP requests. The host owns the server; an instance answers one request at a time and is kept for later ones, so that
 * what it holds in memory is a cache only.
 */
public interface HttpHandler {
    /**
     * Answers one request. An exception is answered with status 500 and written to the package's log: what the client should know
     * goes into a response.
     */
    HttpResponse respond(HttpRequest request, Router router) throws Exception;
}
