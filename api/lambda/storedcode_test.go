package lambda

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"hearth/code/object"
)

// Packages are read from an S3 server, and what it refuses is told in Lambda's words.
func TestStoredCode(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("packages"); err != nil {
		t.Fatal(err)
	}
	if _, err := backend.PutObject("packages", "dir/f.zip", nil, strings.NewReader(string(emptyZip)), int64(len(emptyZip)), nil); err != nil {
		t.Fatal(err)
	}
	s3 := httptest.NewServer(gofakes3.New(backend).Server())
	defer s3.Close()
	store, err := object.New(object.Options{Endpoint: s3.URL})
	if err != nil {
		t.Fatal(err)
	}
	r := newFakeRegistry()
	h := newHandler(Options{Registry: r, Invoker: &fakeInvoker{}, Objects: store})
	none := newHandler(Options{Registry: r, Invoker: &fakeInvoker{}})
	create := func(name, code string) string {
		return fmt.Sprintf(`{"FunctionName":%q,"Runtime":"nodejs22.x","Handler":"h","Role":"arn:aws:iam::000000000000:role/r","Code":{%s}}`, name, code)
	}
	for _, c := range []struct {
		h                        *Handler
		method, path, body, want string
		status                   int
	}{
		{h, "POST", "", create("f", `"S3Bucket":"packages","S3Key":"dir/f.zip"`), `"CodeSize":22`, 201},
		{h, "PUT", "/f/code", `{"S3Bucket":"packages","S3Key":"dir/f.zip"}`, `"CodeSize":22`, 200},
		{h, "POST", "", create("g", `"S3Bucket":"packages","S3Key":"g.zip"`), "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist.", 400},
		{h, "POST", "", create("g", `"S3Bucket":"nowhere","S3Key":"g.zip"`), "S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not exist", 400},
		{h, "POST", "", create("g", `"S3Bucket":"packages"`), "S3Bucket and S3Key are needed together", 400},
		{h, "POST", "", create("g", `"S3Bucket":"packages","S3Key":"dir/f.zip","ZipFile":"AA=="`), "Please do not provide other FunctionCode parameters", 400},
		{h, "POST", "", create("g", `"S3Bucket":"packages","S3Key":"dir/f.zip","S3ObjectStorageMode":"REFERENCE"`), "REFERENCE is not supported", 400},
		{none, "POST", "", create("g", `"S3Bucket":"packages","S3Key":"dir/f.zip"`), "no object store is configured", 400},
	} {
		w := send(c.h, c.method, "/2015-03-31/functions"+c.path, strings.NewReader(c.body))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s", c.body, w.Code, w.Body)
		}
	}
	if len(h.uploads) > 0 {
		t.Errorf("%d places for large packages are still taken", len(h.uploads))
	}
}
