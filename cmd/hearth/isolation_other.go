//go:build !linux

package main

import (
	"errors"
	"log/slog"

	"hearth/engine/datadir"
)

func (i *isolation) openProcess(values, *datadir.Dir, *slog.Logger) error {
	return errors.New("process isolation needs Linux")
}
