package org.teavm.runtime;

import org.teavm.interop.Address;
import org.teavm.interop.Unmanaged;

/**
 * Repairs the table of static fields that hold references, from which the collector starts to mark and which it updates when it has
 * moved objects.
 *
 * <p>TeaVM's compiler writes the number of entries as 64 bits, and its collector reads the table as if they were 32. Everything is then
 * one entry off: the first entry that the collector sees is the upper half of the number, a null, which it passes over, and the last
 * one it never sees. So the objects that only the last static field of the program refers to are freed or moved beneath it. Which field
 * is the last depends on the order in which the compiler meets the classes, so any change to a package can make it another one.
 */
@Unmanaged
public final class StaticRoots {
    private StaticRoots() {
    }

    /** Moves the entries to where the collector looks for them. Runs once, before anything is allocated. */
    public static void repair() {
        Address table = Mutator.getStaticGCRoots();
        int count = table.getInt();
        Address first = table.add(Address.sizeOf());
        // No field lies at address 0. A compiler that writes 32 bits has the first field's address here.
        if (count > 0 && first.getInt() == 0) {
            Address.moveMemoryBlock(first.add(Address.sizeOf()), first, count * Address.sizeOf());
        }
    }
}
