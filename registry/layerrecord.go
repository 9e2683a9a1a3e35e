package registry

import (
	"encoding/json"
	"fmt"
	"strings"

	"hearth/faas"
)

const layerPrefix = "layer"

// layerCounter is the durable count of a layer's versions. It outlives them all.
type layerCounter struct {
	Format int   `json:"format"`
	Last   int64 `json:"last"` // the highest number ever given
	// By tells two writers of the same number apart.
	By string `json:"by"`
}

// layerRecord is the durable form of one version of a layer.
type layerRecord struct {
	Format  int                `json:"format"`
	Version *faas.LayerVersion `json:"version"`
}

func layerCounterKey(id faas.LayerID) string { return layerPrefix + "/" + id.String() + "/last" }

func layerVersionKey(id faas.LayerID, number int64) string {
	return layerPrefix + "/" + id.String() + "/version/" + faas.VersionNumber(number)
}

// parseLayerKey is the inverse of both; number is 0 for the counter.
func parseLayerKey(key string) (id faas.LayerID, number int64, err error) {
	t := strings.Split(key, "/")
	if len(t) >= 5 && t[0] == layerPrefix {
		id = faas.LayerID{Account: t[1], Region: t[2], Name: t[3]}
		if len(t) == 5 && t[4] == "last" {
			return id, 0, nil
		}
		if n, ok := faas.ParseVersionNumber(t[len(t)-1]); ok && len(t) == 6 && t[4] == "version" {
			return id, n, nil
		}
	}
	return id, 0, fmt.Errorf("registry: unknown key %q", key)
}

func encodeLayer(v *faas.LayerVersion) ([]byte, error) {
	b, err := json.Marshal(layerRecord{recordFormat, v})
	if err != nil {
		return nil, internal("encode layer", err)
	}
	return b, nil
}

func decodeLayer(key string, b []byte) (*faas.LayerVersion, error) {
	var rec layerRecord
	if err := decodeStored(key, b, &rec, &rec.Format); err != nil {
		return nil, err
	}
	if rec.Version == nil {
		return nil, fmt.Errorf("registry: key %s holds no layer", key)
	}
	return rec.Version, nil
}

// decodeStored reads a record of any kind, whose format is in the place that format
// points at.
func decodeStored(key string, b []byte, record any, format *int) error {
	if err := json.Unmarshal(b, record); err != nil {
		return fmt.Errorf("registry: key %s holds something else: %w", key, err)
	}
	if *format > recordFormat {
		return fmt.Errorf("registry: key %s has format %d; this build reads up to %d, use a newer Hearth", key, *format, recordFormat)
	}
	return nil
}
