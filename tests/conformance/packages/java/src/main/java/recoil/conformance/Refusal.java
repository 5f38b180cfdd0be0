package recoil.conformance;

import recoil.sdk.RecoilException;

/** Why a command has no answer: a kind that programs look at, and a text for people. */
final class Refusal extends Exception {
    private static final long serialVersionUID = 1;

    private final String kind;

    private Refusal(String kind, String text) {
        super(text);
        this.kind = kind;
    }

    /** The request is not one. */
    static Refusal invalid(String text) {
        return new Refusal("invalid", text);
    }

    /** What the host or a handler refused, as the contract calls it. */
    static Refusal of(RecoilException exception) {
        return new Refusal(exception.kind().name().toLowerCase().replace('_', '-'), exception.reason());
    }

    String kind() {
        return kind;
    }
}
