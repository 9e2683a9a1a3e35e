package e2e

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// TestSAMFlow takes a function through what a deployment with SAM does, by a script
// that calls the AWS CLI, with its package in an S3 server.
func TestSAMFlow(t *testing.T) {
	store := httptest.NewServer(gofakes3.New(s3mem.New()).Server())
	defer store.Close()
	s := Start(t, "--s3-endpoint", store.URL, "--region", testRegion)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "testdata/samflow.sh")
	path := os.Getenv("PATH")
	if _, err := os.Stat(debianCLI); err == nil {
		path = "/usr/bin:/bin" // Debian's command runs on Debian's Python
	}
	cmd.Env = append(append(os.Environ(), clientEnvironment(s)...), "PATH="+path,
		"HEARTH="+s.URL, "STORE="+store.URL, "RUNTIME="+s.Newest(t, "python"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "done\n") {
		t.Fatalf("the script ended with %v:\n%s\nthe server's log:\n%s", err, out, s.Log())
	}
}
