package e2e

import (
	"context"
	"testing"
)

// function is a deployment that a client creates.
type function struct {
	name, runtime, handler string
	zip                    []byte
}

// answer is what an invocation came to.
type answer struct {
	payload       string
	functionError string
	version       string // that executed
	log           string // its tail, decoded
}

// client is one vendor's client. Every method fails with the client's own error;
// errorCode tells which of the service's errors it carries.
type client interface {
	create(ctx context.Context, f function) (state string, err error)
	waitActive(ctx context.Context, name string) error
	waitUpdated(ctx context.Context, name string) error
	invoke(ctx context.Context, name, qualifier, payload string) (answer, error)
	updateCode(ctx context.Context, name string, zip []byte) error
	setEnvironment(ctx context.Context, name string, variables map[string]string) error
	publish(ctx context.Context, name string) (version string, err error)
	createAlias(ctx context.Context, name, alias, version string, weights map[string]float64) error
	updateAlias(ctx context.Context, name, alias string, weights map[string]float64) error
	list(ctx context.Context) (names []string, err error)
	remove(ctx context.Context, name string) error
	errorCode(err error) string
}

// newClient starts a client for a server.
type newClient func(t *testing.T, s *Server) client

const (
	testRegion = "eu-central-1"
	testRole   = "arn:aws:iam::000000000000:role/e2e"
)

// clientEnvironment is what makes an AWS client usable with a server.
func clientEnvironment(s *Server) []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + s.KeyID, "AWS_SECRET_ACCESS_KEY=" + s.Secret, "AWS_REGION=" + testRegion, "AWS_DEFAULT_REGION=" + testRegion,
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true",
	}
}
