/**
 * Between the SDK's interfaces and the contract's functions, and between Java and WebAssembly. No part of what authors use: it changes
 * with the contract and the compiler.
 *
 * <p>{@code Host…} are the contract's imports, {@code …Role} its exports, {@link recoil.sdk.internal.Memory} is where their values
 * lie; {@code JavaRuntime} and {@code Mathematics} are what the compiler's runtime lacks.
 */
package recoil.sdk.internal;
