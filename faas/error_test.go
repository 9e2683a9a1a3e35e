package faas

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"slices"
	"strconv"
	"testing"
)

// TestCodesAreClosed compares Codes with the constants in the source, so that
// none is forgotten: dialects map what Codes lists.
func TestCodesAreClosed(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "error.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []ErrorCode
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "ErrorCode" {
			value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			declared = append(declared, ErrorCode(value))
		}
		return true
	})
	if len(declared) < 20 || !slices.Equal(declared, Codes()) {
		t.Errorf("declared %v\nlisted   %v", declared, Codes())
	}
	sorted := slices.Sorted(slices.Values(Codes()))
	if len(slices.Compact(sorted)) != len(Codes()) {
		t.Error("two codes have one name")
	}
}

func TestErrorf(t *testing.T) {
	err := fmt.Errorf("while reading: %w", Errorf(CodeInvalidZip, "zipFile", "entry 3: %w", io.ErrUnexpectedEOF))
	if CodeOf(err) != CodeInvalidZip || !IsCode(err, CodeInvalidZip) || IsCode(err, CodeInvalid) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if got := err.Error(); got != "while reading: invalid-zip zipFile: entry 3: unexpected EOF" {
		t.Error(got)
	}
	if CodeOf(io.EOF) != CodeInternal || IsCode(nil, CodeInternal) {
		t.Error("an error of another kind is internal, and nil is none")
	}
}
