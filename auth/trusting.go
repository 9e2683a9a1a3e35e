package auth

import (
	"net/http"
	"strings"

	"hearth/faas"
)

// Trusting takes every request for what it says it is: for servers that only their
// own machine can reach.
type Trusting struct {
	// Account is that of requests whose access key id is not one itself (12 digits).
	Account string
}

// Authenticate returns whose request it claims to be; one that is not signed has no
// region. It fails where a signature cannot be read as one.
func (t Trusting) Authenticate(r *http.Request, _ string) (*Identity, error) {
	who := &Identity{Account: t.Account, Anyone: true, Admin: true}
	credential, err := credentialOf(r)
	if err != nil || credential == "" {
		return who, err
	}
	key, rest, _ := strings.Cut(credential, "/")
	_, rest, _ = strings.Cut(rest, "/")
	region, _, found := strings.Cut(rest, "/")
	if !found || !plausibleRegion(region) {
		return nil, refuse(Incomplete, "Credential must have the form KEY/YYYYMMDD/REGION/lambda/aws4_request.")
	}
	if faas.ValidAccount(key) {
		who.Account = key
	}
	who.Region = region
	return who, nil
}

// credentialOf returns the credential of a signed request, "" where it is not signed.
func credentialOf(r *http.Request) (string, error) {
	if authorization := headerValue(r.Header, "Authorization"); strings.HasPrefix(authorization, algorithm) {
		_, rest, found := strings.Cut(authorization, "Credential=")
		if !found {
			return "", refuse(Incomplete, "Authorization header requires 'Credential' parameter.")
		}
		credential, _, _ := strings.Cut(rest, ",")
		return credential, nil
	}
	if presigned(r) {
		return r.URL.Query().Get("X-Amz-Credential"), nil
	}
	return "", nil
}
