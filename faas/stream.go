package faas

import "context"

// MaxStreamed is the largest response that is streamed, in bytes: 200 MiB, Lambda's
// own since July 2025 (20 MiB before).
const MaxStreamed = 200 << 20

// HTTPIntegration is the content type of a streamed response that begins with the
// head of an HTTP response: a JSON object with statusCode, headers and cookies, and
// eight zero bytes behind it.
const HTTPIntegration = "application/vnd.awslambda.http-integration-response"

// ResponseStream takes the response of an invocation while its function produces it.
// Safe for concurrent use; what comes after the invocation's end is dropped.
type ResponseStream interface {
	// Open says that the response begins, and its content type as the function has
	// it ("" where it has none). It is called once, before Write.
	Open(contentType string)
	// Write takes all of p, which it does not keep. While the client is slower than
	// the function it waits, until ctx ends: the error is the cause of that. A client
	// that has gone is no error.
	Write(ctx context.Context, p []byte) error
}
