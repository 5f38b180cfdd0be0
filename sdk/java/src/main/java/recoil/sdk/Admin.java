package recoil.sdk;

import java.util.List;

/**
 * Has commands for operators, which {@code recoilctl APP ARGUMENTS…} runs. Each call has an instance of its own, which has a router as
 * that of a listener has, and neither partition nor connection.
 */
public interface Admin {
    /**
     * What {@code recoilctl APP --help} lists. An exception ends the instance, with its stack in the package's log: there is no list then.
     */
    List<Command> commands() throws Exception;

    /**
     * Runs the command that the operator typed behind the app's name, and answers what is printed, as it is. An exception is printed as an
     * error, and recoilctl fails: the text of a {@link RecoilException} is told as it is, of any other exception also the class.
     *
     * <p>The operator may break a command off at any time, so it should be safe to run it again.
     */
    String run(List<String> arguments, Router router) throws Exception;

    /**
     * A command, as recoilctl lists it.
     *
     * @param words those by which it is called, with spaces between them, such as {@code key create}
     * @param usage what follows them, such as {@code NAME [--bucket BUCKET]}
     * @param help one sentence for an operator
     */
    record Command(String words, String usage, String help) {
    }
}
