//go:build linux

package process

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unsafe"
)

// firstProcessText and starterText return where the instructions of the first
// process and of the starter are.
func firstProcessText() unsafe.Pointer
func starterText() unsafe.Pointer

// firstProcess and starter exist so that vet can check their assembler; they must
// not be called.
func firstProcess()
func starter()

// programMax bounds the search for a program's end, in bytes.
const programMax = 512

var programEnd = []byte{0x0f, 0x0b, 0x0f, 0x0b, 0x0f, 0x0b, 0x0f, 0x0b}

// elf builds the executable of one of the programs in spawn_amd64.s: an ELF header,
// one segment, and the program's instructions. It is the same on every build because
// the assembler's output is.
func elf(program unsafe.Pointer) ([]byte, error) {
	text := unsafe.Slice((*byte)(program), programMax)
	end := bytes.Index(text, programEnd)
	if end < 0 {
		return nil, errors.New("process: a program of the root has no end marker")
	}
	text = text[:end+len(programEnd)]

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
