package main

import (
	"io"
	"log/slog"
)

// newLogger is the server's own log, on standard error.
func newLogger(w io.Writer, v values) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(v["log-level"])); err != nil {
		return nil, usageError("--log-level must be debug, info, warn or error, not %q", v["log-level"])
	}
	options := &slog.HandlerOptions{Level: level}
	switch v["log-format"] {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, usageError("--log-format must be text or json, not %q", v["log-format"])
}
