/**
 * Write a Recoil package in Java.
 *
 * <p>A package is a WebAssembly component. Its roles are the interfaces that the class named in {@code pom.xml} implements: a
 * {@link recoil.sdk.Handler} owns data, one instance for each partition, each request a transaction; a {@link recoil.sdk.Timer} is told
 * when time has come; a {@link recoil.sdk.Listener} speaks a network protocol and sends requests to partitions; a
 * {@link recoil.sdk.HttpHandler} answers HTTP requests; an {@link recoil.sdk.Admin} has commands for operators. A
 * {@link recoil.sdk.Scheduler} decides where the partitions of a cluster live.
 *
 * <p>Invariant: a package's code reaches the host through {@link recoil.sdk.Transaction}, {@link recoil.sdk.Router} and
 * {@link recoil.sdk.Connection}, and besides for {@link recoil.sdk.Log}, {@link recoil.sdk.Settings} and
 * {@link recoil.sdk.Consensus} through nothing else, so that {@link recoil.sdk.fake} can take the host's place in a test. Deliberately
 * absent: threads (the contract is blocking, an instance is cheap, and overlap comes from {@link recoil.sdk.Router#callMany}) and
 * serialization.
 */
package recoil.sdk;
