package cwlogs

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value is what a pointer points to, or the zero value.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// limitOf is a limit as it was asked for, within its bounds.
func limitOf(asked *int, usual, most int) (int, error) {
	switch {
	case asked == nil:
		return usual, nil
	case *asked < 1:
		return 0, invalid("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1", *asked)
	case *asked > most:
		return 0, invalid("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: Member must have value less than or equal to %d", *asked, most)
	}
	return *asked, nil
}

func invalidToken() error { return invalid("The specified nextToken is invalid.") }

// pageOf is the page of a sorted list that follows the one that ended with the
// token's key, and the token of the next one.
func pageOf[T any](all []T, key func(T) string, token string, limit int) ([]T, string, error) {
	if token != "" {
		after, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			return nil, "", invalidToken()
		}
		at := slices.IndexFunc(all, func(one T) bool { return key(one) == string(after) })
		if at < 0 {
			return nil, "", invalidToken() // what it ended with is gone
		}
		all = all[at+1:]
	}
	if len(all) <= limit {
		return append([]T{}, all...), "", nil
	}
	return all[:limit], base64.RawURLEncoding.EncodeToString([]byte(key(all[limit-1]))), nil
}

// sortable is a number whose text sorts as it does.
func sortable(n int64) string { return fmt.Sprintf("%020d", n) }

// position is a place between two lines of a log: behind so many lines of an instant.
type position struct {
	at   int64 // nanoseconds since 1970
	skip int
}

func (p position) String() string {
	return strconv.FormatInt(p.at, 36) + "." + strconv.Itoa(p.skip)
}

func (p position) time() time.Time { return time.Unix(0, p.at).UTC() }

// maxSkip bounds what a token may ask to be read for nothing: the lines of one
// instant that a pipe can hold.
const maxSkip = 1 << 20

func parsePosition(text string) (position, error) {
	at, skip, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(at, 36, 64)
	k, err2 := strconv.Atoi(skip)
	if err != nil || err2 != nil || n < 0 || k < 0 || k > maxSkip {
		return position{}, invalidToken()
	}
	return position{n, k}, nil
}
