package recoil.sdk.internal;

import org.teavm.backend.wasm.WasmHeap;
import org.teavm.backend.wasm.WasmRuntime;
import org.teavm.backend.wasm.runtime.WasmSupport;
import org.teavm.interop.Address;
import org.teavm.interop.Export;
import org.teavm.interop.Unmanaged;
import org.teavm.runtime.HeapGrowth;
import org.teavm.runtime.StaticRoots;

/**
 * The linear memory of a component, and the part of it that the collector does not own.
 *
 * <pre>
 * | statics | console buffer | return area | pinned | shadow stack | heap | regions, cards | work area | arena | end
 * </pre>
 *
 * The compiler puts {@link #initHeap}, {@link #resizeHeap} and {@link #allocStack} in the place of TeaVM's own. What differs:
 * <ul>
 * <li>The <em>arena</em>, in which the host lays down what it hands over. It holds one call's data at a time: an import's results
 *     or an export's arguments, until they have been copied to the heap, or a list on its way to the host.
 * <li>The work area of the collector is as large as the heap, its worst case. TeaVM has a sixteenth, and a full heap of small
 *     objects overruns that.
 * <li>The heap begins small and grows as far as the host allows: {@link HeapGrowth} decides when, and asks {@link #reserve} how far.
 * <li>The shadow stack has an end.
 * </ul>
 * All that lies behind the heap moves when the heap grows, the arena with what is in it: its addresses are read through {@link #at}.
 * What must never move lies before the heap. Invariant: nothing here runs managed code, so that the host can call
 * {@link #realloc} while managed code waits for it.
 */
@Unmanaged
public final class Memory {
    private static final int PAGE_BYTES = 65_536;
    private static final int RETURN_BYTES = 64;
    /** State and stack of the WASI adapter, a page each, and their alignment. */
    private static final int PINNED_BYTES = 3 * PAGE_BYTES;
    private static final int STACK_BYTES = 512 << 10;

    private static Address returnArea;
    private static Address pinned;
    private static Address pinnedEnd;
    private static Address arena;
    private static Address top;
    /** How far the arena's contents have moved since the host wrote them. */
    private static int moved;
    /** What is in the arena belongs to an answer that the host has read. */
    private static boolean stale;

    private Memory() {
    }

    static void initHeap(Address start, int heapBytes, int heapBytesMax, int stackBytes, int bufferBytes) {
        WasmHeap.buffer = WasmRuntime.align(start, 16);
        WasmHeap.bufferSize = bufferBytes;
        returnArea = WasmRuntime.align(WasmHeap.buffer.add(bufferBytes), 16);
        pinned = returnArea.add(RETURN_BYTES);
        pinnedEnd = pinned.add(PINNED_BYTES);
        WasmHeap.stackAddress = WasmRuntime.align(pinnedEnd, 16);
        WasmHeap.stack = WasmHeap.stackAddress;
        WasmHeap.stackSize = STACK_BYTES;
        WasmHeap.heapAddress = WasmHeap.stackAddress.add(STACK_BYTES);
        WasmHeap.memoryLimit = WasmRuntime.align(start, PAGE_BYTES);
        WasmHeap.minHeapSize = heapBytes;
        WasmHeap.maxHeapSize = heapBytesMax;
        resizeHeap(heapBytes);
        StaticRoots.repair();
    }

    /** Lays out a heap of that size, which has been {@link #reserve reserved} unless it is the first. */
    public static void resizeHeap(int size) {
        int regionsCount = WasmHeap.calculateRegionsCount(size, WasmHeap.regionSize);
        int regionsSize = WasmHeap.calculateRegionsSize(regionsCount);
        Address regions = regionsFor(size);
        Address cards = WasmRuntime.align(regions.add(regionsSize), 16);
        Address work = WasmRuntime.align(cards.add(regionsCount), 16);
        Address newArena = WasmRuntime.align(work.add(size), 16);
        int used = top.toInt() - arena.toInt();
        if (!extend(newArena.toLong() + used)) {
            trap();
        }
        // Everything moves up, so what lies highest moves first.
        if (WasmHeap.heapSize > 0) {
            Address.moveMemoryBlock(arena, newArena, used);
            moved += newArena.toInt() - arena.toInt();
            Address.moveMemoryBlock(WasmHeap.storageAddress, work, HeapGrowth.freeChunks() * 4);
            Address.moveMemoryBlock(WasmHeap.cardTable, cards, WasmHeap.regionsCount);
            Address.moveMemoryBlock(WasmHeap.regionsAddress, regions, WasmHeap.regionsSize);
        }
        arena = newArena;
        top = newArena.add(used);
        WasmHeap.storageAddress = work;
        WasmHeap.storageSize = size;
        WasmHeap.regionsAddress = regions;
        WasmHeap.regionsCount = regionsCount;
        WasmHeap.regionsSize = regionsSize;
        WasmHeap.cardTable = cards;
        WasmHeap.heapSize = size;
    }

