package main

import (
	"reflect"
	"testing"
	"time"

	"hearth/api/native"
	"hearth/faas"
	"hearth/quota"
)

// What the allocator counts arrives in the API's words, whatever a reservation is
// kept in, also while its guarantee still fills.
func TestQuotaUse(t *testing.T) {
	scope := faas.Scope{Account: "000000000000", Region: "us-east-1", Namespace: "default"}
	id := func(name string) faas.FunctionID { return faas.FunctionID{Scope: scope, Name: name} }
	version := func(name string) *faas.Version {
		return &faas.Version{ID: faas.VersionID{Function: id(name), Number: "1"}, Config: faas.Config{MemoryMB: 128, InstanceConcurrency: 1}}
	}
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	allocator := quota.New(quota.Options{Now: func() time.Time { return now }})
	settings := quota.Settings{Limits: faas.AccountLimits{MemoryMB: 128 * 110, Executions: 110, Expansion: 500}}
	allocator.Configure(quota.AccountOf(scope), settings)
	for range 105 {
		if _, err := allocator.Admit(version("busy"), quota.Synchronous); err != nil {
			t.Fatal(err)
		}
		if _, err := allocator.Start(version("busy"), quota.ForCall); err != nil {
			t.Fatal(err)
		}
	}
	settings.Functions = map[faas.FunctionID]quota.FunctionSettings{
		id("calls"): {Reserved: &faas.Amount{Unit: faas.UnitExecutions, Value: 4}, MemoryMB: 128, Concurrency: 1},
		id("size"):  {Reserved: &faas.Amount{Unit: faas.UnitMemoryMB, Value: 512}, MemoryMB: 128, Concurrency: 1},
	}
	allocator.Configure(quota.AccountOf(scope), settings)
	got := quotaUse{allocator}.Usage(scope)
	want := native.Usage{
		Account: native.AccountUse{MemoryMB: 105 * 128, Executions: 105, Starts: 105},
		Functions: map[faas.FunctionID]native.FunctionUse{
			id("busy"):  {Executions: 105, Instances: 105, MemoryMB: 105 * 128},
			id("calls"): {Guaranteed: &faas.Amount{Unit: faas.UnitExecutions, Value: 4}},
			id("size"):  {Guaranteed: &faas.Amount{Unit: faas.UnitMemoryMB, Value: 128}},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the use is %+v, want %+v", got, want)
	}
}
