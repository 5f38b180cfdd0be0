package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// link builds a program as build.sh does.
func link(t *testing.T, source string) []byte {
	t.Helper()
	sdk, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	goMod := "module program\n\ngo 1.26\n\nrequire recoil.dev/recoil v0.0.0\n\nreplace recoil.dev/recoil => " + sdk + "\n"
	for name, text := range map[string]string{"go.mod": goMod, "main.go": source} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-checklinkname=0 -w", "-o", "linked.wasm", ".")
	command.Dir, command.Env = folder, append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOWORK=off")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	wasm, err := os.ReadFile(filepath.Join(folder, "linked.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func TestOnlyRegisteredRolesAreExported(t *testing.T) {
	checkRoles(t, `package main

import "recoil.dev/recoil"

func main() {
	recoil.Handler(func(tx recoil.Tx, request []byte) ([]byte, error) { return request, nil })
	recoil.Timer(func(tx recoil.Tx, id, payload []byte) error { return nil })
}
`, "/handler@", "/timer@")
}

func TestAnAdminHasBothItsExports(t *testing.T) {
	checkRoles(t, `package main

import "recoil.dev/recoil"

func main() {
	recoil.Handler(func(tx recoil.Tx, request []byte) ([]byte, error) { return request, nil })
	recoil.Admin(nil, func(arguments []string, router recoil.Router) (string, error) { return "", nil })
}
`, "/handler@", "/admin@")
}

func TestASchedulerNeedsNoHandler(t *testing.T) {
	checkRoles(t, `package main

import "recoil.dev/recoil"

func main() {
	recoil.Scheduler(func(view recoil.View) ([]recoil.Placement, error) { return nil, nil })
}
`, "/scheduler@")
}

// checkRoles finishes a program, which then has these roles and no other.
func checkRoles(t *testing.T, source string, roles ...string) {
	t.Helper()
	linked := link(t, source)
	finished, err := finish(linked)
	if err != nil {
		t.Fatal(err)
	}
	m, err := parse(finished)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range m.exports {
		names = append(names, e.name)
	}
	for name := range registrars {
		want := slices.ContainsFunc(roles, func(role string) bool { return strings.Contains(name, role) })
		if _, ok := m.function(name); ok != want {
			t.Errorf("%s is exported: %v; all: %q", name, ok, names)
		}
	}
	if len(m.names) != 0 || len(finished) >= len(linked) {
		t.Error("the names are still there")
	}
}

// What is cut short or is something else is an error, and no panic.
func TestDamagedModulesAreRefused(t *testing.T) {
	linked := link(t, "package main\n\nimport \"recoil.dev/recoil\"\n\nfunc main() { recoil.Handler(nil) }\n")
	for length := 0; length < len(linked)-1; length += 1 + length/50 {
		if _, err := finish(linked[:length]); err == nil {
			t.Errorf("the first %d bytes of a module are one", length)
		}
	}
}

func TestAProgramWithoutAHandlerIsRefused(t *testing.T) {
	for _, program := range []string{
		"package main\n\nimport _ \"recoil.dev/recoil\"\n\nfunc main() {}\n",
		"package main\n\nimport \"recoil.dev/recoil\"\n\nfunc main() { recoil.Listener(nil) }\n",
	} {
		if _, err := finish(link(t, program)); err == nil || !strings.Contains(err.Error(), "registers no handler") {
			t.Errorf("got %v", err)
		}
	}
}

// An allocator that can start a collection, as the obvious one does, is found out.
func TestAReallocInGoIsRefused(t *testing.T) {
	linked := link(t, `package main

var kept []byte

//go:wasmexport cabi_realloc
func realloc(old, oldSize, align, size uint32) uint32 {
	kept = make([]byte, size)
	return align
}

func main() {}
`)
	if _, err := finish(linked); err == nil || !strings.Contains(err.Error(), "cabi_realloc reaches") {
		t.Errorf("got %v", err)
	}
}
