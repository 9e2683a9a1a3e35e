package native

import (
	"net/http"
	"time"
)

// Loss is something that was stored for asynchronous invocations and cannot be read
// any more: the disk changed or lost it.
type Loss struct {
	At   time.Time `json:"at"` // when it was noticed
	What string    `json:"what"`
	// Events is how many asynchronous invocations are lost with it, -1 where that is
	// not known, and RequestIDs are those of them that are known.
	Events     int      `json:"events"`
	RequestIDs []string `json:"requestIds,omitempty"`
}

// Losses is what was found damaged since the server started, the last hundred.
type Losses struct {
	Losses []Loss `json:"losses"`
}

func (a *API) losses(w http.ResponseWriter, _ *http.Request) error {
	writeJSON(w, http.StatusOK, Losses{append([]Loss{}, a.Losses()...)})
	return nil
}
