package applog

import (
	"io"
	"log/slog"
	"os"
	"testing"
)

// logged is what body has written to the log, which is standard error in a test.
func logged(t *testing.T, body func()) string {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stderr
	os.Stderr = write
	body()
	os.Stderr = before
	write.Close()
	text, err := io.ReadAll(read)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestALineIsTheMessageWithItsAttributes(t *testing.T) {
	logger := slog.New(NewHandler())
	got := logged(t, func() {
		logger.Debug("first")
		logger.With("user", "a b").WithGroup("request").Warn("second thing", "level", 7, "msg", "x")
		logger.Log(t.Context(), slog.LevelDebug-4, "third")
		logger.Error("")
	})
	want := "debug: first\nwarn: second thing user=\"a b\" request.level=7 request.msg=x\ntrace: third\nerror: \n"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
