package lambda

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	compatibilityPage = "../../docs/guide/lambda-compatibility.md"
	roundTrips        = "../../test/e2e/testdata/operations.json"
	cliScript         = "../../test/e2e/testdata/samflow.sh"
)

// proof is what the tests show of one operation.
type proof struct {
	sourced    map[string]bool // answers whose golden exchange has a source
	unverified map[string]bool // those in this version's own words
	sdks, cli  bool
}

// TestCompatibility holds docs/guide/lambda-compatibility.md to what the tests show:
// the golden exchanges, the round trips and the script of test/e2e. -update rewrites it.
func TestCompatibility(t *testing.T) {
	want := compatibility(t)
	if *update && os.Getenv("CI") == "" {
		if err := os.WriteFile(compatibilityPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(compatibilityPage)
	if err != nil || string(got) != want {
		t.Errorf("the page is stale; go test ./api/lambda -run Compatibility -update writes it (%v)\n%s", err, difference(string(got), want))
	}
}

func compatibility(t *testing.T) string {
	proofs := map[string]*proof{}
	for _, op := range operations {
		proofs[op.name] = &proof{sourced: map[string]bool{}, unverified: map[string]bool{}}
	}
	goldenAnswers(t, proofs)
	clientCalls(t, proofs)
	h, _, _ := newWorld()
	absent := absentEndpoints()
	var out strings.Builder
	out.WriteString(compatibilityHead)
	for _, op := range operations {
		p := proofs[op.name]
		_, served := h.endpoints[op.name]
		_, none := absent[op.name]
		if len(p.sourced)+len(p.unverified) == 0 {
			t.Errorf("%s has no golden exchange", op.name)
		}
		state := "refused"
		switch {
		case none:
			state = "none here"
		case served || op.name == opInvoke || op.name == opInvokeAsync || op.name == opInvokeStream:
			state = "served"
		}
		if state == "served" && len(p.sourced) == 0 {
			state = "served, unverified"
		}
		var clients []string
		if p.sdks {
			clients = append(clients, "SDKs")
		}
		if p.cli {
			clients = append(clients, "CLI")
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s |\n", op.name, state, answers(p.sourced), answers(p.unverified), strings.Join(clients, ", "))
	}
	return out.String()
}

const compatibilityHead = `# Compatibility with the AWS Lambda API

Made from the tests by ` + "`go test ./api/lambda -run Compatibility -update`" + `; a test fails when it is stale.

For each operation of the service model: whether it is served; the answers that a golden exchange in
` + "`api/lambda/testdata/golden`" + ` pins and for which it names a source (the model, AWS's recorded answers); those that are
pinned in this version's own words, because how AWS says it is not known (unverified); and which clients of the vendor call
it in ` + "`test/e2e`" + ` and decode the answer: aws-sdk-go-v2, ` + "`@aws-sdk/client-lambda`" + ` and boto3 (as far as its version knows the
operation) are "SDKs", the AWS CLI is "CLI". "None here" are operations on things of which this server has none: lists
are empty, and what names one is told that it is not there. [The Lambda API](lambda-api.md) has the differences in words.

| operation | | with a source | unverified | clients |
|---|---|---|---|---|
`

// answers lists statuses with the errors that each is about.
func answers(all map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(all)), ", ")
}

// goldenAnswers reads the answers of the golden exchanges. One after a line that
// begins with "# unverified" has no source, nor have those of a file that says that
// its words are this version's own.
func goldenAnswers(t *testing.T, proofs map[string]*proof) {
	files, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		own := strings.HasPrefix(string(raw), "# source: this version's own words")
		for _, exchange := range strings.Split(string(raw), "\n\n") {
			op, answer := parseExchange(exchange)
			if op == nil {
				continue
			}
			if own || strings.HasPrefix(exchange, "# unverified") {
				proofs[op.name].unverified[answer] = true
			} else {
				proofs[op.name].sourced[answer] = true
			}
		}
	}
	for _, p := range proofs { // what is pinned with a source is not unverified for being said in other words as well
		maps.DeleteFunc(p.unverified, func(answer string, _ bool) bool { return p.sourced[answer] })
	}
}

var firstLine = regexp.MustCompile(`(?m)^> ([A-Z]+) (/\S*)$`)
var statusLine = regexp.MustCompile(`(?m)^< (\d{3})$`)
var errorLine = regexp.MustCompile(`(?m)^< x-amzn-ErrorType: (\w+)$`)

// parseExchange returns the operation of an exchange, nil for none, and its answer.
func parseExchange(exchange string) (*operation, string) {
	request, status := firstLine.FindStringSubmatch(exchange), statusLine.FindStringSubmatch(exchange)
	if request == nil || status == nil {
		return nil, ""
	}
	path, query, _ := strings.Cut(request[2], "?")
	op, _, err := route(request[1], path, query)
	if err != nil {
		return nil, ""
	}
	answer := status[1]
	if e := errorLine.FindStringSubmatch(exchange); e != nil {
		answer += " " + e[1]
	}
	return op, answer
}

// clientCalls marks what the clients of test/e2e call.
func clientCalls(t *testing.T, proofs map[string]*proof) {
	raw, err := os.ReadFile(roundTrips)
	if err != nil {
		t.Fatal(err)
	}
	var steps []struct{ Op, Error string }
	if err := json.Unmarshal(raw, &steps); err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		p := proofs[s.Op]
		if p == nil {
			t.Fatalf("%s has a step of %q, which is no operation", roundTrips, s.Op)
		}
		p.sdks = true
	}
	script, err := os.ReadFile(cliScript)
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range proofs {
		command := strings.ToLower(regexp.MustCompile(`(.)([A-Z])`).ReplaceAllString(name, "$1-$2"))
		p.cli = regexp.MustCompile(`(lambda|field \S+|refused \w+) ` + command + `\s`).Match(script)
	}
	// Every operation that is served is called by a client.
	h, _, _ := newWorld()
	for name, p := range proofs {
		e, served := h.endpoints[name]
		if served && e.input != nil && !p.sdks && !slices.Contains(uncalled, name) {
			t.Errorf("%s is served, and %s has no step of it", name, roundTrips)
		}
	}
}

// uncalled are served operations that a round trip cannot make succeed.
var uncalled = []string{"PutFunctionCodeSigningConfig", "PutFunctionScalingConfig"}
