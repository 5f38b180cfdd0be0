package recoil

import "fmt"

// Level is how much a line of the log matters.
type Level uint8

const (
	// LevelTrace is every step.
	LevelTrace Level = iota
	// LevelDebug is for the author of the package.
	LevelDebug
	// LevelInfo is for who runs it.
	LevelInfo
	// LevelWarn says that something is not as it should be.
	LevelWarn
	// LevelError says that something failed.
	LevelError
)

// String is the level in a word.
func (l Level) String() string { return name(l, "trace", "debug", "info", "warn", "error") }

// Log writes a line to the app's log, where the host adds node, partition and call; above 8 KiB it is cut. What is printed
// goes there too: standard output as info, standard error as warn. The package applog is a handler for log/slog.
func Log(level Level, message string) { writeLog(level, message) }

// Logf is Log with a format as of fmt.Printf.
func Logf(level Level, format string, arguments ...any) {
	writeLog(level, fmt.Sprintf(format, arguments...))
}
