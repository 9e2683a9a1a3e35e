package lambda

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// route finds the operation of a request by its method, its path as it was sent
// and its raw query. Variables of the path are returned decoded. A trailing slash
// means nothing. Path segments are split before they are decoded, so a name may
// hold an encoded slash.
func route(method, escapedPath, rawQuery string) (*operation, map[string]string, error) {
	segments := strings.Split(strings.TrimSuffix(strings.TrimPrefix(escapedPath, "/"), "/"), "/")
	var best *operation
	var allowed []string
	for i := range operations {
		op := &operations[i]
		if !pathMatches(op.path, segments) || !queryMatches(op.query, rawQuery) {
			continue
		}
		allowed = append(allowed, op.method)
		if op.method == method && (best == nil || op.query != "") {
			best = op
		}
	}
	if best == nil {
		return nil, nil, unrouted(method, escapedPath, allowed)
	}
	vars, err := pathVariables(best.path, segments)
	return best, vars, err
}

func unrouted(method, path string, allowed []string) error {
	if len(allowed) == 0 {
		return &apiError{wire: wireUnknownOperation, message: "No operation of the Lambda API has the path " + clip(path) + "."}
	}
	slices.Sort(allowed)
	allow := strings.Join(slices.Compact(allowed), ", ")
	return &apiError{wire: wireMethod, allow: allow,
		message: "The method " + clip(method) + " is not allowed for this path; it has " + allow + "."}
}

// pathMatches walks the pattern without splitting it: a request meets all of them.
func pathMatches(pattern string, segments []string) bool {
	rest := pattern[1:]
	for i, segment := range segments {
		part, after, more := strings.Cut(rest, "/")
		if part[0] != '{' && part != segment {
			return false
		}
		if last := i == len(segments)-1; last != !more {
			return false
		}
		rest = after
	}
	return true
}

// queryMatches tells apart operations that share a path, by name=value in the query.
func queryMatches(want, rawQuery string) bool {
	return want == "" || slices.Contains(strings.Split(rawQuery, "&"), want)
}

func pathVariables(pattern string, segments []string) (map[string]string, error) {
	vars := make(map[string]string, 2)
	for i, part := range strings.Split(pattern[1:], "/") {
		if part[0] != '{' {
			continue
		}
		value, err := url.PathUnescape(segments[i])
		if err != nil {
			return nil, parameterError("The path holds a percent-encoding that is none: " + clip(segments[i]) + ".")
		}
		vars[part[1:len(part)-1]] = value
	}
	return vars, nil
}

const (
	invokePrefix = "/2015-03-31/functions/"
	invokeSuffix = "/invocations"
)

// invokePath returns the function's name, as the path has it, of an Invoke request.
func invokePath(r *http.Request) (name string, ok bool) {
	if r.Method != http.MethodPost || r.URL.RawPath != "" {
		return "", false
	}
	return invokedName(r.URL.Path)
}

// InvokesPath reports whether a POST to path, which holds nothing that is
// percent-encoded, is an Invoke request. Its handler reads the whole body and
// writes one answer of a length that it says.
func InvokesPath(path string) bool {
	_, ok := invokedName(path)
	return ok
}

func invokedName(path string) (name string, ok bool) {
	if !strings.HasPrefix(path, invokePrefix) {
		return "", false
	}
	name, ok = strings.CutSuffix(strings.TrimSuffix(path[len(invokePrefix):], "/"), invokeSuffix)
	return name, ok && !strings.Contains(name, "/")
}
