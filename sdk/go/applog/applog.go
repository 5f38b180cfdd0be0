// Package applog is a handler for [log/slog] that writes to the app's log:
//
//	slog.SetDefault(slog.New(applog.NewHandler()))
//
// The host adds time, node, partition and call, so a line is the message with the attributes behind it. Importing this
// package makes a component 0.7 MB larger, the size of log/slog; [recoil.Log] writes to the log without it.
package applog

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"time"

	"recoil.dev/recoil"
)

// handler formats attributes as slog's text does, into a buffer that is shared by what was derived from it.
type handler struct {
	text   slog.Handler
	shared *shared
}

type shared struct {
	mutex  sync.Mutex
	buffer bytes.Buffer
}

// NewHandler is a handler that writes every level: the host decides what is kept.
func NewHandler() slog.Handler {
	shared := &shared{}
	options := slog.HandlerOptions{Level: slog.Level(-1 << 10), ReplaceAttr: withoutLevel}
	return &handler{text: slog.NewTextHandler(&shared.buffer, &options), shared: shared}
}

// withoutLevel leaves out the record's level, which the log has of its own.
func withoutLevel(groups []string, attribute slog.Attr) slog.Attr {
	if _, ok := attribute.Value.Any().(slog.Level); ok && len(groups) == 0 && attribute.Key == slog.LevelKey {
		return slog.Attr{}
	}
	return attribute
}

func (h *handler) Enabled(context.Context, slog.Level) bool { return true }

func (h *handler) Handle(ctx context.Context, record slog.Record) error {
	h.shared.mutex.Lock()
	defer h.shared.mutex.Unlock()
	h.shared.buffer.Reset()
	message := record.Message
	record.Message, record.Time = "", time.Time{} // a zero time is left out
	if err := h.text.Handle(ctx, record); err != nil {
		return err
	}
	attributes := bytes.TrimPrefix(h.shared.buffer.Bytes(), []byte(`msg=""`))
	line := message + string(bytes.TrimRight(attributes, "\n"))
	recoil.Log(level(record.Level), line)
	return nil
}

func (h *handler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return &handler{text: h.text.WithAttrs(attributes), shared: h.shared}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{text: h.text.WithGroup(name), shared: h.shared}
}

func level(level slog.Level) recoil.Level {
	switch {
	case level < slog.LevelDebug:
		return recoil.LevelTrace
	case level < slog.LevelInfo:
		return recoil.LevelDebug
	case level < slog.LevelWarn:
		return recoil.LevelInfo
	case level < slog.LevelError:
		return recoil.LevelWarn
	}
	return recoil.LevelError
}
