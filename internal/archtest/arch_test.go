package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "hearth"

// Budgets, in lines. The good codebases of this field keep them
// (docs/design/0001-layout.md); a file that wants more wants to be two.
const (
	maxFile     = 800
	maxFunction = 120
	maxDepth    = 8
)

// allowed says what each package may import of Hearth. A package that is not
// listed may be imported by nobody but cmd and tests, and must be listed. The
// longest matching prefix counts.
var allowed = map[string][]string{
	"faas":              {},
	"engine":            {"engine", "faas"},
	"sandbox":           {"sandbox", "internal/rawio", "internal/sockpair"},
	"logs":              {"faas", "internal/rawio"},
	"code":              {"faas", "engine"},
	"code/object":       {"auth", "faas"},
	"runtimeapi":        {"faas", "internal/bounded", "internal/deadline", "internal/line", "internal/uuid"},
	"runtimes":          {"faas", "sandbox", "runtimeapi", "runtimes", "pool"},
	"runtimes/cell":     {},
	"keepalive":         {},
	"metric":            {"faas"},
	"metric/prom":       {"faas", "metric"},
	"quota":             {"faas"},
	"pool":              {"faas", "internal/deadline", "keepalive", "metric", "quota"},
	"provision":         {"faas", "quota", "internal/cron"},
	"pool/pooltest":     {"faas", "pool"},
	"invoke":            {"faas", "internal/bounded", "internal/eager", "metric", "pool", "quota"},
	"async":             {"faas", "engine", "invoke", "metric", "internal/uuid"},
	"registry":          {"faas", "engine", "quota", "internal/uuid"},
	"auth":              {"faas", "engine"},
	"api/funcurl":       {"auth", "faas", "invoke", "registry", "internal/uuid"},
	"api/lambda":        {"api/lambda", "auth", "faas", "invoke", "registry", "internal/uuid"},
	"api/native":        {"async", "auth", "faas", "invoke", "metric", "registry", "logs"},
	"api/cwlogs":        {"auth", "faas", "logs", "internal/uuid"},
	"cmd/hearth":        {""},
	"internal/archtest": {},
	"internal":          {"internal"},
	"bench":             {""},
	"test":              {""},
}

// why gives the reason of the edges that people are most tempted to add.
const why = `faas imports nothing; a dialect imports no other dialect and nothing below the services;
no sandbox type above pool (runtimes implements pool's Starter); decisions know no technology.`

// source is one parsed file of Hearth's own.
type source struct {
	path string // slash-separated, from the repository's root
	file *ast.File
	set  *token.FileSet
}

func (s source) pkg() string { return filepath.ToSlash(filepath.Dir(s.path)) }

func (s source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

func sources(t *testing.T) []source {
	t.Helper()
	const root = "../.."
	var all []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		rel = filepath.ToSlash(rel)
		if d.IsDir() && (rel == "examples" || rel == "dist" || d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() != ".." && strings.HasPrefix(d.Name(), ".") && rel != ".") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if !ast.IsGenerated(file) {
			all = append(all, source{rel, file, set})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d files found: is the root right?", len(all))
	}
	return all
}

func TestImportsFollowTheArrows(t *testing.T) {
	for _, s := range sources(t) {
		if s.test() {
			continue // tests wire what they need
		}
		rule, listed := ruleOf(s.pkg())
		if !listed {
			t.Errorf("%s: package %s has no line in the table of allowed imports", s.path, s.pkg())
			continue
		}
		for _, imported := range importsOf(s) {
			if imported == s.pkg() || mayImport(rule, imported) {
				continue
			}
			t.Errorf("%s imports %s, which package %s may not.\n%s", s.path, imported, s.pkg(), why)
		}
	}
}

func ruleOf(pkg string) ([]string, bool) {
	for prefix := pkg; ; prefix = filepath.ToSlash(filepath.Dir(prefix)) {
		if rule, ok := allowed[prefix]; ok {
			return rule, true
		}
		if !strings.Contains(prefix, "/") {
			return nil, false
		}
	}
}

func mayImport(rule []string, imported string) bool {
	return slices.ContainsFunc(rule, func(prefix string) bool {
		return prefix == "" || imported == prefix || strings.HasPrefix(imported, prefix+"/")
	})
}

// importsOf returns the packages of Hearth that a file imports.
func importsOf(s source) []string {
	var own []string
	for _, spec := range s.file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		if rest, ok := strings.CutPrefix(path, module+"/"); ok {
			own = append(own, rest)
		}
	}
	return own
}

func TestImportDepth(t *testing.T) {
	graph := map[string][]string{}
	for _, s := range sources(t) {
		if !s.test() {
			graph[s.pkg()] = append(graph[s.pkg()], importsOf(s)...)
		}
	}
	memo := map[string]int{}
	var depth func(string) int
	depth = func(pkg string) int {
		if d, ok := memo[pkg]; ok {
			return d
		}
		deepest := 0
		for _, imported := range graph[pkg] {
			if imported != pkg {
				deepest = max(deepest, depth(imported))
			}
		}
		memo[pkg] = deepest + 1
		return memo[pkg]
	}
	for pkg := range graph {
		if d := depth(pkg); d > maxDepth {
			t.Errorf("package %s is %d imports deep, more than %d", pkg, d, maxDepth)
		}
	}
}

func TestEveryPackageIsDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		doc := s.file.Doc.Text()
		documented[s.pkg()] = documented[s.pkg()] || strings.HasPrefix(doc, "Package "+s.file.Name.Name+" ") || strings.HasPrefix(doc, "Command ")
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("package %s has no comment that says what it is, what it owns and what it must not know", pkg)
		}
	}
}

func TestSizeBudgets(t *testing.T) {
	for _, s := range sources(t) {
		if lines := s.set.Position(s.file.FileEnd).Line; lines > maxFile {
			t.Errorf("%s has %d lines, more than %d", s.path, lines, maxFile)
		}
		for _, decl := range s.file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || s.test() {
				continue
			}
			if lines := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1; lines > maxFunction {
				t.Errorf("%s: %s has %d lines, more than %d", s.path, f.Name.Name, lines, maxFunction)
			}
		}
	}
}

// TestNoSleeps holds tests to events, fake clocks and synctest bubbles.
func TestNoSleeps(t *testing.T) {
	for _, s := range sources(t) {
		if !s.test() || usesSynctest(s.file) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := selector.X.(*ast.Ident)
			if ok && pkg.Name == "time" && selector.Sel.Name == "Sleep" {
				t.Errorf("%s: a test sleeps at line %d: wait for an event, or use testing/synctest", s.path, s.set.Position(n.Pos()).Line)
			}
			return true
		})
	}
}

func usesSynctest(file *ast.File) bool {
	return slices.ContainsFunc(file.Imports, func(spec *ast.ImportSpec) bool { return spec.Path.Value == `"testing/synctest"` })
}
