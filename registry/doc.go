// Package registry is the control plane: create, update, publish, alias,
// delete, and the lists. Everything that it acknowledged is durable.
//
// It owns functions, versions and aliases in the engine and the in-memory
// snapshot that the data plane reads. It must not know any dialect.
package registry
