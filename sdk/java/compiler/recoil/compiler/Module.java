package recoil.compiler;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;

/**
 * A core module as a sequence of sections, of which only those are looked into that say what it imports and exports.
 */
final class Module {
    private static final int HEADER_BYTES = 8;
    private static final int CUSTOM = 0;
    private static final int IMPORT = 2;
    private static final int MEMORY = 5;
    private static final int EXPORT = 7;
    private static final Set<String> PLUMBING = Set.of("memory", "_initialize", "cabi_realloc", "cabi_realloc_adapter");

    private record Section(int id, byte[] content) {
    }

    private final List<Section> sections;

    private Module(List<Section> sections) {
        this.sections = sections;
    }

    static Module read(byte[] bytes) {
        List<Section> sections = new ArrayList<>();
        Reader reader = new Reader(bytes, HEADER_BYTES);
        while (!reader.atEnd()) {
            int id = reader.number();
            sections.add(new Section(id, reader.bytes()));
        }
        return new Module(sections);
    }

    byte[] write() {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes(new byte[] {0, 'a', 's', 'm', 1, 0, 0, 0});
        for (Section section : sections) {
            out.write(section.id());
            writeNumber(out, section.content().length);
            out.writeBytes(section.content());
        }
        return out.toByteArray();
    }

    /**
     * The same with the exports of the contract and nothing beside, without debug information, and with a memory that the host bounds.
     * Fails if something is imported that no host of this contract has.
     */
    Module onlyContract() throws BuildException {
        List<Section> kept = new ArrayList<>();
        for (Section section : sections) {
            switch (section.id()) {
                case CUSTOM -> {
                }
                case IMPORT -> {
                    checkImports(section.content());
                    kept.add(section);
                }
                case MEMORY -> kept.add(new Section(MEMORY, unbounded(section.content())));
                case EXPORT -> kept.add(new Section(EXPORT, exports(section.content())));
                default -> kept.add(section);
            }
        }
        return new Module(kept);
    }

    private static void checkImports(byte[] content) throws BuildException {
        Reader reader = new Reader(content, 0);
        for (int count = reader.number(); count > 0; count--) {
            String module = reader.text();
            String name = reader.text();
            if (!module.startsWith("recoil:plugin/") && !module.equals("wasi_snapshot_preview1")) {
                throw new BuildException("the code uses something that only a browser has (" + module + "." + name
                        + "): a class of the library that draws it in is not supported");
            }
            reader.number(); // a function: TeaVM imports nothing else
            reader.number();
        }
    }

    private static byte[] unbounded(byte[] content) {
        Reader reader = new Reader(content, 0);
        reader.number(); // one memory
        reader.number(); // has a maximum
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(1);
        out.write(0);
        writeNumber(out, reader.number());
        return out.toByteArray();
    }

    private static byte[] exports(byte[] content) {
        Reader reader = new Reader(content, 0);
        ByteArrayOutputStream kept = new ByteArrayOutputStream();
        int keptCount = 0;
        for (int count = reader.number(); count > 0; count--) {
            byte[] name = reader.bytes();
            int kind = reader.number();
            int index = reader.number();
            String text = new String(name, StandardCharsets.UTF_8);
            if (text.startsWith("recoil:plugin/") || PLUMBING.contains(text)) {
                writeNumber(kept, name.length);
                kept.writeBytes(name);
                kept.write(kind);
                writeNumber(kept, index);
                keptCount++;
            }
        }
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        writeNumber(out, keptCount);
        out.writeBytes(kept.toByteArray());
        return out.toByteArray();
    }

    /** LEB128. */
    private static void writeNumber(ByteArrayOutputStream out, int value) {
        int rest = value;
        for (; rest >>> 7 != 0; rest >>>= 7) {
            out.write(rest & 0x7f | 0x80);
        }
        out.write(rest);
    }

    private static final class Reader {
        private final byte[] bytes;
        private int at;

        Reader(byte[] bytes, int at) {
            this.bytes = bytes;
            this.at = at;
        }

        boolean atEnd() {
            return at == bytes.length;
        }

        int number() {
            int value = 0;
            for (int shift = 0; ; shift += 7) {
                int next = bytes[at++];
                value |= (next & 0x7f) << shift;
                if (next >= 0) {
                    return value;
                }
            }
        }

        byte[] bytes() {
            int length = number();
            at += length;
            return Arrays.copyOfRange(bytes, at - length, at);
        }

        String text() {
            return new String(bytes(), StandardCharsets.UTF_8);
        }
    }
}
