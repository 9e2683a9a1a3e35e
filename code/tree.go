package code

import (
	"path"
	"strings"
)

// tree is what the entries of an archive make together, before any of it is on
// a disk: every path with its kind, implied directories included.
type tree struct {
	nodes map[string]*node // by canonical name; the root is not in it
	steps int              // taken by follow, for all links together
}

type node struct {
	kind   kind
	target string // of a link
}

// buildTree refuses entries that contradict each other: the same file twice, a
// file below a file or below a link. Names that differ only in case are two
// files, as on the systems that run functions; unpacking never overwrites, so a
// file system that cannot tell them apart gives an error.
func buildTree(entries []*entry, limits Limits) (*tree, error) {
	t := &tree{nodes: make(map[string]*node, len(entries))}
	for _, e := range entries {
		if err := t.addParents(e.name, limits); err != nil {
			return nil, err
		}
		have := t.nodes[e.name]
		switch {
		case have == nil:
			t.nodes[e.name] = &node{kind: e.kind}
		case have.kind == kindDir && e.kind == kindDir:
			// Many tools write a directory more than once.
		case have.kind == kindDir || e.kind == kindDir:
			return nil, invalidEntry(e.name, "it is a directory and a file at once; make the archive again")
		default:
			return nil, invalidEntry(e.name, "it is in the archive twice; make the archive again")
		}
		if len(t.nodes) > limits.Files {
			return nil, tooManyFiles(limits.Files)
		}
	}
	return t, nil
}

// addParents makes the directories that a name implies. It walks upwards and
// stops at the first that is there, so that a long path costs only once.
func (t *tree) addParents(name string, limits Limits) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		have := t.nodes[dir]
		if have == nil {
			if len(t.nodes) >= limits.Files {
				return tooManyFiles(limits.Files)
			}
			t.nodes[dir] = &node{kind: kindDir}
			continue
		}
		if have.kind != kindDir {
			return invalidEntry(name, "%s above it is not a directory; make the archive again", quoteName(dir))
		}
		return nil
	}
	return nil
}

const (
	// maxHops is where Linux gives up following links.
	maxHops = 40
	// maxSteps bounds the work of following all links: a chain of long targets
	// costs thousands of steps for each link that leads into it.
	maxSteps = 1 << 20
)

// checkLinks refuses links that leave the package. Reading the text of each
// target is not enough, as a target may pass through another link and go up
// from there: every link is followed in the tree as the kernel would follow it.
func (t *tree) checkLinks() error {
	for name, n := range t.nodes {
		if n.kind != kindLink {
			continue
		}
		if n.target == "" || strings.ContainsRune(n.target, 0) {
			return invalidEntry(name, "the link has no usable target")
		}
		if strings.HasPrefix(n.target, "/") || strings.ContainsRune(n.target, '\\') {
			return invalidEntry(name, "the link's target %s is not relative to the package", quoteName(n.target))
		}
		if err := t.follow(name, n.target); err != nil {
			return err
		}
	}
	return nil
}

// follow walks from the directory of a link along its target. A path that ends
// at something missing cannot be followed any further by anybody: it is let be.
func (t *tree) follow(link, target string) error {
	at, rest := parent(link), target // at is "" for the root
	for hops := 0; rest != ""; {
		if t.steps++; t.steps > maxSteps {
			return invalidEntry(link, "the links of the archive lead through each other too often; use fewer")
		}
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		switch part {
		case "", ".":
			continue
		case "..":
			if at == "" {
				return invalidEntry(link, "the link's target %s leaves the package", quoteName(target))
			}
			at = parent(at)
			continue
		}
		next := part
		if at != "" {
			next = at + "/" + part
		}
		n := t.nodes[next]
		switch {
		case n == nil || n.kind == kindFile:
			return nil
		case n.kind == kindDir:
			at = next
		default:
			if hops++; hops > maxHops {
				return invalidEntry(link, "the link's target %s goes in circles", quoteName(target))
			}
			if strings.HasPrefix(n.target, "/") {
				return invalidEntry(link, "the link's target %s leaves the package", quoteName(target))
			}
			rest = n.target + "/" + rest
		}
	}
	return nil
}

// parent is the directory of a canonical name, "" for one at the top.
func parent(name string) string { return name[:max(0, strings.LastIndexByte(name, '/'))] }
