// Package http1 is a lean way into an http.Handler for the one kind of request
// that a busy server gets all day: plain HTTP/1.1 with a small body of known
// length, on a connection that is kept.
//
// net/http starts a goroutine for each request, which waits for the client to hang
// up, and stops it again: two hand-overs between threads that cost more than all
// of the handler. Here one goroutine per connection reads, calls the handler and
// writes; the wait for a client that hangs up begins when the handler asks for it.
//
// It owns reading and writing of those requests, and is strict: what it does not
// know to be plain (another method or path, an unusual header, a body without a
// length, an old or a newer protocol) it decides nothing about. It gives the
// connection, with every byte that was read of that request, to net/http for good.
// So a request means here what it means there (the tests compare), or it is served
// there. It must not know what the handler does.
package http1
