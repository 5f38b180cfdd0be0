package recoil.compiler;

import org.teavm.backend.wasm.TeaVMWasmHost;
import org.teavm.dependency.AbstractDependencyListener;
import org.teavm.dependency.DependencyAgent;
import org.teavm.model.MethodReference;
import org.teavm.model.ValueType;
import org.teavm.vm.spi.TeaVMHost;
import org.teavm.vm.spi.TeaVMPlugin;

/** What this compiler adds to TeaVM. */
public final class RecoilPlugin implements TeaVMPlugin {
    /** What TeaVM's runtime throws by itself, unseen by its analysis, which keeps the names only of classes it has seen. */
    private static final Class<?>[] THROWN = {
        NullPointerException.class, ArrayIndexOutOfBoundsException.class, ClassCastException.class,
    };

    @Override
    public void install(TeaVMHost host) {
        host.add(new RuntimeReplacements());
        host.add(new JvmChecks());
        host.add(new Unsupported());
        host.add(new AbstractDependencyListener() {
            @Override
            public void started(DependencyAgent agent) {
                for (Class<?> type : THROWN) {
                    agent.linkMethod(new MethodReference("recoil.sdk.internal.Roles", "failed",
                            ValueType.parse(Throwable.class), ValueType.INTEGER)).propagate(1, type);
                }
            }
        });
        host.getExtension(TeaVMWasmHost.class).add(context -> new Instructions());
    }
}
