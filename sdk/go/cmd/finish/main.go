// Finish makes a package's core module of what the Go linker made: `finish LINKED OUT`.
//
// It proves that the module's `cabi_realloc` never leaves it (see [checkRealloc]), drops the exports of roles that the
// program does not register (the host gives a package the roles it exports), and leaves out names and debugging
// information.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: finish LINKED OUT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "recoil:", err)
		os.Exit(1)
	}
}

func run(linked, out string) error {
	wasm, err := os.ReadFile(linked)
	if err != nil {
		return err
	}
	finished, err := finish(wasm)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	return os.WriteFile(out, finished, 0o644)
}

func finish(wasm []byte) ([]byte, error) {
	module, err := parse(wasm)
	if err != nil {
		return nil, fmt.Errorf("what the Go linker made cannot be read: %w", err)
	}
	if err := checkRealloc(module); err != nil {
		return nil, fmt.Errorf("%w: this version of Go does it differently from those that the SDK was made for; use Go 1.26", err)
	}
	if err := dropUnregistered(module); err != nil {
		return nil, err
	}
	return module.encode(), nil
}
