package recoil.compiler;

import org.teavm.ast.InvocationExpr;
import org.teavm.backend.wasm.intrinsics.WasmIntrinsic;
import org.teavm.backend.wasm.intrinsics.WasmIntrinsicManager;
import org.teavm.backend.wasm.model.expression.WasmExpression;
import org.teavm.backend.wasm.model.expression.WasmFloatType;
import org.teavm.backend.wasm.model.expression.WasmFloatUnary;
import org.teavm.backend.wasm.model.expression.WasmFloatUnaryOperation;
import org.teavm.backend.wasm.model.expression.WasmMemoryGrow;
import org.teavm.backend.wasm.model.expression.WasmUnreachable;
import org.teavm.model.MethodReference;

/** Methods that are one instruction of WebAssembly. */
final class Instructions implements WasmIntrinsic {
    private static final String MEMORY = "recoil.sdk.internal.Memory";

    @Override
    public boolean isApplicable(MethodReference method) {
        return switch (method.getName()) {
            case "grow", "trap" -> method.getClassName().equals(MEMORY);
            case "sqrt", "floor", "ceil" -> method.getClassName().equals("java.lang.Math");
            default -> false;
        };
    }

    @Override
    public WasmExpression apply(InvocationExpr call, WasmIntrinsicManager manager) {
        return switch (call.getMethod().getName()) {
            case "grow" -> new WasmMemoryGrow(manager.generate(call.getArguments().get(0)));
            case "trap" -> new WasmUnreachable();
            case "sqrt" -> unary(WasmFloatUnaryOperation.SQRT, call, manager);
            case "floor" -> unary(WasmFloatUnaryOperation.FLOOR, call, manager);
            case "ceil" -> unary(WasmFloatUnaryOperation.CEIL, call, manager);
            default -> throw new IllegalArgumentException(call.getMethod().toString());
        };
    }

    private static WasmExpression unary(WasmFloatUnaryOperation operation, InvocationExpr call, WasmIntrinsicManager manager) {
        return new WasmFloatUnary(WasmFloatType.FLOAT64, operation, manager.generate(call.getArguments().get(0)));
    }
}
