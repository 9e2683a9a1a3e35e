package logs

import (
	"time"

	"hearth/faas"
)

// Line is one stored log line.
type Line struct {
	Time      time.Time       `json:"time"`
	Function  faas.FunctionID `json:"function"`
	Version   string          `json:"version"`
	Instance  string          `json:"instance"`
	RequestID string          `json:"requestId,omitempty"` // "" for init and background output
	Text      string          `json:"text"`                // without its line end
}