    /**
     * The largest heap up to {@code wanted} that the host has memory for, in steps that end with {@code least} bytes more than the
     * present one; the present one if there is no memory for that.
     */
    public static int reserve(int wanted, int least) {
        int heap = WasmHeap.heapSize;
        int used = top.toInt() - arena.toInt();
        for (int size = wanted; size - heap >= least; size = heap + (size - heap) / 2 & -8) {
            // Twice for the work area; regions and cards are three bytes for each region, rounded up and aligned.
            long regions = (size / WasmHeap.regionSize + 1) * 3L + 64;
            if (extend(WasmHeap.heapAddress.toLong() + 2L * size + regions + used)) {
                return size;
            }
        }
        return heap;
    }

    /** A frame of the shadow stack for {@code size} references. */
    static Address allocStack(int size) {
        Address roots = WasmHeap.stack.add(4);
        Address stack = roots.add((size << 2) + 4);
        if (WasmHeap.heapAddress.isLessThan(stack.add(4))) {
            overflow();
        }
        stack.putInt(size);
        WasmHeap.stack = stack;
        return roots;
    }

    private static void overflow() {
        WasmHeap.stack = WasmHeap.stackAddress; // what prints needs a stack
        WasmSupport.printString("java.lang.StackOverflowError: it ends this instance\n");
        trap();
    }

    /** For what the host hands over: arguments of exports and results of imports. */
    @Export(name = "cabi_realloc")
    public static int realloc(int old, int oldSize, int align, int size) {
        if (stale) {
            stale = false;
            empty();
        }
        int at = (top.toInt() + align - 1) & -align;
        if (size < 0 || !extend((long) at + size)) {
            trap();
        }
        top = Address.fromInt(at + size);
        if (oldSize > 0) {
            Address.moveMemoryBlock(Address.fromInt(old), Address.fromInt(at), oldSize < size ? oldSize : size);
        }
        return at;
    }

    /** For the WASI adapter, which keeps what it has got. */
    @Export(name = "cabi_realloc_adapter")
    public static int reallocForAdapter(int old, int oldSize, int align, int size) {
        int at = (pinned.toInt() + align - 1) & -align;
        if (size < 0 || size > pinnedEnd.toInt() - at) {
            trap();
        }
        pinned = Address.fromInt(at + size);
        return at;
    }

    /** Where imports write results that do not fit in registers, and exports theirs. It never moves. */
    static Address returnArea() {
        return returnArea;
    }

    /** Forgets what is in the arena: before an import is called, and when an export has read its arguments. */
    static void empty() {
        top = arena;
        moved = 0;
    }

    /** Room in the arena for a list on its way to the host: no managed code may run before the host has it. */
    static Address allocate(int size) {
        return Address.fromInt(realloc(0, 0, 8, size));
    }

    /** The last act of an export: its answer stays until the host calls again. */
    static int answered() {
        stale = true;
        return returnArea.toInt();
    }

    /** Where that lies now which the host has put at {@code pointer}. */
    static Address at(int pointer) {
        return Address.fromInt(pointer < WasmHeap.heapAddress.toInt() ? pointer : pointer + moved);
    }

    private static Address regionsFor(int heapSize) {
        return WasmRuntime.align(WasmHeap.heapAddress.add(heapSize), 16);
    }

    /** True when memory reaches to {@code end}. */
    private static boolean extend(long end) {
        long missing = end - WasmHeap.memoryLimit.toLong();
        if (missing <= 0) {
            return true;
        }
        int pages = (int) ((missing + PAGE_BYTES - 1) / PAGE_BYTES);
        if (end > Integer.MAX_VALUE || grow(pages) < 0) {
            return false;
        }
        WasmHeap.memoryLimit = WasmHeap.memoryLimit.add(pages * PAGE_BYTES);
        return true;
    }

    /** The instruction {@code memory.grow}: the size before, or -1. */
    private static native int grow(int pages);

    /** The instruction {@code unreachable}. */
    static native void trap();
}
