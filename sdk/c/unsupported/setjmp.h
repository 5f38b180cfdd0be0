#error setjmp is not supported: it takes exceptions of WebAssembly, which nodes do not run; return a recoil_status
