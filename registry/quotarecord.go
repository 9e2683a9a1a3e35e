package registry

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"hearth/faas"
	"hearth/quota"
)

// quotaFormat is the format of the quota records that this build writes; it
// reads no newer one.
const quotaFormat = 1

const quotaPrefix = "quota"

// A quota record over quotaPlain bytes is stored compressed. One over quotaMost bytes,
// or of more than maxRecord bytes when compressed, is refused: some 15,000 functions
// with a setting.
const (
	quotaPlain = 64 << 10
	quotaMost  = 4 << 20
)

// quotaRecord is the durable form of an account's quotas in one region. They
// share one record so that one compare-and-set covers the sums. One that is
// decoded or committed is never changed again, nor is what it points to.
type quotaRecord struct {
	Format int                `json:"format"`
	Limits AccountLimitsPatch `json:"limits"` // what was set; the rest has its default
	// Functions holds the functions that have a setting, by namespace/name.
	Functions map[string]*functionQuota `json:"functions,omitempty"`
}

// functionQuota is what was set for one function. It is dead, and counts for
// nothing, when the function is another incarnation or no more; so is a
// provisioned concurrency whose version or alias is no more.
type functionQuota struct {
	Incarnation string             `json:"incarnation"`
	Reserved    *faas.Amount       `json:"reserved,omitempty"`
	Maximum     *int               `json:"maximum,omitempty"`
	Provisioned []faas.Provisioned `json:"provisioned,omitempty"` // by qualifier, ascending
}

func (q *functionQuota) empty() bool {
	return q.Reserved == nil && q.Maximum == nil && len(q.Provisioned) == 0
}

func (q *functionQuota) find(qualifier string) (at int, found bool) {
	return slices.BinarySearchFunc(q.Provisioned, qualifier, func(p faas.Provisioned, qualifier string) int {
		return strings.Compare(p.Qualifier, qualifier)
	})
}

// clone returns a record whose map may be changed. The entries are shared:
// replace them, do not change them.
func (r *quotaRecord) clone() *quotaRecord {
	c := *r
	c.Functions = maps.Clone(r.Functions)
	if c.Functions == nil {
		c.Functions = make(map[string]*functionQuota)
	}
	return &c
}

// limits returns the account's limits with the defaults of those that were not set.
func (r *quotaRecord) limits() faas.AccountLimits {
	return r.Limits.apply(faas.DefaultAccountLimits())
}

// of returns what is set for the function that s is, or nil.
func (r *quotaRecord) of(id faas.FunctionID, s *snapshot) *functionQuota {
	if s == nil {
		return nil
	}
	q := r.Functions[quotaName(id)]
	if q == nil || q.Incarnation != s.record.Incarnation {
		return nil
	}
	return q
}

// set replaces what is set for a function; nothing set removes the entry.
func (r *quotaRecord) set(id faas.FunctionID, q *functionQuota) {
	if q == nil || q.empty() {
		delete(r.Functions, quotaName(id))
		return
	}
	r.Functions[quotaName(id)] = q
}

// live returns what of a function's entry is not dead, nil for nothing, and
// whether anything is. s is the function now, nil where there is none.
func (r *quotaRecord) live(id faas.FunctionID, s *snapshot) (left *functionQuota, dead bool) {
	q := r.of(id, s)
	if q == nil {
		return nil, r.Functions[quotaName(id)] != nil
	}
	gone := func(p faas.Provisioned) bool { return !s.has(p.Qualifier) }
	if !slices.ContainsFunc(q.Provisioned, gone) {
		return q, false
	}
	c := *q
	c.Provisioned = slices.DeleteFunc(slices.Clone(q.Provisioned), gone)
	return &c, true
}

// ids returns the functions that the record has an entry of.
func (r *quotaRecord) ids(account quota.Account) []faas.FunctionID {
	ids := make([]faas.FunctionID, 0, len(r.Functions))
	for name := range r.Functions {
		ids = append(ids, quotaID(account, name))
	}
	return ids
}

// encode returns the record's bytes; the same record always has the same bytes.
func (r *quotaRecord) encode() ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, internal("encode quotas", err)
	}
	size := len(b)
	if size > quotaPlain && size <= quotaMost {
		if b, err = compress(b); err != nil {
			return nil, internal("compress quotas", err)
		}
	}
	if size > quotaMost || len(b) > maxRecord {
		return nil, faas.Errorf(faas.CodeStorageLimit, "quotas",
			"The account's quotas are too many for one record (%d functions have a setting, and some 15,000 may). Remove reservations, maxima or provisioned concurrency that are not needed.", len(r.Functions))
	}
	return b, nil
}

// gzipMagic begins what compress made, and no JSON.
var gzipMagic = []byte{0x1f, 0x8b}

func compress(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	err = w.Close()
	return out.Bytes(), err
}

// decompress undoes compress, where that was done.
func decompress(b []byte) ([]byte, error) {
	if !bytes.HasPrefix(b, gzipMagic) {
		return b, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, quotaMost+1))
	if err == nil && len(plain) > quotaMost {
		err = fmt.Errorf("more than %d bytes", quotaMost)
	}
	return plain, err
}

func decodeQuota(key string, b []byte) (*quotaRecord, error) {
	var r quotaRecord
	b, err := decompress(b)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return nil, fmt.Errorf("registry: key %s holds no quotas: %w", key, err)
	}
	if r.Format > quotaFormat {
		return nil, fmt.Errorf("registry: key %s has format %d; this build reads up to %d, use a newer Hearth", key, r.Format, quotaFormat)
	}
	if r.Format < 1 {
		return nil, fmt.Errorf("registry: key %s holds no quotas", key)
	}
	for name, q := range r.Functions {
		if q == nil || strings.Count(name, "/") != 1 {
			return nil, fmt.Errorf("registry: key %s holds quotas of %q, which is no function", key, name)
		}
		slices.SortStableFunc(q.Provisioned, func(a, b faas.Provisioned) int { return strings.Compare(a.Qualifier, b.Qualifier) })
	}
	return &r, nil
}

func quotaKey(a quota.Account) string { return quotaPrefix + "/" + a.String() }

// parseQuotaKey is the inverse of quotaKey.
func parseQuotaKey(key string) (quota.Account, error) {
	t := strings.Split(key, "/")
	if len(t) != 3 || t[0] != quotaPrefix {
		return quota.Account{}, fmt.Errorf("registry: unknown key %q", key)
	}
	return quota.Account{ID: t[1], Region: t[2]}, nil
}

func quotaName(id faas.FunctionID) string { return id.Namespace + "/" + id.Name }

// quotaID is the inverse of quotaName.
func quotaID(a quota.Account, name string) faas.FunctionID {
	namespace, name, _ := strings.Cut(name, "/")
	return faas.FunctionID{Scope: faas.Scope{Account: a.ID, Region: a.Region, Namespace: namespace}, Name: name}
}
