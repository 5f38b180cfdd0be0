//go:build !wasm

package recoil

import (
	"fmt"
	"os"

	"recoil.dev/recoil/internal/native"
)

// Where there is no host, as in tests: settings are what recoiltest gives, and the log is standard error.

func setting(name string) (string, bool) { return native.Setting(name) }

func writeLog(level Level, message string) { fmt.Fprintf(os.Stderr, "%v: %s\n", level, message) }
