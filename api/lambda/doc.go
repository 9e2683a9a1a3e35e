// Package lambda is the AWS Lambda dialect: routes, wire types, error mapping.
//
// It holds no logic: it parses, calls the registry or the data plane, and
// writes what AWS would have written. It must not know the other dialects, the
// engine, pools or sandboxes.
package lambda
