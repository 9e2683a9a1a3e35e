package main

import (
	"hearth/api/lambda"
	"hearth/code/object"
)

// objectStore is where packages are read from that the Lambda API names by bucket
// and key; nil where none is configured.
func objectStore(v values) (lambda.Objects, error) {
	if v["s3-endpoint"] == "" {
		return nil, nil
	}
	style := v["s3-addressing"]
	if style != "path" && style != "host" {
		return nil, usageError("s3-addressing: %q is neither path nor host", style)
	}
	store, err := object.New(object.Options{
		Endpoint: v["s3-endpoint"], Region: v["s3-region"], KeyID: v["s3-key"], Secret: v["s3-secret"], HostStyle: style == "host",
	})
	if err != nil {
		return nil, usageError("s3-endpoint: %w", err)
	}
	return store, nil
}
