//go:build linux

package process

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unsafe"
)

// firstProcessText returns where the instructions of the first process are.
func firstProcessText() unsafe.Pointer

// firstProcess exists so that vet can check its assembler; it must not be called.
func firstProcess()

// firstProcessMax bounds the search for the program's end, in bytes.
const firstProcessMax = 256

var firstProcessEnd = []byte{0x0f, 0x0b, 0x0f, 0x0b, 0x0f, 0x0b, 0x0f, 0x0b}

// firstELF builds the executable of every sandbox's first process: an ELF header,
// one segment, and the instructions of firstProcess, whose source is
// spawn_amd64.s. It is the same on every build because the assembler's output is.
func firstELF() ([]byte, error) {
	text := unsafe.Slice((*byte)(firstProcessText()), firstProcessMax)
	end := bytes.Index(text, firstProcessEnd)
	if end < 0 {
		return nil, errors.New("process: the first process's program has no end marker")
	}
	text = text[:end+len(firstProcessEnd)]

	const base, headers = 0x400000, 64 + 56
	var b bytes.Buffer
	b.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	size := uint64(headers + len(text))
	for _, v := range []any{
		uint16(2), uint16(62), uint32(1), // executable, x86-64, version
		uint64(base + headers), uint64(64), uint64(0), // entry, program headers, no sections
		uint32(0), uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(1), uint32(5), // PT_LOAD, readable and executable
		uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000),
	} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			return nil, err
		}
	}
	b.Write(text)
	return b.Bytes(), nil
}
