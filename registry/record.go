package registry

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"hearth/faas"
)

// recordFormat is the format of what this build writes; it reads no newer one.
const recordFormat = 1

// maxRecord bounds a function's record below the engine's bound of a value.
const maxRecord = 448 << 10

const (
	functionPrefix = "function"
	packagePrefix  = "package"
)

// record is the durable form of a function. One that is decoded or committed is
// never changed again: changes are made to a clone.
type record struct {
	Format int `json:"format"`
	// Deleted is a function that is no more. Its record stays while LastNumber
	// matters: the numbers of versions are not reused by a function of that name.
	Deleted bool `json:"deleted,omitempty"`
	// Incarnation tells a function from another that had its name before.
	Incarnation string `json:"incarnation,omitempty"`
	// Head is $LATEST as its users see it.
	Head *faas.Version `json:"head,omitempty"`
	// Serving is what calls of $LATEST go to while an update of Head is in
	// progress or failed. Nil is Head itself.
	Serving *faas.Version `json:"serving,omitempty"`
	// LastNumber is the highest version number ever given, 0 for none.
	LastNumber int64             `json:"lastNumber,omitempty"`
	Published  []published       `json:"published,omitempty"` // by number, ascending
	Aliases    []faas.Alias      `json:"aliases,omitempty"`   // by name, ascending
	Tags       map[string]string `json:"tags,omitempty"`
	// Events is what was set for asynchronous invocations, by qualifier, ascending.
	Events   []EventConfig `json:"events,omitempty"`
	Policies []Policy      `json:"policies,omitempty"` // by qualifier, ascending
	// URLs are the function's and its aliases', by qualifier, ascending.
	URLs []faas.FunctionURL `json:"urls,omitempty"`
	// RecursionLoop is what was set; "" is RecursionTerminate.
	RecursionLoop string `json:"recursionLoop,omitempty"`
	// RuntimeUpdates is what was set for versions, by their number.
	RuntimeUpdates map[string]RuntimeUpdates `json:"runtimeUpdates,omitempty"`
}

// published says that a version exists. The state is here, and not with the
// content, so that it changes together with the head's.
type published struct {
	Number int64 `json:"n"`
	// Pending while the head from which it was published is not active yet.
	Pending bool `json:"pending,omitempty"`
	// Failure is why it could not be activated.
	Failure *failure `json:"failure,omitempty"`
}

type failure struct {
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

// versionRecord is the durable content of a published version.
type versionRecord struct {
	Format      int           `json:"format"`
	Incarnation string        `json:"incarnation"`
	Version     *faas.Version `json:"version"`
	// HeadDescription is the description of the head that was published, which
	// the publisher may have replaced. Without it unchanged could not be told.
	HeadDescription string `json:"headDescription,omitempty"`
}

// clone returns a record whose slices and maps may be changed. The versions are
// shared: replace them, do not change them.
func (r *record) clone() *record {
	c := *r
	c.Published = append([]published(nil), r.Published...)
	c.Aliases = append([]faas.Alias(nil), r.Aliases...)
	c.Events = append([]EventConfig(nil), r.Events...)
	c.Policies = append([]Policy(nil), r.Policies...)
	c.URLs = append([]faas.FunctionURL(nil), r.URLs...)
	c.RuntimeUpdates = maps.Clone(r.RuntimeUpdates)
	c.Tags = make(map[string]string, len(r.Tags))
	for k, v := range r.Tags {
		c.Tags[k] = v
	}
	return &c
}

// publishedAt returns where a version's number is in Published.
func (r *record) publishedAt(number int64) (at int, found bool) {
	return slices.BinarySearchFunc(r.Published, number, func(p published, n int64) int { return cmp.Compare(p.Number, n) })
}

// dropQualifier removes from a clone what was set for a version or an alias that
// is no more.
func (r *record) dropQualifier(qualifier string) {
	r.dropEventConfig(qualifier)
	r.dropPolicy(qualifier)
	r.dropURL(qualifier)
	delete(r.RuntimeUpdates, qualifier)
}

// pending reports whether there is an activation to be done.
func (r *record) pending() bool {
	if r.Head == nil {
		return false
	}
	return r.Head.State == faas.StatePending || r.Head.Update == faas.UpdateInProgress
}

// encode returns the record's bytes; the same record always has the same bytes.
func (r *record) encode() ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, internal("encode function", err)
	}
	if len(b) > maxRecord {
		return nil, faas.Errorf(faas.CodeStorageLimit, "function",
			"The function has too many versions, aliases and tags for one record (%d of %d bytes). Delete some of them.", len(b), maxRecord)
	}
	return b, nil
}

func decodeRecord(key string, b []byte) (*record, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("registry: key %s holds no function: %w", key, err)
	}
	if r.Format > recordFormat {
		return nil, fmt.Errorf("registry: key %s has format %d; this build reads up to %d, use a newer Hearth", key, r.Format, recordFormat)
	}
	if !r.Deleted && (r.Head == nil || r.Incarnation == "") {
		return nil, fmt.Errorf("registry: key %s holds a function without a head", key)
	}
	return &r, nil
}

func decodeVersion(key string, b []byte) (*versionRecord, error) {
	var v versionRecord
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("registry: key %s holds no version: %w", key, err)
	}
	if v.Format > recordFormat {
		return nil, fmt.Errorf("registry: key %s has format %d; this build reads up to %d, use a newer Hearth", key, v.Format, recordFormat)
	}
	if v.Version == nil {
		return nil, fmt.Errorf("registry: key %s holds no version", key)
	}
	return &v, nil
}

func functionKey(id faas.FunctionID) string {
	return functionPrefix + "/" + id.String()
}

func recordKey(id faas.FunctionID) string { return functionKey(id) + "/record" }

func versionKey(id faas.FunctionID, number int64) string {
	return functionKey(id) + "/version/" + faas.VersionNumber(number)
}

func packageKey(digest string) string { return packagePrefix + "/" + digest }

// parseKey is the inverse of recordKey and versionKey; number is 0 for a record.
func parseKey(key string) (id faas.FunctionID, number int64, err error) {
	t := strings.Split(key, "/")
	if len(t) < 6 || t[0] != functionPrefix {
		return id, 0, fmt.Errorf("registry: unknown key %q", key)
	}
	id = faas.FunctionID{Scope: faas.Scope{Account: t[1], Region: t[2], Namespace: t[3]}, Name: t[4]}
	switch {
	case len(t) == 6 && t[5] == "record":
		return id, 0, nil
	case len(t) == 7 && t[5] == "version":
		if n, ok := faas.ParseVersionNumber(t[6]); ok {
			return id, n, nil
		}
	}
	return id, 0, fmt.Errorf("registry: unknown key %q", key)
}
