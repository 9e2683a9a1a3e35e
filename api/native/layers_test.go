package native

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"hearth/faas"
	"hearth/registry"
)

// layerShelf has versions of one layer, the newest first.
type layerShelf struct {
	versions  []*faas.LayerVersion
	published registry.PublishLayerInput
	deleted   int64
}

func (l *layerShelf) PublishLayer(_ context.Context, in registry.PublishLayerInput) (*faas.LayerVersion, error) {
	l.published = in
	return &faas.LayerVersion{Layer: in.Layer, Number: 9}, nil
}

func (l *layerShelf) Layer(_ context.Context, id faas.LayerID, number int64) (*faas.LayerVersion, error) {
	for _, v := range l.versions {
		if v.Layer == id && v.Number == number {
			return v, nil
		}
	}
	return nil, faas.Errorf(faas.CodeNotFound, "layer", "there is none")
}

func (l *layerShelf) DeleteLayer(_ context.Context, _ faas.LayerID, number int64) error {
	l.deleted = number
	return nil
}

func (l *layerShelf) ListLayers(context.Context, faas.Scope, registry.LayerFilter, string, int) (registry.Page[*faas.LayerVersion], error) {
	return registry.Page[*faas.LayerVersion]{Items: l.versions[:1]}, nil
}

func (l *layerShelf) ListLayerVersions(_ context.Context, id faas.LayerID, _ registry.LayerFilter, _ string, _ int) (page registry.Page[*faas.LayerVersion], err error) {
	if id == l.versions[0].Layer {
		page.Items = l.versions
	}
	return page, nil
}

func TestLayers(t *testing.T) {
	id := faas.LayerID{Account: faas.DefaultAccount, Region: faas.DefaultRegion, Name: "tools"}
	shelf := &layerShelf{versions: []*faas.LayerVersion{{Layer: id, Number: 4}, {Layer: id, Number: 2}}}
	b := &backend{}
	api := New(Options{Registry: b, Invoker: b, Instances: b, Logs: b, Runtimes: catalogue{}, Layers: shelf,
		Account: id.Account, Region: id.Region})
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "layers/tools", `{"zip":"UEs=","description":"words","runtimes":["nodejs22.x"]}`, 201, `"arn":"arn:aws:lambda:us-east-1:000000000000:layer:tools:9"`},
		{"POST", "layers/tools", `{"zap":""}`, 400, `has no field zap`},
		{"GET", "layers", "", 200, `"number":4`},
		{"GET", "layers/tools", "", 200, `"number":2`},
		{"GET", "layers/none", "", 404, `no version of that layer`},
		{"DELETE", "layers/tools/versions/2", "", 204, ""},
		{"DELETE", "layers/tools/versions/3", "", 404, ""},
		{"DELETE", "layers/tools/versions/x", "", 400, ""},
		{"PUT", "functions/f", `{"runtime":"nodejs22.x","handler":"a.b","zip":"UEs=","layers":["tools","tools:2"]}`, 201, ""},
		{"PUT", "functions/f", `{"layers":["none"]}`, 400, `'hearth layers publish' makes one`},
		{"PUT", "functions/f", `{"layers":["a b"]}`, 400, `is no layer`},
		{"PUT", "functions/f", `{"layers":[]}`, 200, ""},
	} {
		w := send(api, c.method, c.path, c.body)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s %s: %d %s; want %d, %q", c.method, c.path, c.body, w.Code, w.Body, c.status, c.want)
		}
	}
	if in := shelf.published; in.Layer != id || in.Description != "words" || string(in.Zip) != "PK" || len(in.Runtimes) != 1 {
		t.Errorf("published %+v", in)
	}
	if shelf.deleted != 2 {
		t.Errorf("deleted version %d", shelf.deleted)
	}
	want, err := json.Marshal([]string{faas.LayerVersionARN(id, 4), faas.LayerVersionARN(id, 2)})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := json.Marshal(b.created.Layers); string(got) != string(want) {
		t.Errorf("created with layers %s, want %s", got, want)
	}
	if b.patch.Layers == nil || len(*b.patch.Layers) != 0 {
		t.Errorf("updated with layers %v, want none", b.patch.Layers)
	}
}
