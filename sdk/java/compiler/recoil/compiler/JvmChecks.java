package recoil.compiler;

import java.util.ArrayList;
import java.util.List;
import org.teavm.interop.Unmanaged;
import org.teavm.model.BasicBlock;
import org.teavm.model.ClassHolder;
import org.teavm.model.ClassHolderTransformer;
import org.teavm.model.ClassHolderTransformerContext;
import org.teavm.model.Instruction;
import org.teavm.model.MethodHolder;
import org.teavm.model.MethodReference;
import org.teavm.model.Program;
import org.teavm.model.ValueType;
import org.teavm.model.Variable;
import org.teavm.model.instructions.BinaryInstruction;
import org.teavm.model.instructions.BinaryOperation;
import org.teavm.model.instructions.ConstructArrayInstruction;
import org.teavm.model.instructions.ConstructMultiArrayInstruction;
import org.teavm.model.instructions.IntegerConstantInstruction;
import org.teavm.model.instructions.InvocationType;
import org.teavm.model.instructions.InvokeInstruction;
import org.teavm.model.instructions.NumericOperandType;

/**
 * The JVM's checks that TeaVM's linear-memory backend leaves out: the length of a new array, and division by zero. Code that runs
 * beneath the collector does neither, and must not be able to throw.
 */
final class JvmChecks implements ClassHolderTransformer {
    private static final String CHECKS = "recoil.sdk.internal.JavaRuntime";

    @Override
    public void transformClass(ClassHolder cls, ClassHolderTransformerContext context) {
        if (cls.getName().startsWith("org.teavm.") || cls.getName().startsWith("recoil.sdk.internal.") || isUnmanaged(cls)) {
            return;
        }
        for (MethodHolder method : cls.getMethods()) {
            if (method.getProgram() != null && method.getAnnotations().get(Unmanaged.class.getName()) == null) {
                check(method.getProgram());
            }
        }
    }

    private static boolean isUnmanaged(ClassHolder cls) {
        return cls.getAnnotations().get(Unmanaged.class.getName()) != null;
    }

    private static void check(Program program) {
        for (BasicBlock block : program.getBasicBlocks()) {
            List<Instruction> instructions = new ArrayList<>();
            block.forEach(instructions::add);
            for (Instruction instruction : instructions) {
                if (instruction instanceof BinaryInstruction binary) {
                    divide(binary);
                } else if (instruction instanceof ConstructArrayInstruction array) {
                    array.setSize(length(array, array.getSize(), array.getItemType()));
                } else if (instruction instanceof ConstructMultiArrayInstruction array) {
                    array.getDimensions().replaceAll(size -> length(array, size, ValueType.INTEGER));
                }
            }
        }
    }

    private static void divide(BinaryInstruction instruction) {
        String name;
        if (instruction.getOperation() == BinaryOperation.DIVIDE) {
            name = "divide";
        } else if (instruction.getOperation() == BinaryOperation.MODULO) {
            name = "remainder";
        } else {
            return;
        }
        ValueType type;
        if (instruction.getOperandType() == NumericOperandType.INT) {
            type = ValueType.INTEGER;
        } else if (instruction.getOperandType() == NumericOperandType.LONG) {
            type = ValueType.LONG;
        } else {
            return;
        }
        MethodReference method = new MethodReference(CHECKS, name, type, type, type);
        instruction.replace(call(instruction, method, instruction.getReceiver(), instruction.getFirstOperand(),
                instruction.getSecondOperand()));
    }

    private static Variable length(Instruction at, Variable size, ValueType itemType) {
        IntegerConstantInstruction bytes = new IntegerConstantInstruction();
        bytes.setConstant(bytes(itemType));
        bytes.setReceiver(at.getProgram().createVariable());
        bytes.setLocation(at.getLocation());
        at.insertPrevious(bytes);
        Variable checked = at.getProgram().createVariable();
        MethodReference method = new MethodReference(CHECKS, "length", ValueType.INTEGER, ValueType.INTEGER, ValueType.INTEGER);
        at.insertPrevious(call(at, method, checked, size, bytes.getReceiver()));
        return checked;
    }

    private static int bytes(ValueType type) {
        return type instanceof ValueType.Primitive primitive ? switch (primitive.getKind()) {
            case BOOLEAN, BYTE -> 1;
            case SHORT, CHARACTER -> 2;
            case INTEGER, FLOAT -> 4;
            case LONG, DOUBLE -> 8;
        } : 4;
    }

    private static InvokeInstruction call(Instruction at, MethodReference method, Variable receiver, Variable... arguments) {
        InvokeInstruction invoke = new InvokeInstruction();
        invoke.setType(InvocationType.SPECIAL);
        invoke.setMethod(method);
        invoke.setArguments(arguments);
        invoke.setReceiver(receiver);
        invoke.setLocation(at.getLocation());
        return invoke;
    }
}
