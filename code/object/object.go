// Package object reads deployment packages from an endpoint that speaks the
// protocol of S3: one GET, signed with Signature Version 4.
//
// It owns the request and the reading of its answer, bounded in size and time. It
// must not know what a package is, nor who asks for it.
package object

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"hearth/auth"
	"hearth/faas"
)

// Options of New. Endpoint is required.
type Options struct {
	Endpoint string // such as https://s3.eu-central-1.amazonaws.com
	Region   string // of the signature; "" is us-east-1
	// KeyID and Secret sign the requests; without them they are anonymous.
	KeyID, Secret string
	// HostStyle puts the bucket into the host's name instead of the path.
	HostStyle bool
	Client    *http.Client     // nil is one of its own
	Clock     func() time.Time // nil is time.Now
}

// Store is an endpoint. Safe for concurrent use.
type Store struct {
	endpoint  *url.URL
	region    string
	key       auth.Credentials
	hostStyle bool
	client    *http.Client
	now       func() time.Time
}

const (
	// answerTimeout bounds the wait for an answer's head.
	answerTimeout = 30 * time.Second
	// readTimeout bounds one Get.
	readTimeout = 5 * time.Minute
	// maxErrorBody bounds what is read of an error.
	maxErrorBody = 64 << 10
	// emptySHA256 is the digest of a request without a body.
	emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// New checks the options and connects to nothing.
func New(o Options) (*Store, error) {
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("object: the endpoint %q is no http or https URL", o.Endpoint)
	}
	if (o.KeyID == "") != (o.Secret == "") {
		return nil, errors.New("object: a key needs both its id and its secret")
	}
	s := &Store{
		endpoint: u, region: o.Region, key: auth.Credentials{KeyID: o.KeyID, Secret: o.Secret},
		hostStyle: o.HostStyle, client: o.Client, now: o.Clock,
	}
	if s.region == "" {
		s.region = faas.DefaultRegion
	}
	if s.client == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.ResponseHeaderTimeout = answerTimeout
		s.client = &http.Client{Transport: t}
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s, nil
}

// Get returns an object of a bucket, or one version of it where that is not empty.
// faas.CodeInvalid is what the endpoint refused, in the words of Lambda, and
// faas.CodeTooLarge an object of more than limit bytes.
func (s *Store) Get(ctx context.Context, bucket, key, version string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	r, err := s.request(ctx, bucket, key, version)
	if err != nil {
		return nil, failed("InvalidArgument", "The bucket and the key make no URL.")
	}
	client := *s.client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Do(r)
	if err != nil {
		return nil, unreachable(s.endpoint.Host, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, refused(response)
	}
	data, err := readBounded(response.Body, response.ContentLength, limit)
	if err != nil && !faas.IsCode(err, faas.CodeTooLarge) {
		return nil, unreachable(s.endpoint.Host, err)
	}
	return data, err
}

func (s *Store) request(ctx context.Context, bucket, key, version string) (*http.Request, error) {
	u := *s.endpoint
	base := strings.TrimSuffix(u.Path, "/") + "/"
	if s.hostStyle {
		u.Host = bucket + "." + u.Host
	} else {
		base += bucket + "/"
	}
	u.Path = base + key
	u.RawPath = escape(u.Path)
	if version != "" {
		u.RawQuery = url.Values{"versionId": {version}}.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if s.key.KeyID != "" {
		r.Header.Set("X-Amz-Content-Sha256", emptySHA256)
		auth.Sign(r, nil, s.key, s.region, "s3", s.now())
	}
	return r, nil
}

// escape encodes a path as S3 signs it: all but unreserved characters and slashes.
func escape(path string) string {
	var b strings.Builder
	for i := range len(path) {
		switch c := path[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~/", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// readBounded reads a body of the announced size (-1 is unknown).
func readBounded(body io.Reader, size, limit int64) ([]byte, error) {
	tooLarge := faas.Errorf(faas.CodeTooLarge, "package", "The object is over %d bytes, which is the most that a package may have.", limit)
	if size > limit {
		return nil, tooLarge
	}
	if size >= 0 {
		data := make([]byte, size)
		_, err := io.ReadFull(body, data)
		return data, err
	}
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, tooLarge
	}
	return data, err
}

// refused words an answer that is no object.
func refused(response *http.Response) error {
	var body struct{ Code, Message string }
	raw, _ := io.ReadAll(io.LimitReader(response.Body, maxErrorBody))
	if xml.Unmarshal(raw, &body) != nil || body.Code == "" {
		body.Code, body.Message = fmt.Sprint(response.StatusCode), http.StatusText(response.StatusCode)
	}
	if body.Message == "" {
		body.Message = messages[body.Code]
	}
	return failed(body.Code, body.Message)
}

// messages are those of S3 for the endpoints that send none.
var messages = map[string]string{
	"NoSuchKey":     "The specified key does not exist.",
	"NoSuchBucket":  "The specified bucket does not exist",
	"NoSuchVersion": "The specified version does not exist.",
	"AccessDenied":  "Access Denied",
}

func failed(code, message string) error {
	return faas.Errorf(faas.CodeInvalid, "code", "Error occurred while GetObject. S3 Error Code: %s. S3 Error Message: %s", code, message)
}

func unreachable(host string, err error) error {
	var of *url.Error
	if errors.As(err, &of) { // its text repeats the whole address
		err = of.Err
	}
	return &faas.Error{Code: faas.CodeInvalid, Subject: "code", Cause: err,
		Message: fmt.Sprintf("Error occurred while GetObject. The endpoint %s did not answer whole: %v. Try again, or check the server's s3-endpoint.", host, err)}
}
