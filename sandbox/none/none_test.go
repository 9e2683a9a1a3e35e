package none_test

import (
	"testing"

	"hearth/sandbox"
	"hearth/sandbox/none"
	"hearth/sandbox/sandboxtest"
)

func TestContract(t *testing.T) {
	sandboxtest.Run(t, func(t *testing.T) sandbox.Driver {
		return none.New(none.Options{Dir: t.TempDir()})
	}, sandboxtest.Features{})
}
