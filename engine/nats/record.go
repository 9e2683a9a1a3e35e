package nats

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	client "github.com/nats-io/nats.go"
)

// Headers of a stored record. The first is NATS' own for key-value buckets, so
// that its tools read ours.
const (
	headerOperation = "KV-Operation"
	headerWrites    = "Hearth-Writes" // how many writes the key has seen, this one included
	headerCRC       = "Hearth-CRC"    // CRC-32C of key, writes, operation and value
	operationDelete = "DEL"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record is the newest write of one key, as it is stored. A deletion is a record
// too. The zero record is that of a key never written.
type record struct {
	key      string
	value    []byte
	deleted  bool
	revision uint64 // the sequence in the stream; 0: never written
	writes   uint64
}

// exists reports whether the key has a value.
func (r record) exists() bool { return r.revision != 0 && !r.deleted }

func (r record) operation() string {
	if r.deleted {
		return operationDelete
	}
	return ""
}

func (r record) crc() string {
	b := binary.BigEndian.AppendUint64(nil, r.writes)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.key)))
	b = append(b, r.key...)
	b = append(b, r.operation()...)
	sum := crc32.Update(crc32.Checksum(b, castagnoli), castagnoli, r.value)
	return fmt.Sprintf("%08x", sum)
}

// message builds what is published for the record.
func (r record) message(subject string) *client.Msg {
	m := client.NewMsg(subject)
	m.Data = r.value
	m.Header[headerWrites] = []string{strconv.FormatUint(r.writes, 10)}
	m.Header[headerCRC] = []string{r.crc()}
	if r.deleted {
		m.Header[headerOperation] = []string{operationDelete}
	}
	return m
}

// parseRecord reads a stored message back and refuses one that is not as it was
// written.
func parseRecord(base, subject string, revision uint64, header client.Header, value []byte) (record, error) {
	encoded, ok := strings.CutPrefix(subject, base)
	if !ok {
		return record{}, fmt.Errorf("the record at revision %d has the foreign subject %q", revision, subject)
	}
	key, err := decodeKey(encoded)
	if err != nil {
		return record{}, err
	}
	writes, err := strconv.ParseUint(header.Get(headerWrites), 10, 64)
	if err != nil {
		return record{}, fmt.Errorf("the record of %q at revision %d has no count of writes", key, revision)
	}
	r := record{key: key, value: value, revision: revision, writes: writes, deleted: header.Get(headerOperation) == operationDelete}
	if r.value == nil {
		r.value = []byte{}
	}
	if header.Get(headerCRC) != r.crc() {
		return record{}, fmt.Errorf("the record of %q at revision %d does not match its checksum", key, revision)
	}
	return r, nil
}
