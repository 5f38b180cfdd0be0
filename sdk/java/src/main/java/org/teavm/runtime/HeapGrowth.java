package org.teavm.runtime;

import org.teavm.backend.wasm.WasmHeap;
import org.teavm.interop.Address;
import org.teavm.interop.Structure;
import org.teavm.interop.Unmanaged;
import recoil.sdk.internal.Memory;

/**
 * How the collector finds room and how its heap grows: the compiler puts these methods in the place of {@link GC}'s own, whose fields
 * are its package's. What differs:
 * <ul>
 * <li>An allocation never uses up a free chunk, so there always is one. Without any the collector would take the last collection's
 *     first for it.
 * <li>The last chunk, which growing extends, is looked for. The collector keeps it while it moves objects, and when it runs out of
 *     room for its notes about them, others are behind what it has kept.
 * <li>A growth is as large as the host allows, and more than a few bytes: a chunk a few bytes larger than what is wanted is of no use.
 * <li>A large heap grows by half, so that there is memory for other things than the heap.
 * </ul>
 */
@Unmanaged
public final class HeapGrowth {
    /** A header: what is left of a chunk must have room for it. */
    private static final int CHUNK_BYTES_MIN = 8;
    /** The heap grows by no less. */
    private static final int GROWTH_BYTES_MIN = 64 << 10;
    /** A heap with more in use is large. */
    private static final int LARGE_BYTES = 4 << 20;

    private HeapGrowth() {
    }

    /** How many chunks the list of free ones holds, which lies at the start of the work area. */
    public static int freeChunks() {
        return GC.totalChunks;
    }

    static boolean hasAvailableMemory(int size) {
        return fits(GC.currentChunk, size) || getNextChunkIfPossible(size);
    }

    static boolean hasAvailableChunk(int size) {
        if (size == 0) {
            return true;
        }
        FreeChunkHolder holder = GC.currentChunkPointer;
        for (int i = 0; i < GC.freeChunks; i++) {
            if (fits(holder.value, size)) {
                return true;
            }
            holder = Structure.add(FreeChunkHolder.class, holder, 1);
        }
        return false;
    }

    static boolean getNextChunkIfPossible(int size) {
        while (true) {
            if (GC.currentChunk.toAddress().isLessThan(GC.currentChunkLimit)) {
                GC.currentChunk.classReference = 0;
                GC.currentChunk.size = GC.currentChunkLimit.toInt() - GC.currentChunk.toAddress().toInt();
            }
            if (--GC.freeChunks == 0) {
                return false;
            }
            GC.currentChunkPointer = Structure.add(FreeChunkHolder.class, GC.currentChunkPointer, 1);
            GC.currentChunk = GC.currentChunkPointer.value;
            if (fits(GC.currentChunk, size)) {
                GC.currentChunkLimit = GC.currentChunk.toAddress().add(GC.currentChunk.size);
                return true;
            }
            GC.freeMemory -= GC.currentChunk.size;
        }
    }

    private static boolean fits(FreeChunk chunk, int size) {
        return chunk.size >= size + CHUNK_BYTES_MIN;
    }

    /** The size of a heap with room for {@code size} bytes behind its last object. */
    static long computeMinRequestedSize(int size) {
        findLastChunk();
        int free = GC.lastChunk.classReference == 0 ? GC.lastChunk.size : 0;
        return (long) WasmHeap.heapSize + size + GROWTH_BYTES_MIN - free;
    }

    /** Right after a collection: grows if less than {@code requested} is there, or more than half of it in use. */
    static void resizeHeapIfNecessary(long requested) {
        int heap = WasmHeap.heapSize;
        long occupied = heap - GC.freeMemory;
        if (requested <= heap && occupied <= heap / 2) {
            return;
        }
        long wanted = occupied > LARGE_BYTES ? occupied / 2 * 3 : occupied * 2;
        if (wanted < requested) {
            wanted = requested;
        }
        if (wanted < heap + GROWTH_BYTES_MIN) {
            return; // a large heap, of which more than half is in use, but not two thirds
        }
        if (wanted > WasmHeap.maxHeapSize) {
            wanted = WasmHeap.maxHeapSize;
        }
        int possible = Memory.reserve((int) wanted & -8, GROWTH_BYTES_MIN);
        if (possible > heap) {
            grow(possible);
        }
    }

    private static void grow(int size) {
        int grown = size - WasmHeap.heapSize;
        int regionsBefore = WasmHeap.regionsCount;
        findLastChunk();
        Memory.resizeHeap(size);
        GC.currentChunkPointer = WasmHeap.storageAddress.toStructure();
        Address.fill(WasmHeap.regionsAddress.add(WasmHeap.calculateRegionsSize(regionsBefore)), (byte) 0,
                WasmHeap.calculateRegionsSize(WasmHeap.regionsCount - regionsBefore));
        if (GC.lastChunk.classReference == 0) {
            GC.lastChunk.size += grown;
        } else {
            GC.lastChunk = end(GC.lastChunk).toStructure();
            GC.lastChunk.classReference = 0;
            GC.lastChunk.size = grown;
            Structure.add(FreeChunkHolder.class, GC.currentChunkPointer, GC.freeChunks).value = GC.lastChunk;
            GC.freeChunks++;
            GC.totalChunks++;
        }
        GC.freeMemory += grown;
    }

    private static void findLastChunk() {
        Address limit = WasmHeap.heapAddress.add(WasmHeap.heapSize);
        FreeChunk chunk = WasmHeap.heapAddress.toStructure();
        Address next = end(chunk);
        while (next.isLessThan(limit)) {
            chunk = next.toStructure();
            next = end(chunk);
        }
        GC.lastChunk = chunk;
    }

    private static Address end(FreeChunk chunk) {
        Address start = chunk.toAddress();
        if (chunk.classReference == 0) {
            return start.add(chunk.size);
        }
        RuntimeClass cls = RuntimeClass.getClass((RuntimeObject) start.toStructure());
        if (cls.itemType == null) {
            return start.add(cls.size);
        }
        RuntimeArray array = start.toStructure();
        int itemSize = (cls.itemType.flags & RuntimeClass.PRIMITIVE) == 0 ? Address.sizeOf() : cls.itemType.size;
        Address size = Address.align(Address.fromInt(Structure.sizeOf(RuntimeArray.class)), itemSize).add(itemSize * array.size);
        return start.add(Address.align(size, Address.sizeOf()).toInt());
    }
}
