package recoil.compiler;

/** What the author of a package has to mend. */
final class BuildException extends Exception {
    private static final long serialVersionUID = 1;

    BuildException(String message) {
        super(message);
    }
}
