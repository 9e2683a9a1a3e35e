package auth

import "fmt"

// Kind is why a request was refused.
type Kind uint8

const (
	// Missing: the request is not signed at all.
	Missing Kind = iota + 1
	// Incomplete: what should be a signature cannot be read as one.
	Incomplete
	// Unrecognized: there is no such key, it is disabled, or the session token is
	// not the key's.
	Unrecognized
	// Expired: the key itself has ended.
	Expired
	// Invalid: the signature is stale, of another scope, or not of this request.
	Invalid
	// Denied: the caller is known and has no right to do this.
	Denied
	// TooLarge: the body is above the bound, and so cannot be verified.
	TooLarge
	// Unreadable: the body ended early, or its chunks are malformed.
	Unreadable
	// Busy: too many large bodies are being verified.
	Busy
)

// Error is a refusal. Its message is what AWS says in that case, for the caller to
// read; it never holds a secret.
type Error struct {
	Kind    Kind
	Message string
}

func (e *Error) Error() string { return e.Message }

func refuse(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// AWS's words for the refusals that say nothing of the request.
const (
	missingText      = "Missing Authentication Token"
	unrecognizedText = "The security token included in the request is invalid."
	expiredText      = "The security token included in the request is expired"
	mismatchText     = "The request signature we calculated does not match the signature you provided. " +
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)

// Exception is AWS's name for a refusal.
func (k Kind) Exception() string {
	switch k {
	case Missing:
		return "MissingAuthenticationTokenException"
	case Incomplete:
		return "IncompleteSignatureException"
	case Unrecognized:
		return "UnrecognizedClientException"
	case Expired:
		return "ExpiredTokenException"
	case Invalid:
		return "InvalidSignatureException"
	case Denied:
		return "AccessDeniedException"
	case TooLarge:
		return "RequestEntityTooLargeException"
	case Unreadable:
		return "InvalidRequestContentException"
	case Busy:
		return "TooManyRequestsException"
	}
	return ""
}
