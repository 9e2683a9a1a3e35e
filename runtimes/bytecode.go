package runtimes

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// compileBootstrap makes the byte code of the Python bootstrap's modules: argument 1
// is their folder, argument 2 what the program's own is to be called. What is
// imported goes where the interpreter looks for it. The source cannot change below
// it, so it is never checked. What a stem cell rehearses with stays source, as most
// packages are: the compiler is to be rehearsed too.
const compileBootstrap = `
import os, py_compile, sys
folder, program = sys.argv[1:]
for name in os.listdir(folder):
    if name.endswith(".py") and name != "hearth_rehearsal.py":
        to = os.path.join(folder, program) if name == "bootstrap.py" else None
        py_compile.compile(os.path.join(folder, name), cfile=to, dfile="/var/runtime/" + name, doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
`

// compileBootstrapLimit bounds one compilation, which takes some 100 ms.
const compileBootstrapLimit = 20 * time.Second

// compiled returns the Python bootstrap for an interpreter: its byte code, which is
// made once in the life of the folder, or where that cannot be done, its source.
// Compiling it at each start would be a third of the time that a start takes.
func (b bootstraps) compiled(found interpreter) string {
	const source = "bootstrap.py"
	program := "bootstrap-" + found.version + ".pyc"
	folder := b.folder(languagePython)
	b.turn.Lock()
	defer b.turn.Unlock()
	if _, err := os.Stat(filepath.Join(folder, program)); err == nil {
		return program
	}
	if b.failed[found] {
		return source
	}
	ctx, cancel := context.WithTimeout(context.Background(), compileBootstrapLimit)
	defer cancel()
	// The program's own file is the last to be there: os.listdir begins with any.
	cmd := exec.CommandContext(ctx, found.binary, "-I", "-S", "-B", "-c", compileBootstrap, folder, program+".partial")
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if err == nil {
		err = os.Rename(filepath.Join(folder, program+".partial"), filepath.Join(folder, program))
	}
	if err != nil {
		b.failed[found] = true
		return source
	}
	return program
}
