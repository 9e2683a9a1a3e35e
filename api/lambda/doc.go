// Package lambda is the AWS Lambda dialect: it serves Lambda's REST API
// (2015-03-31 and its siblings) so that the AWS CLI, the SDKs and what is built on
// them work unmodified.
//
// It owns the routes, the wire types, the validation texts and the mapping of
// errors (errors.go, the only file that knows them). It holds no logic of its
// own: what a function is and what an invocation does is behind the Registry and
// Invoker interfaces. It must not know engines, pools or sandboxes, and no other
// dialect.
//
// The tables in model_table.go are generated from the service's published model;
// see internal/modelgen.
package lambda

//go:generate echo "go run ./api/lambda/internal/modelgen MODEL.json > api/lambda/model_table.go, from the module's root"
