// Package greet is the function that is measured: it reads a small event and
// returns a small result. The bootstrap and the bare server of the comparison both
// run it; it must know neither.
package greet

import "context"

// Event is what the function is called with.
type Event struct {
	Name  string `json:"name"`
	Items []int  `json:"items"`
}

// Result is what it returns.
type Result struct {
	Greeting string `json:"greeting"`
	Count    int    `json:"count"`
	Sum      int    `json:"sum"`
}

// Handle is the handler.
func Handle(_ context.Context, e Event) (Result, error) {
	r := Result{Greeting: "hello, " + e.Name, Count: len(e.Items)}
	for _, item := range e.Items {
		r.Sum += item
	}
	return r, nil
}
