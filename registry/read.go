package registry

import (
	"context"
	"encoding/base64"
	"maps"
	"strings"

	"hearth/faas"
)

// Bounds of a page; 0 items asked for is defaultPage.
const (
	defaultPage = 50
	maxPage     = 10000
)

// Get returns a function with the version that the qualifier names: "" and
// faas.Latest are the head as it is, in whatever state; an alias is its primary
// version.
func (r *Registry) Get(_ context.Context, id faas.FunctionID, qualifier string) (*Function, error) {
	s := r.table.load(id)
	if s == nil {
		return nil, noFunction(id, qualifier)
	}
	v := s.find(qualifier)
	if v == nil {
		return nil, noQualifier(id, qualifier)
	}
	return &Function{ID: id, Tags: maps.Clone(s.record.Tags), Version: v}, nil
}

// OpenCode returns the zip of a version as it was uploaded.
func (r *Registry) OpenCode(ctx context.Context, id faas.FunctionID, qualifier string) ([]byte, error) {
	f, err := r.Get(ctx, id, qualifier)
	if err != nil {
		return nil, err
	}
	zip, err := r.packages.Read(ctx, f.Version.Code)
	if err != nil {
		return nil, engineError("read package", err)
	}
	return zip, nil
}

// Usage sums what a scope stores; an empty namespace stands for all of them.
func (r *Registry) Usage(_ context.Context, scope faas.Scope) (Usage, error) {
	return r.table.usageOf(scope), nil
}

// Tag adds tags to a function, or replaces their values.
func (r *Registry) Tag(ctx context.Context, id faas.FunctionID, tags map[string]string) error {
	return r.changeTags(ctx, id, func(all map[string]string) { maps.Copy(all, tags) })
}

// Untag removes tags; keys that are not there are no error.
func (r *Registry) Untag(ctx context.Context, id faas.FunctionID, keys []string) error {
	return r.changeTags(ctx, id, func(all map[string]string) {
		for _, k := range keys {
			delete(all, k)
		}
	})
}

func (r *Registry) changeTags(ctx context.Context, id faas.FunctionID, edit func(map[string]string)) error {
	leave, err := r.enter()
	if err != nil {
		return err
	}
	defer leave()
	return r.change(ctx, id, func(_ context.Context, s *snapshot) (*record, error) {
		next := s.record.clone()
		edit(next.Tags)
		if maps.Equal(next.Tags, s.record.Tags) {
			return nil, nil
		}
		return next, faas.ValidateTags(next.Tags, r.limits.MaxTags)
	})
}

// List returns a page of the scope's heads, sorted by name, or with allVersions
// of all versions, a function's head first and its numbers ascending after it.
func (r *Registry) List(_ context.Context, scope faas.Scope, allVersions bool, marker string, max int) (Page[*faas.Version], error) {
	from, err := parseMarker(marker)
	if err != nil {
		return Page[*faas.Version]{}, err
	}
	page := newPage[*faas.Version](max)
	for name := from.name; ; {
		names := r.table.namesFrom(scope, name, page.max+1)
		for _, n := range names {
			s := r.table.load(faas.FunctionID{Scope: scope, Name: n})
			if s == nil {
				continue
			}
			first := int64(0)
			if n == from.name {
				first = from.number
			}
			if !addVersions(page, s, first, allVersions) {
				return page.Page, nil
			}
		}
		if len(names) <= page.max {
			return page.Page, nil
		}
		name = names[len(names)-1] + "\x00" // the first name after it
	}
}

// ListVersions returns a page of a function's versions: the head, then the
// numbers ascending.
func (r *Registry) ListVersions(_ context.Context, id faas.FunctionID, marker string, max int) (Page[*faas.Version], error) {
	from, err := parseMarker(marker)
	if err != nil {
		return Page[*faas.Version]{}, err
	}
	s := r.table.load(id)
	if s == nil {
		return Page[*faas.Version]{}, noFunction(id, "")
	}
	page := newPage[*faas.Version](max)
	addVersions(page, s, from.number, true)
	return page.Page, nil
}

// ListAliases returns a page of a function's aliases, sorted by name: those
// that send calls to version, or all where it is "".
func (r *Registry) ListAliases(_ context.Context, id faas.FunctionID, version, marker string, max int) (Page[*faas.Alias], error) {
	from, err := parseMarker(marker)
	if err != nil {
		return Page[*faas.Alias]{}, err
	}
	s := r.table.load(id)
	if s == nil {
		return Page[*faas.Alias]{}, noFunction(id, "")
	}
	page := newPage[*faas.Alias](max)
	at, _ := findAlias(s.record.Aliases, from.name)
	for _, a := range s.record.Aliases[at:] {
		if version != "" && !pointsAt(a, version) {
			continue
		}
		if !page.add(copyAlias(s.aliases[a.Name]), position{name: a.Name}) {
			break
		}
	}
	return page.Page, nil
}

func pointsAt(a faas.Alias, version string) bool {
	for target := range a.Targets() {
		if target == version {
			return true
		}
	}
	return false
}

// pageBuilder fills a page up to its bound.
type pageBuilder[T any] struct {
	Page[T]
	max int
}

func newPage[T any](max int) *pageBuilder[T] {
	if max <= 0 {
		max = defaultPage
	}
	return &pageBuilder[T]{max: min(max, maxPage)}
}

// add appends an item, or where the page is full makes it the next page's first
// and returns false.
func (p *pageBuilder[T]) add(item T, at position) bool {
	if len(p.Items) == p.max {
		p.Next = at.marker()
		return false
	}
	p.Items = append(p.Items, item)
	return true
}

// addVersions adds a function's versions from the number first, 0 being the
// head, and reports whether the page has room for more.
func addVersions(p *pageBuilder[*faas.Version], s *snapshot, first int64, all bool) bool {
	name := s.record.Head.ID.Function.Name
	if first == 0 && !p.add(s.record.Head, position{name: name}) {
		return false
	}
	if !all {
		return true
	}
	for _, n := range s.numbers {
		if n >= first && !p.add(s.versions[faas.VersionNumber(n)], position{name, n}) {
			return false
		}
	}
	return true
}

// position is the first item of the next page. What is deleted or added in
// between does no harm: a page begins at the first item that is not before it.
type position struct {
	name   string
	number int64 // 0 is the head
}

func (p position) marker() string {
	s := p.name
	if p.number > 0 {
		s += ":" + faas.VersionNumber(p.number)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(s))
}

func parseMarker(marker string) (position, error) {
	if marker == "" {
		return position{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(marker)
	name, number, numbered := strings.Cut(string(b), ":")
	p := position{name: name}
	ok := err == nil && faas.ValidQualifier(name)
	if numbered {
		n, isNumber := faas.ParseVersionNumber(number)
		p.number, ok = n, ok && isNumber
	}
	if !ok {
		return p, faas.Errorf(faas.CodeInvalid, "marker", "The marker is not one that a list returned. Begin the list again without it.")
	}
	return p, nil
}

// EachFunction calls visit for every function that there is, in no order. visit
// must not call the registry.
func (r *Registry) EachFunction(visit func(faas.FunctionID)) {
	for i := range r.table.shards {
		r.table.shards[i].each(visit)
	}
}

// Configs returns the configurations of a function's versions that may have
// instances; none where there is no such function. They are shared: read only.
func (r *Registry) Configs(id faas.FunctionID) []faas.Config {
	s := r.table.load(id)
	if s == nil {
		return nil
	}
	var all []faas.Config
	s.revisions(func(v *faas.Version) { all = append(all, v.Config) })
	return all
}
