package recoil.compiler;

import java.util.List;
import java.util.Map;
import org.teavm.backend.javascript.spi.GeneratedBy;
import org.teavm.interop.Import;
import org.teavm.model.AccessLevel;
import org.teavm.model.BasicBlock;
import org.teavm.model.ClassHolder;
import org.teavm.model.ClassHolderTransformer;
import org.teavm.model.ClassHolderTransformerContext;
import org.teavm.model.ClassReader;
import org.teavm.model.ElementModifier;
import org.teavm.model.Instruction;
import org.teavm.model.MethodDescriptor;
import org.teavm.model.MethodHolder;
import org.teavm.model.MethodReader;
import org.teavm.model.MethodReference;
import org.teavm.model.ValueType;
import org.teavm.model.instructions.InvokeInstruction;
import org.teavm.model.util.ProgramUtils;

/**
 * Methods of TeaVM's runtime and class library that the SDK has of its own: those that lay out memory, and those that would
 * otherwise be imported from a JavaScript host. A method gets the body of the SDK's method of the same name and type. What is wrong in
 * the class library is put right here, too.
 */
final class RuntimeReplacements implements ClassHolderTransformer {
    private static final String INTERNAL = "recoil.sdk.internal.";
    private static final String MEMORY = INTERNAL + "Memory";
    /** By class, where the bodies come from. */
    private static final Map<String, List<String>> SOURCES = Map.of(
            "org.teavm.backend.wasm.WasmHeap", List.of(MEMORY),
            "org.teavm.runtime.GC", List.of("org.teavm.runtime.HeapGrowth"),
            "org.teavm.backend.wasm.WasmRuntime", List.of(MEMORY, INTERNAL + "JavaRuntime"),
            "java.lang.Runtime", List.of(INTERNAL + "JavaRuntime"),
            "java.lang.System", List.of(INTERNAL + "JavaRuntime"),
            "java.lang.Math", List.of(INTERNAL + "Mathematics"));

    private static final MethodDescriptor EXIT = new MethodDescriptor("exit", ValueType.INTEGER, ValueType.VOID);

    @Override
    public void transformClass(ClassHolder cls, ClassHolderTransformerContext context) {
        if (cls.getName().equals("java.lang.System") && cls.getMethod(EXIT) == null) {
            MethodHolder exit = new MethodHolder(EXIT); // TeaVM has none
            exit.setLevel(AccessLevel.PUBLIC);
            exit.getModifiers().add(ElementModifier.STATIC);
            cls.addMethod(exit);
        }
        for (String source : SOURCES.getOrDefault(cls.getName(), List.of())) {
            ClassReader replacements = context.getHierarchy().getClassSource().get(source);
            for (MethodHolder method : cls.getMethods()) {
                MethodReader replacement = replacements.getMethod(method.getDescriptor());
                if (replacement != null && replacement.getProgram() != null && !method.getName().startsWith("<")) {
                    method.getModifiers().remove(ElementModifier.NATIVE);
                    method.getAnnotations().remove(Import.class.getName());
                    method.getAnnotations().remove(GeneratedBy.class.getName());
                    method.setProgram(ProgramUtils.copy(replacement.getProgram()));
                }
            }
        }
        if (cls.getName().equals("java.util.ArrayDeque$1")) {
            repairDequeIterator(cls.getMethod(new MethodDescriptor("remove", ValueType.VOID)));
        }
    }

    /** TeaVM's goes forward where elements have moved back, and skips some. */
    private static void repairDequeIterator(MethodHolder remove) {
        for (BasicBlock block : remove.getProgram().getBasicBlocks()) {
            for (Instruction instruction : block) {
                if (instruction instanceof InvokeInstruction call && call.getMethod().getName().equals("modInc")) {
                    call.setMethod(new MethodReference(call.getMethod().getClassName(), "modDec", call.getMethod().getSignature()));
                }
            }
        }
    }
}
